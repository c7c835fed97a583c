//! What a command is: one row beside its handler, from which COMMAND, COMMAND DOCS, key
//! extraction, access categories, statistics and the tests derive.

use super::ctx::Ctx;
use super::error::Error;
use super::keys::Key;
use crate::resp::Args;

pub type Handler = fn(&mut Ctx) -> Result<(), Error>;

/// Finds the keys among a command's arguments, where [`Keys`] cannot say it all.
pub type KeyFinder = fn(Args<'_>) -> Vec<Key>;

/// Finds the arguments that must not be shown: their numbers, ascending.
pub type SecretFinder = fn(Args<'_>) -> Vec<usize>;

/// What the gate and COMMAND INFO know of a command. Bits of [`Command::flags`].
pub mod flag {
    pub const WRITE: u32 = 1 << 0;
    pub const READONLY: u32 = 1 << 1;
    pub const DENYOOM: u32 = 1 << 2;
    pub const ADMIN: u32 = 1 << 3;
    pub const PUBSUB: u32 = 1 << 4;
    pub const NOSCRIPT: u32 = 1 << 5;
    pub const BLOCKING: u32 = 1 << 6;
    pub const LOADING: u32 = 1 << 7;
    pub const STALE: u32 = 1 << 8;
    pub const SKIP_MONITOR: u32 = 1 << 9;
    pub const SKIP_SLOWLOG: u32 = 1 << 10;
    pub const ASKING: u32 = 1 << 11;
    pub const FAST: u32 = 1 << 12;
    pub const NO_AUTH: u32 = 1 << 13;
    pub const MOVABLEKEYS: u32 = 1 << 14;
    pub const NO_MULTI: u32 = 1 << 15;
    pub const ALLOW_BUSY: u32 = 1 << 16;
    pub const NO_ASYNC_LOADING: u32 = 1 << 17;
    pub const MAY_REPLICATE: u32 = 1 << 18;
    pub const NO_MANDATORY_KEYS: u32 = 1 << 19;
    pub const PROTECTED: u32 = 1 << 20;
    pub const TOUCHES_ARBITRARY_KEYS: u32 = 1 << 21;
    /// Executed at once, even between MULTI and EXEC.
    pub const IMMEDIATE: u32 = 1 << 22;
    /// Allowed to clients that listen to channels in RESP2.
    pub const WHILE_SUBSCRIBED: u32 = 1 << 24;
    /// It need not wait for keys on their way to another server, as it may be part of that.
    pub const NEVER_HELD: u32 = 1 << 25;
    /// It has to wait for another server, so it cannot be part of a transaction; in Redis, where
    /// all wait with it, it can.
    pub const NEVER_QUEUED: u32 = 1 << 26;
    /// Executes what was queued; refusing it ends the transaction.
    pub const EXECUTES_QUEUED: u32 = 1 << 23;
    /// What CLIENT CACHING has said holds for the command behind this one.
    pub const KEEPS_CACHING: u32 = 1 << 31;

    /// Names as COMMAND INFO gives them, in its order. Redis keeps MAY_REPLICATE, PROTECTED and
    /// TOUCHES_ARBITRARY_KEYS to itself, and knows the others by the commands' names.
    pub const NAMES: &[(u32, &str)] = &[
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENYOOM, "denyoom"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NOSCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (SKIP_MONITOR, "skip_monitor"),
        (SKIP_SLOWLOG, "skip_slowlog"),
        (ASKING, "asking"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (NO_ASYNC_LOADING, "no_async_loading"),
        (NO_MULTI, "no_multi"),
        (MOVABLEKEYS, "movablekeys"),
        (ALLOW_BUSY, "allow_busy"),
    ];
}

/// The families of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Connection,
    Generic,
    String,
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
    Bitmap,
    Hyperloglog,
    Geo,
    Pubsub,
    Transactions,
    Scripting,
    Server,
    Cluster,
}

impl Group {
    /// As COMMAND DOCS names it.
    pub fn name(self) -> &'static str {
        match self {
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::String => "string",
            Group::Hash => "hash",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
            Group::Hyperloglog => "hyperloglog",
            Group::Geo => "geo",
            Group::Pubsub => "pubsub",
            Group::Transactions => "transactions",
            Group::Scripting => "scripting",
            Group::Server => "server",
            Group::Cluster => "cluster",
        }
    }
}

/// Where a command's keys are, as COMMAND's key specifications say it.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// Words of COMMAND's key-spec flags: `RO`, `RW`, `OW`, `RM`, `access`, `update`, `insert`,
    /// `delete`, `not_key`, `incomplete`, `variable_flags`.
    pub flags: &'static [&'static str],
    pub begin: Begin,
    pub find: Find,
}

