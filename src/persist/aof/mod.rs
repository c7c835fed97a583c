//! The append-only file: the multi-part AOF of Redis 7 on disk, and a buffer before it that
//! outlives the process.
//!
//! ```text
//! commands -> Aof::buffer --commit()--> ring (mapped file) --log thread--> incr file --> fsync
//!             a tick's bytes            survives kill -9                   survives power loss
//! ```
//!
//! On start it goes the other way: `Loader::open` first replays into the incr file what a crash
//! left in the ring, then hands out the commands of all files; `Aof::start` goes on appending.
//! Bytes here are RESP arrays; what the commands in them mean is not known here, save that MULTI
//! and EXEC enclose what must not be loaded by halves.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twox_hash::XxHash3_64;

use crate::base::clock::Clock;
use crate::persist::files::{Files, reason};
use crate::persist::rdb;

mod buffer;
mod cut;
pub mod encode;
mod format;
mod load;
mod log;
pub mod manifest;
mod read;
mod recover;
mod rewrite;
mod ring;
mod scan;
mod tail;
mod target;

pub use buffer::{Aof, Numbers};
pub use load::{LoadError, Loader, Progress, Run, Step};
pub use log::{Delays, Fsync, Waker};
pub use manifest::Manifest;
pub use rewrite::Rewrite;
pub use scan::{End, Fault, Found, Scan, begins_in_rdb_format};

/// The ring's size unless configured otherwise. Bytes.
pub const DEFAULT_RING_SIZE: u64 = 32 << 20;

/// So much at once is written past the page cache: below, a wait for the disk costs more. Bytes.
const PAST_CACHE_FROM: usize = 256 << 10;

/// Where the AOF is and how it is kept; each field but `dir` and the last four is a directive.
#[derive(Clone)]
pub struct Options {
    /// `dir`: the server's directory.
    pub dir: PathBuf,
    /// `appenddirname`: the AOF's directory in it.
    pub dirname: OsString,
    /// `appendfilename`: what its files' names begin with.
    pub filename: OsString,
    /// `appendfsync`.
    pub fsync: Fsync,
    /// `aof-load-truncated`: cut a torn tail, instead of refusing to start.
    pub load_truncated: bool,
    /// `aof-use-rdb-preamble`: the base of a new AOF is an RDB file.
    pub rdb_preamble: bool,
    /// Not `aof-disable-auto-gc`: delete the files a rewrite has replaced.
    pub auto_gc: bool,
    /// Bytes; 0 for none: then replies wait until their writes are in the file.
    pub ring_size: u64,
    /// Where the ring is, if not beside the AOF's files. A tmpfs is as good against crashes of the
    /// process and never waits for a disk, but a crash of the machine takes it away.
    pub ring_dir: Option<PathBuf>,
    pub files: Arc<dyn Files>,
    pub waker: Waker,
    /// An RDB file that becomes the base where there is no AOF yet, if it is there.
    pub first_base: Option<PathBuf>,
    /// How a base in RDB format is read.
    pub rdb: rdb::Options,
    /// By which the log thread measures how long the disk takes.
    pub clock: Clock,
    /// What is at least so many bytes is written past the page cache, unless `fsync` is `No`.
    pub past_cache_from: usize,
}

impl Options {
    /// Redis's defaults, for an AOF in `dir`.
    pub fn new(dir: PathBuf, files: Arc<dyn Files>, waker: Waker) -> Options {
        Options {
            dir,
            dirname: "appendonlydir".into(),
            filename: "appendonly.aof".into(),
            fsync: Fsync::Everysec,
            load_truncated: true,
            rdb_preamble: true,
            auto_gc: true,
            ring_size: DEFAULT_RING_SIZE,
            ring_dir: None,
            files,
            waker,
            first_base: None,
            rdb: rdb::Options::default(),
            clock: Clock::system(),
            past_cache_from: PAST_CACHE_FROM,
        }
    }

    fn aof_dir(&self) -> PathBuf {
        self.dir.join(&self.dirname)
    }

    /// Makes the directory of the files, if it is missing, durably.
    ///
    /// # Errors
    /// As a line to log.
    pub fn make_dir(&self) -> Result<(), String> {
        let dir = self.aof_dir();
        let shown = dir.display();
        self.files
            .create_dir(&dir)
            .map_err(|e| format!("Can't open or create append-only dir {shown}: {}", reason(&e)))?;
        self.files
            .sync_dir(&self.dir)
            .map_err(|e| format!("Can't sync the directory of {shown}: {}", reason(&e)))
    }

    fn manifest_path(&self) -> PathBuf {
        self.aof_dir().join(manifest::file_name(&self.filename))
    }

    fn ring_beside(&self) -> PathBuf {
        self.aof_dir().join(manifest::with_suffix(&self.filename, ".ring"))
    }

    /// In a directory that several servers may share, the name says whose ring it is.
    fn ring_elsewhere(&self) -> Option<PathBuf> {
        let dir = self.ring_dir.as_ref()?;
        let owner = std::path::absolute(self.aof_dir()).unwrap_or_else(|_| self.aof_dir());
        let hash = XxHash3_64::oneshot(OsStr::as_bytes(owner.as_os_str()));
        let mut name = OsString::from(format!("goredis-{hash:016x}-"));
        name.push(manifest::with_suffix(&self.filename, ".ring"));
        Some(dir.join(name))
    }

    /// Where the ring is to be.
    fn ring_path(&self) -> PathBuf {
        self.ring_elsewhere().unwrap_or_else(|| self.ring_beside())
    }

    /// The rings that a server which runs has in use, or that one which crashed has left.
    ///
    /// # Errors
    /// A ring, and why it cannot be read.
    pub fn rings_left(&self) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
        let mut left = Vec::new();
        for ring in self.ring_paths() {
            match recover::is_left(&*self.files, &ring) {
                Ok(true) => left.push(ring),
                Ok(false) => {}
                Err(e) => return Err((ring, e)),
            }
        }
        Ok(left)
    }

    /// Does with the rings what a start of the server does: the files have then all there is, but
    /// for what a crash tore. Returns how many bytes they lacked.
    ///
    /// # Errors
    /// As for [`Options::rings_left`].
    pub fn replay_rings(&self, manifest: &Manifest) -> Result<u64, (PathBuf, io::Error)> {
        recover::all(self, manifest)
    }

    /// Keeps a ring from being replayed: once something is cut off that may be in it.
    pub fn set_ring_aside(&self, ring: &Path) -> io::Result<()> {
        recover::set_aside(&*self.files, ring)
    }

    /// Where a ring may have been left.
    fn ring_paths(&self) -> Vec<PathBuf> {
        std::iter::once(self.ring_beside()).chain(self.ring_elsewhere()).collect()
    }
}

#[cfg(test)]
mod tests;
