//! The checksums of a ring file, by the description in `src/persist/aof/format.rs`.

use twox_hash::XxHash3_64;

const PAGE: usize = 4096;
const RING_HEADER: usize = 40;
const SEGMENT_HEADER: usize = 80;
const FRAME_ENTRY: usize = 16;

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn get(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |word| u64::from_le_bytes(word.try_into().unwrap()))
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    if let Some(word) = bytes.get_mut(at..at + 8) {
        word.copy_from_slice(&value.to_le_bytes());
    }
}

/// Segments of a ring of this size, whatever its header says of them.
const SEGMENTS: usize = 8;

fn segment_size(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(PAGE) / SEGMENTS
}

/// Makes all checksums right: those of headers that are in use, and of frames up to one whose
/// length cannot be.
pub fn seal(bytes: &mut [u8]) {
    let size = segment_size(bytes);
    if size < SEGMENT_HEADER {
        return;
    }
    let sum = XxHash3_64::oneshot(&bytes[8..RING_HEADER]);
    put(bytes, 0, sum);
    let epoch = get(bytes, 32);
    for segment in bytes[PAGE..].chunks_exact_mut(size) {
        let header_at = size - SEGMENT_HEADER;
        if get(segment, header_at) == 0 {
            continue;
        }
        put(segment, header_at + 64, epoch);
        let sum = XxHash3_64::oneshot(&segment[header_at + 8..]);
        put(segment, header_at, sum);
        seal_frames(segment, header_at, mix(epoch ^ mix(get(segment, header_at + 8))));
    }
}

fn seal_frames(segment: &mut [u8], header_at: usize, salt: u64) {
    let mut at = get(segment, header_at + 24) as usize % PAGE;
    let mut entry = header_at;
    while entry >= at + FRAME_ENTRY && get(segment, entry - FRAME_ENTRY) != 0 {
        entry -= FRAME_ENTRY;
        let len = get(segment, entry + 8);
        let end = usize::try_from(len).ok().and_then(|len| at.checked_add(len));
        let Some(end) = end.filter(|end| *end <= entry) else { return };
        let sum = XxHash3_64::oneshot(&segment[at..end]) ^ mix(salt ^ at as u64 ^ len << 32);
        put(segment, entry, sum.max(1));
        at = end;
    }
}
