//! The notation for replies in test scripts: reading it, showing a value in it, and whether a
//! value is what it says. `tests/scripts/README.md` describes it.
//!
//! An expectation states the RESP3 form. In RESP2 it stands for what that form falls back to: a
//! map for an array of keys and values, a double for a bulk string, and so on.

use std::fmt::Write;

use goredis::base::args;
use goredis::resp::read::Value;
use regex_lite::Regex;

/// What a reply should be.
#[derive(Clone, Debug)]
pub enum Expected {
    /// `_`: anything but an error.
    Any,
    /// `(none)`: no reply at all.
    None,
    /// `(closed)`: the server closes the connection.
    Closed,
    /// `(nil)`, which is `$-1` in RESP2.
    Nil,
    /// `(nil array)`, which is `*-1` in RESP2.
    NilArray,
    /// `+OK`
    Simple(Text),
    /// `-ERR text`
    Error(Text),
    /// `5`, or `5..10` for any of these.
    Int(i64, i64),
    /// `,1.5`
    Double(f64),
    /// `#t`, `#f`
    Bool(bool),
    /// `(big 123)`
    BigNumber(Vec<u8>),
    /// `"text"`
    Bulk(Text),
    /// `=txt"text"`
    Verbatim([u8; 3], Text),
    /// `[a b c]`, and `[a b ...]` if more may follow.
    Array(Items),
    /// `?[a b c]`: an array in any order.
    AnyOrder(Items),
    /// `~[a b c]`
    Set(Items),
    /// `%[key value key value]`, in any order of the keys.
    Map(Items),
    /// `>[a b c]`
    Push(Items),
    /// `|[key value] v`: a value with attributes, which RESP2 leaves away.
    Attributed(Items, Box<Expected>),
}

#[derive(Clone, Debug)]
pub struct Items {
    items: Vec<Expected>,
    /// Whether more than these may be there.
    more: bool,
}

/// A text, or a pattern for it.
#[derive(Clone, Debug)]
pub enum Text {
    Exactly(Vec<u8>),
    /// `/pattern/`
    Pattern(Regex),
}

/// Reads an expectation. `Ok(None)` if it goes on in the next line: a bracket is open.
pub fn parse(text: &str) -> Result<Option<Expected>, String> {
    let text = text.trim();
    let whole_line = |text: &str| match text.strip_prefix('/').and_then(|t| t.strip_suffix('/')) {
        Some(pattern) => regex(pattern),
        None if text.starts_with('"') => Parser { rest: text }.quoted().map(Text::Exactly),
        None => Ok(Text::Exactly(text.as_bytes().to_vec())),
    };
    if let Some(text) = text.strip_prefix('+') {
        return Ok(Some(Expected::Simple(whole_line(text)?)));
    }
    if let Some(text) =
        text.strip_prefix('-').filter(|t| !t.starts_with(|c: char| c.is_ascii_digit()))
    {
        return Ok(Some(Expected::Error(whole_line(text)?)));
    }
    let mut parser = Parser { rest: text };
    match parser.value() {
        Ok(expected) if parser.rest.trim().is_empty() => Ok(Some(expected)),
        Ok(_) => Err(format!("more than one value: {}", parser.rest)),
        Err(Problem::Unfinished) => Ok(None),
        Err(Problem::Wrong(what)) => Err(what),
    }
}

enum Problem {
    Unfinished,
    Wrong(String),
}

impl From<String> for Problem {
    fn from(what: String) -> Problem {
        Problem::Wrong(what)
    }
}

fn regex(pattern: &str) -> Result<Text, String> {
    // A text that is not UTF-8 is shown to the pattern with its bytes as Latin-1 characters.
    Regex::new(&format!("^(?s:{pattern})$")).map(Text::Pattern).map_err(|e| e.to_string())
}

