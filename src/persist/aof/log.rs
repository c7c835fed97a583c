//! The log thread: takes committed bytes out of the ring, writes them to the incr file and makes
//! them durable. The only place that waits for the disk while the server runs.
//!
//! Ring space is released only when its bytes are as durable as the policy asks for, so after a
//! failed write or fsync everything in doubt is still at hand. A failed fsync may have dropped
//! dirty pages that later reads still show and later fsyncs no longer mention (Linux reports a
//! lost page once), so nothing written since the last good fsync is believed: the file is opened
//! again and all of it is written again to the same places, and only then synced.
//!
//! Must not know clients, commands, or the manifest beyond the names it is told.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::warn;

use super::Options;
use super::ring::{Chunk, Reader};
use super::target::Target;
use crate::base::clock::Clock;
use crate::persist::files::{Files, reason};

/// One write takes so much at most: less costs more of the processor, as each has its price. Bytes.
const WRITE_SIZE: usize = 4 << 20;

/// When committed bytes are made durable: the `appendfsync` directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fsync {
    /// Never explicitly; written to the file once a second.
    No = 0,
    /// Once a second.
    Everysec = 1,
    /// Before a reply is sent.
    Always = 2,
}

/// How far a request goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Into the file; synced only under `always`.
    #[default]
    Write,
    /// As the policy says: synced under `everysec` too, which gives ring space back.
    Policy,
    /// Synced in any case.
    Sync,
}

/// The longest that something at the disk took, in nanoseconds; 0 if nothing was done there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    pub write_ns: u64,
    /// An fsync under `everysec`, for which nobody waits.
    pub sync_ns: u64,
    /// An fsync under `always`, for which replies wait.
    pub awaited_sync_ns: u64,
}

/// Wakes the event loop, from any thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What the event loop and the log thread share.
pub struct Shared {
    control: Mutex<Control>,
    /// For the log thread: there is a request.
    work: Condvar,
    /// For who waits until a request is served.
    done: Condvar,
    /// Logical offsets: what is in the file, and what an fsync has covered.
    written: AtomicU64,
    synced: AtomicU64,
    fsync: AtomicU8,
    failed: AtomicBool,
    /// Someone waits for `written`, `synced` or ring space: wake the event loop on progress.
    awaited: AtomicBool,
    syncing: AtomicBool,
    /// Waited before each write: DEBUG AOF-FLUSH-SLEEP. Microseconds.
    sleep_us: AtomicU64,
    /// See [`Delays`], since they were asked for last.
    write_ns: AtomicU64,
    sync_ns: AtomicU64,
    awaited_sync_ns: AtomicU64,
    waker: Waker,
}

#[derive(Default)]
struct Control {
    /// Counts requests; `served` is the last one that has been worked off, well or badly.
    requested: u64,
    served: u64,
    /// The most asked for since the thread last looked.
    effort: Effort,
    stop: bool,
    /// The thread waits for `work`; otherwise there is no need to wake it.
    idle: bool,
    files: Vec<(i64, PathBuf)>,
    error: Option<String>,
}

