//! The types a directive's value can have: how each is read from words, shown by CONFIG GET and
//! written into a configuration file. Knows no directive by name; what differs between
//! directives of one type (range, unit, check) comes in as their [`Kind`].

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::words;
use crate::base::args;

/// Why a value is refused, in the words Redis has for it where it has some: clients and scripts
/// look for them.
pub type Refusal = Cow<'static, str>;

/// Refuses a text, and says why.
pub type Check = fn(&str) -> Result<(), &'static str>;

/// How the values of one directive are written and what they are limited to.
pub enum Kind {
    YesNo,
    /// A whole number, both ends of the range included.
    Number {
        min: i128,
        max: i128,
        unit: Unit,
    },
    /// Any text but one with a zero byte in it; `check` may refuse more.
    Text {
        check: Option<Check>,
    },
    /// Any bytes.
    Secret,
    /// An existing directory, kept as an absolute path.
    Directory,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// Any of these letters.
    Letters(&'static str),
    /// Several words, also as one word that is split at its spaces.
    Words(&'static str),
    /// A declaration that may be repeated and is known to the configuration file only; so many
    /// words at least, and at most.
    Declaration {
        syntax: &'static str,
        min: usize,
        max: usize,
    },
}

/// What a [`Kind::Number`] counts, which decides how it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Plain,
    /// Bytes, with an optional unit: `64`, `64b`, `1k` (1000), `1kb` (1024), `1m`, `1mb`, `1g`,
    /// `1gb`.
    Bytes,
    /// As `Bytes`, or `5%`. See [`ClientMemory`].
    BytesOrPercent,
    /// File permissions.
    Octal,
    /// Any number of the range is taken, but brought between 1 and 500.
    Hertz,
}

/// Where a line came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    File {
        path: Arc<PathBuf>,
        /// Counted from 1.
        line: usize,
    },
    StandardInput {
        line: usize,
    },
    CommandLine,
    /// CONFIG SET.
    Client,
}

/// The words that set a directive.
pub struct Input<'a> {
    /// Without the directive's name.
    pub words: &'a [Vec<u8>],
    pub place: &'a Place,
    /// A line for this directive was already met while loading. Only `save` and the declarations
    /// care: they add up.
    pub again: bool,
}

impl Input<'_> {
    /// The one word of a directive that takes one.
    fn word(&self) -> Result<&[u8], Refusal> {
        match self.words {
            [word] => Ok(word),
            _ => Err(WRONG_NUMBER.into()),
        }
    }

    /// The words, where a single empty one means none.
    fn list(&self) -> &[Vec<u8>] {
        match self.words {
            [word] if word.is_empty() => &[],
            words => words,
        }
    }
}

pub const WRONG_NUMBER: &str = "wrong number of arguments";
pub const BAD_DIRECTIVE: &str = "Bad directive or wrong number of arguments";

/// A type of value.
pub trait Value: Clone + PartialEq {
    /// Takes a new value. A refusal leaves the old one untouched.
    fn assign(&mut self, kind: &Kind, input: &Input) -> Result<(), Refusal>;

    /// The value as CONFIG GET shows it. [`Value::assign`] takes it back.
    fn show(&self, kind: &Kind) -> Vec<u8>;

    /// What follows the directive's name in a configuration file, a line each.
    fn lines(&self, kind: &Kind) -> Vec<Vec<u8>> {
        vec![self.show(kind)]
    }
}

impl Value for bool {
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        let word = input.word()?;
        *self = if word.eq_ignore_ascii_case(b"yes") {
            true
        } else if word.eq_ignore_ascii_case(b"no") {
            false
        } else {
            return Err("argument must be 'yes' or 'no'".into());
        };
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        if *self { b"yes".to_vec() } else { b"no".to_vec() }
    }
}

/// Frequency of the server's timer, whatever is asked for.
const HERTZ: (i128, i128) = (1, 500);

