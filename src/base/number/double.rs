//! Doubles: scores, coordinates, RESP3's double type.

use rustc_apfloat::{Float, ieee};

use super::literal::{self, Form};
use super::push_i64;

/// Integral values up to here (2^62) are written digit by digit, as Redis 7.2 does. Beyond it
/// zeros at the end may become an exponent.
const PLAIN_INTEGER_MAX: f64 = (1u64 << 62) as f64;

/// Reads a double as Redis does: anything that C's `strtod` takes as a whole (also hex, `inf`,
/// `+1`, `.5`), but no blanks, no NaN, and nothing so large that it would become infinite or so
/// small that it would become zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    // std reads all decimal forms that C does. Ordinary numbers need no second look.
    match std::str::from_utf8(text).ok()?.parse::<f64>() {
        Ok(value) if value.is_finite() && value != 0.0 => return Some(value),
        _ => (),
    }
    let literal = literal::scan(text)?;
    match literal.form {
        // std has made nothing or everything of it.
        Form::Decimal(_) => None,
        _ => literal.convert().map(|value: ieee::Double| f64::from_bits(value.to_bits() as u64)),
    }
}

/// Appends the double as Redis 7.2 prints it (a score, RESP3's double without its `,` and CRLF):
/// the fewest digits that read back as the same number, `inf`, `-inf`, `nan`, `-0`.
///
/// Redis 7.0 differs: it prints 17 significant digits (`%.17g`), so 0.1 is `0.10000000000000001`
/// there, 1e-5 is `1.0000000000000001e-05`, and exponents have two digits at least. Integral
/// values up to 2^62, and those that 17 digits show as short, agree.
///
/// The digits are Ryu's, always the fewest, and of those the closest. Redis 7.2's own (Grisu2)
/// are other ones for a few doubles in a thousand, and then the layout can differ too: 1e23 is
/// `99999999999999990000000` there, `1e+23` here. Either reads back the same.
pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"nan");
        return;
    }
    if value.abs() <= PLAIN_INTEGER_MAX && value.trunc() == value && value != 0.0 {
        // In i64's range, and without a fraction: nothing is lost.
        push_i64(out, value as i64);
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value.is_infinite() {
        out.extend_from_slice(b"inf");
    } else if value == 0.0 {
        out.push(b'0');
    } else {
        push_decimal(out, &Decimal::shortest(value.abs()));
    }
}

/// Appends the double with 17 significant digits, as C's `%.17g` prints it.
pub fn push_f64_17(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() || value == 0.0 {
        push_f64(out, value);
        return;
    }
    let text = format!("{:.16e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let mantissa = mantissa.trim_end_matches('0');
    let digits = mantissa.replace('.', "");
    if value < 0.0 {
        out.push(b'-');
    }
    if !(-4..17).contains(&exponent) {
        out.extend_from_slice(mantissa.trim_end_matches('.').as_bytes());
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        push_zeros(out, i32::from(exponent.abs() < 10));
        push_i64(out, i64::from(exponent.abs()));
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        push_zeros(out, -exponent - 1);
        out.extend_from_slice(digits.as_bytes());
    } else {
        let before_point = exponent as usize + 1;
        let (whole, fraction) = digits.split_at(before_point.min(digits.len()));
        out.extend_from_slice(whole.as_bytes());
        push_zeros(out, (before_point - whole.len()) as i32);
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction.as_bytes());
        }
    }
}

/// A positive number as `digits * 10^exponent`, without zeros at either end.
struct Decimal {
    digits: [u8; 17],
    len: usize,
    exponent: i32,
}

impl Decimal {
    /// The shortest that reads back as `value`, which is finite and above zero.
    fn shortest(value: f64) -> Decimal {
        let mut buffer = ryu::Buffer::new();
        // Ryu's own layout is one of 12.34, 0.0012, 1.5e-7 or 1e20: taken apart again here, as
        // the crate does not offer the digits alone.
        let text = buffer.format_finite(value);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut decimal = Decimal {
            digits: [0; 17],
            len: 0,
            exponent: exponent.parse().expect("Ryu writes an exponent as a number"),
        };
        let (mut after_point, mut zeros) = (false, 0);
        for byte in mantissa.bytes() {
            match byte {
                b'.' => after_point = true,
                // Counted only: perhaps no other digit follows, or none came before.
                b'0' => zeros += 1,
                digit => {
                    decimal.append(if decimal.len == 0 { 0 } else { zeros }, digit);
                    zeros = 0;
                }
            }
            decimal.exponent -= i32::from(after_point && byte != b'.');
        }
        decimal.exponent += zeros;
        decimal
    }

