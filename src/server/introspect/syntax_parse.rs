//! Reads the notation that [`super::syntax`] describes.

use super::syntax::{Argument, Kind};
use std::fmt;

/// What is wrong with a row's `args`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    what: &'static str,
    /// The rest of the text, from where it was noticed.
    at: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at '{}'", self.what, self.at)
    }
}

/// Parses a row's `args`; `key_specs` is the number of key specifications it has.
pub fn parse(text: &str, key_specs: usize) -> Result<Vec<Argument>, SyntaxError> {
    let mut parser = Parser { rest: text };
    let mut arguments = parser.sequence()?.arguments;
    if !parser.rest.trim_start().is_empty() {
        return Err(parser.error("unexpected"));
    }
    number_keys(&mut arguments, key_specs, &mut 0);
    Ok(arguments)
}

fn number_keys(arguments: &mut [Argument], key_specs: usize, next: &mut usize) {
    for argument in arguments {
        if argument.kind == Kind::Key {
            argument.key_spec =
                argument.key_spec.or(key_specs.checked_sub(1).map(|n| n.min(*next)));
            *next += 1;
        }
        number_keys(&mut argument.arguments, key_specs, next);
    }
}

struct Parser<'a> {
    rest: &'a str,
}

/// Arguments up to `|`, a closing bracket or the end.
struct Sequence {
    arguments: Vec<Argument>,
    /// It ended in ` ...`: the whole is repeated.
    repeated: bool,
}

/// What may follow a word or a group.
#[derive(Default)]
struct Suffix {
    key_spec: Option<usize>,
    since: Option<String>,
    deprecated_since: Option<String>,
    repeated: bool,
}

impl<'a> Parser<'a> {
    fn error(&self, what: &'static str) -> SyntaxError {
        SyntaxError { what, at: self.rest.to_string() }
    }

    /// The next character behind spaces.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, expected: &str) -> bool {
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn sequence(&mut self) -> Result<Sequence, SyntaxError> {
        let mut arguments: Vec<Argument> = Vec::new();
        // A token without a name of its own, which what follows may claim.
        let mut token_is_free = false;
        loop {
            match self.peek() {
                None | Some('|' | ')' | ']') => {
                    return Ok(Sequence { arguments, repeated: false });
                }
                Some('.') if self.take("...") => {
                    if arguments.is_empty() || !matches!(self.peek(), None | Some(')' | ']')) {
                        return Err(self.error("nothing to repeat"));
                    }
                    return Ok(Sequence { arguments, repeated: true });
                }
                Some(_) => {}
            }
            let is_option = self.rest.starts_with('[');
            let (argument, is_token) = self.element()?;
            if is_option && repeats(&mut arguments, &argument) {
                token_is_free = false;
                continue;
            }
            let claims = token_is_free && !is_option && !is_token && argument.token.is_none();
            match arguments.pop() {
                Some(before) if claims => {
                    arguments.push(Argument { token: before.token, ..argument });
                }
                before => {
                    arguments.extend(before);
                    arguments.push(argument);
                }
            }
            token_is_free = is_token;
        }
    }

    /// A word or a group; and whether it is a token that what follows may claim.
    fn element(&mut self) -> Result<(Argument, bool), SyntaxError> {
        let name = self.group_name();
        match self.peek() {
            Some('(') => Ok((self.group(name, ')', false)?, false)),
            Some('[') => Ok((self.group(name, ']', true)?, false)),
            _ => self.word(),
        }
    }

