//! LZF, the compression of strings in RDB files. Knows bytes only.
//!
//! ```text
//! literals   000nnnnn, n + 1 bytes                     those bytes
//! reference  lllddddd, [l'], d'                        l + 2 bytes from d + 1 bytes before
//! ```
//!
//! In a reference l is 1 to 7; 7 is followed by a byte to be added to it. The distance has the five
//! bits as its high ones, and d' as its low ones. The format is that of Marc Lehmann's LibLZF.
//!
//! The crate of this name is given up by its author; it makes a table of half a megabyte for each
//! string it compresses, and takes memory for whatever size a compressed string claims to have.
//! Tests check this code against that crate.

/// Distances are counted with 13 bits, from 1 on.
const DISTANCE_MAX: usize = 1 << 13;
/// The longest reference.
const REFERENCE_MAX: usize = 2 + 7 + 255;
const REFERENCE_MIN: usize = 3;
const LITERALS_MAX: usize = 32;
/// A compressed string must be so many bytes shorter, as its two lengths take some.
const LEAST_GAIN: usize = 4;
/// What a byte of compressed data can become at most: references of three bytes.
const EXPANSION_MAX: usize = REFERENCE_MAX / 3;

const TABLE_BITS: u32 = 14;

/// Compresses; keeps its table from string to string.
pub struct Compressor {
    /// By hash of three bytes, where such were seen last, counted over all strings so far.
    table: Box<[u32]>,
    /// Where the next string begins in that count. 0 means nowhere, so it is more than that.
    base: u32,
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor { table: vec![0; 1 << TABLE_BITS].into(), base: 1 }
    }
}

#[inline]
fn slot(bytes: &[u8]) -> usize {
    let three = u32::from(bytes[0]) | u32::from(bytes[1]) << 8 | u32::from(bytes[2]) << 16;
    // Fibonacci hashing: the product's high bits depend on all of the factor's.
    (three.wrapping_mul(0x9E37_79B1) >> (32 - TABLE_BITS)) as usize
}

impl Compressor {
    /// Appends the compressed form of `input` to `out`, if that is worth it: if not, `out` stays
    /// as it was and the answer is false.
    pub fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let Some(most) = input.len().checked_sub(LEAST_GAIN) else { return false };
        let Some(base) = self.take_positions(input.len()) else { return false };
        let (mut at, mut literals) = (0, 0);
        while at + REFERENCE_MIN <= input.len() {
            let here = base + at as u32;
            let seen = std::mem::replace(&mut self.table[slot(&input[at..])], here);
            let len = match seen.checked_sub(base) {
                Some(seen) => reference_len(input, seen as usize, at),
                None => 0,
            };
            if len == 0 {
                at += 1;
                continue;
            }
            let distance = (here - seen) as usize;
            push_literals(&input[literals..at], out);
            push_reference(distance, len, out);
            if out.len() - start > most {
                break;
            }
            at += len;
            literals = at;
        }
        push_literals(&input[literals..], out);
        let worth_it = out.len() - start <= most;
        if !worth_it {
            out.truncate(start);
        }
        worth_it
    }

    /// Reserves positions for a string of so many bytes; none if it is too long for that.
    fn take_positions(&mut self, len: usize) -> Option<u32> {
        let len = u32::try_from(len).ok().filter(|len| *len < u32::MAX / 2)?;
        if self.base > u32::MAX - len {
            self.table.fill(0);
            self.base = 1;
        }
        let base = self.base;
        self.base += len;
        Some(base)
    }
}

/// How many bytes at `at` are the same as those at `seen`, as far as a reference can say it; 0 if
/// it cannot.
#[inline]
fn reference_len(input: &[u8], seen: usize, at: usize) -> usize {
    if at - seen > DISTANCE_MAX {
        return 0;
    }
    let here = &input[at..];
    let same = here.iter().zip(&input[seen..]).take(REFERENCE_MAX).take_while(|(a, b)| a == b);
    let len = same.count();
    if len < REFERENCE_MIN { 0 } else { len }
}