impl Shared {
    pub fn new(fsync: Fsync, waker: Waker) -> Shared {
        Shared {
            control: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            fsync: AtomicU8::new(fsync as u8),
            failed: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            syncing: AtomicBool::new(false),
            sleep_us: AtomicU64::new(0),
            write_ns: AtomicU64::new(0),
            sync_ns: AtomicU64::new(0),
            awaited_sync_ns: AtomicU64::new(0),
            waker,
        }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn fsync(&self) -> Fsync {
        match self.fsync.load(Ordering::Relaxed) {
            0 => Fsync::No,
            1 => Fsync::Everysec,
            _ => Fsync::Always,
        }
    }

    pub fn set_fsync(&self, fsync: Fsync) {
        self.fsync.store(fsync as u8, Ordering::Relaxed);
    }

    pub fn set_sleep(&self, sleep: Duration) {
        let us = u64::try_from(sleep.as_micros()).unwrap_or(u64::MAX);
        self.sleep_us.store(us, Ordering::Relaxed);
    }

    /// The longest waits for the disk since this was asked last.
    pub fn take_delays(&self) -> Delays {
        let [write_ns, sync_ns, awaited_sync_ns] =
            [&self.write_ns, &self.sync_ns, &self.awaited_sync_ns]
                .map(|longest| longest.swap(0, Ordering::Relaxed));
        Delays { write_ns, sync_ns, awaited_sync_ns }
    }

    pub fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::SeqCst)
    }

    pub fn is_syncing(&self) -> bool {
        self.syncing.load(Ordering::Relaxed)
    }

    /// Asks for a wake-up at the next progress. Look at the progress after this call, not before.
    pub fn await_progress(&self) {
        self.awaited.store(true, Ordering::SeqCst);
    }

    /// Why the last write or fsync failed, until one succeeds.
    pub fn status(&self) -> Result<(), String> {
        if !self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.control().error.clone().map_or(Ok(()), Err)
    }

    /// Tells where the file of a sequence number is, before the ring holds frames for it.
    pub fn announce(&self, seq: i64, path: PathBuf) {
        self.control().files.push((seq, path));
    }

    /// Has everything committed so far brought to the file. Does not wait. Returns the request's
    /// number.
    pub fn request(&self, effort: Effort) -> u64 {
        let mut control = self.control();
        control.requested += 1;
        control.effort = control.effort.max(effort);
        if control.idle {
            self.work.notify_one();
        }
        control.requested
    }

    /// Waits until the request has been worked off; the result is the disk's state then.
    pub fn wait(&self, request: u64) -> Result<(), String> {
        let guard = self
            .done
            .wait_while(self.control(), |c| c.served < request && !c.stop)
            .unwrap_or_else(PoisonError::into_inner);
        guard.error.clone().map_or(Ok(()), Err)
    }

    /// Ends the thread when it has finished what it is at.
    pub fn stop(&self) {
        self.control().stop = true;
        self.work.notify_one();
        self.done.notify_all();
    }

    /// The next request, when it comes; None when told to stop.
    fn next_request(&self) -> Option<(u64, Effort)> {
        let mut control = self.control();
        control.idle = true;
        control = self
            .work
            .wait_while(control, |c| c.served == c.requested && !c.stop)
            .unwrap_or_else(PoisonError::into_inner);
        control.idle = false;
        (!control.stop).then(|| (control.requested, std::mem::take(&mut control.effort)))
    }

    fn progress(&self) {
        if self.awaited.swap(false, Ordering::SeqCst) {
            (self.waker)();
        }
    }
}

/// The thread's own state.
pub struct Log {
    shared: Arc<Shared>,
    reader: Reader,
    files: Arc<dyn Files>,
    clock: Clock,
    /// The sequence number of the file written to last.
    seq: Option<i64>,
    /// That file. None after a failure: to be opened again.
    file: Option<Target>,
    past_cache_from: usize,
    /// What a flush that failed was to do: until one does as much, the disk is not mended.
    owed: Effort,
}

impl Log {
    pub fn new(shared: Arc<Shared>, reader: Reader, options: &Options) -> Log {
        Log {
            shared,
            reader,
            files: options.files.clone(),
            clock: options.clock.clone(),
            seq: None,
            file: None,
            past_cache_from: options.past_cache_from,
            owed: Effort::Write,
        }
    }

    /// Works off requests until told to stop.
    pub fn run(mut self) {
        let _guard = EndGuard(self.shared.clone());
        while let Some((request, effort)) = self.shared.next_request() {
            let wanted = effort.max(self.owed);
            let result = self.flush(wanted);
            let ok = result.is_ok();
            self.owed = if ok { Effort::Write } else { wanted };
            if !ok {
                self.reader.rewind();
                self.file = None;
            }
            self.report(request, result);
            // After the report, as nobody waits for it; and not when the disk may hang.
            if ok && effort == Effort::Policy && self.shared.fsync() != Fsync::Always {
                self.reader.touch_ahead();
            }
        }
    }

    fn report(&self, request: u64, result: io::Result<()>) {
        let mut control = self.shared.control();
        control.served = request;
        match result {
            Ok(()) => {
                if control.error.take().is_some() {
                    warn!("AOF write error looks solved, the server accepts writes again.");
                }
            }
            Err(e) => {
                let text = reason(&e);
                if control.error.as_ref() != Some(&text) {
                    warn!("Error writing to the AOF file: {text}");
                }
                control.error = Some(text);
            }
        }
        self.shared.failed.store(control.error.is_some(), Ordering::Relaxed);
        drop(control);
        self.shared.done.notify_all();
        self.shared.progress();
    }