type Build = fn(Items) -> Expected;

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Up to a blank or a bracket.
    fn word(&mut self) -> &str {
        let end = self.rest.find(|c: char| c.is_whitespace() || "[]".contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn value(&mut self) -> Result<Expected, Problem> {
        self.skip_blanks();
        let first = self.rest.chars().next().ok_or(Problem::Unfinished)?;
        let aggregates: [(&str, Build); 5] = [
            ("[", Expected::Array),
            ("?[", Expected::AnyOrder),
            ("~[", Expected::Set),
            ("%[", Expected::Map),
            (">[", Expected::Push),
        ];
        for (prefix, build) in aggregates {
            if self.take(prefix) {
                return self.items().map(build);
            }
        }
        if self.take("|[") {
            let attributes = self.items()?;
            return Ok(Expected::Attributed(attributes, Box::new(self.value()?)));
        }
        let words = [
            ("(nil array)", Expected::NilArray),
            ("(nil)", Expected::Nil),
            ("(none)", Expected::None),
            ("(closed)", Expected::Closed),
            ("#t", Expected::Bool(true)),
            ("#f", Expected::Bool(false)),
        ];
        for (word, expected) in words {
            if self.take(word) {
                return Ok(expected);
            }
        }
        if self.take("(big ") {
            let (digits, rest) = self.rest.split_once(')').ok_or("(big ".to_string())?;
            let digits = digits.as_bytes().to_vec();
            self.rest = rest;
            return Ok(Expected::BigNumber(digits));
        }
        match first {
            '"' | '/' => self.text().map(Expected::Bulk),
            '+' => self.tagged().map(Expected::Simple),
            '=' if self.rest.is_char_boundary(4) => {
                let format = self.rest.as_bytes()[1..4].try_into().unwrap();
                self.rest = &self.rest[4..];
                self.text().map(|text| Expected::Verbatim(format, text))
            }
            '-' if !self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.tagged().map(Expected::Error)
            }
            ',' => {
                let word = self.word();
                let number = word[1..].parse().map_err(|_| format!("no double: {word}"))?;
                Ok(Expected::Double(number))
            }
            _ => self.int_or_any(),
        }
    }

    fn int_or_any(&mut self) -> Result<Expected, Problem> {
        let word = self.word().to_string();
        if word == "_" {
            return Ok(Expected::Any);
        }
        let (low, high) = word.split_once("..").unwrap_or((&word, &word));
        match (low.parse(), high.parse()) {
            (Ok(low), Ok(high)) => Ok(Expected::Int(low, high)),
            _ => Err(Problem::Wrong(format!("no value: {word:?} before {:?}", self.rest))),
        }
    }

    /// What is behind `[`, its `]` included.
    fn items(&mut self) -> Result<Items, Problem> {
        let mut items = Items { items: Vec::new(), more: false };
        loop {
            self.skip_blanks();
            if self.rest.is_empty() {
                return Err(Problem::Unfinished);
            } else if self.take("]") {
                return Ok(items);
            } else if self.take("...") {
                items.more = true;
            } else {
                items.items.push(self.value()?);
            }
        }
    }

    /// A text behind a `+` or `-`: a word, in quotes, or a pattern.
    fn tagged(&mut self) -> Result<Text, Problem> {
        self.rest = &self.rest[1..];
        if self.rest.starts_with(['"', '/']) {
            return self.text();
        }
        Ok(Text::Exactly(self.word().as_bytes().to_vec()))
    }

    fn text(&mut self) -> Result<Text, Problem> {
        if self.rest.starts_with('"') {
            return Ok(Text::Exactly(self.quoted()?));
        }
        // A pattern ends at the first slash that has no backslash before it.
        let mut escaped = false;
        let end = self.rest[1..].find(|c| {
            let is_end = c == '/' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let end = end.ok_or_else(|| format!("no end of pattern: {}", self.rest))?;
        let pattern = self.rest[1..1 + end].replace("\\/", "/");
        self.rest = &self.rest[end + 2..];
        Ok(regex(&pattern)?)
    }

    fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let mut escaped = true;
        let end = self.rest.find(|c| {
            let is_end = c == '"' && !escaped;
            // The opening quote counts as escaped.
            escaped = c == '\\' && !escaped;
            is_end
        });
        let end = end.ok_or_else(|| format!("no end of string: {}", self.rest))?;
        let (string, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        args::split(string.as_bytes())
            .filter(|words| words.len() == 1)
            .map(|mut words| words.remove(0))
            .ok_or_else(|| format!("no string: {string}"))
    }
}

impl Text {
    fn matches(&self, bytes: &[u8]) -> bool {
        match self {
            Text::Exactly(expected) => expected == bytes,
            Text::Pattern(pattern) => match std::str::from_utf8(bytes) {
                Ok(text) => pattern.is_match(text),
                Err(_) => pattern.is_match(&bytes.iter().map(|b| *b as char).collect::<String>()),
            },
        }
    }
}

impl Expected {
    /// Whether the value is this, written in RESP3 or RESP2.
    pub fn matches(&self, value: &Value, resp3: bool) -> bool {
        match (self, value) {
            (Expected::Any, value) => !matches!(value, Value::Error(_)),
            (Expected::Nil | Expected::NilArray, Value::Null) => resp3,
            (Expected::Nil, Value::NullBulk) | (Expected::NilArray, Value::NullArray) => !resp3,
            (Expected::Simple(text), Value::Simple(got)) => text.matches(got),
            (Expected::Error(text), Value::Error(got)) => text.matches(got),
            (Expected::Bulk(text), Value::Bulk(got)) => text.matches(got),
            (Expected::Int(low, high), Value::Int(got)) => (low..=high).contains(&got),
            (Expected::Array(items), Value::Array(got)) => items.match_in_order(got, resp3),
            (Expected::AnyOrder(items), Value::Array(got)) => items.match_any_order(got, resp3),
            (expected, value) if resp3 => expected.matches_resp3(value),
            (expected, value) => expected.matches_fallback(value),
        }
    }

    fn matches_resp3(&self, value: &Value) -> bool {
        match (self, value) {
            (Expected::Double(x), Value::Double(got)) => x == got || x.is_nan() && got.is_nan(),
            (Expected::Bool(x), Value::Bool(got)) => x == got,
            (Expected::BigNumber(digits), Value::BigNumber(got)) => digits == got,
            (Expected::Verbatim(kind, text), Value::Verbatim { format, text: got }) => {
                kind == format && text.matches(got)
            }
            (Expected::Set(items), Value::Set(got)) => items.match_any_order(got, true),
            (Expected::Push(items), Value::Push(got)) => items.match_in_order(got, true),
            (Expected::Map(items), Value::Map(got)) => items.match_pairs(got, true),
            (Expected::Attributed(items, expected), Value::Attributed { attributes, value }) => {
                items.match_pairs(attributes, true) && expected.matches(value, true)
            }
            _ => false,
        }
    }

    /// What RESP3's types are in RESP2.
    fn matches_fallback(&self, value: &Value) -> bool {
        match (self, value) {
            (Expected::Double(x), Value::Bulk(got)) => {
                let got = std::str::from_utf8(got).ok().and_then(|text| text.parse::<f64>().ok());
                got.is_some_and(|got| *x == got || x.is_nan() && got.is_nan())
            }
            (Expected::Bool(x), Value::Int(got)) => *got == *x as i64,
            (Expected::BigNumber(digits), Value::Bulk(got)) => digits == got,
            (Expected::Verbatim(_, text), Value::Bulk(got)) => text.matches(got),
            (Expected::Set(items), Value::Array(got)) => items.match_any_order(got, false),
            (Expected::Push(items), Value::Array(got)) => items.match_in_order(got, false),
            (Expected::Map(items), Value::Array(got)) if got.len() % 2 == 0 => {
                let pairs = got.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
                items.match_pairs(&pairs.collect::<Vec<_>>(), false)
            }
            (Expected::Attributed(_, expected), value) => expected.matches(value, false),
            _ => false,
        }
    }
}

impl Items {
    fn fits(&self, len: usize) -> bool {
        self.items.len() == len || self.more && self.items.len() < len
    }

    fn match_in_order(&self, got: &[Value], resp3: bool) -> bool {
        self.fits(got.len())
            && self.items.iter().zip(got).all(|(expected, value)| expected.matches(value, resp3))
    }

    /// Each item takes the first value left that it matches. Scripts do not put patterns that
    /// match each other's values into such lists, so there is nothing to go back for.
    fn match_any_order(&self, got: &[Value], resp3: bool) -> bool {
        let mut left: Vec<&Value> = got.iter().collect();
        self.fits(got.len())
            && self.items.iter().all(|expected| {
                let found = left.iter().position(|value| expected.matches(value, resp3));
                found.map(|index| left.swap_remove(index)).is_some()
            })
    }

    fn match_pairs(&self, got: &[(Value, Value)], resp3: bool) -> bool {
        let mut left: Vec<&(Value, Value)> = got.iter().collect();
        self.items.len().is_multiple_of(2)
            && self.fits(got.len() * 2)
            && self.items.chunks(2).all(|pair| {
                let found = left.iter().position(|(key, value)| {
                    pair[0].matches(key, resp3) && pair[1].matches(value, resp3)
                });
                found.map(|index| left.swap_remove(index)).is_some()
            })
    }
}

/// The value in the notation.
pub fn show(value: &Value) -> String {
    match value {
        Value::Simple(text) if is_plain(text) => format!("+{}", String::from_utf8_lossy(text)),
        Value::Error(text) if is_plain(text) => format!("-{}", String::from_utf8_lossy(text)),
        other => show_inner(other),
    }
}

/// Whether a text is read back as it stands on a line.
fn is_plain(text: &[u8]) -> bool {
    let printable = text.iter().all(|byte| (b' '..=b'~').contains(byte));
    printable && !text.ends_with(b" ") && !text.starts_with(b"\"") && !text.starts_with(b"/")
}

fn show_inner(value: &Value) -> String {
    match value {
        Value::Null | Value::NullBulk => "(nil)".to_string(),
        Value::NullArray => "(nil array)".to_string(),
        Value::Simple(text) => format!("+{}", quoted(text)),
        Value::Error(text) => format!("-{}", quoted(text)),
        Value::Int(n) => n.to_string(),
        Value::Double(x) => format!(",{x}"),
        Value::Bool(true) => "#t".to_string(),
        Value::Bool(false) => "#f".to_string(),
        Value::BigNumber(digits) => format!("(big {})", String::from_utf8_lossy(digits)),
        Value::Bulk(bytes) => quoted(bytes),
        Value::Verbatim { format, text } => {
            format!("={}{}", String::from_utf8_lossy(format), quoted(text))
        }
        Value::Array(values) => list("[", values),
        Value::Set(values) => list("~[", values),
        Value::Push(values) => list(">[", values),
        Value::Map(pairs) => map("%[", pairs),
        Value::Attributed { attributes, value } => {
            format!("{} {}", map("|[", attributes), show_inner(value))
        }
    }
}

fn quoted(bytes: &[u8]) -> String {
    String::from_utf8(args::quote(bytes)).unwrap()
}

fn list(open: &str, values: &[Value]) -> String {
    let shown: Vec<String> = values.iter().map(show_inner).collect();
    layout(open, &shown, " ")
}

fn map(open: &str, pairs: &[(Value, Value)]) -> String {
    let pair = |(key, value): &(Value, Value)| format!("{} {}", show_inner(key), show_inner(value));
    let shown: Vec<String> = pairs.iter().map(pair).collect();
    layout(open, &shown, "  ")
}

/// On one line if it is short, else one item a line.
fn layout(open: &str, shown: &[String], separator: &str) -> String {
    let line = shown.join(separator);
    if line.len() < 90 && !line.contains('\n') {
        return format!("{open}{line}]");
    }
    let mut text = open.to_string();
    for item in shown {
        write!(text, "\n  {}", item.replace('\n', "\n  ")).unwrap();
    }
    text + "\n]"
}
