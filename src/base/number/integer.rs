//! Whole numbers.

/// Reads a 64-bit integer in the one spelling that Redis takes as a number: an optional `-`, then
/// digits without leading zeros. `+1`, `01`, `-0`, ` 1` and the empty text are not numbers.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => None,
        [b'0'] => (!negative).then_some(0),
        [b'0', ..] => None,
        // Summed up below zero, where there is room for one more than above.
        _ => {
            let below = digits.iter().try_fold(0i64, |sum, byte| {
                sum.checked_mul(10)?.checked_sub(i64::from(digit_value(*byte)?))
            })?;
            if negative { Some(below) } else { below.checked_neg() }
        }
    }
}

/// Reads an unsigned 64-bit integer as Redis does where it asks C's `strtoull` (the parts of a
/// stream ID, a cursor): leading zeros, and blanks or a `+` in front, are allowed.
///
/// A `-` is not: C takes ` -1` for 2^64 - 1, which nobody can have meant.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    let blanks = text.iter().take_while(|byte| b" \t\n\x0b\x0c\r".contains(byte)).count();
    let text = &text[blanks..];
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, byte| {
        sum.checked_mul(10)?.checked_add(u64::from(digit_value(*byte)?))
    })
}

fn digit_value(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

/// Appends the number in decimal.
pub fn push_i64(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// How many bytes [`push_i64`] appends, the `-` included.
pub fn digits(number: i64) -> u32 {
    let sign = u32::from(number < 0);
    sign + number.unsigned_abs().checked_ilog10().unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_spelling_a_number() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("18446744073709551617", None),
            ("99999999999999999999999999999999", None),
            ("", None),
            ("-", None),
            ("--1", None),
            ("+1", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("-01", None),
            (" 1", None),
            ("1 ", None),
            ("1\0", None),
            ("1.0", None),
            ("1e3", None),
            ("0x10", None),
            ("١", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn unsigned_numbers_are_taken_more_freely() {
        for (text, expected) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("+7", Some(7)),
            (" \t7", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("0018446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            (" ", None),
            ("+", None),
            ("++7", None),
            ("+ 7", None),
            ("7 ", None),
            ("-7", None),
            ("-0", None),
            ("7a", None),
        ] {
            assert_eq!(parse_u64(text.as_bytes()), expected, "{text:?}");
        }
    }

    fn pushed(number: i64) -> String {
        let mut out = b"before ".to_vec();
        push_i64(&mut out, number);
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_string()
    }

    #[test]
    fn lengths_at_the_edges() {
        for number in [0, 9, 10, 99, 100, -1, -9, -10, i64::MAX, i64::MIN] {
            assert_eq!(digits(number) as usize, number.to_string().len(), "{number}");
            assert_eq!(pushed(number), number.to_string());
        }
    }

    proptest! {
        #[test]
        fn text_and_number_agree(number: i64, shift in 0u32..64) {
            let number = number >> shift;
            prop_assert_eq!(pushed(number), number.to_string());
            prop_assert_eq!(digits(number) as usize, number.to_string().len());
            prop_assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
            let unsigned = number.unsigned_abs();
            prop_assert_eq!(parse_u64(unsigned.to_string().as_bytes()), Some(unsigned));
        }

        #[test]
        fn what_is_read_is_spelled_that_way(
            text in prop::collection::vec(prop::sample::select(&b"-+ 0019"[..]), 0..22)
        ) {
            // std reads more spellings; of those, Redis wants the one std would write.
            let by_std = std::str::from_utf8(&text).unwrap().parse::<i64>().ok();
            let expected = by_std.filter(|number| number.to_string().as_bytes() == text);
            prop_assert_eq!(parse_i64(&text), expected);
        }
    }
}
