//! The ring and its recovery, against images of the ring file as a crash would leave it.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::format::{Anchor, CLEAN_MARK_AT, FRAME_HEADER, PAGE, SEGMENT_HEADER, frame_size};
use super::manifest::Manifest;
use super::recover::recover;
use super::ring::{self, Place, Reader, Writer};
use crate::persist::files::{FaultyFiles, Files, Open, RealFiles};

/// Eight segments of one page: small enough to go round quickly.
const SIZE: u64 = 8 * PAGE as u64;
/// What a segment of one page holds in a single frame.
const MOST: usize = PAGE - SEGMENT_HEADER - FRAME_HEADER;

/// A directory with a ring, an incr file, and what was appended so far.
struct Bench {
    dir: tempfile::TempDir,
    manifest: Manifest,
    writer: Writer,
    reader: Reader,
    appended: Vec<u8>,
    /// Bytes that were in the file before.
    before: usize,
}

impl Bench {
    fn new(before: &[u8]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::default();
        manifest.add_incr("a".as_ref());
        let aof = RealFiles.open(&dir.path().join("a.1.incr.aof"), Open::Write).unwrap();
        aof.write_all_at(before, 0).unwrap();
        let place = Place {
            seq: 1,
            offset: before.len() as u64,
            identity: aof.identity().unwrap(),
            anchor: Anchor::of(before),
        };
        let file = RealFiles.open(&dir.path().join("a.ring"), Open::Write).unwrap();
        let (writer, reader) = ring::create(&*file, SIZE, 77, place).unwrap();
        let appended = before.to_vec();
        Bench { dir, manifest, writer, reader, appended, before: before.len() }
    }

    fn ring_path(&self) -> PathBuf {
        self.dir.path().join("a.ring")
    }

    fn aof_path(&self) -> PathBuf {
        self.dir.path().join("a.1.incr.aof")
    }

    /// Appends bytes that differ from place to place, and returns how many found room.
    fn append(&mut self, len: usize) -> usize {
        let at = self.appended.len();
        let bytes: Vec<u8> = (at..at + len).map(|i| (i * 7 + i / 251) as u8 | 1).collect();
        let n = self.writer.append(&bytes);
        self.appended.extend_from_slice(&bytes[..n]);
        n
    }

    fn read(&mut self, at_least: usize) {
        let mut out = Vec::new();
        if let Some(chunk) = self.reader.read(&mut out, at_least).unwrap() {
            let end = self.before + chunk.end as usize;
            assert_eq!(chunk.seq, 1);
            assert_eq!(chunk.offset as usize, end - out.len());
            assert_eq!(out, self.appended[end - out.len()..end]);
        }
    }

    /// What recovery makes of this ring image and this file.
    fn recovered(&self, image: &[u8], file: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.ring"), image).unwrap();
        fs::write(dir.path().join("a.1.incr.aof"), file).unwrap();
        recover_in(dir.path(), true, &self.manifest)
    }

    fn image(&self) -> Vec<u8> {
        fs::read(self.ring_path()).unwrap()
    }
}

