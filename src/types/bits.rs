//! Bits of byte strings, as SETBIT and its relatives see them: bit 0 is the highest bit of the
//! first byte. Pure functions over slices; must not know keys or replies.

/// The mask of a bit within its byte.
fn mask(bit: u64) -> u8 {
    0x80 >> (bit & 7)
}

/// The bit at an offset; what is behind the end is clear.
pub fn get(bytes: &[u8], bit: u64) -> bool {
    byte_at(bytes, bit) & mask(bit) != 0
}

/// The byte that a bit is in, once that bit is set or cleared.
pub fn byte_with(bytes: &[u8], bit: u64, on: bool) -> u8 {
    let byte = byte_at(bytes, bit);
    if on { byte | mask(bit) } else { byte & !mask(bit) }
}

fn byte_at(bytes: &[u8], bit: u64) -> u8 {
    usize::try_from(bit >> 3).ok().and_then(|at| bytes.get(at)).copied().unwrap_or(0)
}

/// A run of bits that are all in a string: from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub first: u64,
    pub last: u64,
}

/// A range in whole bytes, and what is left of it in the bytes at its ends.
struct Parts<'a> {
    /// The first byte, with nothing set outside of the range, unless it is in `whole`.
    head: Option<u8>,
    whole: &'a [u8],
    tail: Option<u8>,
}

impl Range {
    /// All bits of so many bytes; none if there are no bytes.
    pub fn of_bytes(first: u64, last: u64) -> Range {
        Range { first: first * 8, last: last * 8 + 7 }
    }

    /// Cuts a string along the range. Bits outside of it read as `!wanted`, so that nobody who
    /// looks for `wanted` finds them.
    fn cut<'a>(&self, bytes: &'a [u8], wanted: bool) -> Parts<'a> {
        let (first, last) = ((self.first >> 3) as usize, (self.last >> 3) as usize);
        let before = !(0xFF >> (self.first & 7));
        let behind = (0x7F >> (self.last & 7)) as u8;
        let without = |byte: u8, outside: u8| if wanted { byte & !outside } else { byte | outside };
        if first == last {
            let head = Some(without(bytes[first], before | behind));
            return Parts { head, whole: &[], tail: None };
        }
        let (head, start) = if before == 0 { (None, first) } else { (Some(first), first + 1) };
        let (tail, end) = if behind == 0 { (None, last + 1) } else { (Some(last), last) };
        Parts {
            head: head.map(|at| without(bytes[at], before)),
            whole: &bytes[start..end],
            tail: tail.map(|at| without(bytes[at], behind)),
        }
    }
}

/// How many bits of a range are set.
pub fn count(bytes: &[u8], range: Range) -> u64 {
    let parts = range.cut(bytes, true);
    let ends = parts.head.map_or(0, u8::count_ones) + parts.tail.map_or(0, u8::count_ones);
    u64::from(ends) + count_all(parts.whole)
}

/// Words at a time, in a form that the compiler makes SIMD instructions of.
fn count_all(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let whole: u64 = words.iter().map(|w| u64::from(u64::from_ne_bytes(*w).count_ones())).sum();
    whole + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// The first bit of a range that is as wanted.
pub fn position(bytes: &[u8], wanted: bool, range: Range) -> Option<u64> {
    let parts = range.cut(bytes, wanted);
    let within = |byte: u8| (if wanted { byte } else { !byte }).leading_zeros();
    let start = range.first & !7;
    if let Some(bit) = parts.head.map(within).filter(|&bit| bit < 8) {
        return Some(start + u64::from(bit));
    }
    let start = start + if parts.head.is_some() { 8 } else { 0 };
    if let Some(at) = first_other(parts.whole, if wanted { 0 } else { 0xFF }) {
        return Some(start + at as u64 * 8 + u64::from(within(parts.whole[at])));
    }
    let start = start + parts.whole.len() as u64 * 8;
    parts.tail.map(within).filter(|&bit| bit < 8).map(|bit| start + u64::from(bit))
}

/// Where the first byte is that is not `byte`.
fn first_other(bytes: &[u8], byte: u8) -> Option<usize> {
    const BLOCK: usize = 64;
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    // Without an exit inside of a block, comparing it is a few SIMD instructions.
    let is_plain = |block: &[u8; BLOCK]| block.iter().fold(0, |all, b| all | (b ^ byte)) == 0;
    let block = blocks.iter().position(|block| !is_plain(block));
    let (start, rest) = match block {
        Some(index) => (index * BLOCK, &blocks[index][..]),
        None => (blocks.len() * BLOCK, rest),
    };
    rest.iter().position(|b| *b != byte).map(|at| start + at)
}

/// What BITOP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    And,
    Or,
    Xor,
    /// Of the first source alone.
    Not,
    /// In the first source and in no other.
    Diff,
    /// In another source and not in the first.
    Diff1,
    /// In the first source and in another.
    AndOr,
    /// In exactly one source.
    One,
}