    /// Writes what has been committed. Under `always`, goes on while there is more: commits that
    /// arrive during an fsync share the next one.
    fn flush(&mut self, effort: Effort) -> io::Result<()> {
        loop {
            // A fixed goal, so that an fsync comes even if commits never pause.
            let goal = self.reader.tail();
            while self.reader.position() < goal {
                self.write_some()?;
            }
            let policy = self.shared.fsync();
            let sync = match effort {
                Effort::Write => policy == Fsync::Always,
                Effort::Policy => policy != Fsync::No,
                Effort::Sync => true,
            };
            if sync && self.shared.synced() < goal {
                self.sync()?;
            }
            if policy != Fsync::Always || self.reader.tail() == goal {
                return Ok(());
            }
        }
    }

    fn write_some(&mut self) -> io::Result<()> {
        let Some(chunk) = self.reader.take(WRITE_SIZE) else { return Ok(()) };
        let began_ns = self.clock.monotonic_ns();
        let sleep_us = self.shared.sleep_us.load(Ordering::Relaxed);
        if sleep_us > 0 {
            std::thread::sleep(Duration::from_micros(sleep_us));
        }
        let result = self.write(&chunk);
        self.note_delay(&self.shared.write_ns, began_ns);
        result?;
        self.shared.written.fetch_max(chunk.end, Ordering::SeqCst);
        if self.shared.fsync() == Fsync::No {
            self.reader.release(chunk.end);
        }
        if self.shared.fsync() != Fsync::Always {
            self.shared.progress();
        }
        Ok(())
    }

    fn note_delay(&self, longest_ns: &AtomicU64, began_ns: u64) {
        let took_ns = self.clock.monotonic_ns() - began_ns;
        longest_ns.fetch_max(took_ns, Ordering::Relaxed);
    }

    fn write(&mut self, chunk: &Chunk) -> io::Result<()> {
        // Under `no` the system decides when the disk has to work.
        let past_cache = chunk.len >= self.past_cache_from && self.shared.fsync() != Fsync::No;
        self.turn_to(chunk)?;
        let mut file = self.take_file()?;
        // Who cut or replaced the file took acknowledged writes away; a hole would hide that.
        if file.len()? < chunk.offset {
            return Err(io::Error::other("The AOF file is shorter than what was written to it"));
        }
        let bytes = self.reader.bytes(chunk);
        match past_cache {
            true => file.write_past_cache(bytes, chunk.offset)?,
            false => file.write(bytes, chunk.offset)?,
        }
        self.file = Some(file);
        Ok(())
    }

    /// When the chunk's file is another than before, the one before is made durable first.
    fn turn_to(&mut self, chunk: &Chunk) -> io::Result<()> {
        if self.seq != Some(chunk.seq) {
            if let Some(mut file) = self.file.take() {
                file.sync()?;
                let begin = chunk.end - chunk.len as u64;
                self.reader.release(begin);
                self.shared.synced.store(begin, Ordering::SeqCst);
            }
            self.seq = Some(chunk.seq);
            self.shared.control().files.retain(|(seq, _)| *seq >= chunk.seq);
        }
        Ok(())
    }

    /// The file of the current sequence number, opened again after a failure. To be put back.
    fn take_file(&mut self) -> io::Result<Target> {
        match (self.file.take(), self.seq) {
            (Some(file), _) => Ok(file),
            (None, Some(seq)) => {
                let path = {
                    let control = self.shared.control();
                    control.files.iter().find(|(s, _)| *s == seq).map(|(_, path)| path.clone())
                };
                let path = path.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                Target::open(&*self.files, &path)
            }
            (None, None) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let position = self.reader.position();
        let shared = self.shared.clone();
        let began_ns = self.clock.monotonic_ns();
        let mut file = self.take_file()?;
        shared.syncing.store(true, Ordering::Relaxed);
        let result = file.sync();
        shared.syncing.store(false, Ordering::Relaxed);
        let awaited = shared.fsync() == Fsync::Always;
        let longest_ns = if awaited { &shared.awaited_sync_ns } else { &shared.sync_ns };
        self.note_delay(longest_ns, began_ns);
        result?;
        self.file = Some(file);
        shared.synced.store(position, Ordering::SeqCst);
        self.reader.release(position);
        shared.progress();
        Ok(())
    }
}

/// Lets nobody wait for a thread that is gone.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.control().error = Some("the AOF's log thread died".to_string());
            self.0.failed.store(true, Ordering::Relaxed);
        }
        self.0.stop();
    }
}
