//! The files persistence works on, behind a trait, so that a test can hand in a disk that fails,
//! tears, fills up or hangs.
//!
//! Must not know what is in the files. Writes are positioned (`write_at`): writing the same bytes
//! to the same place again is always harmless, which is what recovery from a failed fsync needs.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

mod faulty;
mod space;

pub use faulty::{Faults, FaultyFiles};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must exist; it is only read.
    Read,
    /// Read and write what is there; made empty if missing.
    Write,
    /// Read and write, beginning empty.
    Truncate,
    /// Write what is there past the page cache, in whole blocks of [`BLOCK`] bytes, from memory
    /// that begins at a multiple of that. An error where the system cannot.
    PastCache,
}

/// The unit of memory and files that is asked for by [`Open::PastCache`]: what the page cache, and
/// file systems on disks of all kinds, work in. Bytes.
pub const BLOCK: usize = 4096;

/// What tells one file from another that later took its name: device and inode number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub device: u64,
    pub inode: u64,
}

/// What `Files::metadata` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Bytes.
    pub len: u64,
    pub is_dir: bool,
}

/// Reads an open file from its beginning.
pub struct FileReader {
    file: Arc<dyn FileHandle>,
    at: u64,
}

impl FileReader {
    pub fn new(file: Arc<dyn FileHandle>) -> FileReader {
        FileReader { file, at: 0 }
    }
}

impl io::Read for FileReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// A directory tree. All paths are used as they are given.
pub trait Files: Send + Sync {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn FileHandle>>;
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes one directory; that it is there already is not an error.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes names created, renamed or removed in the directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that may still be written on the file system of a directory.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;
}

/// Hears of what happens to a mapping: for a simulated disk, as a store is not a call.
pub trait MapObserver: Send + Sync {
    /// These bytes are there now; `is_whole` if nobody can have seen a part of them alone.
    fn stored(&self, at: usize, bytes: &[u8], is_whole: bool);
    fn synced(&self, at: usize, len: usize);
}

/// An open file. `&self` throughout: there is no file position to share.
pub trait FileHandle: Send + Sync {
    /// Reads up to `buf.len()` bytes; 0 means the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes up to `bytes.len()` bytes and tells how many: like the system call, it may be fewer.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes the content durable, and of the metadata what reading it back needs.
    fn sync_data(&self) -> io::Result<()>;
    fn sync_all(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn identity(&self) -> io::Result<Identity>;
    /// The same open file, for a memory mapping.
    fn to_map(&self) -> io::Result<File>;
    /// Who wants to hear of stores into that mapping.
    fn map_observer(&self) -> Option<Arc<dyn MapObserver>> {
        None
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads until `buf` is full or the file ends; tells how many bytes.
    fn read_full_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// Writes all bytes, going on after short writes. A disk that takes nothing and reports
    /// nothing counts as full.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self.write_at(&bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::Error::from_raw_os_error(libc::ENOSPC)),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// The text of strerror(3) alone: `No space left on device`, as Redis reports it.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn FileHandle>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o644);
        match how {
            Open::Read => {}
            Open::Write => {
                options.write(true).create(true).truncate(false);
            }
            Open::Truncate => {
                options.write(true).create(true).truncate(true);
            }
            Open::PastCache => {
                #[cfg(target_os = "linux")]
                options.write(true).custom_flags(libc::O_DIRECT);
                #[cfg(not(target_os = "linux"))]
                return Err(io::ErrorKind::Unsupported.into());
            }
        }
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let m = fs::metadata(path)?;
        Ok(Metadata { len: m.len(), is_dir: m.is_dir() })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match File::open(path)?.sync_all() {
            // Some file systems cannot fsync a directory and need not.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EBADF)) => Ok(()),
            other => other,
        }
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        space::free(dir)
    }
}

struct RealFile(File);

impl FileHandle for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn identity(&self) -> io::Result<Identity> {
        let m = self.0.metadata()?;
        Ok(Identity { device: m.dev(), inode: m.ino() })
    }

    fn to_map(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_strerror_alone() {
        assert_eq!(reason(&io::Error::from_raw_os_error(libc::ENOSPC)), "No space left on device");
        assert_eq!(reason(&io::Error::other("gone")), "gone");
    }

    #[test]
    fn real_files_do_what_they_say() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert_eq!(
            RealFiles.open(&path, Open::Read).err().unwrap().kind(),
            io::ErrorKind::NotFound
        );
        let file = RealFiles.open(&path, Open::Write).unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        file.write_all_at(b"p!", 3).unwrap();
        file.sync_data().unwrap();
        let mut buf = [0; 9];
        assert_eq!(file.read_full_at(&mut buf, 0).unwrap(), 5);
        assert_eq!(&buf[..5], b"help!");
        let again = RealFiles.open(&path, Open::Write).unwrap();
        assert_eq!(again.len().unwrap(), 5);
        assert_eq!(again.identity().unwrap(), file.identity().unwrap());
        RealFiles.create_dir(&dir.path().join("d")).unwrap();
        RealFiles.create_dir(&dir.path().join("d")).unwrap();
        assert!(RealFiles.create_dir(&path).is_err(), "a file of that name is no directory");
        RealFiles.sync_dir(dir.path()).unwrap();
        assert_eq!(RealFiles.open(&path, Open::Truncate).unwrap().len().unwrap(), 0);
    }
}
