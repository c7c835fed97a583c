//! Taking a file apart: what is in it, one item after the other. Must not know where it goes.

use super::input::Input;
use super::value::Values;
use super::{Error, Limits, NEWEST_VERSION, Problem, VALKEY_VERSIONS, kind, opcode};
use crate::store::NewValue;
use crate::store::record::MAX_KEY;
use std::io::Read;

/// What is in a file.
pub enum Item<'a> {
    Entry(Entry<'a>),
    /// A collection without elements, which Redis does not keep, but has written by mistake.
    EmptyKey(&'a [u8]),
    /// Something that is known of the file.
    Aux {
        name: &'a [u8],
        value: &'a [u8],
    },
    /// How many keys there are in the current database, and how many of them expire.
    Size {
        keys: u64,
        expiring: u64,
    },
    /// The source of a library of functions.
    Function(&'a [u8]),
    /// What the module type of this name has written besides values; it was passed over.
    ModuleAux(String),
    End,
}

/// A key with its value.
pub struct Entry<'a> {
    pub db: u64,
    pub key: &'a [u8],
    pub value: NewValue<'a>,
    /// Milliseconds since 1970, not negative.
    pub expire_at: Option<i64>,
    /// Seconds since it was accessed.
    pub idle_s: Option<u64>,
    /// The logarithmic counter of accesses.
    pub frequency: Option<u8>,
}

/// Reads a file. After an error there is nothing more to be had from it.
pub struct Reader<R> {
    input: Input<R>,
    version: u32,
    is_valkey: bool,
    values: Values,
    key: Vec<u8>,
    text: Vec<u8>,
    db: u64,
    checks_sum: bool,
    at_end: bool,
    /// Of the value that is being read.
    kind: Option<u8>,
    stored_sum: Option<u64>,
}

impl<R: Read> Reader<R> {
    /// Reads what a file begins with. `checks_sum`: what `rdbchecksum` says.
    pub fn new(source: R, limits: Limits, checks_sum: bool) -> Result<Reader<R>, Error> {
        let mut input = Input::new(source);
        let (version, is_valkey) = version(&mut input)?;
        Ok(Reader {
            input,
            version,
            is_valkey,
            values: Values::new(limits),
            key: Vec::new(),
            text: Vec::new(),
            db: 0,
            checks_sum,
            at_end: false,
            kind: None,
            stored_sum: None,
        })
    }

    /// The version of the file's format.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The database that was selected last.
    pub fn db(&self) -> u64 {
        self.db
    }

    /// Bytes of the file that were read; at the end, those of the file's RDB part.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// After an error within a value: the key, and the byte that says what kind of value it is.
    pub fn broken_value(&self) -> Option<(&[u8], u8)> {
        self.kind.map(|kind| (&self.key[..], kind))
    }

    /// At the end: the checksum in the file; 0 if it was saved without one, `None` in versions that
    /// had none.
    pub fn stored_sum(&self) -> Option<u64> {
        self.stored_sum
    }

    /// What was read from the source and is not part of the RDB file, and the source. At the end,
    /// that is what follows behind it.
    pub fn into_rest(self) -> (Vec<u8>, R) {
        self.input.into_rest()
    }

    /// An error about what was read last.
    pub fn error(&self, problem: Problem) -> Error {
        Error { offset: self.offset(), problem }
    }

    /// The next item; [`Item::End`] when all was read and the checksum is right.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Item<'_>, Error> {
        let (mut expire_at, mut idle_s, mut frequency) = (None, None, None);
        loop {
            if self.at_end {
                return Ok(Item::End);
            }
            match self.input.u8()? {
                opcode::EXPIRE_TIME_MS => expire_at = expiry(self.input.i64()?),
                opcode::EXPIRE_TIME => {
                    let seconds = i32::from_le_bytes(self.input.array()?);
                    expire_at = expiry(i64::from(seconds) * 1000);
                }
                opcode::IDLE => idle_s = Some(self.input.length()?),
                opcode::FREQ => frequency = Some(self.input.u8()?),
                opcode::SELECT_DB => self.db = self.input.length()?,
                opcode::EOF => self.end()?,
                opcode::KEY_META if !self.is_valkey => skip_key_meta(&mut self.input)?,
                opcode::SLOT_IMPORT if self.is_valkey => skip_slot_import(&mut self.input)?,
                opcode::SLOT_INFO => {
                    for _ in 0..3 {
                        self.input.length()?;
                    }
                }
                of @ kind::STRING..=kind::HASH_LISTPACK_WITH_TIMES => {
                    self.key()?;
                    self.kind = Some(of);
                    let is_valkey = self.is_valkey;
                    let has_elements = self.values.read(&mut self.input, of, is_valkey)?;
                    self.kind = None;
                    if !has_elements {
                        return Ok(Item::EmptyKey(&self.key));
                    }
                    let (key, value) = (&self.key[..], self.values.take());
                    let db = self.db;
                    return Ok(Item::Entry(Entry { db, key, value, expire_at, idle_s, frequency }));
                }
                other => return self.other_item(other),
            }
        }
    }

    fn key(&mut self) -> Result<(), Error> {
        self.input.string(&mut self.key)?;
        if self.key.len() > MAX_KEY {
            return self.input.damaged("a key that is too long");
        }
        Ok(())
    }

    #[cold]
    fn other_item(&mut self, of: u8) -> Result<Item<'_>, Error> {
        match of {
            opcode::AUX => {
                self.input.string(&mut self.key)?;
                self.input.string(&mut self.text)?;
                Ok(Item::Aux { name: &self.key, value: &self.text })
            }
            opcode::RESIZE_DB => {
                let (keys, expiring) = (self.input.length()?, self.input.length()?);
                Ok(Item::Size { keys, expiring })
            }
            opcode::FUNCTION => {
                self.input.string(&mut self.text)?;
                Ok(Item::Function(&self.text))
            }
            opcode::MODULE_AUX => {
                let name = module_name(self.input.length()?);
                // When to be loaded, before the keys or behind them: an item of a module's own.
                skip_module_value(&mut self.input)?;
                Ok(Item::ModuleAux(name))
            }
            opcode::FUNCTION_EARLY => self.input.fail(Problem::Unsupported(
                "functions in the form of a release candidate of Redis 7.0".into(),
            )),
            _ => self.input.fail(Problem::Unsupported(format!("an unknown type or opcode, {of}"))),
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        self.at_end = true;
        // There was none before.
        if self.version < 5 {
            return Ok(());
        }
        let computed = self.input.checksum();
        let stored = u64::from_le_bytes(self.input.array()?);
        self.stored_sum = Some(stored);
        if self.checks_sum && stored != 0 && stored != computed {
            let what = format!("RDB CRC error: it is {stored:016x}, but should be {computed:016x}");
            return self.input.fail(Problem::Damaged(what.into()));
        }
        Ok(())
    }
}