fn push_literals(literals: &[u8], out: &mut Vec<u8>) {
    for run in literals.chunks(LITERALS_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn push_reference(distance: usize, len: usize, out: &mut Vec<u8>) {
    let (distance, len) = (distance - 1, len - 2);
    let high = (distance >> 8) as u8;
    if len < 7 {
        out.push((len as u8) << 5 | high);
    } else {
        out.extend_from_slice(&[7 << 5 | high, (len - 7) as u8]);
    }
    out.push(distance as u8);
}

/// Replaces what is in `out` by the `len` bytes that `input` is the compressed form of; false if
/// it is not. Takes no more memory than a small multiple of the input's, whatever `len` says.
pub fn decompress(input: &[u8], len: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    if len > input.len().saturating_mul(EXPANSION_MAX) {
        return false;
    }
    out.reserve_exact(len);
    expand(input, len, out).is_some() && out.len() == len
}

/// None if the input is not whole, or makes more than `len` bytes.
fn expand(input: &[u8], len: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = input;
    while let Some((&control, behind)) = rest.split_first() {
        let (part, distance);
        if control < LITERALS_MAX as u8 {
            let literals;
            (literals, rest) = behind.split_at_checked(control as usize + 1)?;
            if literals.len() > len - out.len() {
                return None;
            }
            out.extend_from_slice(literals);
            continue;
        }
        (part, distance, rest) = reference(control, behind)?;
        let from = out.len().checked_sub(distance)?;
        if part > len - out.len() {
            return None;
        }
        // What it refers to may be what it makes.
        let mut missing = part;
        while missing > 0 {
            let ready = missing.min(out.len() - from);
            out.extend_from_within(from..from + ready);
            missing -= ready;
        }
    }
    Some(())
}

/// Length and distance of a reference, and what is behind it.
fn reference(control: u8, rest: &[u8]) -> Option<(usize, usize, &[u8])> {
    let mut rest = rest;
    let mut next = || {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        Some(byte as usize)
    };
    let mut len = (control >> 5) as usize + 2;
    if control >> 5 == 7 {
        len += next()?;
    }
    let distance = ((control as usize & 0x1F) << 8 | next()?) + 1;
    Some((len, distance, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(compressor: &mut Compressor, input: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        if !compressor.compress(input, &mut out) {
            assert_eq!(out, b"before");
            return None;
        }
        let compressed = out.split_off(6);
        assert_eq!(out, b"before");
        assert!(compressed.len() + LEAST_GAIN <= input.len());
        let mut back = b"something else".to_vec();
        assert!(decompress(&compressed, input.len(), &mut back));
        assert!(back == input);
        assert!(lzf::decompress(&compressed, input.len()).unwrap() == input);
        Some(compressed)
    }

    #[test]
    fn references_of_all_lengths_and_distances_come_back() {
        let mut compressor = Compressor::default();
        let noise: Vec<u8> = (0..20_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        for len in (20..600).step_by(7) {
            assert!(round_trip(&mut compressor, &vec![b'a'; len]).is_some());
        }
        for distance in [3, 255, 256, 257, 8190, 8191, 8192, 8193, 9000] {
            let mut input = noise[..distance].to_vec();
            input.extend_from_slice(&noise[..400.min(distance)]);
            round_trip(&mut compressor, &input);
        }
        assert!(round_trip(&mut compressor, b"").is_none());
        assert!(round_trip(&mut compressor, b"abcabcab").is_none());
    }

    #[test]
    fn positions_can_come_to_an_end() {
        let mut compressor = Compressor { base: u32::MAX - 150, ..Compressor::default() };
        for _ in 0..4 {
            assert!(round_trip(&mut compressor, &[7; 100]).is_some());
        }
        assert!(compressor.base < 1000);
    }

    #[test]
    fn a_claimed_size_takes_no_memory() {
        let mut out = Vec::new();
        assert!(!decompress(b"\x01ab", 1 << 40, &mut out));
        assert!(out.capacity() < 1000);
        // Nothing to refer to; not whole; more and fewer bytes than said.
        assert!(!decompress(b"\x20\x00", 3, &mut out));
        assert!(!decompress(b"\x00a\x20", 4, &mut out));
        assert!(!decompress(b"\x05ab", 2, &mut out));
        assert!(!decompress(b"\x01ab", 1, &mut out));
        assert!(!decompress(b"\x01ab", 3, &mut out));
        assert!(decompress(b"\x01ab", 2, &mut out));
        assert!(decompress(b"\x00a\xe0\xff\x00", 1 + REFERENCE_MAX, &mut out));
    }

    proptest! {
        #[test]
        fn agrees_with_another_implementation(
            inputs in prop::collection::vec(prop::collection::vec(0u8..4, 0..2000), 1..5),
        ) {
            let mut compressor = Compressor::default();
            let mut back = Vec::new();
            for input in inputs {
                round_trip(&mut compressor, &input);
                if let Ok(compressed) = lzf::compress(&input) {
                    prop_assert!(decompress(&compressed, input.len(), &mut back));
                    prop_assert_eq!(&back, &input);
                }
            }
        }

        #[test]
        fn survives_anything(input: Vec<u8>, len in 0usize..3000) {
            let mut out = Vec::new();
            let done = decompress(&input, len, &mut out);
            prop_assert!(!done || out.len() == len);
            prop_assert!(out.capacity() <= input.len() * EXPANSION_MAX);
            // The other one takes the bytes it is told for a bound.
            if let Ok(other) = lzf::decompress(&input, len) {
                prop_assert_eq!(done, other.len() == len);
                prop_assert!(!done || out == other);
            }
        }
    }
}
