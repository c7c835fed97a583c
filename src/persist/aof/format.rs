//! The bytes of the ring file: what the process writes through the mapping, and what recovery
//! reads after a crash. Must not know mappings, threads or the AOF's files.
//!
//! ```text
//! page 0       ring header: magic, version, sizes, epoch, checksum | clean mark
//! segment 0    payload of frame 0, of frame 1 ... -> | room | <- ... entry 1, entry 0 | header
//! segment 1    ...
//!
//! entry        checksum u64, length u64 of the frame's payload
//! header       checksum, generation, file, file offset, anchor, identity, epoch, end of the file
//!              before
//! ```
//!
//! Payloads lie behind one another without a gap, and at the same place of a page as in their file:
//! so they can be written from there as they are, past the page cache, too.
//!
//! All numbers are little-endian. A header's checksum is its first word and is stored last: until
//! then the place holds what was there before, which no longer verifies. A frame's checksum is
//! salted with the ring's epoch (random, new at each start), the segment's generation (each use of
//! a segment has its own) and the frame's place, so a frame of an earlier use never passes for one
//! of this use. XXH3-64 with seed 0 is a published, stable function: a ring left by one version of
//! the program is read by the next.

use twox_hash::XxHash3_64;

use crate::persist::files::Identity;

/// The ring header's page, and the unit segments are measured in.
pub const PAGE: usize = 4096;
pub const SEGMENT_HEADER: usize = 80;
/// What a frame has in the segment's index.
pub const FRAME_ENTRY: usize = 16;
/// Where in page 0 the clean mark lies.
pub const CLEAN_MARK_AT: usize = 64;
/// At most so many bytes before a segment's first are hashed into its anchor.
pub const ANCHOR_MAX: usize = 4096;

const MAGIC: u64 = u64::from_le_bytes(*b"goreRING");
const VERSION: u32 = 2;
const RING_HEADER: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingHeader {
    pub segments: u32,
    pub segment_size: u64,
    pub epoch: u64,
}

impl RingHeader {
    pub fn encode(&self) -> [u8; RING_HEADER] {
        let mut out = [0; RING_HEADER];
        put(&mut out, 8, MAGIC);
        put(&mut out, 16, u64::from(VERSION) << 32 | u64::from(self.segments));
        put(&mut out, 24, self.segment_size);
        put(&mut out, 32, self.epoch);
        let checksum = XxHash3_64::oneshot(&out[8..]);
        put(&mut out, 0, checksum);
        out
    }

    /// None if this is no header of this version, or if its sizes do not fit `file_len`.
    pub fn decode(page: &[u8], file_len: u64) -> Option<RingHeader> {
        let header = RingHeader {
            segments: get(page.get(..RING_HEADER)?, 16) as u32,
            segment_size: get(page, 24),
            epoch: get(page, 32),
        };
        let needed =
            header.segment_size.checked_mul(header.segments.into())?.checked_add(PAGE as u64)?;
        let fits = needed <= file_len && header.segment_size > SEGMENT_HEADER as u64;
        (version(page) == Some(VERSION) && fits).then_some(header)
    }

    /// The version of a ring that is not this one's, and that may still be needed.
    pub fn other_version(page: &[u8]) -> Option<u32> {
        let other = version(page).filter(|version| *version != VERSION)?;
        (!is_clean(page, get(page, 32))).then_some(other)
    }
}

/// The version that a whole ring header names. Checksum, magic, version, epoch and clean mark have
/// the same places in each.
fn version(page: &[u8]) -> Option<u32> {
    let bytes = page.get(..RING_HEADER)?;
    let whole = get(bytes, 0) == XxHash3_64::oneshot(&bytes[8..]) && get(bytes, 8) == MAGIC;
    whole.then(|| (get(bytes, 16) >> 32) as u32)
}

/// The word that says: all of this ring's frames are durable in the AOF.
pub fn clean_mark(epoch: u64) -> u64 {
    mix(epoch ^ 0x636c_6561_6e21)
}

pub fn is_clean(page: &[u8], epoch: u64) -> bool {
    page.len() >= CLEAN_MARK_AT + 8 && get(page, CLEAN_MARK_AT) == clean_mark(epoch)
}

/// A hash of the bytes that precede a place in a file: evidence that a file is the one meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// How many bytes; 0 where there is nothing before.
    pub len: u32,
    pub hash: u64,
}

