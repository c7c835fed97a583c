//! The grammar of C's `strtod` and `strtold`, applied to a whole text: no blanks around it,
//! nothing behind it.

use rustc_apfloat::Float;

/// A text that is a floating point number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal<'a> {
    pub(super) negative: bool,
    pub(super) form: Form<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form<'a> {
    /// `inf` or `infinity`, in any case.
    Infinity,
    /// All of the mantissa's digits are zero, whatever the exponent.
    Zero,
    /// Digits with a point or an exponent or both or none.
    Decimal(&'a str),
    /// `0x`, hex digits, perhaps a point, perhaps `p` and a power of two.
    Hex { text: &'a str, has_exponent: bool },
}

/// What the text is, or `None` if C would not take all of it for a number. NaN is none: Redis
/// refuses it wherever it reads a float.
pub(super) fn scan(text: &[u8]) -> Option<Literal<'_>> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let infinite = [b"inf".as_slice(), b"infinity"]
        .iter()
        .any(|spelling| unsigned.eq_ignore_ascii_case(spelling));
    let form = if infinite { Form::Infinity } else { scan_digits(unsigned)? };
    Some(Literal { negative, form })
}

impl Literal<'_> {
    /// The number in the format asked for, rounded to the nearest (ties to even), or `None` if it
    /// is out of the format's range: a finite number that became infinite, or another than zero
    /// that became zero.
    pub(super) fn convert<F: Float>(&self) -> Option<F> {
        let magnitude = match self.form {
            Form::Infinity => F::INFINITY,
            Form::Zero => F::ZERO,
            Form::Decimal(text) => in_range(text.parse().ok()?)?,
            Form::Hex { text, has_exponent: true } => in_range(text.parse().ok()?)?,
            // The converter insists on an exponent, C does not.
            Form::Hex { text, .. } => in_range(format!("{text}p0").parse().ok()?)?,
        };
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

fn in_range<F: Float>(number: F) -> Option<F> {
    number.is_finite_non_zero().then_some(number)
}

fn scan_digits(text: &[u8]) -> Option<Form<'_>> {
    let whole = std::str::from_utf8(text).ok()?;
    let hex = matches!(text, [b'0', b'x' | b'X', ..]);
    let is_digit = |byte: u8| if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let exponent_mark = if hex { b'p' } else { b'e' };

    let mut rest = if hex { &text[2..] } else { text };
    let (mut any_digit, mut any_point, mut zero) = (false, false, true);
    while let [byte, behind @ ..] = rest {
        match byte {
            b'.' if !any_point => any_point = true,
            byte if is_digit(*byte) => {
                any_digit = true;
                zero &= *byte == b'0';
            }
            _ => break,
        }
        rest = behind;
    }
    if !any_digit {
        return None;
    }
    let has_exponent = match rest {
        [] => false,
        [mark, exponent @ ..]
            if mark.eq_ignore_ascii_case(&exponent_mark) && is_exponent(exponent) =>
        {
            true
        }
        _ => return None,
    };
    Some(match (zero, hex) {
        (true, _) => Form::Zero,
        (false, true) => Form::Hex { text: whole, has_exponent },
        (false, false) => Form::Decimal(whole),
    })
}

fn is_exponent(text: &[u8]) -> bool {
    let digits = match text {
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    };
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_strtod_takes_whole() {
        let form = |text: &'static str| scan(text.as_bytes()).map(|literal| literal.form);
        for text in ["1", "1.", ".5", "1.5", "1e5", "1E+5", ".5e-05", "007", "1.e0"] {
            assert_eq!(form(text), Some(Form::Decimal(text)));
        }
        for text in ["0", "0.", ".0", "00", "0e5", "0.0e-99999", "0x0", "0x0p5", "0x.0"] {
            assert_eq!(form(text), Some(Form::Zero), "{text}");
        }
        for (text, has_exponent) in
            [("0x1", false), ("0XA.8", false), ("0x.8p1", true), ("0x1.P-1", true), ("0xe", false)]
        {
            assert_eq!(form(text), Some(Form::Hex { text, has_exponent }));
        }
        for text in ["inf", "Infinity", "INF"] {
            assert_eq!(form(text), Some(Form::Infinity), "{text}");
        }
        assert!(scan(b"-1").unwrap().negative && scan(b"-inf").unwrap().negative);
        assert!(!scan(b"+1").unwrap().negative);
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "-",
            "+",
            "+-1",
            ".",
            "e5",
            ".e5",
            "1e",
            "1e+",
            "1e5.",
            "1e5x",
            "1..",
            "1.2.3",
            " 1",
            "1 ",
            "1\0",
            "1_0",
            "1f",
            "0x",
            "0x.",
            "0xp1",
            "0x1p",
            "0x1g",
            "0x1e+1",
            "1p5",
            "nan",
            "-NaN",
            "nan(1)",
            "in",
            "infi",
            "infinityx",
            "١",
        ] {
            assert_eq!(scan(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(scan(b"1\xff"), None);
    }
}
