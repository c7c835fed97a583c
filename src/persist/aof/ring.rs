//! The ring: committed bytes on their way to the AOF, in memory that outlives the process.
//!
//! It is a file, mapped shared: what was stored through the mapping is the kernel's, and is there
//! for the next process however this one ends. `format` describes the bytes.
//!
//! The ring is made of segments. One is active and takes frames; when it is full it is sealed and
//! the free segment with the lowest number becomes active; a sealed segment is free again when the
//! log thread has released all of it. And when all is released, the next append begins over in the
//! lowest segment, so that a server with little to write touches few pages: each page that the
//! kernel has written back costs a fault when it is stored to again.
//!
//! Two hands, on two threads: `Writer` (the event loop's) appends, `Reader` (the log thread's)
//! takes bytes out in order and releases them. The writer stores only beyond `tail`, in the active
//! segment; the reader reads only below `tail`, in segments not yet released. Must not know files'
//! names, policies or clients.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::{MmapMut, MmapOptions, MmapRaw};

use super::format::{
    ANCHOR_MAX, Anchor, CLEAN_MARK_AT, FRAME_ENTRY, PAGE, RingHeader, SegmentHeader, clean_mark,
    frame_checksum, index_end, payload_begin, salt,
};
use crate::persist::files::{FileHandle, Identity, MapObserver};

/// Enough that one can be written, one synced and others filled; few enough to be worth sealing.
const SEGMENTS: usize = 8;
/// Once so much of the active segment is used and all of it released, appending begins over.
const BEGIN_OVER_AT: usize = 256 * 1024;

/// So much at once is stored past the processor's caches. Bytes.
const STREAM_FROM: usize = 4096;

/// At least so much of payloads and of the index is kept ready to be stored to. Bytes.
const TOUCH_PAYLOADS: usize = 64 * 1024;
const TOUCH_INDEX: usize = 2 * PAGE;

/// A place in an incr file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The incr file's sequence number.
    pub seq: i64,
    /// Bytes from the file's beginning.
    pub offset: u64,
    pub identity: Identity,
    /// Of the bytes before this place.
    pub anchor: Anchor,
}

/// Makes a ring of about `size` bytes in `file`, which loses what it held. Fails if the file
/// cannot be filled or mapped.
pub fn create(
    file: &dyn FileHandle,
    size: u64,
    epoch: u64,
    first: Place,
) -> io::Result<(Writer, Reader)> {
    let segment_size = segment_size(size);
    let len = PAGE + SEGMENTS * segment_size;
    // Written rather than only reserved: so a full disk shows here as an error, not later as a
    // SIGBUS, and no page needs its first block when it is stored to. From the front, so that the
    // old header goes first.
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    while at < len {
        let n = zeros.len().min(len - at);
        file.write_all_at(&zeros[..n], at as u64)?;
        at += n;
    }
    file.set_len(len as u64)?;
    let map = MmapOptions::new().len(len).populate().map_raw(&file.to_map()?)?;
    Ok(split(Memory::new(map, file.map_observer()), segment_size, epoch, first))
}

/// A ring in ordinary memory, for where a file cannot be mapped: nothing in it outlives the
/// process, so a reply must wait for the file.
pub fn in_memory(size: u64, epoch: u64, first: Place) -> io::Result<(Writer, Reader)> {
    let segment_size = segment_size(size);
    let map: MmapRaw = MmapMut::map_anon(PAGE + SEGMENTS * segment_size)?.into();
    Ok(split(Memory::new(map, None), segment_size, epoch, first))
}

fn segment_size(ring_size: u64) -> usize {
    // The lower bound leaves room wherever the payload begins; the upper one keeps a frame's length
    // within its field on every machine.
    let each = (ring_size / SEGMENTS as u64).clamp(2 * PAGE as u64, 1 << 30) as usize;
    each.next_multiple_of(PAGE)
}

fn begin_over_at(segment_size: usize) -> usize {
    BEGIN_OVER_AT.min(segment_size / 2)
}

