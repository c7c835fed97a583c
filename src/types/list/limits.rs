//! What a list may be and still be called a listpack: Redis's rule, in terms of what Redis's own
//! packed form (`listpack.c`) would take. What is in memory here is another matter.

use crate::base::number::parse_i64;

/// Bytes of a listpack without entries: a header, and a mark at the end.
pub const LISTPACK_EMPTY: usize = 7;
/// Where a number of elements is the limit, the bytes have this one.
const SAFE_BYTES: usize = 8192;
/// An `i64` in decimal digits has at most so many bytes.
const LONGEST_INTEGER: usize = 20;

/// How large the pieces of a list may become.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `list-max-listpack-size`: so many elements; or, from -1 to -5, 4 to 64 kilobytes.
    pub size: i32,
    /// `list-compress-depth`, of lists that are created: so many chunks at each end stay as they
    /// are while those between are compressed; 0 compresses none.
    pub depth: u32,
}

impl Limits {
    /// Bytes of one piece.
    #[inline]
    pub fn bytes(&self) -> usize {
        match self.size {
            0.. => SAFE_BYTES,
            negative => 4096 << (negative.unsigned_abs() - 1).min(4),
        }
    }

    /// Elements of one piece.
    #[inline]
    pub fn elements(&self) -> usize {
        match self.size {
            0.. => self.size.max(1) as usize,
            _ => usize::MAX,
        }
    }

    /// Whether a listpack of so many bytes and elements would be too large.
    pub fn exceeded_by(&self, bytes: usize, elements: usize) -> bool {
        bytes > self.bytes() || elements > self.elements()
    }

    /// Whether a listpack has become so small that a list is called one again.
    pub fn suits_again(&self, bytes: usize, elements: usize) -> bool {
        let bytes_fit = self.size >= 0 || bytes <= self.bytes() / 2;
        bytes_fit && elements <= self.elements() / 2
    }
}

/// Bytes that an element would take as an entry of a listpack.
#[inline]
pub fn entry_size(element: &[u8]) -> usize {
    let encoded = match integer(element) {
        Some(0..=127) => 1,
        Some(-4096..=4095) => 2,
        Some(-0x8000..=0x7FFF) => 3,
        Some(-0x80_0000..=0x7F_FFFF) => 4,
        Some(-0x8000_0000..=0x7FFF_FFFF) => 5,
        Some(_) => 9,
        None => match element.len() {
            len @ 0..64 => 1 + len,
            len @ 64..4096 => 2 + len,
            len => 5 + len,
        },
    };
    let length_behind = match encoded {
        0..=127 => 1,
        128..16383 => 2,
        16383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    encoded + length_behind
}

#[inline]
fn integer(element: &[u8]) -> Option<i64> {
    let first = *element.first()?;
    let may_be = element.len() <= LONGEST_INTEGER && (first.is_ascii_digit() || first == b'-');
    if may_be { parse_i64(element) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_as_large_as_in_a_listpack() {
        let sizes = [
            ("", 2),
            ("0", 2),
            ("127", 2),
            ("128", 3),
            ("-1", 3),
            ("4096", 4),
            ("40000", 5),
            ("10000000", 6),
            ("3000000000", 10),
            ("007", 5),
            ("-", 3),
            ("9223372036854775807", 10),
            ("9223372036854775808", 21),
        ];
        for (element, size) in sizes {
            assert_eq!(entry_size(element.as_bytes()), size, "{element}");
        }
        for (len, size) in [(63, 65), (64, 67), (125, 128), (126, 130), (4095, 4099), (4096, 4103)]
        {
            assert_eq!(entry_size(&vec![b'x'; len]), size, "{len}");
        }
    }

    #[test]
    fn limits_of_bytes_and_of_elements() {
        let limits = |size| Limits { size, depth: 0 };
        let bytes = |size| limits(size).bytes();
        assert_eq!([-1, -2, -5, -6, i32::MIN].map(bytes), [4096, 8192, 65536, 65536, 65536]);
        assert_eq!([0, 1, 7, i32::MAX].map(bytes), [8192; 4]);
        assert_eq!([0, 1, 7].map(|size| limits(size).elements()), [1, 1, 7]);
        assert!(!limits(-1).exceeded_by(4096, 1 << 40) && limits(-1).exceeded_by(4097, 1));
        assert!(!limits(3).exceeded_by(8192, 3) && limits(3).exceeded_by(10, 4));
        assert!(limits(3).exceeded_by(8193, 1));
        assert!(limits(-1).suits_again(2048, 100) && !limits(-1).suits_again(2049, 1));
        assert!(limits(5).suits_again(100_000, 2) && !limits(5).suits_again(10, 3));
    }
}
