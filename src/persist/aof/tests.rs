//! The ring and its recovery, against images of the ring file as a crash would leave it.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::format::{
    Anchor, CLEAN_MARK_AT, FRAME_ENTRY, PAGE, SEGMENT_HEADER, foreign_header, index_end,
};
use super::manifest::Manifest;
use super::recover::recover;
use super::ring::{self, Place, Reader, Writer};
use crate::persist::files::{FaultyFiles, Files, Open, RealFiles};

/// Eight segments of two pages: small enough to go round quickly.
const SEGMENT: usize = 2 * PAGE;
const SIZE: usize = 8 * SEGMENT;

/// What a segment holds in a single frame that belongs at this place of its file: up to the end of
/// its first page, as the second ends with the index.
fn room(file_offset: usize) -> usize {
    PAGE - file_offset % PAGE
}

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
        let (writer, reader) = ring::create(&*file, SIZE as u64, 77, place).unwrap();
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

    fn take(&mut self, at_most: usize) {
        let Some(chunk) = self.reader.take(at_most) else { return };
        let bytes = self.reader.bytes(&chunk);
        let end = self.before + chunk.end as usize;
        assert_eq!(chunk.seq, 1);
        assert_eq!(chunk.offset as usize, end - bytes.len());
        assert_eq!(bytes, &self.appended[end - bytes.len()..end]);
        assert!(!bytes.is_empty() && bytes.len() <= at_most);
        assert_eq!(bytes.as_ptr().addr() % PAGE, chunk.offset as usize % PAGE);
    }

    /// Takes all there is, and releases it.
    fn release_all(&mut self) {
        while self.reader.position() < self.reader.tail() {
            self.take(usize::MAX);
        }
        self.reader.release(self.reader.tail());
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
    Take(usize),
    Release,
    Rewind,
    Touch,
    Crash(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1usize..300).prop_map(Op::Append),
        1 => (1usize..20_000).prop_map(Op::Append),
        3 => (1usize..10_000).prop_map(Op::Take),
        2 => Just(Op::Release),
        1 => Just(Op::Rewind),
        1 => Just(Op::Touch),
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
                    prop_assert!(n == len || live > 3 * PAGE, "{n} of {len}, {live} live");
                }
                Op::Take(n) => bench.take(n),
                Op::Touch => bench.reader.touch_ahead(),
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
        bench.append(room(bench.appended.len()));
        bench.release_all();
    }
    bench.append(40);
    let old = bench.image();
    let before = bench.appended.clone();
    bench.append(100);
    let new = bench.image();
    let differs = |i: &usize| old[*i] != new[*i];
    let first = (0..new.len()).find(differs).unwrap();
    let entry = (0..new.len()).rfind(differs).unwrap() / FRAME_ENTRY * FRAME_ENTRY;
    let payload = first..first + 100;
    assert_eq!(new[payload.clone()], bench.appended[before.len()..]);
    assert_eq!(old[payload.end..entry], new[payload.end..entry]);

    let mut image = old.clone();
    let order = payload.chain(entry + 8..entry + 16).chain(entry..entry + 8);
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
    bench.append(room(0));
    bench.release_all();
    let durable = bench.appended.clone();
    let old = bench.image();
    bench.append(10);
    let new = bench.image();
    let at = PAGE + index_end(SEGMENT);
    assert_ne!(old[at..at + 8], new[at..at + 8]);
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
    let (payloads, index) = (PAGE + 6, PAGE + index_end(SEGMENT));
    let in_payloads = (payloads..payloads + 250).map(|at| (at, (at - payloads) / 50));
    let in_index = (index - 5 * FRAME_ENTRY..index).map(|at| (at, (index - 1 - at) / FRAME_ENTRY));
    for (at, whole) in in_payloads.chain(in_index) {
        let mut image = image.clone();
        image[at] ^= 1 << (at % 8);
        let expected = &bench.appended[..6 + whole * 50];
        assert_eq!(bench.recovered(&image, b"before"), expected, "byte {at}");
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
    let header = PAGE + index_end(SEGMENT);
    for i in [0, 8, 16, 24, 32, header, header + 8, header + 64] {
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

    let chunk = bench.reader.take(usize::MAX).unwrap();
    assert_eq!((chunk.seq, chunk.offset, chunk.end), (1, 6, 100));
    let chunk = bench.reader.take(usize::MAX).unwrap();
    assert_eq!((chunk.seq, chunk.offset, chunk.end), (2, 0, 111));
    assert_eq!(bench.reader.bytes(&chunk), b"second file");
    assert_eq!(bench.reader.take(usize::MAX), None);
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
    // The first segment is lost.
    let mut image = bench.image();
    image[PAGE..PAGE + SEGMENT].fill(0);
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
        bench.release_all();
    }
    let image = bench.image();
    assert!(image[PAGE + 2 * SEGMENT..].iter().all(|b| *b == 0), "only the first two were needed");
}

#[test]
fn a_full_ring_takes_no_more_until_some_is_released() {
    let mut bench = Bench::new(b"");
    let all = (0..8).fold(0, |at, _| at + room(at));
    assert_eq!(bench.append(SIZE), all);
    assert_eq!(bench.append(1), 0);
    bench.take(1);
    assert_eq!(bench.append(1), 0, "taken, but not released");
    bench.reader.release(bench.reader.position());
    assert_eq!(bench.append(1), 0, "a segment is given back as a whole");
    bench.take(usize::MAX);
    bench.reader.release(bench.reader.position());
    assert_eq!(bench.append(SIZE), room(all));
    let durable = bench.appended[..room(0)].to_vec();
    assert_eq!(bench.recovered(&bench.image(), &durable), bench.appended);
}

#[test]
fn a_chunk_ends_with_a_page_of_the_file_if_there_is_more() {
    let mut bench = Bench::new(&[b'b'; 100]);
    bench.append(6000);
    for (at_most, len) in [(5000, 3996), (10, 10), (1000, 1000), (usize::MAX, 994), (1, 0)] {
        assert_eq!(bench.reader.take(at_most).map_or(0, |chunk| chunk.len), len);
    }
}

/// What it holds may be nowhere else, and it cannot be read.
#[test]
fn a_ring_of_another_version_stops_the_start() {
    let bench = Bench::new(b"before");
    let (mut image, header) = (bench.image(), foreign_header());
    image[..header.len()].copy_from_slice(&header);
    fs::write(bench.ring_path(), &image).unwrap();
    let recovered =
        recover(&RealFiles, &bench.ring_path(), true, bench.dir.path(), &bench.manifest);
    assert!(recovered.unwrap_err().to_string().contains("version 1"));
    assert_eq!(bench.image(), image);
}