fn split(memory: Memory, segment_size: usize, epoch: u64, first: Place) -> (Writer, Reader) {
    let header = RingHeader { segments: SEGMENTS as u32, segment_size: segment_size as u64, epoch };
    let shared = Arc::new(Shared {
        memory,
        segment_size,
        epoch,
        tail: AtomicU64::new(0),
        frames: AtomicU64::new(0),
        released: AtomicU64::new(0),
        live: Mutex::new(Live { pieces: VecDeque::new(), free: [true; SEGMENTS] }),
    });
    let mut writer = Writer {
        shared: shared.clone(),
        segment: 0,
        next: 0,
        index: 0,
        salt: 0,
        generation: 0,
        tail: 0,
        frames: 0,
        file: first,
        file_at: 0,
        before_end: 0,
        last_payload: None,
        crowded: false,
    };
    // SAFETY: nobody else has the ring yet.
    unsafe { shared.memory.store(0, &header.encode()) };
    writer.next_segment();
    let reader = Reader { shared, position: 0, touched: Touched::default() };
    (writer, reader)
}

/// The mapping. All access is by raw pointer; the callers see to it that nobody reads what is
/// being stored.
struct Memory {
    map: MmapRaw,
    /// None, but where a disk is simulated.
    observer: Option<Arc<dyn MapObserver>>,
}

impl Memory {
    fn new(map: MmapRaw, observer: Option<Arc<dyn MapObserver>>) -> Memory {
        let memory = Memory { map, observer };
        for page in (0..memory.map.len()).step_by(PAGE) {
            // SAFETY: within the mapping, and nobody else has it yet. Volatile, as the only
            // purpose is to take each page's write fault now.
            unsafe { memory.map.as_mut_ptr().add(page).write_volatile(0) };
        }
        memory
    }

    fn check(&self, at: usize, len: usize) {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.map.len()));
    }

    /// SAFETY: no other thread reads or writes these bytes meanwhile.
    unsafe fn store(&self, at: usize, bytes: &[u8]) {
        self.check(at, bytes.len());
        // SAFETY: within the mapping (checked); not accessed by others (the caller's promise), and
        // `bytes` is a reference, so it cannot overlap memory only reached by raw pointers.
        unsafe {
            let to = self.map.as_mut_ptr().add(at);
            if bytes.len() < STREAM_FROM {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            } else {
                stream(bytes, to);
            }
        }
        if let Some(observer) = &self.observer {
            observer.stored(at, bytes, false);
        }
    }

    /// Stores a word after all stores before it, in one piece.
    ///
    /// SAFETY: as for `store`; `at` is a multiple of 8.
    unsafe fn store_last(&self, at: usize, word: u64) {
        self.check(at, 8);
        // SAFETY: within the mapping, which is page-aligned, and `at` is a multiple of 8.
        let place = unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast()) };
        place.store(word.to_le(), Ordering::Release);
        if let Some(observer) = &self.observer {
            observer.stored(at, &word.to_le_bytes(), true);
        }
    }

    /// Makes bytes durable.
    fn sync(&self, at: usize, len: usize) -> io::Result<()> {
        self.map.flush_range(at, len)?;
        if let Some(observer) = &self.observer {
            observer.synced(at, len);
        }
        Ok(())
    }

    /// Makes pages writable without changing them.
    fn touch(&self, at: usize, len: usize) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        self.map.advise_range(Advice::PopulateWrite, at, len)?;
        Ok(())
    }

    /// SAFETY: no other thread writes these bytes while the slice lives.
    unsafe fn slice(&self, at: usize, len: usize) -> &[u8] {
        self.check(at, len);
        // SAFETY: within the mapping; not written to meanwhile (the caller's promise).
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(at), len) }
    }
}

struct Shared {
    memory: Memory,
    segment_size: usize,
    epoch: u64,
    /// Everything below this logical offset has been committed. Stored by the writer only.
    tail: AtomicU64,
    /// How many frames there have been. Stored by the writer only; for the use of memory alone.
    frames: AtomicU64,
    /// Everything below this logical offset is no longer needed. Stored by the reader only.
    released: AtomicU64,
    live: Mutex<Live>,
}

struct Live {
    /// Segments that hold unreleased bytes, oldest first, and the active one at the end.
    pieces: VecDeque<Piece>,
    free: [bool; SEGMENTS],
}

#[derive(Clone, Copy)]
struct Piece {
    segment: usize,
    /// Logical offsets; the active segment has no end yet.
    start: u64,
    end: Option<u64>,
    /// How many frames there were before.
    frames_before: u64,
    seq: i64,
    /// Where in its file the piece begins.
    offset: u64,
}

