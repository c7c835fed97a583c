//! One set of permissions: commands, keys and channels that belong together. A user has one of its
//! own, and perhaps more; a command is allowed if one of them allows all of it.
//!
//! Rules about commands are compiled into a bit for each command when they are given. Their texts
//! are kept beside the bits, in order, since the bits alone cannot tell how they came about.

use super::missing;
use super::rule::{RuleError, has_spaces};
use crate::base::glob;
use crate::server::command::{CommandTable, Entry};
use crate::server::introspect::categories;
use std::collections::BTreeMap;

/// What may be done with a key: these bits together.
pub const READ: u8 = 1 << 0;
pub const WRITE: u8 = 1 << 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    pub access: u8,
    pub pattern: Box<[u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// A bit for each command and subcommand, by its id.
    commands: Box<[u64]>,
    /// It began with all commands, so that those of later versions are allowed, too.
    from_all: bool,
    /// All commands are allowed, and none was ever taken away.
    all_commands: bool,
    /// By the id of a command that is not allowed as such: what its first argument may be.
    first_args: BTreeMap<usize, Vec<Box<[u8]>>>,
    /// The rules about commands since the last that was about all of them: `+get`, `-@set`.
    rules: Vec<Box<[u8]>>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Box<[u8]>>,
}

/// What the name in a rule stands for.
enum Named {
    Command(&'static Entry),
    /// A command of Redis that this server does not have yet.
    Missing,
}

impl Selector {
    /// Nothing is allowed, except perhaps all channels.
    pub fn new(commands: &CommandTable, all_channels: bool) -> Selector {
        Selector {
            commands: vec![0; commands.ids().div_ceil(64)].into(),
            from_all: false,
            all_commands: false,
            first_args: BTreeMap::new(),
            rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    /// Nothing at all is refused.
    pub fn is_unlimited(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    pub fn has_all_keys(&self) -> bool {
        self.all_keys
    }

    pub fn has_all_channels(&self) -> bool {
        self.all_channels
    }

    pub fn channels(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.iter().map(|pattern| &**pattern)
    }

    /// Changes what is allowed.
    ///
    /// # Errors
    /// The rule makes no sense; nothing has changed.
    pub fn apply(&mut self, rule: &[u8], commands: &CommandTable) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => {
                self.all_keys = true;
                self.keys.clear();
            }
            b"resetkeys" => {
                self.all_keys = false;
                self.keys.clear();
            }
            b"allchannels" | b"&*" => {
                self.all_channels = true;
                self.channels.clear();
            }
            b"resetchannels" => {
                self.all_channels = false;
                self.channels.clear();
            }
            b"allcommands" | b"+@all" => self.set_all(true),
            b"nocommands" | b"-@all" => self.set_all(false),
            [b'~' | b'%', ..] => return self.add_keys(rule),
            [b'&', ..] => return self.add_channel(&rule[1..]),
            [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                return self.set_category(category, *sign == b'+', commands);
            }
            [b'+', name @ ..] => return self.allow(name, commands),
            [b'-', name @ ..] => match lookup(name, commands)? {
                Named::Command(entry) => {
                    self.set(entry, false);
                    self.remember(entry.full_name.as_bytes(), false);
                }
                Named::Missing => self.remember(name, false),
            },
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    fn set_all(&mut self, allowed: bool) {
        self.commands.fill(if allowed { u64::MAX } else { 0 });
        (self.from_all, self.all_commands) = (allowed, allowed);
        self.first_args.clear();
        self.rules.clear();
    }

    fn set_bit(&mut self, id: usize, allowed: bool) {
        let (word, bit) = (&mut self.commands[id / 64], 1 << (id % 64));
        if allowed {
            *word |= bit;
        } else {
            *word &= !bit;
            self.all_commands = false;
        }
    }

    /// A container's subcommands go with it.
    fn set(&mut self, entry: &Entry, allowed: bool) {
        self.set_bit(entry.id, allowed);
        self.first_args.remove(&entry.id);
        entry.subcommands().for_each(|subcommand| self.set_bit(subcommand.id, allowed));
    }

    /// `category` is in lower case.
    fn set_category(
        &mut self,
        category: &[u8],
        allowed: bool,
        commands: &CommandTable,
    ) -> Result<(), RuleError> {
        let named = categories::NAMES.into_iter().find(|name| name.as_bytes() == category);
        let name = named.ok_or(RuleError::Unknown)?;
        for entry in commands.originals_with_subcommands() {
            if categories::is_in(entry.command, name) {
                self.set(entry, allowed);
            }
        }
        self.remember(&[b"@", category].concat(), allowed);
        Ok(())
    }

    /// `name` is in lower case, as `get`, `config|get`, or with a first argument `select|0`.
    fn allow(&mut self, name: &[u8], commands: &CommandTable) -> Result<(), RuleError> {
        let Some(bar) = memchr::memrchr(b'|', name) else {
            match lookup(name, commands)? {
                Named::Command(entry) => self.set(entry, true),
                Named::Missing => {}
            }
            self.remember(name, true);
            return Ok(());
        };
        let (command, second) = (&name[..bar], &name[bar + 1..]);
        match lookup(command, commands)? {
            Named::Command(_) | Named::Missing if command.contains(&b'|') => {
                return Err(RuleError::FirstArgOfSubcommand);
            }
            _ if second.is_empty() => return Err(RuleError::Syntax),
            Named::Missing if missing::is_container(command) => {
                lookup(name, commands)?;
            }
            Named::Command(entry) if entry.is_container() => {
                if let Named::Command(subcommand) = lookup(name, commands)? {
                    self.set(subcommand, true);
                }
            }
            // A blank would end the rule where it is read again.
            _ if has_spaces(second) => return Err(RuleError::Syntax),
            Named::Command(entry) => {
                let first_args = self.first_args.entry(entry.id).or_default();
                if !first_args.iter().any(|arg| **arg == *second) {
                    first_args.push(second.into());
                }
            }
            Named::Missing => {}
        }
        self.remember(name, true);
        Ok(())
    }

    /// Keeps the rule, and forgets those before it that it makes pointless.
    fn remember(&mut self, name: &[u8], allowed: bool) {
        let is_about = |rule: &[u8]| {
            rule[1..].strip_prefix(name).is_some_and(|rest| matches!(rest, [] | [b'|', ..]))
        };
        self.rules.retain(|rule| !is_about(rule));
        let sign: &[u8] = if allowed { b"+" } else { b"-" };
        self.rules.push([sign, name].concat().into());
    }

    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAfterAll);
        }
        let (access, pattern) = key_pattern(rule)?;
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| *known.pattern == *pattern) {
            Some(known) => known.access |= access,
            None => self.keys.push(KeyPattern { access, pattern: pattern.into() }),
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelsAfterAll);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels().any(|known| known == pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    /// Whether a command may be called with this first argument. `entry` is a subcommand's own.
    #[inline]
    pub fn allows_command(&self, entry: &Entry, first_arg: Option<&[u8]>) -> bool {
        if self.all_commands || self.commands[entry.id / 64] & 1 << (entry.id % 64) != 0 {
            return true;
        }
        let (Some(known), Some(given)) = (self.first_args.get(&entry.id), first_arg) else {
            return false;
        };
        known.iter().any(|arg| arg.eq_ignore_ascii_case(given))
    }

    /// Whether all of `access` may be done with a key.
    pub fn allows_key(&self, key: &[u8], access: u8) -> bool {
        self.all_keys
            || self.keys.iter().any(|known| {
                known.access & access == access && glob::matches(&known.pattern, key, false)
            })
    }

    /// Whether all of `access` may be done with whatever key there is.
    pub fn allows_any_key(&self, access: u8) -> bool {
        self.all_keys
            || self
                .keys
                .iter()
                .any(|known| known.access & access == access && *known.pattern == *b"*")
    }

    /// Whether a channel may be used, or listened to as a pattern: that must be named in the rules
    /// as it is, since what it matches is not known.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels || self.channels().any(|known| is_covered(known, channel, is_pattern))
    }

