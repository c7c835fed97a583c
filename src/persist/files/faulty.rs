//! A disk that misbehaves on command. For tests; the real files lie underneath.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{FileHandle, Files, Identity, Metadata, Open, RealFiles};

/// How long an fsync can be held.
const HOLD_LIMIT: Duration = Duration::from_secs(60);

/// Real files, with the faults of a shared `Faults` in between. What a test sets takes effect at
/// the next operation, also on files that are open already.
#[derive(Clone, Default)]
pub struct FaultyFiles {
    faults: Arc<Faults>,
}

/// The control: which operations fail from now on, and what has been done so far.
#[derive(Default)]
pub struct Faults {
    script: Mutex<Script>,
    changed: Condvar,
}

#[derive(Default)]
struct Script {
    /// Counts down; the write that finds 1 fails, once.
    fail_nth_write: Option<(u64, i32)>,
    fail_all_writes: Option<i32>,
    /// Every write takes at most so many bytes.
    short_write: Option<usize>,
    fail_syncs: Option<i32>,
    fail_mapping: bool,
    /// Bytes that writes may still add beyond files' ends; then ENOSPC.
    space_left: Option<u64>,
    write_delay: Duration,
    sync_delay: Duration,
    hold_syncs: bool,
    writes: u64,
    syncs: u64,
    syncs_waiting: u64,
}

impl FaultyFiles {
    pub fn new() -> FaultyFiles {
        FaultyFiles::default()
    }

    /// The control to keep, while the files go to whom is tested.
    pub fn faults(&self) -> Arc<Faults> {
        self.faults.clone()
    }
}

impl Faults {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script());
        self.changed.notify_all();
    }

    /// The `nth` write from now (1 is the next) fails with this errno, once.
    pub fn fail_write(&self, nth: u64, errno: i32) {
        self.set(|s| s.fail_nth_write = Some((nth, errno)));
    }

    /// All writes fail with this errno until `None` is set.
    pub fn fail_writes(&self, errno: Option<i32>) {
        self.set(|s| s.fail_all_writes = errno);
    }

    /// All fsyncs fail with this errno until `None` is set.
    pub fn fail_syncs(&self, errno: Option<i32>) {
        self.set(|s| s.fail_syncs = errno);
    }

    /// Every write takes at most so many bytes.
    pub fn short_writes(&self, bytes: Option<usize>) {
        self.set(|s| s.short_write = bytes);
    }

    /// How many bytes files may still grow, together; `None`: no limit.
    pub fn space(&self, bytes: Option<u64>) {
        self.set(|s| s.space_left = bytes);
    }

    pub fn fail_mapping(&self, fail: bool) {
        self.set(|s| s.fail_mapping = fail);
    }

    /// Each write and each fsync takes at least so long.
    pub fn delay(&self, write: Duration, sync: Duration) {
        self.set(|s| (s.write_delay, s.sync_delay) = (write, sync));
    }

    /// While held, an fsync that begins does not return.
    pub fn hold_syncs(&self, hold: bool) {
        self.set(|s| s.hold_syncs = hold);
    }

    /// Waits until an fsync is being held; false if that takes longer than `limit`.
    pub fn wait_for_held_sync(&self, limit: Duration) -> bool {
        let guard = self.script();
        let waiting = self.changed.wait_timeout_while(guard, limit, |s| s.syncs_waiting == 0);
        !waiting.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Writes tried so far, failed ones included.
    pub fn writes(&self) -> u64 {
        self.script().writes
    }

    /// Fsyncs of files begun so far, failed ones included.
    pub fn syncs(&self) -> u64 {
        self.script().syncs
    }

    /// How many of `len` bytes at `offset` the disk takes of a file that is `file_len` long.
    fn before_write(&self, len: usize, offset: u64, file_len: u64) -> io::Result<usize> {
        let delay = self.script().write_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let mut script = self.script();
        script.writes += 1;
        if let Some(errno) = script.fail_all_writes {
            return Err(io::Error::from_raw_os_error(errno));
        }
        if let Some((nth, errno)) = script.fail_nth_write {
            script.fail_nth_write = (nth > 1).then_some((nth - 1, errno));
            if nth <= 1 {
                return Err(io::Error::from_raw_os_error(errno));
            }
        }
        let mut take = script.short_write.map_or(len, |most| len.min(most));
        if let Some(space) = script.space_left {
            let reach = file_len.saturating_add(space);
            take = take.min(reach.saturating_sub(offset) as usize);
            if take == 0 && len > 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let grown = (offset + take as u64).saturating_sub(file_len);
            script.space_left = Some(space - grown);
        }
        Ok(take)
    }

    fn before_sync(&self) -> io::Result<()> {
        let delay = self.script().sync_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let mut script = self.script();
        script.syncs += 1;
        script.syncs_waiting += 1;
        self.changed.notify_all();
        // Not for ever: a test that fails meanwhile must end.
        let held = self.changed.wait_timeout_while(script, HOLD_LIMIT, |s| s.hold_syncs);
        script = held.unwrap_or_else(PoisonError::into_inner).0;
        script.syncs_waiting -= 1;
        match script.fail_syncs {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }
}

impl Files for FaultyFiles {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn FileHandle>> {
        let file = RealFiles.open(path, how)?;
        Ok(Box::new(FaultyFile { file, faults: self.faults.clone() }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        RealFiles.metadata(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.sync_dir(path)
    }

    /// What [`Faults::space`] leaves.
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let free = RealFiles.free_space(dir)?;
        Ok(self.faults.script().space_left.map_or(free, |left| left.min(free)))
    }
}

struct FaultyFile {
    file: Box<dyn FileHandle>,
    faults: Arc<Faults>,
}

impl FileHandle for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let take = self.faults.before_write(bytes.len(), offset, self.file.len()?)?;
        self.file.write_all_at(&bytes[..take], offset)?;
        Ok(take)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.before_sync()?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.faults.before_sync()?;
        self.file.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn identity(&self) -> io::Result<Identity> {
        self.file.identity()
    }

    fn to_map(&self) -> io::Result<File> {
        if self.faults.script().fail_mapping {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        self.file.to_map()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_what_fits_and_then_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let files = FaultyFiles::new();
        let faults = files.faults();
        let file = files.open(&dir.path().join("a"), Open::Write).unwrap();
        faults.space(Some(3));
        assert_eq!(file.write_at(b"hello", 0).unwrap(), 3);
        assert_eq!(file.write_at(b"lo", 3).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(file.write_at(b"HEL", 0).unwrap(), 3, "overwriting needs no space");
        faults.space(None);
        file.write_all_at(b"lo", 3).unwrap();
        assert_eq!(file.len().unwrap(), 5);
    }

    #[test]
    fn scripted_failures_strike_once_or_until_lifted() {
        let dir = tempfile::tempdir().unwrap();
        let files = FaultyFiles::new();
        let faults = files.faults();
        let file = files.open(&dir.path().join("a"), Open::Write).unwrap();
        faults.fail_write(2, libc::EIO);
        assert!(file.write_at(b"a", 0).is_ok());
        assert_eq!(file.write_at(b"b", 1).unwrap_err().raw_os_error(), Some(libc::EIO));
        assert!(file.write_at(b"b", 1).is_ok());
        faults.fail_syncs(Some(libc::EIO));
        assert!(file.sync_data().is_err());
        assert!(file.sync_all().is_err());
        faults.fail_syncs(None);
        file.sync_data().unwrap();
        faults.short_writes(Some(2));
        assert_eq!(file.write_at(b"xyz", 0).unwrap(), 2);
        assert_eq!((faults.writes(), faults.syncs()), (4, 3));
    }
}