macro_rules! numbers {
    ($($type:ty)+) => { $(
        impl Value for $type {
            fn assign(&mut self, kind: &Kind, input: &Input) -> Result<(), Refusal> {
                let number = read_number(kind, input.word()?)?;
                // The range of a row fits its type; a test goes through all rows.
                *self = Self::try_from(number).map_err(|_| "argument is out of range")?;
                Ok(())
            }

            fn show(&self, kind: &Kind) -> Vec<u8> {
                match kind {
                    Kind::Number { unit: Unit::Octal, .. } => format!("{self:o}").into_bytes(),
                    _ => self.to_string().into_bytes(),
                }
            }

            fn lines(&self, kind: &Kind) -> Vec<Vec<u8>> {
                match kind {
                    Kind::Number { unit: Unit::Bytes, .. } => vec![write_bytes(*self as u64)],
                    _ => vec![self.show(kind)],
                }
            }
        }
    )+ };
}

numbers! { u16 u32 u64 usize i32 i64 }

fn read_number(kind: &Kind, word: &[u8]) -> Result<i128, Refusal> {
    let &Kind::Number { min, max, unit } = kind else {
        return Err("argument is not a number".into());
    };
    let number = match unit {
        Unit::Plain | Unit::Hertz => {
            read_integer(word).ok_or("argument couldn't be parsed into an integer")?
        }
        Unit::Bytes => read_bytes(word).ok_or("argument must be a memory value")?.into(),
        Unit::BytesOrPercent => {
            read_bytes(word).ok_or("argument must be a memory or percent value")?.into()
        }
        Unit::Octal => read_octal(word).ok_or("argument couldn't be parsed as an octal number")?,
    };
    if !(min..=max).contains(&number) {
        return Err(if unit == Unit::Octal {
            format!("argument must be between {min:o} and {max:o} inclusive").into()
        } else {
            format!("argument must be between {min} and {max} inclusive").into()
        });
    }
    Ok(if unit == Unit::Hertz { number.clamp(HERTZ.0, HERTZ.1) } else { number })
}

/// A 64-bit integer in the one form that is printed back: no plus, no leading zero, no space.
fn read_integer(word: &[u8]) -> Option<i128> {
    let number: i64 = std::str::from_utf8(word).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == word).then(|| number.into())
}

fn read_octal(word: &[u8]) -> Option<i128> {
    let digits = std::str::from_utf8(word).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    i64::from_str_radix(digits, 8).ok().map(i128::from)
}

/// Bytes with an optional unit. What does not fit 64 bits is refused, not wrapped.
pub fn read_bytes(word: &[u8]) -> Option<u64> {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = word.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    // `--maxmemory ""`, as scripts write it when they have nothing to say, has always been 0.
    let number: u64 =
        if word.is_empty() { 0 } else { std::str::from_utf8(number).ok()?.parse().ok()? };
    number.checked_mul(factor)
}

/// The shortest exact form with a binary unit.
fn write_bytes(bytes: u64) -> Vec<u8> {
    let units = [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    for (size, unit) in units {
        if bytes != 0 && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size).into_bytes();
        }
    }
    bytes.to_string().into_bytes()
}

/// `maxmemory-clients`: a size, or a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMemory {
    /// 0: no limit.
    Bytes(u64),
    /// Of `maxmemory`, 1 to 100.
    Percent(u8),
}

impl Value for ClientMemory {
    fn assign(&mut self, kind: &Kind, input: &Input) -> Result<(), Refusal> {
        let word = input.word()?;
        let percent = word.strip_suffix(b"%").and_then(read_integer).filter(|&share| share >= 0);
        *self = match percent {
            Some(0) => Self::Bytes(0),
            Some(share) => match u8::try_from(share) {
                Ok(share @ 1..=100) => Self::Percent(share),
                _ => return Err("percentage argument must be less or equal to 100".into()),
            },
            None => {
                let bytes = read_number(kind, word)?;
                Self::Bytes(u64::try_from(bytes).map_err(|_| "argument is out of range")?)
            }
        };
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_string().into_bytes(),
            Self::Percent(share) => format!("{share}%").into_bytes(),
        }
    }

    fn lines(&self, kind: &Kind) -> Vec<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => vec![write_bytes(*bytes)],
            Self::Percent(_) => vec![self.show(kind)],
        }
    }
}