impl Piece {
    /// Where in its segment the byte at a logical offset lies.
    fn place_of(&self, position: u64) -> usize {
        payload_begin(self.offset) + (position - self.start) as usize
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segment_at(&self, segment: usize) -> usize {
        PAGE + segment * self.segment_size
    }
}

impl Live {
    fn reclaim(&mut self, released: u64) {
        while let Some(piece) = self.pieces.front() {
            if piece.end.is_none_or(|end| end > released) {
                break;
            }
            self.free[piece.segment] = true;
            self.pieces.pop_front();
        }
    }
}

/// Copies past the processor's caches, which have better use: the bytes are read again only by the
/// log thread, and much later. What is stored afterwards is seen afterwards.
///
/// SAFETY: `to` is valid for writing `bytes.len()` bytes, and `bytes` is none of them.
#[cfg(target_arch = "x86_64")]
unsafe fn stream(bytes: &[u8], to: *mut u8) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    /// What a cache holds in one piece. Bytes.
    const LINE: usize = 64;
    let (first, rest) = bytes.split_at(to.align_offset(LINE).min(bytes.len()));
    let lines = rest.chunks_exact(LINE);
    let last = lines.remainder();
    // SAFETY: all stores are within the range that the caller vouches for, one behind the other;
    // the loads are from slices of a line's length; and `line_to` is a multiple of a line's, of
    // which 16 is a part. SSE2 belongs to the architecture.
    unsafe {
        std::ptr::copy_nonoverlapping(first.as_ptr(), to, first.len());
        let mut line_to = to.add(first.len());
        for line in lines {
            for part in (0..LINE).step_by(size_of::<__m128i>()) {
                let value = _mm_loadu_si128(line.as_ptr().add(part).cast());
                _mm_stream_si128(line_to.add(part).cast(), value);
            }
            line_to = line_to.add(LINE);
        }
        std::ptr::copy_nonoverlapping(last.as_ptr(), line_to, last.len());
        // Such stores are not in order with others by themselves.
        _mm_sfence();
    }
}

/// The same where the processor has no such stores.
///
/// SAFETY: `to` is valid for writing `bytes.len()` bytes, and `bytes` is none of them.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn stream(bytes: &[u8], to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
}

/// The appending hand. Logical offsets count the bytes appended since the ring was made.
pub struct Writer {
    shared: Arc<Shared>,
    segment: usize,
    /// Where in the active segment the next payload goes, and where its index begins so far. Equal
    /// when there is no active segment.
    next: usize,
    index: usize,
    salt: u64,
    generation: u64,
    tail: u64,
    frames: u64,
    /// The file appended to, and the logical offset that corresponds to `file.offset`.
    file: Place,
    file_at: u64,
    /// Where the file before it ended; 0 if there was none since the ring was made.
    before_end: u64,
    /// Where in the mapping the last payload lies.
    last_payload: Option<(usize, usize)>,
    crowded: bool,
}