fn recover_in(dir: &Path, is_beside: bool, manifest: &Manifest) -> Vec<u8> {
    recover(&RealFiles, &dir.join("a.ring"), is_beside, dir, manifest).unwrap();
    fs::read(dir.join("a.1.incr.aof")).unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Read(usize),
    Release,
    Rewind,
    Crash(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1usize..300).prop_map(Op::Append),
        1 => (1usize..20_000).prop_map(Op::Append),
        3 => (1usize..10_000).prop_map(Op::Read),
        2 => Just(Op::Release),
        1 => Just(Op::Rewind),
        1 => (0usize..20_000).prop_map(Op::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever was appended, taken out and released in whatever order: after a crash at any
    /// moment the file, which may have anything from the released bytes on, is made whole.
    #[test]
    fn nothing_appended_is_lost(
        before in 0usize..6_000,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut bench = Bench::new(&vec![b'b'; before]);
        let mut released = before;
        for op in ops.into_iter().chain([Op::Crash(0), Op::Crash(usize::MAX)]) {
            let position = before + bench.reader.position() as usize;
            match op {
                Op::Append(len) => {
                    let n = bench.append(len);
                    // The ring may be full, but not before half of it is in use.
                    let live = bench.appended.len() - released;
                    prop_assert!(n == len || live > 3 * MOST / 2, "{n} of {len}, {live} live");
                }
                Op::Read(n) => bench.read(n),
                Op::Release => {
                    bench.reader.release((position - before) as u64);
                    released = position;
                }
                Op::Rewind => bench.reader.rewind(),
                Op::Crash(beyond) => {
                    let len = released.saturating_add(beyond).min(position.max(released));
                    let file = &bench.appended[..len];
                    prop_assert_eq!(bench.recovered(&bench.image(), file), &bench.appended[..]);
                }
            }
        }
    }
}

/// A write of a frame is cut after each byte, in the order in which the bytes are stored: payload,
/// length, checksum. Recovery finds what was there before, or with the last byte the frame too.
#[test]
fn a_frame_cut_anywhere_is_not_there() {
    let mut bench = Bench::new(b"");
    // Second use of the segments, so that old frames lie under the new one.
    for _ in 0..12 {
        bench.append(MOST);
        bench.read(usize::MAX);
        bench.reader.release(bench.reader.tail());
    }
    bench.append(40);
    let old = bench.image();
    let before = bench.appended.clone();
    bench.append(100);
    let new = bench.image();
    let first = old.iter().zip(&new).position(|(a, b)| a != b).unwrap();
    let at = first / 8 * 8;
    let payload = at + FRAME_HEADER..at + frame_size(100);
    assert_eq!(old[..at], new[..at], "the checksum is the first that differs");
    assert_eq!(old[payload.end..], new[payload.end..]);

    let mut image = old.clone();
    let order = payload.chain(at + 8..at + 16).chain(at..at + 8);
    for i in order {
        let has_all = image == new;
        let expected = if has_all { &bench.appended } else { &before };
        assert_eq!(bench.recovered(&image, &before[..before.len() - 40]), *expected);
        image[i] = new[i];
    }
    assert_eq!(bench.recovered(&image, &before[..before.len() - 40]), bench.appended);
}

/// The same for the header of a segment that is used again.
#[test]
fn a_segment_header_cut_anywhere_loses_nothing() {
    let mut bench = Bench::new(b"");
    bench.append(MOST);
    bench.read(usize::MAX);
    bench.reader.release(bench.reader.tail());
    let durable = bench.appended.clone();
    let old = bench.image();
    bench.append(10);
    let new = bench.image();
    let at = PAGE;
    let mut image = old.clone();
    for i in (at + 8..at + SEGMENT_HEADER).chain(at..at + 8) {
        image[i] = new[i];
        assert_eq!(bench.recovered(&image, &durable), durable);
    }
    assert_eq!(bench.recovered(&new, &durable), bench.appended);
}

#[test]
fn a_flipped_bit_ends_the_replay_there() {
    let mut bench = Bench::new(b"before");
    for _ in 0..5 {
        bench.append(50);
    }
    let image = bench.image();
    let frames_at = PAGE + SEGMENT_HEADER;
    for bit in (0..5 * frame_size(50) * 8).step_by(7) {
        let mut image = image.clone();
        image[frames_at + bit / 8] ^= 1 << (bit % 8);
        let frame = bit / 8 / frame_size(50);
        let is_padding = bit / 8 % frame_size(50) >= FRAME_HEADER + 50;
        let whole = if is_padding { 5 } else { frame };
        let expected = &bench.appended[..6 + whole * 50];
        assert_eq!(bench.recovered(&image, b"before"), expected, "bit {bit}");
    }
}

#[test]
fn nothing_is_replayed_into_a_file_that_is_not_meant() {
    let mut bench = Bench::new(b"before");
    bench.append(100);
    bench.append(100);
    let image = bench.image();
    let all = bench.appended.clone();
    let untouched = |file: &[u8]| {
        assert_eq!(bench.recovered(&image, file), file);
    };
    // Behind, partly there, all there, or further than the ring knows.
    assert_eq!(bench.recovered(&image, &all[..6]), all);
    assert_eq!(bench.recovered(&image, &all[..57]), all);
    untouched(&all);
    untouched(&[&all[..], b"written by another server"].concat());
    // Other bytes before, at, and behind the ring's place; and a gap before it.
    untouched(b"befork");
    untouched(b"other file altogether");
    untouched(&[&all[..150], b"written by another server"].concat());
    untouched(&[&all[..206], b"x"].concat()[1..]);
    untouched(b"befor");
    untouched(b"");
}

#[test]
fn a_ring_that_disagrees_is_set_aside() {
    let mut bench = Bench::new(b"before");
    bench.append(100);
    fs::write(bench.aof_path(), b"before, and then other things").unwrap();
    recover_in(bench.dir.path(), true, &bench.manifest);
    assert!(!bench.ring_path().exists());
    assert!(bench.dir.path().join("a.ring.unused").exists());
}

/// With nothing in the file to compare, a ring from elsewhere needs the very same file.
#[test]
fn an_empty_file_is_told_by_its_identity() {
    let mut bench = Bench::new(b"");
    bench.append(100);
    let other = tempfile::tempdir().unwrap();
    fs::copy(bench.ring_path(), other.path().join("a.ring")).unwrap();
    fs::write(other.path().join("a.1.incr.aof"), b"").unwrap();
    assert_eq!(recover_in(other.path(), false, &bench.manifest), b"");
    assert_eq!(recover_in(bench.dir.path(), false, &bench.manifest), bench.appended);
}

#[test]
fn zeros_left_by_a_power_loss_are_replaced() {
    let mut bench = Bench::new(b"before");
    bench.append(100);
    let image = bench.image();
    for kept in [6, 7, 60, 105] {
        for zeros in [1, 46, 1000, 100_000] {
            let mut file = bench.appended[..kept].to_vec();
            file.resize(kept + zeros, 0);
            let recovered = bench.recovered(&image, &file);
            assert_eq!(recovered[..106], bench.appended);
            assert!(recovered[106..].iter().all(|b| *b == 0), "the loader cuts these");
        }
    }
}

#[test]
fn a_clean_foreign_or_damaged_ring_is_ignored() {
    let mut bench = Bench::new(b"before");
    bench.append(100);
    let image = bench.image();
    for i in [0, 8, 16, 24, 32, PAGE, PAGE + 8, PAGE + 64] {
        let mut image = image.clone();
        image[i] ^= 1;
        assert_eq!(bench.recovered(&image, b"before"), b"before", "byte {i}");
    }
    for len in [0, 1, 39, PAGE, image.len() - 1] {
        assert_eq!(bench.recovered(&image[..len], b"before"), b"before", "{len} bytes");
    }
    bench.writer.mark_clean().unwrap();
    assert_ne!(bench.image()[CLEAN_MARK_AT..CLEAN_MARK_AT + 8], [0; 8]);
    assert_eq!(bench.recovered(&bench.image(), b"before"), b"before");

    let mut other = Manifest::default();
    other.add_incr("a".as_ref());
    other.incrs[0].seq = 2;
    let mut bench = Bench::new(b"before");
    bench.append(100);
    assert_eq!(recover_in(bench.dir.path(), true, &other), b"before", "another file's frames");
}

/// Frames of an increment and of the one that follows it, in one ring.
#[test]
fn each_file_gets_its_own_frames() {
    let mut bench = Bench::new(b"before");
    bench.append(100);
    let next = bench.dir.path().join("a.2.incr.aof");
    fs::write(&next, b"").unwrap();
    let identity = RealFiles.open(&next, Open::Read).unwrap().identity().unwrap();
    bench.writer.switch_file(Place { seq: 2, identity, ..Place::default() });
    assert_eq!(bench.writer.append(b"second file"), 11);
    bench.manifest.add_incr("a".as_ref());
    recover_in(bench.dir.path(), false, &bench.manifest);
    assert_eq!(fs::read(bench.aof_path()).unwrap(), bench.appended);
    assert_eq!(fs::read(&next).unwrap(), b"second file");

    let mut out = Vec::new();
    let chunk = bench.reader.read(&mut out, usize::MAX).unwrap().unwrap();
    assert_eq!((chunk.seq, chunk.offset, chunk.end), (1, 6, 100));
    let chunk = bench.reader.read(&mut out, usize::MAX).unwrap().unwrap();
    assert_eq!((chunk.seq, chunk.offset, chunk.end), (2, 0, 111));
    assert_eq!(bench.reader.read(&mut out, usize::MAX).unwrap(), None);
}

/// A power loss has taken the end of an increment, and what followed is in the ring: it must not
/// be replayed, as it would be history with a hole. Unless the file has all that was before.
#[test]
fn nothing_is_replayed_behind_a_lost_end() {
    let mut bench = Bench::new(b"before");
    bench.append(100);
    let next = bench.dir.path().join("a.2.incr.aof");
    fs::write(&next, b"").unwrap();
    let identity = RealFiles.open(&next, Open::Read).unwrap().identity().unwrap();
    bench.writer.switch_file(Place { seq: 2, identity, ..Place::default() });
    assert_eq!(bench.writer.append(b"second file"), 11);
    bench.manifest.add_incr("a".as_ref());
    // The first segment's page is lost.
    let mut image = bench.image();
    image[PAGE..2 * PAGE].fill(0);
    fs::write(bench.ring_path(), &image).unwrap();
    for (lost, zeros) in [(1, 0), (1, 1), (100, 0), (106, 200)] {
        let mut file = bench.appended[..106 - lost].to_vec();
        file.resize(file.len() + zeros, 0);
        fs::write(bench.aof_path(), &file).unwrap();
        assert_eq!(recover_in(bench.dir.path(), true, &bench.manifest), file);
        assert_eq!(fs::read(&next).unwrap(), b"", "{lost} bytes are lost");
    }
    fs::write(bench.aof_path(), &bench.appended).unwrap();
    recover_in(bench.dir.path(), true, &bench.manifest);
    assert_eq!(fs::read(&next).unwrap(), b"second file");
}

/// What the file shows may be in memory only, after an fsync that failed: it is written again, and
/// synced, also where nothing is missing, before anything goes to the next file.
#[test]
fn what_the_ring_has_is_written_even_if_the_file_shows_it() {
    let mut bench = Bench::new(b"before");
    bench.append(100);
    fs::write(bench.aof_path(), &bench.appended).unwrap();
    let files = FaultyFiles::new();
    let faults = files.faults();
    let (dir, ring) = (bench.dir.path(), bench.ring_path());
    assert_eq!(recover(&files, &ring, true, dir, &bench.manifest).unwrap(), 0);
    assert_eq!((faults.writes(), faults.syncs()), (1, 1));
}

#[test]
fn when_all_is_released_the_lowest_segment_is_used_again() {
    let mut bench = Bench::new(b"");
    for _ in 0..1000 {
        bench.append(1500);
        bench.read(usize::MAX);
        bench.reader.release(bench.reader.tail());
    }
    let image = bench.image();
    assert!(image[PAGE + 2 * PAGE..].iter().all(|b| *b == 0), "only the first two were needed");
}

#[test]
fn a_full_ring_takes_no_more_until_some_is_released() {
    let mut bench = Bench::new(b"");
    assert_eq!(bench.append(9 * PAGE), 8 * MOST);
    assert_eq!(bench.append(1), 0);
    bench.read(1);
    assert_eq!(bench.append(1), 0, "read, but not released");
    bench.reader.release(bench.reader.position());
    assert_eq!(bench.append(2 * PAGE), MOST);
    let durable = bench.appended[..MOST].to_vec();
    assert_eq!(bench.recovered(&bench.image(), &durable), bench.appended);
}

/// What another process scribbles into the mapped file is an error, not a crash.
#[test]
fn scribbled_lengths_are_noticed() {
    let mut bench = Bench::new(b"");
    bench.append(100);
    for len in [0, 101, u64::from(u32::MAX), u64::MAX] {
        let file = RealFiles.open(&bench.ring_path(), Open::Write).unwrap();
        file.write_all_at(&len.to_le_bytes(), (PAGE + SEGMENT_HEADER + 8) as u64).unwrap();
        bench.reader.rewind();
        assert!(bench.reader.read(&mut Vec::new(), 1).is_err());
    }
}