    /// The `name:` in front of a bracket.
    fn group_name(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)))?;
        let (name, rest) = self.rest.split_at(end);
        let rest = rest.strip_prefix(':')?;
        rest.starts_with(['(', '[']).then(|| {
            self.rest = rest;
            name
        })
    }

    fn group(
        &mut self,
        name: Option<&str>,
        close: char,
        optional: bool,
    ) -> Result<Argument, SyntaxError> {
        self.rest = &self.rest[1..];
        let first = self.sequence()?;
        let mut repeated = first.repeated;
        let mut alternatives = vec![self.whole(first)?];
        while self.peek() == Some('|') {
            self.rest = &self.rest[1..];
            let next = self.sequence()?;
            repeated |= next.repeated;
            alternatives.push(self.whole(next)?);
        }
        if self.peek() != Some(close) {
            return Err(self.error("bracket not closed"));
        }
        self.rest = &self.rest[1..];
        let suffix = self.suffix()?;
        let mut argument = if alternatives.len() == 1 {
            alternatives.remove(0)
        } else {
            let names: Vec<&str> = alternatives.iter().map(|a| a.name.as_str()).collect();
            let mut oneof = Argument::new(&names.join("-or-"), Kind::OneOf);
            oneof.arguments = alternatives;
            oneof
        };
        if let Some(name) = name {
            argument.name = name.to_string();
        }
        argument.multiple |= repeated;
        argument.optional |= optional;
        apply(&mut argument, suffix);
        Ok(argument)
    }

    /// A sequence as one argument.
    fn whole(&self, sequence: Sequence) -> Result<Argument, SyntaxError> {
        let Sequence { mut arguments, .. } = sequence;
        if arguments.is_empty() {
            return Err(self.error("empty group"));
        }
        if arguments.len() == 1 {
            return Ok(arguments.remove(0));
        }
        let mut block = Argument::new(&block_name(&arguments), Kind::Block);
        block.arguments = arguments;
        Ok(block)
    }

    fn word(&mut self) -> Result<(Argument, bool), SyntaxError> {
        let (name, body) = match self.plain(":/#@!") {
            Some(name) if self.take(":") => {
                (Some(name), self.body().ok_or_else(|| self.error("nothing behind ':'"))?)
            }
            Some(body) => (None, Body::of(body)),
            None => (None, self.body().ok_or_else(|| self.error("unexpected"))?),
        };
        let mut argument = match (name, body) {
            (Some(name), Body::Plain(kind)) => {
                let kind = Kind::named(kind).ok_or_else(|| self.error("no such type"))?;
                Argument::new(name, kind)
            }
            (None, Body::Plain(name)) => Argument::new(name, Kind::of(name)),
            (name, Body::Token(token)) => {
                let own = token.to_ascii_lowercase().replace(' ', "-");
                let name = name.unwrap_or(&own);
                if !name.contains(|c: char| c.is_ascii_alphanumeric()) {
                    return Err(self.error("a token without letters needs a name"));
                }
                let mut argument = Argument::new(name, Kind::PureToken);
                argument.token = Some(token.to_string());
                argument
            }
        };
        if self.take("/") {
            let display = self.plain("#@!").ok_or_else(|| self.error("no text behind '/'"))?;
            argument.display = Some(display.to_string());
        }
        let suffix = self.suffix()?;
        apply(&mut argument, suffix);
        let is_free = argument.kind == Kind::PureToken && name.is_none();
        Ok((argument, is_free))
    }

    /// Characters up to a space, a bracket, `...` or one of `ends`; none if there are none.
    fn plain(&mut self, ends: &str) -> Option<&'a str> {
        if self.rest.starts_with('\'') {
            return None;
        }
        let is_end = |c: char| c.is_whitespace() || "()[]|".contains(c) || ends.contains(c);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let end = self.rest[..end].find("...").unwrap_or(end);
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn body(&mut self) -> Option<Body<'a>> {
        if self.take("'") {
            let (token, rest) = self.rest.split_once('\'')?;
            self.rest = rest;
            return Some(Body::Token(token));
        }
        self.plain("/#@!").map(Body::of)
    }

    fn suffix(&mut self) -> Result<Suffix, SyntaxError> {
        let mut suffix = Suffix::default();
        loop {
            if self.take("...") {
                suffix.repeated = true;
                return Ok(suffix);
            } else if self.take("#") {
                let number = self.plain("@!").and_then(|n| n.parse().ok());
                suffix.key_spec = Some(number.ok_or_else(|| self.error("no number behind '#'"))?);
            } else if self.take("@") {
                let version = self.plain("!").ok_or_else(|| self.error("no version"))?;
                suffix.since = Some(version.to_string());
            } else if self.take("!") {
                let version = self.plain("@").ok_or_else(|| self.error("no version"))?;
                suffix.deprecated_since = Some(version.to_string());
            } else {
                return Ok(suffix);
            }
        }
    }
}

/// A word without what is around it.
enum Body<'a> {
    Token(&'a str),
    Plain(&'a str),
}

impl Body<'_> {
    fn of(text: &str) -> Body<'_> {
        if text.contains(|c: char| c.is_ascii_lowercase()) {
            Body::Plain(text)
        } else {
            Body::Token(text)
        }
    }
}

fn apply(argument: &mut Argument, suffix: Suffix) {
    argument.key_spec = suffix.key_spec.or(argument.key_spec);
    argument.since = suffix.since.or(argument.since.take());
    argument.deprecated_since = suffix.deprecated_since.or(argument.deprecated_since.take());
    if suffix.repeated {
        argument.multiple = true;
        // Behind brackets it repeats all that is in them.
        argument.multiple_token = argument.token.is_some();
    }
}

fn block_name(arguments: &[Argument]) -> String {
    match &arguments[0].token {
        Some(token) => token.to_ascii_lowercase(),
        None => arguments.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join("-"),
    }
}

/// The documentation writes "one or more" as `x [x ...]`: if `option` repeats what is before it
/// in this way, that is made into one argument.
fn repeats(arguments: &mut Vec<Argument>, option: &Argument) -> bool {
    if !option.multiple {
        return false;
    }
    let mut again = Argument { optional: false, multiple: false, ..option.clone() };
    let count = if again.kind == Kind::Block { again.arguments.len() } else { 1 };
    let Some(start) = arguments.len().checked_sub(count) else { return false };
    let once = &mut arguments[start..];
    if again.kind == Kind::Block {
        if once != again.arguments {
            return false;
        }
        arguments.truncate(start);
        arguments.push(Argument { multiple: true, ..again });
        return true;
    }
    let has_token = again.token.is_some();
    if !has_token {
        again.token = once[0].token.clone();
    }
    if once[0] != again {
        return false;
    }
    once[0].multiple = true;
    once[0].multiple_token = has_token;
    true
}
