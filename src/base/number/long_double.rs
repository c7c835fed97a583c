//! The x87 `long double`, in software.
//!
//! INCRBYFLOAT and HINCRBYFLOAT calculate in C's `long double`, which on x86-64 is the x87's
//! 80-bit format: 64 bits of mantissa, exponents up to 2^16383. Its results are stored and
//! replicated as text, so another format would print other digits: 0.1 + 0.2 is `0.3` in it, and
//! `0.30000000000000004` in doubles.

use std::ops::Add;

use rustc_apfloat::ieee::{Double, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert, Round};

use super::{literal, push_i64};

/// As long as Redis lets a number's text be, in bytes: it copies it into a buffer of 5 KiB with a
/// NUL at its end.
const TEXT_MAX: usize = 5 * 1024 - 1;

/// Decimals after the point in [`LongDouble::to_human`].
const DECIMALS: usize = 17;
const TEN_TO_DECIMALS: u128 = 10u128.pow(DECIMALS as u32);

/// A number in the x87's extended format.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct LongDouble(X87DoubleExtended);

impl From<f64> for LongDouble {
    fn from(value: f64) -> LongDouble {
        let double = Double::from_bits(value.to_bits().into());
        LongDouble(double.convert(&mut false).value)
    }
}

impl LongDouble {
    /// Reads a number as Redis does: anything that C's `strtold` takes as a whole (also hex and
    /// `inf`), but no blanks, no NaN, nothing so large or small that it would become infinite or
    /// zero, and nothing of 5 KiB or more.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() > TEXT_MAX {
            return None;
        }
        literal::scan(text)?.convert().map(LongDouble)
    }

    /// Whether this is neither infinite nor NaN.
    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }

    /// Whether this is not a number, as infinity minus infinity is.
    pub fn is_nan(self) -> bool {
        self.0.is_nan()
    }

    /// So many seconds in milliseconds, rounded up; what is below an `i64` becomes its least.
    /// None for what is above, or not a number.
    pub fn to_milliseconds(self) -> Option<i64> {
        let ms = (self.0 * X87DoubleExtended::from_u128(1000).value).value;
        let rounded = ms.to_i128_r(128, Round::TowardPositive, &mut false).value;
        if self.is_nan() || (ms.is_infinite() && !ms.is_negative()) {
            return None;
        }
        match i64::try_from(rounded) {
            Ok(ms) => Some(ms),
            Err(_) => ms.is_negative().then_some(i64::MIN),
        }
    }

    /// The number as Redis prints it for people: C's `%.17Lf` without the zeros at its end, never
    /// with an exponent, and `0` for what is printed as minus zero. At most 4,952 bytes.
    pub fn to_human(self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.is_nan() {
            return b"nan".to_vec();
        }
        if self.0.is_negative() {
            out.push(b'-');
        }
        if self.0.is_infinite() {
            out.extend_from_slice(b"inf");
            return out;
        }
        let (mantissa, exponent) = self.mantissa_and_exponent();
        if exponent >= 0 {
            push_shifted(&mut out, mantissa, exponent.unsigned_abs());
        } else {
            push_fixed(&mut out, rounded_decimals(mantissa, exponent.unsigned_abs()));
        }
        if out == b"-0" {
            out.remove(0);
        }
        out
    }

    /// The magnitude of a finite number as `mantissa * 2^exponent`.
    fn mantissa_and_exponent(self) -> (u64, i32) {
        // Bits 0 to 63 are the mantissa, its leading 1 included; then 15 bits of exponent, biased
        // by 16383; then the sign (Intel's manual, volume 1, 4.2.2).
        let bits = self.0.to_bits();
        let biased = (bits >> 64) as i32 & 0x7fff;
        // Denormal numbers have 0 there, and the exponent of 1.
        (bits as u64, biased.max(1) - 16383 - 63)
    }
}

impl Add for LongDouble {
    type Output = LongDouble;

    /// The sum, rounded to the nearest (ties to even). It may be infinite or NaN.
    fn add(self, other: LongDouble) -> LongDouble {
        LongDouble((self.0 + other.0).value)
    }
}

/// `mantissa / 2^shift` in units of 10^-17, to the nearest, ties to even: glibc's rounding.
fn rounded_decimals(mantissa: u64, shift: u32) -> u128 {
    // 64 bits times 57 bits: it fits.
    let scaled = u128::from(mantissa) * TEN_TO_DECIMALS;
    if shift >= 128 {
        // Far below half a unit.
        return 0;
    }
    let (units, rest) = (scaled >> shift, scaled & ((1 << shift) - 1));
    let half = 1 << (shift - 1);
    units + u128::from(rest > half || rest == half && units & 1 == 1)
}

/// Appends a count of 10^-17 as a decimal number without zeros at its end.
fn push_fixed(out: &mut Vec<u8>, units: u128) {
    let (whole, mut fraction) = (units / TEN_TO_DECIMALS, units % TEN_TO_DECIMALS);
    out.extend_from_slice(whole.to_string().as_bytes());
    if fraction == 0 {
        return;
    }
    let mut width = DECIMALS;
    while fraction % 10 == 0 {
        fraction /= 10;
        width -= 1;
    }
    out.extend_from_slice(format!(".{fraction:0width$}").as_bytes());
}

