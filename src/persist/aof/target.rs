//! An increment as the log thread writes it: through the page cache, or past it what is much at
//! once. Nobody reads it soon, so pages for it, and copying into them, would cost a loaded server
//! more than all the rest of its log.
//!
//! A loss of power must leave a beginning of the file. What has gone past the cache is there
//! earlier than what went into it before, so that is synced first.
//!
//! Must not know the ring, nor what the bytes mean.

use std::io;
use std::path::Path;

use crate::persist::files::{BLOCK, FileHandle, Files, Open};

/// An increment, open for writing.
pub struct Target {
    file: Box<dyn FileHandle>,
    /// None where the file system knows no such way.
    past_cache: Option<Box<dyn FileHandle>>,
    /// Where what is in the cache begins that no fsync has covered.
    cached_from: Option<u64>,
}

impl Target {
    /// Opens a file that is there.
    pub fn open(files: &dyn Files, path: &Path) -> io::Result<Target> {
        let file = files.open(path, Open::Write)?;
        // It may hold what a failed fsync has not covered.
        let cached_from = Some(0);
        Ok(Target { file, past_cache: files.open(path, Open::PastCache).ok(), cached_from })
    }

    pub fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// Makes all that was written durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.cached_from = None;
        Ok(())
    }

    /// Writes the bytes through the page cache.
    pub fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.cached_from = Some(self.cached_from.map_or(offset, |from| from.min(offset)));
        self.file.write_all_at(bytes, offset)
    }

    /// Writes past the cache, and through it what remains behind the last whole block. Bytes that
    /// lie in memory at another place of a block than they belong to in the file go through the
    /// cache, all of them.
    pub fn write_past_cache(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let done = self.write_blocks(bytes, offset)?;
        match &bytes[done..] {
            [] => Ok(()),
            rest => self.write(rest, offset + done as u64),
        }
    }

    /// Returns how many of the bytes were written.
    fn write_blocks(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let before = (offset % BLOCK as u64) as usize;
        let first = if before == 0 { 0 } else { BLOCK - before };
        let end = bytes.len().saturating_sub(first) / BLOCK * BLOCK + first;
        let fits = bytes.as_ptr().addr() % BLOCK == before;
        let Some(past_cache) = &self.past_cache else { return Ok(0) };
        if !fits || end == 0 || end > bytes.len() {
            return Ok(0);
        }
        let at = offset - before as u64;
        if self.cached_from.is_some_and(|from| from < at) {
            self.file.sync_data()?;
        }
        let write = || {
            if before > 0 {
                // The block that the file ends in, from where it is whole.
                let mut block = Block([0; BLOCK]);
                if self.file.read_full_at(&mut block.0[..before], at)? < before {
                    return Ok(false);
                }
                block.0[before..].copy_from_slice(&bytes[..first]);
                past_cache.write_all_at(&block.0, at)?;
            }
            past_cache.write_all_at(&bytes[first..end], offset + first as u64)?;
            Ok(true)
        };
        match write() {
            Ok(true) => {
                self.cached_from = None;
                Ok(end)
            }
            Ok(false) => Ok(0),
            Err(e) if is_impossible(&e) => {
                self.past_cache = None;
                Ok(0)
            }
            Err(e) => Err(e),
        }
    }
}

/// A block as it must lie in memory to be written past the cache.
#[repr(align(4096))]
struct Block([u8; BLOCK]);

const _: () = assert!(align_of::<Block>() == BLOCK);

/// The file system accepts such a file, and then no such write.
fn is_impossible(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::persist::files::{FaultyFiles, RealFiles};

    /// Bytes that lie in memory at that place of a block.
    struct Placed {
        memory: Vec<u8>,
        begin: usize,
    }

    impl Placed {
        fn new(bytes: &[u8], offset: u64) -> Placed {
            let mut memory = vec![0; 2 * BLOCK + bytes.len()];
            let begin = memory.as_ptr().align_offset(BLOCK) + (offset % BLOCK as u64) as usize;
            memory[begin..begin + bytes.len()].copy_from_slice(bytes);
            memory.truncate(begin + bytes.len());
            Placed { memory, begin }
        }

        fn bytes(&self) -> &[u8] {
            &self.memory[self.begin..]
        }
    }

    /// Appends pieces of all sizes in both ways; the file must be what was appended.
    fn append_all(files: &dyn Files, seed: u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("incr");
        let mut rng = Rng::from_seed(seed);
        let mut wanted = vec![7; rng.index(10_000)];
        std::fs::write(&path, &wanted).unwrap();
        let mut target = Target::open(files, &path).unwrap();
        for _ in 0..60 {
            let offset = wanted.len() as u64;
            let longest = [10, 5000, 100_000][rng.index(3)];
            let bytes: Vec<u8> = (0..rng.index(longest)).map(|_| rng.below(256) as u8).collect();
            // Now and then another place than belongs to it.
            let placed = Placed::new(&bytes, offset + u64::from(rng.below(8) == 0));
            match rng.below(3) {
                0 => target.write(placed.bytes(), offset).unwrap(),
                _ => target.write_past_cache(placed.bytes(), offset).unwrap(),
            }
            if rng.below(4) == 0 {
                target.sync().unwrap();
            }
            wanted.extend_from_slice(&bytes);
            assert_eq!(target.len().unwrap(), wanted.len() as u64);
        }
        assert!(std::fs::read(&path).unwrap() == wanted, "seed {seed}");
    }

    #[test]
    fn a_file_is_what_was_appended_however_it_went() {
        for seed in 0..20 {
            append_all(&RealFiles, seed);
        }
    }

    #[test]
    fn a_disk_that_takes_no_whole_blocks_gets_all_the_same() {
        let files = FaultyFiles::new();
        files.faults().short_writes(Some(1000));
        for seed in 0..5 {
            append_all(&files, seed);
        }
    }

    #[test]
    fn what_waits_in_the_cache_is_synced_before_later_bytes_go_past_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("incr");
        std::fs::write(&path, b"").unwrap();
        let files = FaultyFiles::new();
        let mut target = Target::open(&files, &path).unwrap();
        target.sync().unwrap();
        target.write(&[1; 3 * BLOCK + 10], 0).unwrap();
        let mut syncs_of_append = || {
            let (before, offset) = (files.faults().syncs(), target.len().unwrap());
            let placed = Placed::new(&[2; 2 * BLOCK], offset);
            target.write_past_cache(placed.bytes(), offset).unwrap();
            files.faults().syncs() - before
        };
        let has_a_way = files.open(&path, Open::PastCache).is_ok();
        assert_eq!(syncs_of_append(), u64::from(has_a_way));
        // Now only the last block's beginning waits there, and is written again with the rest.
        assert_eq!(syncs_of_append(), 0);
    }
}