impl Writer {
    /// Appends as many of `bytes` as there is space for and tells how many. What has been appended
    /// survives the process. No system call, as long as the log thread is not just taking or
    /// giving back a segment.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        if self.next >= begin_over_at(self.shared.segment_size)
            && self.shared.released.load(Ordering::Acquire) == self.tail
        {
            self.next_segment();
        }
        let mut taken = 0;
        while taken < bytes.len() {
            // A segment is full at the end of a page, where a block of its file ends, too: the log
            // thread can then write all of it past the page cache.
            let end = self.index.saturating_sub(FRAME_ENTRY) / PAGE * PAGE;
            let room = end.saturating_sub(self.next);
            if room == 0 {
                if !self.next_segment() {
                    break;
                }
                continue;
            }
            let n = (bytes.len() - taken).min(room);
            self.append_frame(&bytes[taken..taken + n]);
            taken += n;
        }
        taken
    }

    fn append_frame(&mut self, payload: &[u8]) {
        let segment = self.shared.segment_at(self.segment);
        let (at, entry) = (segment + self.next, segment + self.index - FRAME_ENTRY);
        let checksum = frame_checksum(self.salt, self.next, payload);
        let memory = &self.shared.memory;
        // SAFETY: both places lie in the active segment, the payload's beyond what `tail` covers,
        // so the reader reads neither, and `&mut self` is the only writer. Entries lie at
        // multiples of 8.
        unsafe {
            memory.store(at, payload);
            memory.store(entry + 8, &(payload.len() as u64).to_le_bytes());
            memory.store_last(entry, checksum);
        }
        self.last_payload = Some((at, payload.len()));
        self.next += payload.len();
        self.index -= FRAME_ENTRY;
        self.tail += payload.len() as u64;
        self.frames += 1;
        self.shared.frames.store(self.frames, Ordering::Relaxed);
        self.shared.tail.store(self.tail, Ordering::Release);
    }

    /// Seals the active segment and begins the lowest free one; false if there is none.
    fn next_segment(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut live = shared.live();
        let anchor = self.anchor();
        match live.pieces.back_mut() {
            // Nothing in it: its use is taken back, rather than leaving an empty piece.
            Some(piece) if piece.end.is_none() && piece.start == self.tail => {
                let segment = piece.segment;
                live.free[segment] = true;
                live.pieces.pop_back();
            }
            Some(piece) if piece.end.is_none() => piece.end = Some(self.tail),
            _ => {}
        }
        live.reclaim(shared.released.load(Ordering::Acquire));
        (self.next, self.index) = (0, 0);
        self.crowded = live.free.iter().filter(|free| **free).count() <= SEGMENTS / 2;
        let Some(segment) = live.free.iter().position(|free| *free) else { return false };
        live.free[segment] = false;
        self.generation += 1;
        self.segment = segment;
        self.salt = salt(shared.epoch, self.generation);
        let file_offset = self.file_offset();
        (self.next, self.index) = (payload_begin(file_offset), index_end(shared.segment_size));
        let header = SegmentHeader {
            generation: self.generation,
            file_seq: self.file.seq,
            file_offset,
            anchor,
            identity: self.file.identity,
            before_end: self.before_end,
        };
        live.pieces.push_back(Piece {
            segment,
            start: self.tail,
            end: None,
            frames_before: self.frames,
            seq: self.file.seq,
            offset: file_offset,
        });
        let bytes = header.encode(shared.epoch);
        let at = shared.segment_at(segment) + self.index;
        let (first, rest) = bytes.split_first_chunk().expect("a header is longer than a word");
        // SAFETY: the segment was free, so nobody reads it, and `&mut self` is the only writer.
        // Headers lie at multiples of 8.
        unsafe {
            shared.memory.store(at + 8, rest);
            shared.memory.store_last(at, u64::from_le_bytes(*first));
        }
        true
    }

    /// The file offset that corresponds to the tail.
    fn file_offset(&self) -> u64 {
        self.file.offset + (self.tail - self.file_at)
    }

    /// The anchor of what is appended next.
    fn anchor(&self) -> Anchor {
        match self.last_payload {
            Some((at, len)) => {
                let n = len.min(ANCHOR_MAX);
                // SAFETY: only the writer writes, and it holds no other reference; the segment
                // may have been given back meanwhile, but only `&mut self` could take it again.
                Anchor::of(unsafe { self.shared.memory.slice(at + len - n, n) })
            }
            None => self.file.anchor,
        }
    }

    /// What is appended from now on belongs to another file.
    pub fn switch_file(&mut self, to: Place) {
        self.before_end = self.file_offset();
        self.file = to;
        self.file_at = self.tail;
        self.last_payload = None;
        self.next_segment();
    }

    /// The logical end of what has been appended.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Whether a segment was taken while half of them or fewer were free, since last asked.
    pub fn take_crowded(&mut self) -> bool {
        std::mem::take(&mut self.crowded)
    }

    /// Notes in the file that nothing in the ring is needed any more. Only once all is durable.
    pub fn mark_clean(&mut self) -> io::Result<()> {
        let memory = &self.shared.memory;
        // SAFETY: the mark's place is in page 0, which only the writer accesses.
        unsafe { memory.store_last(CLEAN_MARK_AT, clean_mark(self.shared.epoch)) };
        memory.sync(0, PAGE)
    }
}

/// Committed bytes that lie behind one another, in the ring and in their file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The incr file the bytes belong to, and where in it.
    pub seq: i64,
    pub offset: u64,
    /// The logical offset of the chunk's end.
    pub end: u64,
    pub len: usize,
    /// Where in the mapping.
    at: usize,
}

/// The taking hand.
pub struct Reader {
    shared: Arc<Shared>,
    /// The logical offset of the next byte to take.
    position: u64,
    touched: Touched,
}

/// How far all was when pages were touched ahead last.
#[derive(Clone, Copy, Default)]
struct Touched {
    position: u64,
    frames: u64,
}

