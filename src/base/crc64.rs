//! The CRC-64 that closes RDB files and DUMP payloads. Knows bytes only.
//!
//! Polynomial 0xad93d23594c935a9 (David Jones), bits reflected on the way in and out, starting
//! value 0, nothing applied at the end: "CRC-64/REDIS" in Greg Cook's catalogue of
//! parametrised CRC algorithms. Its check value, over `123456789`, is 0xe9c6d914c4b8d9ca.

use crc_fast::{CrcAlgorithm, Digest};

/// Goes on from `crc` (0 at the start) over `data`.
pub fn crc64(crc: u64, data: &[u8]) -> u64 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc64Redis, crc);
    digest.update(data);
    digest.finalize()
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
        fn agrees_with_the_definition(
            // Long pieces are done otherwise than short ones, and most are one or the other.
            data in (any::<Vec<u8>>(), 0usize..20).prop_map(|(data, times)| data.repeat(times)),
        ) {
            prop_assert_eq!(crc64(0, &data), bit_by_bit(&data));
        }

        #[test]
        fn goes_on_where_it_stopped(data: Vec<u8>, at: prop::sample::Index) {
            let (head, tail) = data.split_at(at.index(data.len() + 1));
            prop_assert_eq!(crc64(crc64(0, head), tail), crc64(0, &data));
        }
    }
}