    /// The rules about commands, as ACL SETUSER takes them: `-@all +get +@set`.
    pub fn describe_commands(&self) -> Vec<u8> {
        let mut text: Vec<u8> = if self.from_all { b"+@all" } else { b"-@all" }.to_vec();
        for rule in &self.rules {
            text.push(b' ');
            text.extend_from_slice(rule);
        }
        text
    }

    /// The rules about keys: `~a %R~b`. Beside others, a pattern for all keys is not `~*`, behind
    /// which no other is taken: Redis cannot read what it writes then.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let rule = |known: &KeyPattern| {
            let sign: &[u8] = match known.access {
                READ => b"%R~",
                WRITE => b"%W~",
                _ if *known.pattern == *b"*" && self.keys.len() > 1 => b"%RW~",
                _ => b"~",
            };
            [sign, &known.pattern].concat()
        };
        self.keys.iter().map(rule).collect::<Vec<_>>().join(&b' ')
    }

    /// The rules about channels: `&a &b`.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels().map(|pattern| [b"&", pattern].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// All rules, such that a new selector becomes this one by them.
    pub fn describe(&self) -> Vec<u8> {
        let reset: &[u8] = if self.all_channels { b"" } else { b"resetchannels" };
        let parts = [
            self.describe_keys(),
            reset.to_vec(),
            self.describe_channels(),
            self.describe_commands(),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b' ')
    }
}

/// Whether a channel pattern of the rules covers what is to be used.
pub fn is_covered(known: &[u8], channel: &[u8], is_pattern: bool) -> bool {
    if is_pattern { known == channel } else { glob::matches(known, channel, false) }
}

/// Finds `get` or `config|get`, in lower case, by the names that no configuration changes.
fn lookup(name: &[u8], commands: &CommandTable) -> Result<Named, RuleError> {
    let found = match memchr::memchr(b'|', name) {
        None => commands.find_original(name),
        Some(bar) => {
            commands.find_original(&name[..bar]).and_then(|e| e.subcommand(&name[bar + 1..]))
        }
    };
    match found {
        Some(entry) => Ok(Named::Command(entry)),
        None if missing::is_known(name) => Ok(Named::Missing),
        None => Err(RuleError::Unknown),
    }
}

/// What `~pattern`, `%R~pattern` and the like allow. Redis takes the `~` behind `%` for optional
/// if nothing follows.
fn key_pattern(rule: &[u8]) -> Result<(u8, &[u8]), RuleError> {
    if let Some(pattern) = rule.strip_prefix(b"~") {
        return Ok((READ | WRITE, pattern));
    }
    let mut access = 0;
    for (index, byte) in rule.iter().enumerate().skip(1) {
        match byte.to_ascii_uppercase() {
            b'R' if access & READ == 0 => access |= READ,
            b'W' if access & WRITE == 0 => access |= WRITE,
            b'~' if access != 0 => return Ok((access, &rule[index + 1..])),
            _ => return Err(RuleError::Syntax),
        }
    }
    if access == 0 { Err(RuleError::Syntax) } else { Ok((access, b"")) }
}