#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// The first key is at this argument.
    Index(usize),
    /// The first key follows this word, searched from argument `from` on (from the end if
    /// negative).
    Keyword {
        word: &'static str,
        from: i32,
    },
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// Keys from the first to `last` (relative to the first; from the end of the arguments if
    /// negative), every `step` arguments; `limit` n > 1 stops after the first n-th part.
    Range {
        last: i32,
        step: usize,
        limit: usize,
    },
    /// An argument tells how many keys follow. Both indexes are relative to the beginning.
    Count {
        at: usize,
        first: usize,
        step: usize,
    },
    Unknown,
}

/// Which of a command's arguments are channels that a user must be allowed to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    None,
    /// The first argument.
    First,
    All,
    /// All, and they are patterns.
    Patterns,
}

impl Keys {
    /// One key, at a fixed place.
    pub const fn at(index: usize, flags: &'static [&'static str]) -> Keys {
        let find = Find::Range { last: 0, step: 1, limit: 0 };
        Keys { flags, begin: Begin::Index(index), find }
    }

    /// Every `step`-th argument from the first to the last is a key.
    pub const fn every(step: usize, flags: &'static [&'static str]) -> Keys {
        let find = Find::Range { last: -1, step, limit: 0 };
        Keys { flags, begin: Begin::Index(1), find }
    }
}

/// One key, read only.
pub const READ_KEY: Keys = Keys::at(1, &["RO", "access"]);

/// A command or a subcommand.
pub struct Command {
    /// In lower case; a subcommand's own name, without its container's.
    pub name: &'static str,
    /// What it does, in a sentence without full stop, for COMMAND DOCS and redis-cli's help.
    pub summary: &'static str,
    /// The Redis version that had it first.
    pub since: &'static str,
    pub group: Group,
    pub complexity: &'static str,
    /// Number of arguments with the name; at least that many if negative.
    pub arity: i32,
    pub flags: u32,
    /// Access categories beyond those that follow from `flags` (see `category_names`).
    pub categories: &'static [&'static str],
    pub keys: &'static [Keys],
    /// Asked where `keys` have the flag `variable_flags` or `incomplete`, or do not fit.
    pub find_keys: Option<KeyFinder>,
    pub channels: Channels,
    /// Asked by whoever shows a command: a log, MONITOR (see `redact`).
    pub secrets: Option<SecretFinder>,
    /// The argument that is looked up in the collection at the first key, where its memory is to
    /// be fetched ahead of time; 0 if there is none.
    pub element: usize,
    /// Arguments in the notation of the documentation, for instance
    /// `key seconds [NX | XX | GT | LT]`; COMMAND DOCS parses it (`introspect::syntax`).
    pub args: &'static str,
    /// COMMAND's tips: `nondeterministic_output`, `request_policy:all_shards`, ...
    pub tips: &'static [&'static str],
    /// Version and change, newest last.
    pub history: &'static [(&'static str, &'static str)],
    /// Replaced by, and since when, if it is deprecated.
    pub deprecated: Option<(&'static str, &'static str)>,
    pub handler: Handler,
    pub subcommands: &'static [Command],
}

impl Command {
    /// What rows begin from: `Command { name: ..., ..Command::BASE }`.
    pub const BASE: Command = Command {
        name: "",
        summary: "",
        since: "1.0.0",
        group: Group::Generic,
        complexity: "O(1)",
        arity: -1,
        flags: 0,
        categories: &[],
        keys: &[],
        find_keys: None,
        channels: Channels::None,
        secrets: None,
        element: 0,
        args: "",
        tips: &[],
        history: &[],
        deprecated: None,
        handler: |_| Err(Error::Static("ERR this command only has subcommands")),
        subcommands: &[],
    };

    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    pub fn takes(&self, args: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { args >= arity } else { args == arity }
    }
}

/// A command with what is derived from it once.
pub struct Entry {
    pub command: &'static Command,
    /// Its number among all commands and subcommands: the index of its statistics.
    pub id: usize,
    /// `config` or `config|get`.
    pub full_name: String,
    /// The first key's argument, if its place is fixed: what the loop looks ahead for. 0 if none.
    pub first_key: usize,
    /// States of server or client in which the gate refuses it (see `gate`).
    pub refused: u32,
    subcommands: Option<NameTable>,
}