/// Bytes of the result that are made at a time, to be worked on within the nearest cache.
const BLOCK: usize = 4096;

/// Combines strings bit by bit. The result is as long as the longest; what is behind the end of a
/// shorter one is clear.
pub fn combine(operation: Operation, sources: &[&[u8]]) -> Vec<u8> {
    let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let mut result = vec![0; len];
    let Some((first, others)) = sources.split_first() else { return result };
    let mut repeated = [0; BLOCK];
    for (index, out) in result.chunks_mut(BLOCK).enumerate() {
        let at = index * BLOCK;
        let first = part(first, at, out.len());
        let others = others.iter().map(|source| part(source, at, BLOCK));
        match operation {
            Operation::And | Operation::Or | Operation::Xor | Operation::Not => {
                out[..first.len()].copy_from_slice(first);
            }
            Operation::One => repeated.fill(0),
            Operation::Diff | Operation::Diff1 | Operation::AndOr => {}
        }
        match operation {
            Operation::And => others.for_each(|other| and(out, other)),
            Operation::Or => others.for_each(|other| fold(out, other, |a, b| a | b)),
            Operation::Xor => others.for_each(|other| fold(out, other, |a, b| a ^ b)),
            Operation::Not => out.iter_mut().for_each(|byte| *byte = !*byte),
            Operation::Diff | Operation::Diff1 | Operation::AndOr => {
                others.for_each(|other| fold(out, other, |a, b| a | b));
                with_first(operation, out, first);
            }
            Operation::One => {
                std::iter::once(first).chain(others).for_each(|source| {
                    once(out, &mut repeated, source);
                });
                fold(out, &repeated, |seen, repeated| seen & !repeated);
            }
        }
    }
    result
}

/// The bytes from `at` on, at most `len`; fewer or none where the string ends before.
fn part(source: &[u8], at: usize, len: usize) -> &[u8] {
    let from = &source[at.min(source.len())..];
    &from[..len.min(from.len())]
}

#[inline]
fn fold(out: &mut [u8], other: &[u8], f: impl Fn(u8, u8) -> u8) {
    out.iter_mut().zip(other).for_each(|(byte, other)| *byte = f(*byte, *other));
}

fn and(out: &mut [u8], other: &[u8]) {
    let len = other.len().min(out.len());
    fold(out, other, |a, b| a & b);
    out[len..].fill(0);
}

/// Combines what the other sources have in common with the first.
fn with_first(operation: Operation, others: &mut [u8], first: &[u8]) {
    match operation {
        Operation::Diff => {
            let len = first.len();
            fold(others, first, |others, first| first & !others);
            others[len..].fill(0);
        }
        Operation::Diff1 => fold(others, first, |others, first| others & !first),
        _ => and(others, first),
    }
}