fn read_text(word: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(word).map_err(|_| "argument must be valid UTF-8")?;
    // Nearly all texts become file names or host names, where C takes a zero byte for the end.
    if text.contains('\0') {
        return Err("argument must not contain a zero byte".into());
    }
    Ok(text)
}

impl Value for String {
    fn assign(&mut self, kind: &Kind, input: &Input) -> Result<(), Refusal> {
        let text = read_text(input.word()?)?;
        if let Kind::Text { check: Some(check) } = kind {
            check(text)?;
        }
        text.clone_into(self);
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn lines(&self, _: &Kind) -> Vec<Vec<u8>> {
        vec![args::quote(self.as_bytes())]
    }
}

/// Passwords.
impl Value for Vec<u8> {
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        input.word()?.clone_into(self);
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        self.clone()
    }

    fn lines(&self, _: &Kind) -> Vec<Vec<u8>> {
        vec![args::quote(self)]
    }
}

/// A directory. A relative path is taken from the directory set before, as a process would that
/// changes into one after the other; the server changes into it once all is read.
impl Value for PathBuf {
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        let word = input.word()?;
        if word.contains(&0) {
            return Err("argument must not contain a zero byte".into());
        }
        if word.is_empty() {
            return Err(words::os_message(&std::io::Error::from_raw_os_error(libc::ENOENT)).into());
        }
        let path = self.join(OsStr::from_bytes(word));
        let path = path.canonicalize().map_err(|error| words::os_message(&error))?;
        if !path.is_dir() {
            return Err("Not a directory".into());
        }
        *self = path;
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        self.as_os_str().as_bytes().to_vec()
    }

    fn lines(&self, _: &Kind) -> Vec<Vec<u8>> {
        vec![args::quote(self.as_os_str().as_bytes())]
    }
}

/// `bind`.
impl Value for Vec<String> {
    fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
        const MAX: usize = 16;
        let list = input.list();
        if list.len() > MAX {
            return Err("Too many bind addresses specified.".into());
        }
        let addresses: Option<Vec<_>> = list.iter().map(|word| read_address(word)).collect();
        *self = addresses.ok_or("Invalid bind address.")?;
        Ok(())
    }

    fn show(&self, _: &Kind) -> Vec<u8> {
        self.join(" ").into_bytes()
    }

    fn lines(&self, kind: &Kind) -> Vec<Vec<u8>> {
        vec![if self.is_empty() { b"\"\"".to_vec() } else { self.show(kind) }]
    }
}

/// What cannot be an address anyway, and would need quotes in a file.
fn read_address(word: &[u8]) -> Option<String> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    (!word.is_empty() && word.iter().all(plain)).then(|| String::from_utf8(word.to_vec()).ok())?
}

/// A directive of which each line adds something, as it was written: `user`, `rename-command`,
/// `loadmodule`, `include`. What it means is for those who know users and commands.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Without the directive's name.
    pub words: Vec<Vec<u8>>,
    pub place: Place,
}

/// Where it was written does not make it another.
impl PartialEq for Declaration {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words
    }
}

impl Value for Vec<Declaration> {
    fn assign(&mut self, kind: &Kind, input: &Input) -> Result<(), Refusal> {
        let &Kind::Declaration { min, max, .. } = kind else { return Err(BAD_DIRECTIVE.into()) };
        if !(min..=max).contains(&input.words.len()) {
            return Err(BAD_DIRECTIVE.into());
        }
        if !input.again {
            self.clear();
        }
        self.push(Declaration { words: input.words.to_vec(), place: input.place.clone() });
        Ok(())
    }