impl Anchor {
    /// The anchor of what comes after `before`.
    pub fn of(before: &[u8]) -> Anchor {
        let tail = &before[before.len().saturating_sub(ANCHOR_MAX)..];
        Anchor { len: tail.len() as u32, hash: XxHash3_64::oneshot(tail) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Counts uses of segments since the ring was made; 1 is the first.
    pub generation: u64,
    /// The sequence number of the incr file the frames belong to.
    pub file_seq: i64,
    /// Where in that file the first frame's payload belongs.
    pub file_offset: u64,
    pub anchor: Anchor,
    pub identity: Identity,
    /// The length that the increment before this file's must have for the frames to follow on it;
    /// 0 if that is not in doubt.
    pub before_end: u64,
}

impl SegmentHeader {
    pub fn encode(&self, epoch: u64) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        put(&mut out, 8, self.generation);
        put(&mut out, 16, self.file_seq as u64);
        put(&mut out, 24, self.file_offset);
        put(&mut out, 32, u64::from(self.anchor.len));
        put(&mut out, 40, self.anchor.hash);
        put(&mut out, 48, self.identity.device);
        put(&mut out, 56, self.identity.inode);
        put(&mut out, 64, epoch);
        put(&mut out, 72, self.before_end);
        let checksum = XxHash3_64::oneshot(&out[8..]);
        put(&mut out, 0, checksum);
        out
    }

    pub fn decode(bytes: &[u8], epoch: u64) -> Option<SegmentHeader> {
        let bytes = bytes.get(..SEGMENT_HEADER)?;
        if get(bytes, 0) != XxHash3_64::oneshot(&bytes[8..]) || get(bytes, 64) != epoch {
            return None;
        }
        Some(SegmentHeader {
            generation: get(bytes, 8),
            file_seq: get(bytes, 16) as i64,
            file_offset: get(bytes, 24),
            anchor: Anchor { len: get(bytes, 32) as u32, hash: get(bytes, 40) },
            identity: Identity { device: get(bytes, 48), inode: get(bytes, 56) },
            before_end: get(bytes, 72),
        })
    }
}

/// What sets this use of a segment apart from all others.
pub fn salt(epoch: u64, generation: u64) -> u64 {
    mix(epoch ^ mix(generation))
}

/// Where in its segment the payload begins that belongs at this offset of its file.
pub fn payload_begin(file_offset: u64) -> usize {
    (file_offset % PAGE as u64) as usize
}

/// Where in its segment the header lies, and the index ends.
pub fn index_end(segment_size: usize) -> usize {
    segment_size - SEGMENT_HEADER
}

/// The checksum of a frame whose payload begins at byte `place` of its segment.
pub fn frame_checksum(salt: u64, place: usize, payload: &[u8]) -> u64 {
    let sum = XxHash3_64::oneshot(payload);
    // 0 is left to places never written.
    (sum ^ mix(salt ^ place as u64 ^ (payload.len() as u64) << 32)).max(1)
}

/// The payloads of a segment's whole frames, in order, up to the first that is not whole.
/// `file_offset` is where the first belongs.
pub fn frames(segment: &[u8], file_offset: u64, salt: u64) -> impl Iterator<Item = &[u8]> {
    let mut index = &segment[..segment.len().saturating_sub(SEGMENT_HEADER)];
    let mut at = payload_begin(file_offset);
    std::iter::from_fn(move || {
        let (rest, entry) = index.split_last_chunk::<FRAME_ENTRY>()?;
        let len = usize::try_from(get(entry, 8)).ok().filter(|&len| len > 0)?;
        let payload = rest.get(at..at.checked_add(len)?)?;
        if get(entry, 0) != frame_checksum(salt, at, payload) {
            return None;
        }
        (index, at) = (rest, at + len);
        Some(payload)
    })
}

/// Spreads each bit of `x` over all bits (the finalizer of SplitMix64).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn put(out: &mut [u8], at: usize, value: u64) {
    out[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn get(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The header of a ring of version 1.
#[cfg(test)]
pub fn foreign_header() -> [u8; RING_HEADER] {
    let mut out = tests::RING.encode();
    put(&mut out, 16, 1 << 32 | 8);
    let checksum = XxHash3_64::oneshot(&out[8..]);
    put(&mut out, 0, checksum);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    pub const RING: RingHeader = RingHeader { segments: 8, segment_size: 4096, epoch: 77 };

    #[test]
    fn headers_come_back_and_any_flipped_bit_spoils_them() {
        let file_len = (PAGE + 8 * 4096) as u64;
        let mut bytes = RING.encode();
        assert_eq!(RingHeader::decode(&bytes, file_len), Some(RING));
        assert_eq!(RingHeader::decode(&bytes, file_len - 1), None, "the file is too short");
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RingHeader::decode(&bytes, file_len), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let segment = SegmentHeader {
            generation: 3,
            file_seq: 2,
            file_offset: 1 << 40,
            anchor: Anchor::of(b"before"),
            identity: Identity { device: 1, inode: 2 },
            before_end: 1 << 41,
        };
        let mut bytes = segment.encode(77);
        assert_eq!(SegmentHeader::decode(&bytes, 77), Some(segment));
        assert_eq!(SegmentHeader::decode(&bytes, 78), None, "of another epoch");
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes, 77), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_ring_of_another_version_is_told_from_none() {
        let mut page = vec![0; PAGE];
        page[..RING_HEADER].copy_from_slice(&RING.encode());
        assert_eq!(RingHeader::other_version(&page), None, "it is this one");
        page[..RING_HEADER].copy_from_slice(&foreign_header());
        assert_eq!(RingHeader::other_version(&page), Some(1));
        assert_eq!(RingHeader::decode(&page, 1 << 20), None);
        page[8] ^= 1;
        assert_eq!(RingHeader::other_version(&page), None, "it is damaged");
        page[8] ^= 1;
        put(&mut page, CLEAN_MARK_AT, clean_mark(RING.epoch));
        assert_eq!(RingHeader::other_version(&page), None, "nobody needs it");
    }

    #[test]
    fn checksum_is_xxh3() {
        // From the reference implementation's sanity checks: the empty input, seed 0.
        assert_eq!(XxHash3_64::oneshot(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn absurd_sizes_in_a_header_do_not_overflow() {
        let ring = RingHeader { segments: u32::MAX, segment_size: u64::MAX, epoch: 1 };
        assert_eq!(RingHeader::decode(&ring.encode(), u64::MAX), None);
        let mut segment = vec![0xff; 4096];
        for len in [u64::MAX, usize::MAX as u64 - 99, 4096, 0] {
            let entry = index_end(segment.len()) - FRAME_ENTRY;
            segment[entry + 8..entry + 16].copy_from_slice(&len.to_le_bytes());
            assert_eq!(frames(&segment, 100, 1).count(), 0);
        }
        for len in 0..SEGMENT_HEADER + FRAME_ENTRY {
            assert_eq!(frames(&segment[..len], 100, 1).count(), 0);
        }
    }
}
