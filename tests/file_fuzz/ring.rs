//! The checksums of a ring file, by the description in `src/persist/aof/format.rs`.

use xxhash_rust::xxh3::xxh3_64;

const PAGE: usize = 4096;
const RING_HEADER: usize = 40;
const SEGMENT_HEADER: usize = 80;
const FRAME_HEADER: usize = 16;

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
    if size <= SEGMENT_HEADER {
        return;
    }
    let sum = xxh3_64(&bytes[8..RING_HEADER]);
    put(bytes, 0, sum);
    let epoch = get(bytes, 32);
    for segment in bytes[PAGE..].chunks_mut(size) {
        if segment.len() < SEGMENT_HEADER || get(segment, 0) == 0 {
            continue;
        }
        put(segment, 64, epoch);
        let sum = xxh3_64(&segment[8..SEGMENT_HEADER]);
        put(segment, 0, sum);
        seal_frames(segment, mix(epoch ^ mix(get(segment, 8))));
    }
}

fn seal_frames(segment: &mut [u8], salt: u64) {
    let mut at = SEGMENT_HEADER;
    while at + FRAME_HEADER <= segment.len() && get(segment, at) != 0 {
        let len = get(segment, at + 8);
        let start = at + FRAME_HEADER;
        let end = usize::try_from(len).ok().and_then(|len| start.checked_add(len));
        let Some(end) = end.filter(|end| *end <= segment.len()) else { return };
        let sum = xxh3_64(&segment[start..end]) ^ mix(salt ^ at as u64 ^ len << 32);
        put(segment, at, sum.max(1));
        at = start + (end - start).next_multiple_of(8);
    }
}
