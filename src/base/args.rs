//! Lines of arguments with quotes, as Redis takes them: inline commands and configuration files.
//! Knows neither commands nor directives.
//!
//! Arguments are separated by blanks. `"..."` holds anything; inside it `\n \r \t \b \a` and `\x`
//! with two hex digits stand for bytes, and a backslash before anything else for that byte.
//! `'...'` holds anything as it is, except that `\'` is a quote. Quotes may open in the middle of
//! an argument, but where they close, the argument ends.

/// The arguments of a line, or `None` if a quote is not closed, or closed inside an argument.
///
/// The line ends at its first NUL byte, if it has one: in Redis it is a C string.
pub fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let end = memchr::memchr(0, line).unwrap_or(line.len());
    let mut rest = &line[..end];
    let mut args = Vec::new();
    loop {
        let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Some(args);
        }
        let mut arg = Vec::new();
        rest = take_arg(rest, &mut arg)?;
        args.push(arg);
    }
}

/// Appends the argument that starts here to `arg`; what is behind it.
fn take_arg<'a>(mut rest: &'a [u8], arg: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            // Vertical tab and form feed separate arguments, but do not end one: Redis's rule.
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some(rest),
            [b'"', quoted @ ..] => return take_double_quoted(quoted, arg).and_then(closed),
            [b'\'', quoted @ ..] => return take_single_quoted(quoted, arg).and_then(closed),
            [byte, behind @ ..] => {
                arg.push(*byte);
                behind
            }
        }
    }
}

/// What is behind a closing quote, if that is a blank or nothing.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|byte| is_space(*byte)).then_some(rest)
}

fn take_double_quoted<'a>(mut rest: &'a [u8], arg: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, behind) = match rest {
            [] => return None,
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', b'x', high, low, behind @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex_value(*high) << 4 | hex_value(*low), behind)
            }
            [b'\\', escaped, behind @ ..] => (unescape(*escaped), behind),
            [byte, behind @ ..] => (*byte, behind),
        };
        arg.push(byte);
        rest = behind;
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], arg: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, behind) = match rest {
            [] => return None,
            [b'\'', behind @ ..] => return Some(behind),
            [b'\\', b'\'', behind @ ..] => (b'\'', behind),
            [byte, behind @ ..] => (*byte, behind),
        };
        arg.push(byte);
        rest = behind;
    }
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// The value of a byte known to be a hex digit.
fn hex_value(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { digit.to_ascii_lowercase() - b'a' + 10 }
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The bytes in double quotes, printable, such that [`split`] gives them back. MONITOR, the log
/// and CONFIG REWRITE show arguments in this form.
pub fn quote(bytes: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(bytes.len() + 2);
    quoted.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => quoted.extend([b'\\', byte]),
            b'\n' => quoted.extend(b"\\n"),
            b'\r' => quoted.extend(b"\\r"),
            b'\t' => quoted.extend(b"\\t"),
            0x07 => quoted.extend(b"\\a"),
            0x08 => quoted.extend(b"\\b"),
            b' '..=b'~' => quoted.push(byte),
            _ => {
                let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
                quoted.extend([b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_as_redis_does() {
        let cases: &[(&str, Option<&[&str]>)] = &[
            ("", Some(&[])),
            (" \t\r\n", Some(&[])),
            ("ping", Some(&["ping"])),
            ("  set  key\tvalue \r", Some(&["set", "key", "value"])),
            (r#"set "a key" 'a value'"#, Some(&["set", "a key", "a value"])),
            (r#""" ''"#, Some(&["", ""])),
            // Quotes in the middle of an argument open, and it ends where they close.
            (r#"foo"bar baz""#, Some(&["foobar baz"])),
            (r#"a'b c' d"#, Some(&["ab c", "d"])),
            // Escapes.
            (r#""\n\r\t\b\a""#, Some(&["\n\r\t\u{8}\u{7}"])),
            (r#""\x41\x6a\x4A""#, Some(&["AjJ"])),
            (r#""\x4g\q\\\"""#, Some(&["x4gq\\\""])),
            (r#"'\n\'\\ '"#, Some(&[r"\n'\\ "])),
            (r#"'\\'"#, None),
            (r"a\nb\", Some(&[r"a\nb\"])),
            // Vertical tab and form feed: before an argument, but not to its end.
            ("\u{b}\u{c}a\u{b}b", Some(&["a\u{b}b"])),
            ("\"a\"\u{c}b", Some(&["a", "b"])),
            // The line ends at a NUL.
            ("a b\0c d", Some(&["a", "b"])),
            ("\"a\0\"", None),
            ("\"a\"\0b", Some(&["a"])),
            // Not balanced.
            (r#""abc"#, None),
            (r#"'abc"#, None),
            (r#"ok "abc\"#, None),
            (r#""abc\""#, None),
            (r#"""""#, None),
            (r#""a"b"#, None),
            (r#"'a'b"#, None),
            (r#""a"'b'"#, None),
        ];
        for (line, expected) in cases {
            let expected = expected
                .map(|args| args.iter().map(|arg| arg.as_bytes().to_vec()).collect::<Vec<_>>());
            assert_eq!(split(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn quotes_as_redis_does() {
        assert_eq!(quote(b""), br#""""#);
        assert_eq!(quote(b"a b'c~"), br#""a b'c~""#);
        assert_eq!(quote(b"\\\"\n\r\t\x07\x08"), br#""\\\"\n\r\t\a\b""#);
        assert_eq!(quote(b"\0\x1f\x7f\xff"), br#""\x00\x1f\x7f\xff""#);
    }

    proptest! {
        #[test]
        fn what_was_quoted_comes_back(args: Vec<Vec<u8>>) {
            let line: Vec<Vec<u8>> = args.iter().map(|arg| quote(arg)).collect();
            prop_assert!(line.iter().flatten().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert_eq!(split(&line.join(&b' ')), Some(args));
        }

        #[test]
        fn single_quotes_bring_back_what_has_no_quote_or_backslash(
            arg in prop::collection::vec(1u8.., 0..20)
        ) {
            let arg: Vec<u8> = arg.into_iter().filter(|byte| !b"'\\".contains(byte)).collect();
            let line = [b"'", &arg[..], b"'"].concat();
            prop_assert_eq!(split(&line), Some(vec![arg]));
        }

        #[test]
        fn any_line_is_taken(
            line in prop::collection::vec(prop::sample::select(&b"ab \"'\\x4n\t\0\xff"[..]), 0..30)
        ) {
            if let Some(args) = split(&line) {
                let len: usize = args.iter().map(Vec::len).sum();
                prop_assert!(len <= line.len());
            }
        }
    }
}
