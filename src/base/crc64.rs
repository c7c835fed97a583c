//! The CRC-64 that closes RDB files and DUMP payloads. Knows bytes only.
//!
//! Polynomial 0xad93d23594c935a9 (David Jones), bits reflected on the way in and out, starting
//! value 0, nothing applied at the end: "CRC-64/REDIS" in Greg Cook's catalogue of
//! parametrised CRC algorithms. Its check value, over `123456789`, is 0xe9c6d914c4b8d9ca.

/// The polynomial with its bits mirrored, as the reflected algorithm wants it.
const REFLECTED: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();

/// `TABLES[k][b]` is what a byte `b` does to the checksum after `k` more bytes: eight bytes are
/// taken in with eight independent look-ups ("slicing by 8": Kounavis and Berry, Intel, 2005).
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0u64; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { REFLECTED } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut slice = 1;
    while slice < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[slice - 1][byte];
            tables[slice][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        slice += 1;
    }
    tables
}

/// Goes on from `crc` (0 at the start) over `data`.
pub fn crc64(crc: u64, data: &[u8]) -> u64 {
    let words = data.chunks_exact(8);
    let tail = words.remainder();
    let crc = words.fold(crc, |crc, word| {
        let mut word: [u8; 8] = word.try_into().expect("chunks of eight");
        word = (crc ^ u64::from_le_bytes(word)).to_le_bytes();
        // The first byte has the longest way to go, so it takes the last table.
        (0..8).fold(0, |sum, at| sum ^ TABLES[7 - at][word[at] as usize])
    });
    tail.iter().fold(crc, |crc, &byte| (crc >> 8) ^ TABLES[0][((crc as u8) ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn check_values() {
        assert_eq!(crc64(0, b""), 0);
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    /// The definition: the mirrored message divided by the polynomial, bit by bit.
    fn bit_by_bit(data: &[u8]) -> u64 {
        let mut rest: u64 = 0;
        for bit in data.iter().flat_map(|byte| (0..8).map(move |at| byte >> at & 1)) {
            let high = (rest >> 63) ^ u64::from(bit);
            rest = (rest << 1) ^ (high * 0xad93_d235_94c9_35a9);
        }
        rest.reverse_bits()
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(data: Vec<u8>) {
            prop_assert_eq!(crc64(0, &data), bit_by_bit(&data));
        }

        #[test]
        fn goes_on_where_it_stopped(data: Vec<u8>, at: prop::sample::Index) {
            let (head, tail) = data.split_at(at.index(data.len() + 1));
            prop_assert_eq!(crc64(crc64(0, head), tail), crc64(0, &data));
        }
    }
}