    fn append(&mut self, zeros: i32, digit: u8) {
        for _ in 0..zeros {
            self.digits[self.len] = b'0';
            self.len += 1;
        }
        self.digits[self.len] = digit;
        self.len += 1;
    }
}

/// Lays digits and exponent out as fpconv does, the library of Redis 7.2 (its `emit_digits`).
fn push_decimal(out: &mut Vec<u8>, decimal: &Decimal) {
    let digits = &decimal.digits[..decimal.len];
    let len = decimal.len as i32;
    let scientific = decimal.exponent + len - 1;
    if (0..8).contains(&decimal.exponent) {
        out.extend_from_slice(digits);
        push_zeros(out, decimal.exponent);
    } else if decimal.exponent < 0 && (decimal.exponent > -7 || scientific.abs() < 4) {
        let before_point = decimal.exponent + len;
        let (whole, fraction) = digits.split_at(before_point.max(0) as usize);
        out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
        out.push(b'.');
        push_zeros(out, -before_point);
        out.extend_from_slice(fraction);
    } else {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if scientific < 0 { b"e-" } else { b"e+" });
        push_i64(out, i64::from(scientific.abs()));
    }
}

/// Appends `count` zeros, none if it is negative.
fn push_zeros(out: &mut Vec<u8>, count: i32) {
    out.resize(out.len() + count.max(0) as usize, b'0');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_redis_reads() {
        // Each line was tried with ZADD on redis-server 7.0.15.
        for (text, expected) in [
            ("0", Some(0.0)),
            ("-0", Some(-0.0)),
            ("-0.0e-99999999999999999999", Some(-0.0)),
            ("0e99999999999999999999", Some(0.0)),
            ("3", Some(3.0)),
            ("+3", Some(3.0)),
            ("003", Some(3.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("-1.5e-3", Some(-0.0015)),
            ("1E+5", Some(1e5)),
            ("inf", Some(f64::INFINITY)),
            ("+INF", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1.7976931348623157e308", Some(f64::MAX)),
            ("1.7976931348623159e308", None),
            ("-1e400", None),
            ("1e99999999999999999999", None),
            ("4.9e-324", Some(5e-324)),
            ("2.4e-324", None),
            ("1e-99999999999999999999", None),
            ("0x10", Some(16.0)),
            ("-0XA.8p-1", Some(-5.25)),
            ("0x.8", Some(0.5)),
            ("0x0p99999999999999999999", Some(0.0)),
            ("0x1.fffffffffffff7p1023", Some(f64::MAX)),
            ("0x1.fffffffffffff8p1023", None),
            ("0x1p99999999999999999999", None),
            ("0x1p-1074", Some(5e-324)),
            ("0x1.1p-1075", Some(5e-324)),
            ("0x1p-1075", None),
            ("0x1p-99999999999999999999", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("\t1", None),
            ("1\0", None),
            ("1,5", None),
            ("1e", None),
            ("1e+", None),
            ("0x", None),
            ("0x.p1", None),
            ("0x1p", None),
            ("nan", None),
            ("-NaN", None),
            ("nan(1)", None),
        ] {
            let bits = |value: Option<f64>| value.map(f64::to_bits);
            assert_eq!(bits(parse_f64(text.as_bytes())), bits(expected), "{text:?}");
        }
        assert_eq!(parse_f64(b"1\xff"), None);
    }

    #[test]
    fn long_texts_are_no_trouble() {
        let zeros = "0".repeat(6000);
        assert_eq!(parse_f64(format!("{zeros}1").as_bytes()), Some(1.0));
        assert_eq!(parse_f64(format!("1{zeros}e-6000").as_bytes()), Some(1.0));
        assert_eq!(parse_f64(format!("0x1{zeros}p-24000").as_bytes()), Some(1.0));
        assert_eq!(parse_f64(format!("1{zeros}").as_bytes()), None);
        assert_eq!(parse_f64(format!("0.{zeros}1").as_bytes()), None);
    }

    fn pushed(value: f64) -> String {
        let mut out = b"before ".to_vec();
        push_f64(&mut out, value);
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_string()
    }

    #[test]
    fn prints_as_redis_7_2_does() {
        // The right side is what its fpconv 1.0 prints, and plain integers up to 2^62.
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.5, "1.5"),
            (-2.25, "-2.25"),
            (0.001, "0.001"),
            (0.00001, "0.00001"),
            (0.000001, "0.000001"),
            (0.0000012, "1.2e-6"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (0.00012345678, "1.2345678e-4"),
            (0.012345678, "0.012345678"),
            (-0.0012345678, "-0.0012345678"),
            (1e-10, "1e-10"),
            (1.2e-99, "1.2e-99"),
            (1e-100, "1e-100"),
            (123.456, "123.456"),
            (1234567890.125, "1234567890.125"),
            (1e15, "1000000000000000"),
            (1e18, "1000000000000000000"),
            (9007199254740993.0, "9007199254740992"),
            (4611686018427387904.0, "4611686018427387904"),
            (-4611686018427387904.0, "-4611686018427387904"),
            (4611686018427388928.0, "4611686018427389000"),
            (12345678901234567890.0, "12345678901234567000"),
            (1.234567890123e19, "12345678901230000000"),
            (1.234567890123e20, "1.234567890123e+20"),
            (1e19, "1e+19"),
            (-1e20, "-1e+20"),
            (1.2e20, "1.2e+20"),
            (1.2345678901234567e22, "12345678901234568000000"),
            (12345.678e20, "1.2345678e+24"),
            (1.2345678901234567e25, "1.2345678901234566e+25"),
            (1e300, "1e+300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (2.2250738585072014e-308, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(pushed(value), expected);
        }
    }

    #[test]
    fn prints_17_digits_as_c_does() {
        // The right side is what printf of glibc prints.
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (1.0, "1"),
            (-3.5, "-3.5"),
            (100.0, "100"),
            (0.1, "0.10000000000000001"),
            (-1.1, "-1.1000000000000001"),
            (0.0001, "0.0001"),
            (0.00012345, "0.00012344999999999999"),
            (0.00001, "1.0000000000000001e-05"),
            (1e16, "10000000000000000"),
            (12345678901234567.0, "12345678901234568"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (-1.7976931348623157e308, "-1.7976931348623157e+308"),
            (5e-324, "4.9406564584124654e-324"),
            // Exactly between two texts of 17 digits: the even one.
            (1.0 / 33_554_432.0, "2.9802322387695312e-08"),
            (1.0 + 1.0 / 131_072.0, "1.0000076293945312"),
            (1.0 + 3.0 / 131_072.0, "1.0000228881835938"),
        ] {
            let mut out = Vec::new();
            push_f64_17(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_printed(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            let read = parse_f64(pushed(value).as_bytes());
            prop_assert_eq!(read.map(f64::to_bits), Some(bits));
            let mut out = Vec::new();
            push_f64_17(&mut out, value);
            prop_assert_eq!(parse_f64(&out).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn digits_are_the_fewest(whole in 0u64.., scale in -30i32..30) {
            let value = whole as f64 * 10f64.powi(scale);
            if value <= PLAIN_INTEGER_MAX && value.trunc() == value {
                return Ok(());
            }
            // std has its own algorithms (Grisu3, then Dragon4), and rounds a tie up, not to even:
            // only the count is compared.
            let by_std = format!("{value:e}");
            let significant = |text: &str| {
                let mantissa = text.split('e').next().unwrap().replace('.', "");
                mantissa.trim_matches('0').len()
            };
            prop_assert_eq!(significant(&pushed(value)), significant(&by_std));
        }

        #[test]
        fn reads_decimals_as_std_does(
            text in prop::collection::vec(prop::sample::select(&b"0015.e+-inf "[..]), 0..12)
        ) {
            let by_std = std::str::from_utf8(&text).unwrap().parse::<f64>().ok();
            if let Some(value) = parse_f64(&text) {
                prop_assert_eq!(Some(value.to_bits()), by_std.map(f64::to_bits));
            } else if let Some(value) = by_std {
                prop_assert!(value == 0.0 || !value.is_finite());
            }
        }

        #[test]
        fn reads_hex_exactly(mantissa in 1u64..1 << 53, exponent in -1074i32..=970, upper: bool) {
            let mut text = format!("{mantissa:#x}p{exponent}");
            if upper {
                text = text.to_uppercase();
            }
            // Two factors, as 2^-1074 times a denormal's reciprocal would leave the range.
            let half = exponent / 2;
            let expected = mantissa as f64 * 2f64.powi(half) * 2f64.powi(exponent - half);
            prop_assert_eq!(parse_f64(text.as_bytes()), Some(expected));
        }
    }
}
