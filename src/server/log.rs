//! The server's side of the append-only file: whether there is one, up to where changes may be
//! acknowledged, and whether it fails.

use super::config::{AppendFsync, Config};
use super::ctx::{Ctx, Propagation};
use super::error::Error;
use super::loading::{self, Source};
use super::snapshot;
use crate::base::clock::Clock;
use crate::persist::aof::{Aof, Delays, Fsync, Loader, Manifest, Numbers, Options, Rewrite, Waker};
use crate::persist::files::{Files, RealFiles};
use crate::persist::rdb;
use std::sync::Arc;

/// No file, or an open one.
#[derive(Default)]
pub struct Log {
    aof: Option<Aof>,
    /// Where the open file's offsets begin: behind those of the files before it, which replies may
    /// still be waiting for.
    base: u64,
    /// Why the last write failed; kept here so that the gate need not ask.
    error: Option<String>,
}

/// The options of the append-only file, as configured. `files` is how the disk is reached.
pub fn options(config: &Config, files: Arc<dyn Files>, waker: Waker, clock: Clock) -> Options {
    let ring_dir = &config.aof_ring_dir;
    Options {
        dirname: (&config.appenddirname).into(),
        filename: (&config.appendfilename).into(),
        fsync: policy(config.appendfsync),
        load_truncated: config.aof_load_truncated,
        rdb_preamble: config.aof_use_rdb_preamble,
        auto_gc: !config.aof_disable_auto_gc,
        ring_size: config.aof_ring_size,
        first_base: Some(config.dir.join(&config.dbfilename)),
        rdb: rdb_options(config),
        ring_dir: (!ring_dir.is_empty()).then(|| ring_dir.into()),
        clock,
        ..Options::new(config.dir.clone(), files, waker)
    }
}

/// How RDB files are read, as configured. Keys that expired meanwhile are left in, as the commands
/// behind a base tell when they went away.
pub fn rdb_options(config: &Config) -> rdb::Options {
    let (limits, checks_sum) = (config.value_limits(), config.rdbchecksum);
    let slice = Some(config.loading_process_events_interval_bytes);
    rdb::Options { limits, checks_sum, slice, ..rdb::Options::default() }
}

/// The machine's own file system.
pub fn real_files() -> Arc<dyn Files> {
    Arc::new(RealFiles)
}

fn policy(fsync: AppendFsync) -> Fsync {
    match fsync {
        AppendFsync::Always => Fsync::Always,
        AppendFsync::Everysec => Fsync::Everysec,
        AppendFsync::No => Fsync::No,
    }
}

fn closed() -> Result<(), String> {
    Err("the append-only file is closed".to_string())
}

impl Log {
    /// Goes on appending to what was loaded.
    pub fn start(&mut self, options: &Options, manifest: Manifest) -> Result<(), String> {
        self.aof = Some(Aof::start(options, manifest)?);
        self.error = None;
        Ok(())
    }

    /// See [`Aof::start_without_base`].
    pub fn start_without_base(&mut self, options: &Options, found: Manifest) -> Result<(), String> {
        self.aof = Some(Aof::start_without_base(options, found)?);
        self.error = None;
        Ok(())
    }

    /// See [`Aof::lacks_base`].
    pub fn lacks_base(&self) -> bool {
        self.aof.as_ref().is_some_and(Aof::lacks_base)
    }

    /// See [`Aof::prepare_incr`].
    pub fn prepare_incr(&mut self) -> Result<(), String> {
        self.aof.as_mut().map_or_else(closed, Aof::prepare_incr)
    }

    /// See [`Aof::switch_incr`].
    pub fn switch_incr(&mut self) -> Option<Result<(), String>> {
        match &mut self.aof {
            Some(aof) => aof.switch_incr(),
            None => Some(closed()),
        }
    }

    /// See [`Aof::begin_rewrite`].
    pub fn begin_rewrite(&mut self) -> Option<Rewrite> {
        self.aof.as_mut().map(Aof::begin_rewrite)
    }

    /// See [`Aof::end_rewrite`].
    pub fn end_rewrite(&mut self) {
        if let Some(aof) = &mut self.aof {
            aof.end_rewrite();
        }
    }

    pub fn is_open(&self) -> bool {
        self.aof.is_some()
    }

