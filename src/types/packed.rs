//! What packed encodings share: runs of bytes in which lengths stand before what they measure. Must
//! not know what the bytes mean.

/// Reads a variable-length number: 7 bits a byte, low ones first, the top bit says "more". Moves
/// `at` behind it.
#[inline]
pub fn varint(bytes: &[u8], at: &mut usize) -> usize {
    let mut number = 0;
    let mut shift = 0;
    loop {
        let byte = bytes[*at];
        *at += 1;
        number |= ((byte & 0x7F) as usize) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return number;
        }
    }
}

/// Bytes that a variable-length number takes.
#[inline]
pub fn varint_size(number: usize) -> usize {
    (number | 1).ilog2() as usize / 7 + 1
}

/// Takes as many bytes as `part` has from the front of `out` and overwrites them.
#[inline]
pub fn put(out: &mut &mut [u8], part: &[u8]) {
    let (head, tail) = std::mem::take(out).split_at_mut(part.len());
    head.copy_from_slice(part);
    *out = tail;
}

/// The same with a variable-length number.
#[inline]
pub fn put_varint(out: &mut &mut [u8], mut number: usize) {
    while number > 0x7F {
        put(out, &[number as u8 | 0x80]);
        number >>= 7;
    }
    put(out, &[number as u8]);
}

/// Appends a variable-length number.
#[inline]
pub fn push_varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7F {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_sizes_come_back() {
        for bits in 0..48 {
            for number in [(1usize << bits) - 1, 1 << bits] {
                let mut bytes = vec![0; varint_size(number)];
                let mut out = &mut bytes[..];
                put_varint(&mut out, number);
                assert!(out.is_empty(), "{number}");
                let mut at = 0;
                assert_eq!((varint(&bytes, &mut at), at), (number, bytes.len()));
            }
        }
    }
}