impl Entry {
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Entry> {
        self.subcommands.as_ref()?.find(name)
    }

    pub fn is_container(&self) -> bool {
        self.subcommands.is_some()
    }

    pub fn subcommands(&self) -> impl Iterator<Item = &'static Entry> + '_ {
        self.subcommands.iter().flat_map(|t| t.entries.iter().copied())
    }
}

/// A hash table from names, in any case, to entries.
struct NameTable {
    /// A power of two, and several times as many as entries: few look-ups need a second look.
    slots: Vec<Option<(Folded, &'static Entry)>>,
    /// The names in the slots, which only long ones are compared with.
    names: Vec<Box<[u8]>>,
    entries: Vec<&'static Entry>,
}

/// A name in lower case, for hashing and comparing without a loop: its length, its first eight
/// bytes and its last eight. Of names up to 16 bytes that is all.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Folded {
    len: usize,
    head: u64,
    tail: u64,
}

impl Folded {
    const WHOLE: usize = 16;

    #[inline]
    fn new(name: &[u8]) -> Folded {
        let (head, tail) = match (name.first_chunk(), name.last_chunk()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => (short_word(name), 0),
        };
        Folded { len: name.len(), head: lowercase(head), tail: lowercase(tail) }
    }

    #[inline]
    fn hash(self) -> usize {
        let mixed = self.head.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (self.tail.rotate_left(29) ^ self.len as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (mixed ^ (mixed >> 32)) as usize
    }
}

/// Fewer than eight bytes as a number; two names of one length never give the same. Faster than
/// copying them, which for a length not known before is a call of memcpy.
#[inline]
fn short_word(name: &[u8]) -> u64 {
    match (name.first_chunk(), name.last_chunk()) {
        (Some(head), Some(tail)) => {
            u64::from(u32::from_le_bytes(*head)) << 32 | u64::from(u32::from_le_bytes(*tail))
        }
        _ => name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// ASCII capitals among eight bytes become small letters, as `to_ascii_lowercase` would have it.
#[inline]
fn lowercase(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word & (EACH * 0x7F);
    // The top bit of each byte says whether its lower seven are from 'A' on, and behind 'Z'.
    let from_a = low + EACH * (0x80 - b'A' as u64);
    let behind_z = low + EACH * (0x7F - b'Z' as u64);
    let capitals = (from_a ^ behind_z) & !word & (EACH * 0x80);
    word | capitals >> 2
}

impl NameTable {
    /// With the commands' own names.
    fn new(entries: Vec<&'static Entry>) -> NameTable {
        let name = |entry: &&'static Entry| (Box::from(entry.command.name.as_bytes()), *entry);
        NameTable::with_names(entries.iter().map(name).collect())
    }

    fn with_names(named: Vec<(Box<[u8]>, &'static Entry)>) -> NameTable {
        let size = (named.len() * 4).next_power_of_two().max(8);
        let mut slots = vec![None; size];
        let mut names = vec![Box::default(); size];
        let entries = named.iter().map(|(_, entry)| *entry).collect();
        for (name, entry) in named {
            let folded = Folded::new(&name);
            let mut at = folded.hash() & (size - 1);
            while slots[at].is_some() {
                at = (at + 1) & (size - 1);
            }
            slots[at] = Some((folded, entry));
            names[at] = name;
        }
        NameTable { slots, names, entries }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<&'static Entry> {
        let folded = Folded::new(name);
        let mut at = folded.hash() & (self.slots.len() - 1);
        // It ends at an empty slot, of which there are more than others.
        while let Some((other, entry)) = self.slots[at] {
            if other == folded
                && (folded.len <= Folded::WHOLE || self.names[at].eq_ignore_ascii_case(name))
            {
                return Some(entry);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }
}

/// All commands of a server.
pub struct CommandTable {
    names: NameTable,
    /// Where `rename-command` has changed names: the commands with their own.
    originals: Option<NameTable>,
    count: usize,
}

/// Why commands cannot be renamed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameError {
    NoSuchCommand,
    NameTaken,
}

impl CommandTable {
    /// Lives as long as the process, as its entries are handed out everywhere.
    pub fn new(families: &[&'static [Command]]) -> &'static CommandTable {
        let mut count = 0;
        let entries = families
            .iter()
            .flat_map(|family| family.iter())
            .map(|command| new_entry(command, None, &mut count))
            .collect();
        let names = NameTable::new(entries);
        Box::leak(Box::new(CommandTable { names, originals: None, count }))
    }

    /// The same commands under other names, one renaming after the other: each a name as it is by
    /// then, and the new one, or an empty one to take the command away.
    ///
    /// # Errors
    /// What is wrong, with which of them.
    pub fn renamed(
        &self,
        renamings: &[(&[u8], &[u8])],
    ) -> Result<&'static CommandTable, (usize, RenameError)> {
        let originals = NameTable::new(self.originals().collect());
        let name = |entry: &&'static Entry| (Box::from(entry.command.name.as_bytes()), *entry);
        let mut named: Vec<(Box<[u8]>, &Entry)> = originals.entries.iter().map(name).collect();
        for (index, (old, new)) in renamings.iter().enumerate() {
            let place = |wanted: &[u8]| {
                named.iter().position(|(name, _)| name.eq_ignore_ascii_case(wanted))
            };
            let at = place(old).ok_or((index, RenameError::NoSuchCommand))?;
            if place(new).is_some_and(|other| other != at) {
                return Err((index, RenameError::NameTaken));
            }
            if new.is_empty() {
                named.remove(at);
            } else {
                named[at].0 = Box::from(*new);
            }
        }
        let names = NameTable::with_names(named);
        Ok(Box::leak(Box::new(CommandTable {
            names,
            originals: Some(originals),
            count: self.count,
        })))
    }

    /// Whether names are others than the commands' own.
    #[inline]
    pub fn has_renamed(&self) -> bool {
        self.originals.is_some()
    }

    /// Finds a command by the name that clients call it by.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&'static Entry> {
        self.names.find(name)
    }

    /// Finds a command by its own name, whatever `rename-command` says: for what is written down.
    pub fn find_original(&self, name: &[u8]) -> Option<&'static Entry> {
        self.originals.as_ref().unwrap_or(&self.names).find(name)
    }

    fn originals(&self) -> impl Iterator<Item = &'static Entry> + '_ {
        self.originals.as_ref().unwrap_or(&self.names).entries.iter().copied()
    }

    /// Commands and subcommands, also those that nobody can call any more.
    pub fn originals_with_subcommands(&self) -> impl Iterator<Item = &'static Entry> + '_ {
        self.originals().flat_map(|e| std::iter::once(e).chain(e.subcommands()))
    }

    pub fn iter(&self) -> impl Iterator<Item = &'static Entry> + '_ {
        self.names.entries.iter().copied()
    }

    /// Commands and subcommands, as far as they can be called.
    pub fn with_subcommands(&self) -> impl Iterator<Item = &'static Entry> + '_ {
        self.iter().flat_map(|e| std::iter::once(e).chain(e.subcommands()))
    }

    /// How many commands there are, subcommands included: ids are below this.
    pub fn ids(&self) -> usize {
        self.count
    }

    pub fn len(&self) -> usize {
        self.names.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn new_entry(
    command: &'static Command,
    container: Option<&str>,
    count: &mut usize,
) -> &'static Entry {
    let id = *count;
    *count += 1;
    let full_name = match container {
        Some(container) => format!("{container}|{}", command.name),
        None => command.name.to_string(),
    };
    let subcommands = (!command.subcommands.is_empty()).then(|| {
        let entries = command.subcommands.iter();
        NameTable::new(entries.map(|c| new_entry(c, Some(&full_name), count)).collect())
    });
    let first_key = match command.keys.first() {
        Some(Keys { begin: Begin::Index(index), find: Find::Range { .. }, .. }) => *index,
        _ => 0,
    };
    let refused = super::gate::refused_in(command.flags);
    Box::leak(Box::new(Entry { command, id, full_name, first_key, refused, subcommands }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_as_ascii_is() {
        for byte in 0..=255u8 {
            let bytes = [byte, b'a', byte, b'Z', b'@', b'[', 0xC1, byte];
            let lower = bytes.map(|b| b.to_ascii_lowercase());
            assert_eq!(lowercase(u64::from_le_bytes(bytes)), u64::from_le_bytes(lower), "{byte}");
        }
    }

    #[test]
    fn names_that_differ_fold_to_different_words() {
        let name = b"abcdefghijklmnop";
        for len in 0..=name.len() {
            let folded = Folded::new(&name[..len]);
            assert!(folded == Folded::new(&name[..len].to_ascii_uppercase()));
            for at in 0..len {
                let mut other = name[..len].to_vec();
                other[at] = b'-';
                assert!(folded != Folded::new(&other), "{len} {at}");
            }
        }
    }
}