/// A time as it is in a file: -1 is none, and what is before 1970 is over in any case.
fn expiry(ms: i64) -> Option<i64> {
    (ms != -1).then_some(ms.max(0))
}

/// The version, and whether it is one of Valkey's own.
fn version<R: Read>(input: &mut Input<R>) -> Result<(u32, bool), Error> {
    let magic: [u8; 9] = input.array()?;
    let (digits, is_valkey) = match &magic {
        [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (&digits[..], false),
        [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (&digits[..], true),
        _ => return input.damaged("wrong signature: this is no RDB file"),
    };
    let version = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    let can_be_read = |version: &u32| match is_valkey {
        false => (1..=NEWEST_VERSION).contains(version),
        true => VALKEY_VERSIONS.contains(version),
    };
    match version.filter(can_be_read) {
        Some(version) => Ok((version, is_valkey)),
        None => {
            let version = String::from_utf8_lossy(digits).into_owned();
            input.fail(Problem::Unsupported(format!("can't handle RDB format version {version}")))
        }
    }
}

/// The name of a module's type: nine letters of six bits; the lowest ten bits are its version.
pub fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|nth| char::from(LETTERS[(id >> (58 - 6 * nth)) as usize & 63])).collect()
}

/// Passes over what a module has written: numbers and strings, each behind a mark of what it is.
fn skip_module_value<R: Read>(input: &mut Input<R>) -> Result<(), Error> {
    loop {
        match input.length()? {
            0 => return Ok(()),
            1 | 2 => _ = input.length()?,
            3 => _ = input.array::<4>()?,
            4 => _ = input.array::<8>()?,
            5 => input.skip_string()?,
            _ => return input.damaged("a module's data with an unknown mark"),
        }
    }
}

/// What modules have to say of the next key, from Redis 8.4 on.
fn skip_key_meta<R: Read>(input: &mut Input<R>) -> Result<(), Error> {
    let classes = input.length()?;
    for _ in 0..classes {
        input.array::<4>()?;
        skip_module_value(input)?;
    }
    Ok(())
}

/// Slots that were on their way to a node of a cluster of Valkey 9: a name, and ranges of slots.
fn skip_slot_import<R: Read>(input: &mut Input<R>) -> Result<(), Error> {
    input.skip_string()?;
    let ranges = input.length()?;
    for _ in 0..ranges {
        input.length()?;
        input.length()?;
    }
    Ok(())
}