/// Adds a source to what was seen at least once, and repeatedly.
fn once(seen: &mut [u8], repeated: &mut [u8], source: &[u8]) {
    for ((seen, repeated), source) in seen.iter_mut().zip(repeated).zip(source) {
        *repeated |= *seen & source;
        *seen |= source;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits_of(bytes: &[u8]) -> Vec<bool> {
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
    }

    fn bytes_of(bits: &[bool]) -> Vec<u8> {
        bits.chunks(8).map(|eight| eight.iter().fold(0, |b, bit| b << 1 | *bit as u8)).collect()
    }

    /// Mostly runs, as searches pass over them.
    fn strings() -> impl Strategy<Value = Vec<u8>> {
        let run = (prop_oneof![Just(0u8), Just(0xFF), any::<u8>()], 1usize..100);
        proptest::collection::vec(run, 0..6).prop_map(|runs| {
            runs.into_iter().flat_map(|(byte, len)| std::iter::repeat_n(byte, len)).collect()
        })
    }

    fn naive(operation: Operation, first: bool, others: &[bool]) -> bool {
        let any = others.contains(&true);
        match operation {
            Operation::And => first && !others.contains(&false),
            Operation::Or => first || any,
            Operation::Xor => others.iter().fold(first, |a, b| a ^ b),
            Operation::Not => !first,
            Operation::Diff => first && !any,
            Operation::Diff1 => !first && any,
            Operation::AndOr => first && any,
            Operation::One => others.iter().chain([&first]).filter(|bit| **bit).count() == 1,
        }
    }

    const ALL: [Operation; 8] = [
        Operation::And,
        Operation::Or,
        Operation::Xor,
        Operation::Not,
        Operation::Diff,
        Operation::Diff1,
        Operation::AndOr,
        Operation::One,
    ];

    proptest! {
        #[test]
        fn counts_and_positions_agree_with_a_list_of_bits(
            bytes in strings(),
            first in any::<prop::sample::Index>(),
            last in any::<prop::sample::Index>(),
        ) {
            let bits = bits_of(&bytes);
            prop_assume!(!bits.is_empty());
            let (first, last) = (first.index(bits.len()), last.index(bits.len()));
            let (first, last) = (first.min(last), first.max(last));
            let range = Range { first: first as u64, last: last as u64 };
            let inside = &bits[first..=last];
            prop_assert_eq!(
                count(&bytes, range),
                inside.iter().filter(|bit| **bit).count() as u64
            );
            for wanted in [false, true] {
                let expected = inside.iter().position(|bit| *bit == wanted).map(|at| at + first);
                prop_assert_eq!(position(&bytes, wanted, range), expected.map(|at| at as u64));
            }
        }

        #[test]
        fn single_bits_agree_with_a_list_of_bits(bytes in strings(), bit in 0u64..5000) {
            let mut bits = bits_of(&bytes);
            let before = bits.get(bit as usize).copied().unwrap_or(false);
            prop_assert_eq!(get(&bytes, bit), before);
            bits.resize(bits.len().max((bit as usize + 8) & !7), false);
            for on in [false, true] {
                bits[bit as usize] = on;
                prop_assert_eq!(byte_with(&bytes, bit, on), bytes_of(&bits)[bit as usize / 8]);
            }
        }

        #[test]
        fn operations_agree_with_their_definition(
            sources in proptest::collection::vec(strings(), 1..6),
        ) {
            let slices: Vec<&[u8]> = sources.iter().map(|s| s.as_slice()).collect();
            let bits: Vec<Vec<bool>> = sources.iter().map(|s| bits_of(s)).collect();
            let len = bits.iter().map(Vec::len).max().unwrap();
            for operation in ALL {
                let expected: Vec<bool> = (0..len)
                    .map(|at| {
                        let column: Vec<bool> =
                            bits.iter().map(|b| b.get(at).copied().unwrap_or(false)).collect();
                        naive(operation, column[0], &column[1..])
                    })
                    .collect();
                prop_assert_eq!(combine(operation, &slices), bytes_of(&expected));
            }
        }
    }

    #[test]
    fn blocks_meet_without_a_seam() {
        let long: Vec<u8> = (0..3 * BLOCK + 5).map(|i| (i * 7 + i / 256) as u8).collect();
        let short: Vec<u8> = (0..BLOCK + 1).map(|i| (i * 11) as u8).collect();
        for operation in ALL {
            let result = combine(operation, &[&long, &short]);
            assert_eq!(result.len(), long.len());
            for (at, byte) in result.iter().enumerate() {
                let (a, b) = (long[at], short.get(at).copied().unwrap_or(0));
                let one = combine(operation, &[&[a], &[b]]);
                assert_eq!(*byte, one[0], "{operation:?} at {at}");
            }
        }
    }

    #[test]
    fn offsets_beyond_any_string_read_as_clear() {
        assert!(!get(b"\xff", 8));
        assert!(!get(b"\xff", u64::MAX));
        assert_eq!(byte_with(b"", 1 << 40 | 7, true), 1);
    }
}