/// Appends `mantissa * 2^shift` in full, up to 4,933 digits.
fn push_shifted(out: &mut Vec<u8>, mantissa: u64, shift: u32) {
    const LIMB: u64 = 1_000_000_000;
    // A limb shifted by this much, and a carry, still fit 64 bits.
    const STEP: u32 = 34;
    // Nine decimal digits each, the lowest first.
    let mut limbs = vec![mantissa % LIMB, mantissa / LIMB % LIMB, mantissa / LIMB / LIMB];
    let mut left = shift;
    while left > 0 {
        let step = left.min(STEP);
        let mut carry = 0;
        for limb in &mut limbs {
            let shifted = (*limb << step) + carry;
            (*limb, carry) = (shifted % LIMB, shifted / LIMB);
        }
        while carry > 0 {
            limbs.push(carry % LIMB);
            carry /= LIMB;
        }
        left -= step;
    }
    while limbs.len() > 1 && limbs.last() == Some(&0) {
        limbs.pop();
    }
    let mut limbs = limbs.iter().rev();
    if let Some(highest) = limbs.next() {
        push_i64(out, *highest as i64);
    }
    for limb in limbs {
        out.extend_from_slice(format!("{limb:09}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SET k a, INCRBYFLOAT k b: the new value, or why there is none.
    fn incremented(a: &str, b: &str) -> Result<String, &'static str> {
        let parse = |text: &str| LongDouble::parse(text.as_bytes()).ok_or("not a float");
        let sum = parse(a)? + parse(b)?;
        if !sum.is_finite() {
            return Err("not finite");
        }
        Ok(String::from_utf8(sum.to_human()).unwrap())
    }

    #[test]
    fn increments_as_redis_does() {
        // Each result is redis-server 7.0.15's on x86-64.
        for (a, b, expected) in [
            ("3.0e3", "200", Ok("3200")),
            ("10.5", "0.1", Ok("10.6")),
            ("0.1", "0.2", Ok("0.3")),
            ("1", "-1", Ok("0")),
            ("0.3", "-0.3", Ok("0")),
            ("-0.1", "0.1", Ok("0")),
            ("-0", "0", Ok("0")),
            ("-0.0", "-0", Ok("0")),
            ("+5", "-2.5", Ok("2.5")),
            (".5", "5.", Ok("5.5")),
            ("17179869184.5", "-0.5", Ok("17179869184")),
            ("-9007199254740993.5", "0.25", Ok("-9007199254740993.25")),
            ("123456789012345678", "0.5", Ok("123456789012345678.5")),
            ("3.14159265358979323846", "1e-10", Ok("3.14159265368979324")),
            ("9223372036854775807", "1", Ok("9223372036854775808")),
            ("18446744073709551615", "1", Ok("18446744073709551616")),
            ("18446744073709551616", "1", Ok("18446744073709551616")),
            // Below the last decimal, and halfway between two.
            ("1e-17", "0", Ok("0.00000000000000001")),
            ("4e-18", "0", Ok("0")),
            ("-1e-18", "0", Ok("0")),
            ("3.6e-4951", "0", Ok("0")),
            ("0.000000000000000005", "0", Ok("0")),
            ("1.000000000000000005", "0", Ok("1")),
            ("0x1p-18", "0", Ok("0.00000381469726562")),
            ("0x3p-18", "0", Ok("0.00001144409179688")),
            ("0x5p-18", "0", Ok("0.00001907348632812")),
            // Hex.
            ("0x10", "0x.8", Ok("16.5")),
            ("0xA.8p-1", "1", Ok("6.25")),
            // Far apart, and at the edges of the range.
            ("1e30", "1e-17", Ok("1000000000000000000024696061952")),
            ("0e9999999999", "0", Ok("0")),
            ("1e4932", "1e4932", Err("not finite")),
            ("inf", "1", Err("not finite")),
            ("-Infinity", "1", Err("not finite")),
            ("inf", "-inf", Err("not finite")),
            ("1e4933", "0", Err("not a float")),
            ("1e-4960", "0", Err("not a float")),
            ("1e9999999999", "1", Err("not a float")),
            ("1e-9999999999", "1", Err("not a float")),
            ("0x1p99999999999999999999", "1", Err("not a float")),
            ("0x1p-99999999999999999999", "1", Err("not a float")),
            // No numbers.
            ("", "1", Err("not a float")),
            (" 1", "1", Err("not a float")),
            ("1 ", "1", Err("not a float")),
            ("1_0", "1", Err("not a float")),
            ("nan", "1", Err("not a float")),
        ] {
            assert_eq!(incremented(a, b).as_deref(), expected.as_ref().copied(), "{a:?} + {b:?}");
        }
    }

    #[test]
    fn huge_numbers_are_printed_in_full() {
        // From redis-server 7.0.15: the length and both ends of what it answers.
        for (a, b, len, head, tail) in [
            ("1e308", "1", 308, "99999999999999999996", "28255046343928578048"),
            ("1e308", "1e308", 309, "19999999999999999999", "56510092687857156096"),
            ("1e4000", "0", 4000, "99999999999999999999", "06648276349901340672"),
            ("1e4932", "0", 4933, "10000000000000000000", "38418113791886622720"),
        ] {
            let text = incremented(a, b).unwrap();
            assert_eq!(text.len(), len);
            assert!(text.starts_with(head) && text.ends_with(tail), "{text}");
        }
    }

    #[test]
    fn texts_may_be_as_long_as_in_redis() {
        let nines = |len: usize| format!("0.{}", "9".repeat(len - 2));
        assert_eq!(incremented(&nines(5119), "1").as_deref(), Ok("2"));
        assert_eq!(incremented(&nines(5120), "1"), Err("not a float"));
        let long = "0".repeat(5000);
        assert_eq!(incremented(&format!("1{long}e-5000"), "0").as_deref(), Ok("1"));
        assert_eq!(incremented(&format!("0x.{long}1p20004"), "0").as_deref(), Ok("1"));
    }

    #[test]
    fn prints_what_is_not_finite() {
        let number = |text: &str| LongDouble::parse(text.as_bytes()).unwrap();
        assert_eq!(number("inf").to_human(), b"inf");
        assert_eq!(number("-inf").to_human(), b"-inf");
        let nan = number("inf") + number("-inf");
        assert!(nan.is_nan() && !nan.is_finite() && !number("inf").is_nan());
        assert_eq!(nan.to_human(), b"nan");
    }

    fn human(text: &str) -> String {
        String::from_utf8(LongDouble::parse(text.as_bytes()).unwrap().to_human()).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_typed_comes_back(whole in 0u32..90, fraction in 0u64..10u64.pow(17)) {
            // Up to here 64 bits of mantissa are finer than half of the last decimal.
            let typed = format!("{whole}.{fraction:017}");
            let expected = typed.trim_end_matches('0').trim_end_matches('.');
            prop_assert_eq!(human(&typed), expected);
        }

        #[test]
        fn fractions_are_rounded_to_even(mantissa: u64, shift in 1u32..63, negative: bool) {
            // The model: long division, digit after digit.
            let below = |rest: u128| rest & ((1 << shift) - 1);
            let mut rest = below(u128::from(mantissa));
            let mut units = u128::from(mantissa) >> shift;
            for _ in 0..17 {
                units = units * 10 + ((rest * 10) >> shift);
                rest = below(rest * 10);
            }
            let twice = rest * 2;
            units += u128::from(twice > 1 << shift || twice == 1 << shift && units % 2 == 1);
            let digits = format!("{units:018}");
            let (whole, fraction) = digits.split_at(digits.len() - 17);
            let expected = format!("{whole}.{fraction}");
            let expected = expected.trim_end_matches('0').trim_end_matches('.');
            let sign = if negative { "-" } else { "" };
            let expected = if expected == "0" { "0".into() } else { format!("{sign}{expected}") };
            prop_assert_eq!(human(&format!("{sign}{mantissa:#x}p-{shift}")), expected);
        }

        #[test]
        fn whole_numbers_are_exact(mantissa: u64, shift in 0u32..=64) {
            let expected = (u128::from(mantissa) << shift).to_string();
            prop_assert_eq!(human(&format!("{mantissa:#x}p{shift}")), expected);
        }

        #[test]
        fn powers_of_two_double(shift in 64u32..16383) {
            // Adding a number to its own decimal text, digit by digit, is independent of limbs.
            let mut carry = 0;
            let mut doubled: Vec<u8> = human(&format!("0x1p{shift}"))
                .bytes()
                .rev()
                .map(|digit| {
                    let sum = (digit - b'0') * 2 + carry;
                    carry = sum / 10;
                    b'0' + sum % 10
                })
                .collect();
            doubled.extend((carry > 0).then_some(b'1'));
            doubled.reverse();
            let next = shift + 1;
            prop_assume!(next < 16384);
            prop_assert_eq!(human(&format!("0x1p{next}")).into_bytes(), doubled);
        }

        #[test]
        fn any_text_is_taken(
            text in prop::collection::vec(prop::sample::select(&b"0019afx.pe+-"[..]), 0..24)
        ) {
            if let Some(number) = LongDouble::parse(&text) {
                let human = number.to_human();
                prop_assert!(human.len() <= 4952);
                prop_assert!(LongDouble::parse(&human).is_some());
            }
        }
    }

    #[test]
    fn seconds_become_milliseconds_rounded_up() {
        let ms = |text: &str| LongDouble::parse(text.as_bytes()).unwrap().to_milliseconds();
        assert_eq!(ms("0"), Some(0));
        assert_eq!(ms("0.001"), Some(1));
        assert_eq!(ms("0.0001"), Some(1));
        assert_eq!(ms("1.5"), Some(1500));
        assert_eq!(ms("-0.5"), Some(-500));
        assert_eq!(ms("-1e300"), Some(i64::MIN));
        assert_eq!(ms("9223372036854775"), Some(9_223_372_036_854_775_000));
        assert_eq!(ms("9223372036854776"), None);
        assert_eq!(ms("inf"), None);
    }
}
