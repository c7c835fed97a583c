//! CONFIG GET and CONFIG SET: the texts and rules of the commands, without clients or replies.

use std::fmt;

use super::lookup;
use super::table::{Config, Directive, TABLE};
use super::values::{Allowed, Input, Place, Refusal};

/// The circumstances of a CONFIG SET.
#[derive(Clone, Copy, Debug)]
pub struct SetContext {
    /// The client is on this machine; `enable-protected-configs local` asks for that.
    pub local: bool,
    /// The data is still being loaded.
    pub loading: bool,
}

/// What a CONFIG SET changed.
#[derive(Debug)]
pub struct Changed {
    /// Names (the first ones of their rows) of what has another value now, and of files that were
    /// named again. In the order they were given.
    pub names: Vec<&'static str>,
    /// The configuration before: to be put back when something cannot be applied.
    pub previous: Box<Config>,
}

/// Why a CONFIG SET changed nothing. Displays as the error reply, without the leading `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    Unknown { name: Vec<u8> },
    Failed { name: Vec<u8>, reason: Refusal },
    Loading,
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(
                f,
                "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                String::from_utf8_lossy(name)
            ),
            Self::Failed { name, reason } => write!(
                f,
                "ERR CONFIG SET failed (possibly related to argument '{}') - {reason}",
                String::from_utf8_lossy(name)
            ),
            Self::Loading => f.write_str("LOADING Redis is loading the dataset in memory"),
        }
    }
}

impl SetError {
    /// The error for a change that was accepted and could not be applied. `name` is the
    /// directive's, `reason` goes to the client.
    pub fn not_applied(name: &str, reason: impl Into<Refusal>) -> Self {
        Self::Failed { name: name.into(), reason: reason.into() }
    }
}

impl Config {
    /// Names and values that CONFIG GET answers with. `matches(pattern, name)` is asked about
    /// patterns with `[`, `*` or `?` in them; others are names, and shown as they were written.
    pub fn get(
        &self,
        patterns: &[&[u8]],
        matches: &dyn Fn(&[u8], &[u8]) -> bool,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |name: &[u8], directive: &Directive| {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.push((name.to_vec(), (directive.show)(self, &directive.kind)));
            }
        };
        for &pattern in patterns {
            if !pattern.iter().any(|byte| matches!(byte, b'[' | b'*' | b'?')) {
                if let Some(directive) = lookup(pattern).filter(|row| !row.is_declaration()) {
                    add(pattern, directive);
                }
                continue;
            }
            let shown = TABLE.iter().filter(|row| !row.traits.hidden && !row.is_declaration());
            for directive in shown {
                for name in directive.names().filter(|name| matches(pattern, name.as_bytes())) {
                    add(name.as_bytes(), directive);
                }
            }
        }
        found
    }

    /// CONFIG SET: all of the pairs of name and value, or none of them.
    ///
    /// The caller applies what has changed; if it cannot, it puts [`Changed::previous`] back.
    pub fn set(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        context: SetContext,
    ) -> Result<Changed, SetError> {
        let rows = self.find_settable(pairs, context)?;
        let mut new = Box::new(self.clone());
        for (row, (name, value)) in rows.iter().zip(pairs) {
            new.set_one(row, value)
                .map_err(|reason| SetError::Failed { name: name.to_ascii_lowercase(), reason })?;
        }
        let changed = |row: &&&Directive| !(row.same)(self, &new) || row.traits.names_file;
        let names = rows.iter().filter(changed).map(|row| row.name).collect();
        std::mem::swap(self, &mut new);
        Ok(Changed { names, previous: new })
    }

    /// The rows of the pairs, or what is wrong with the first wrong pair.
    fn find_settable(
        &self,
        pairs: &[(&[u8], &[u8])],
        context: SetContext,
    ) -> Result<Vec<&'static Directive>, SetError> {
        let mut rows: Vec<&'static Directive> = Vec::new();
        for (name, _) in pairs {
            let row = lookup(name).filter(|row| !row.is_declaration());
            let row = row.ok_or_else(|| SetError::Unknown { name: name.to_vec() })?;
            let failed = |reason: &'static str| {
                Err(SetError::Failed { name: name.to_vec(), reason: reason.into() })
            };
            if !row.traits.runtime {
                return failed("can't set immutable config");
            }
            if row.traits.protected && !self.may_set_protected(context) {
                return failed("can't set protected config");
            }
            if row.traits.not_while_loading && context.loading {
                return Err(SetError::Loading);
            }
            if rows.iter().any(|known| known.name == row.name) {
                return failed("duplicate parameter");
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn may_set_protected(&self, context: SetContext) -> bool {
        match self.enable_protected_configs {
            Allowed::No => false,
            Allowed::Yes => true,
            Allowed::Local => context.local,
        }
    }

    fn set_one(&mut self, row: &Directive, value: &[u8]) -> Result<(), Refusal> {
        // Unlike in a file, neither quotes nor runs of spaces mean anything here.
        let words: Vec<Vec<u8>> = if !row.takes_words() {
            vec![value.to_vec()]
        } else if value.is_empty() {
            Vec::new()
        } else {
            value.split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect()
        };
        let input = Input { words: &words, place: &Place::Client, again: false };
        (row.assign)(self, &row.kind, &input)
    }
}