    fn show(&self, kind: &Kind) -> Vec<u8> {
        self.lines(kind).join(&b'\n')
    }

    fn lines(&self, _: &Kind) -> Vec<Vec<u8>> {
        let line = |declaration: &Declaration| {
            let quoted = declaration.words.iter().map(|word| words::quote_if_needed(word));
            quoted.collect::<Vec<_>>().join(&b' ')
        };
        self.iter().map(line).collect()
    }
}

macro_rules! choices {
    ($( $(#[$about:meta])* $name:ident {
        $( $(#[$meaning:meta])* $variant:ident = $first:literal $(| $other:literal)* ),+ $(,)?
    } )+) => { $(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[$meaning])* $variant ),+ }

        impl $name {
            /// Every word that is understood.
            pub const NAMES: &'static [&'static str] = &[$($first $(, $other)*),+];

            /// The word it is shown as.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $first),+ }
            }

            fn from_word(word: &[u8]) -> Option<Self> {
                $(for name in [$first $(, $other)*] {
                    if word.eq_ignore_ascii_case(name.as_bytes()) {
                        return Some(Self::$variant);
                    }
                })+
                None
            }
        }

        impl Value for $name {
            fn assign(&mut self, _: &Kind, input: &Input) -> Result<(), Refusal> {
                let word = input.word()?;
                *self = Self::from_word(word).ok_or_else(|| not_one_of(Self::NAMES))?;
                Ok(())
            }

            fn show(&self, _: &Kind) -> Vec<u8> {
                self.name().as_bytes().to_vec()
            }
        }
    )+ };
}

pub(super) fn not_one_of(names: &[&str]) -> Refusal {
    format!("argument(s) must be one of the following: {}", names.join(", ")).into()
}

choices! {
    /// When the append-only file is brought to disk.
    AppendFsync {
        Everysec = "everysec",
        /// Before a write is answered.
        Always = "always",
        /// When the kernel pleases.
        No = "no",
    }
    /// The least important messages that are still logged.
    LogLevel {
        Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning",
        Nothing = "nothing",
    }
    /// Which keys go when `maxmemory` is reached.
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru", VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random", VolatileTtl = "volatile-ttl",
        AllkeysLru = "allkeys-lru", AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random", Noeviction = "noeviction",
    }
    /// Who may use something dangerous.
    Allowed {
        No = "no",
        Yes = "yes",
        /// Connections from this machine.
        Local = "local",
    }
    /// Who waits for the server's start.
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no" }
    SyslogFacility {
        User = "user", Local0 = "local0", Local1 = "local1", Local2 = "local2", Local3 = "local3",
        Local4 = "local4", Local5 = "local5", Local6 = "local6", Local7 = "local7",
    }
    /// When a replica takes a full synchronisation in without a file.
    DisklessLoad { Disabled = "disabled", OnEmptyDb = "on-empty-db", Swapdb = "swapdb" }
    /// Whether clients must show a certificate.
    TlsAuthClients { No = "no", Yes = "yes", Optional = "optional" }
    OomScoreAdj {
        No = "no",
        /// Added to what the process started with.
        Relative = "yes" | "relative",
        Absolute = "absolute",
    }
    AclPubsubDefault { Allchannels = "allchannels", Resetchannels = "resetchannels" }
    SanitizeDumpPayload {
        No = "no", Yes = "yes",
        /// Only what clients send, not what a primary or a file brings.
        Clients = "clients",
    }
    EndpointType { Ip = "ip", Hostname = "hostname", UnknownEndpoint = "unknown-endpoint" }
    /// What follows when a replicated command fails.
    PropagationError { Ignore = "ignore", Panic = "panic", PanicOnReplicas = "panic-on-replicas" }
}