    /// Where changes are written to, if anywhere.
    #[inline]
    pub fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        self.aof.as_mut().map(Aof::buffer)
    }

    /// To be called between two clients' turns: see [`Aof::commit_early`].
    #[inline]
    pub fn commit_early(&mut self) -> bool {
        self.aof.as_mut().is_some_and(Aof::commit_early)
    }

    /// Whether there is anything to commit.
    #[inline]
    pub fn has_uncommitted(&self) -> bool {
        self.aof.as_ref().is_some_and(Aof::has_uncommitted)
    }

    /// Ends a tick's changes; returns the offset that must be acknowledged before their replies.
    #[inline]
    pub fn commit(&mut self) -> u64 {
        self.base + self.aof.as_mut().map_or(0, Aof::commit)
    }

    /// Up to where replies may be sent.
    #[inline]
    pub fn acknowledged(&self) -> u64 {
        self.aof.as_ref().map_or(u64::MAX, |aof| self.base + aof.acknowledged())
    }

    /// Whether more waits for the disk than should: a client whose replies wait, too, is then not
    /// read from, as what it sends would only take memory.
    #[inline]
    pub fn is_clogged(&self) -> bool {
        self.aof.as_ref().is_some_and(Aof::is_clogged)
    }

    /// Looks whether writing works; true while it does. To be called when the log thread has
    /// something to say.
    pub fn check(&mut self) -> bool {
        let status = self.aof.as_ref().map_or(Ok(()), Aof::status);
        self.error = status.err();
        self.error.is_none()
    }

    /// Why writing fails, if it does.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The timer's part, once a second.
    pub fn every_second(&mut self) {
        if let Some(aof) = &mut self.aof {
            aof.every_second();
        }
    }

    /// What the log thread has waited for the disk, at most, since this was asked last.
    pub fn take_delays(&mut self) -> Delays {
        self.aof.as_ref().map_or(Delays::default(), Aof::take_delays)
    }

    pub fn set_fsync(&mut self, fsync: AppendFsync) {
        if let Some(aof) = &mut self.aof {
            aof.set_fsync(policy(fsync));
        }
    }

    /// Makes all durable and closes; blocks. After an error it stays open.
    pub fn shutdown(&mut self) -> Result<(), String> {
        if let Some(aof) = &mut self.aof {
            aof.shutdown()?;
            self.base += aof.commit();
            self.aof = None;
        }
        Ok(())
    }

    /// Makes all durable; blocks. Returns the files, to be loaded again.
    pub fn flush_all_now(&mut self) -> Result<Option<Manifest>, String> {
        let Some(aof) = &mut self.aof else { return Ok(None) };
        aof.flush_all_now()?;
        Ok(Some(aof.manifest().clone()))
    }

    pub fn set_flush_sleep(&mut self, sleep: std::time::Duration) {
        if let Some(aof) = &mut self.aof {
            aof.set_flush_sleep(sleep);
        }
    }

    /// Counts delayed fsyncs from 0 again.
    pub fn forget_delays(&mut self) {
        if let Some(aof) = &mut self.aof {
            aof.forget_delays();
        }
    }

    /// For INFO; none when there is no file.
    pub fn numbers(&self) -> Option<Numbers> {
        self.aof.as_ref().map(Aof::numbers)
    }
}

/// DEBUG LOADAOF: makes all durable, and loads it into emptied databases.
pub fn reload(ctx: &mut Ctx) -> Result<(), Error> {
    // Nothing of this is news to the file.
    ctx.propagation = Propagation::Nothing;
    let failed = |reason: &str| {
        log::warn!("DEBUG LOADAOF: {reason}");
        Error::Static("ERR Error trying to load the AOF files, check server logs.")
    };
    if ctx.server.snapshots.wants_base {
        snapshot::finish_base(ctx.server, ctx.keys).map_err(|reason| failed(&reason))?;
    }
    let manifest = ctx.server.log.flush_all_now().map_err(|reason| failed(&reason))?;
    let Some(options) = &ctx.server.log_options else {
        return Err(failed("the server has not started"));
    };
    let loader = match manifest {
        Some(manifest) => Loader::reopen(options, &manifest),
        None => Loader::open(options),
    };
    let source =
        loader.map(|loader| Source::Aof(Box::new(loader))).map_err(|e| failed(&e.to_string()))?;
    (0..ctx.keys.databases()).for_each(|db| {
        ctx.keys.flush(db);
    });
    loading::load_now(ctx.server, ctx.keys, source).map_err(|e| failed(&e))?;
    log::warn!("Append Only File loaded by DEBUG LOADAOF");
    ctx.out.ok();
    Ok(())
}