impl Reader {
    /// Takes the next committed bytes, those of one segment and `at_most` so many. Cuts at the end
    /// of a page of the file if there are more. None if all have been taken.
    pub fn take(&mut self, at_most: usize) -> Option<Chunk> {
        let tail = self.tail();
        if self.position >= tail {
            return None;
        }
        let piece = {
            let live = self.shared.live();
            let holds = |p: &&Piece| p.end.is_none_or(|end| self.position < end);
            *live.pieces.iter().find(holds).expect("what is not released lies in a segment")
        };
        let offset = piece.offset + (self.position - piece.start);
        let there = piece.end.unwrap_or(tail).min(tail) - self.position;
        let most = at_most as u64;
        let page_end = offset.saturating_add(most) / PAGE as u64 * PAGE as u64;
        let len = match there <= most {
            true => there,
            false if page_end > offset => page_end - offset,
            false => most,
        };
        let at = self.shared.segment_at(piece.segment) + piece.place_of(self.position);
        self.position += len;
        Some(Chunk { seq: piece.seq, offset, end: self.position, len: len as usize, at })
    }

    /// The bytes of a chunk that is not released yet.
    pub fn bytes(&self, chunk: &Chunk) -> &[u8] {
        debug_assert!(chunk.end - chunk.len as u64 >= self.shared.released.load(Ordering::Acquire));
        // SAFETY: the chunk lies below `tail` in a segment not yet released, so the writer does not
        // write to it; and only `&mut self` could release it.
        unsafe { self.shared.memory.slice(chunk.at, chunk.len) }
    }

    /// Goes back to the first byte that has not been released.
    pub fn rewind(&mut self) {
        self.position = self.shared.released.load(Ordering::Acquire);
    }

    /// Gives back all up to a logical offset.
    pub fn release(&mut self, up_to: u64) {
        debug_assert!(up_to <= self.position);
        self.shared.released.store(up_to, Ordering::Release);
        self.shared.live().reclaim(up_to);
    }

    /// Takes the write faults of the pages that are stored to next, so that the event loop does
    /// not: the kernel protects a page against writing when it writes it back, some 30 seconds
    /// after it was stored to, and storing to it again may wait for the file system's journal.
    /// As many pages as may be needed until the next call, since each is written back once more.
    pub fn touch_ahead(&mut self) {
        let size = self.shared.segment_size;
        let (active, free, frames) = {
            let live = self.shared.live();
            let active = live.pieces.back().filter(|piece| piece.end.is_none());
            let free = live.free.iter().position(|free| *free);
            (active.copied(), free, self.shared.frames.load(Ordering::Relaxed))
        };
        let now = Touched { position: self.position, frames };
        let before = std::mem::replace(&mut self.touched, now);
        let twice = |done: u64, least: usize| {
            usize::try_from(done.saturating_mul(2)).unwrap_or(size).clamp(least.min(size), size)
        };
        let payloads = twice(self.position.saturating_sub(before.position), TOUCH_PAYLOADS);
        let entries = twice((frames - before.frames) * FRAME_ENTRY as u64, TOUCH_INDEX);
        let mut next = size;
        if let Some(piece) = active {
            // The writer may have got to this segment since.
            next = piece.place_of(self.position.max(piece.start)).min(size);
            let indexed = (frames - piece.frames_before) as usize * FRAME_ENTRY;
            let index = index_end(size).saturating_sub(indexed);
            self.touch(piece.segment, next, payloads, index, entries);
        }
        // The writer goes on in the active segment and then in a free one; or it begins over, in
        // the lower of the two.
        let beyond = payloads.saturating_sub(size - next);
        let payloads = if next >= begin_over_at(size) { payloads } else { beyond };
        if payloads > 0 {
            let lowest = active.map(|piece| piece.segment).into_iter().chain(free).min();
            for segment in free.into_iter().chain(lowest.filter(|_| lowest != free)) {
                self.touch(segment, 0, payloads, size, entries);
            }
        }
    }

    /// Makes pages of a segment writable: for so many bytes of payload from `next` on, and of
    /// entries down from `index`.
    fn touch(&self, segment: usize, next: usize, payloads: usize, index: usize, entries: usize) {
        let size = self.shared.segment_size;
        let at = self.shared.segment_at(segment);
        for range in [next..(next + payloads).min(size), index.saturating_sub(entries)..index] {
            let begin = range.start / PAGE * PAGE;
            if begin < range.end {
                // Only advice: where it is not taken, the event loop takes the faults.
                let _ = self.shared.memory.touch(at + begin, range.end - begin);
            }
        }
    }

    /// The logical end of what has been committed.
    pub fn tail(&self) -> u64 {
        self.shared.tail.load(Ordering::Acquire)
    }

    /// The logical end of what has been read.
    pub fn position(&self) -> u64 {
        self.position
    }
}
