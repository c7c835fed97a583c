//! Times to live, as SET, GETEX, EXPIRE and those for fields of hashes take them in many forms.

use crate::server::ctx::{Ctx, Origin};
use crate::server::error::Error;
use crate::store::event::class;

/// How a command says when a key is to expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiration {
    /// After so many seconds.
    Seconds,
    Milliseconds,
    /// At so many seconds since 1970.
    UnixSeconds,
    UnixMilliseconds,
}

impl Expiration {
    /// The option at an argument, if it is one of these and another argument follows.
    pub fn at(ctx: &Ctx, index: usize) -> Option<Expiration> {
        if index + 1 >= ctx.args.len() {
            return None;
        }
        Expiration::named(ctx.arg(index))
    }

    /// The option of this name.
    pub fn named(word: &[u8]) -> Option<Expiration> {
        [
            ("ex", Expiration::Seconds),
            ("px", Expiration::Milliseconds),
            ("exat", Expiration::UnixSeconds),
            ("pxat", Expiration::UnixMilliseconds),
        ]
        .into_iter()
        .find_map(|(name, kind)| word.eq_ignore_ascii_case(name.as_bytes()).then_some(kind))
    }

    pub fn unit_ms(self) -> i64 {
        match self {
            Expiration::Seconds | Expiration::UnixSeconds => 1000,
            Expiration::Milliseconds | Expiration::UnixMilliseconds => 1,
        }
    }

    /// The option may be repeated, then the last one counts, but not mixed with others.
    pub fn combined(self, before: Option<(Expiration, usize)>) -> Result<Expiration, Error> {
        if before.is_some_and(|(kind, _)| kind != self) {
            return Err(Error::SYNTAX);
        }
        Ok(self)
    }

    pub fn is_absolute(self) -> bool {
        matches!(self, Expiration::UnixSeconds | Expiration::UnixMilliseconds)
    }
}

/// When the key is to expire, in milliseconds since 1970, by the number in an argument.
pub fn deadline(ctx: &Ctx, kind: Expiration, index: usize) -> Result<i64, Error> {
    let number = ctx.int_arg(index)?;
    let start = if kind.is_absolute() { 0 } else { ctx.now_ms() };
    let when = number.checked_mul(kind.unit_ms()).and_then(|ms| ms.checked_add(start));
    when.filter(|_| number > 0).ok_or_else(|| invalid_time(ctx))
}

pub fn invalid_time(ctx: &Ctx) -> Error {
    Error::Text(format!("ERR invalid expire time in '{}' command", ctx.entry.full_name))
}

/// Whether a key with this expiry, in milliseconds since 1970, goes away at once. What is read
/// from a file waits for the DEL that follows there.
pub fn is_past(ctx: &Ctx, when: i64) -> bool {
    when <= ctx.now_ms() && ctx.origin != Origin::File
}

/// On which state of the present expiry a new one depends.
#[derive(Default)]
pub struct Condition {
    pub none: bool,
    pub some: bool,
    pub greater: bool,
    pub less: bool,
}

impl Condition {
    /// Takes in an option; false if it is none of these.
    pub fn set(&mut self, word: &[u8]) -> bool {
        let flag = match () {
            () if word.eq_ignore_ascii_case(b"nx") => &mut self.none,
            () if word.eq_ignore_ascii_case(b"xx") => &mut self.some,
            () if word.eq_ignore_ascii_case(b"gt") => &mut self.greater,
            () if word.eq_ignore_ascii_case(b"lt") => &mut self.less,
            () => return false,
        };
        *flag = true;
        true
    }

    /// What has no expiry lives for ever: later than any time.
    pub fn holds(&self, present: Option<i64>, new: i64) -> bool {
        !(self.none && present.is_some()
            || self.some && present.is_none()
            || self.greater && present.is_none_or(|present| new <= present)
            || self.less && present.is_some_and(|present| new >= present))
    }
}

/// Deletes a key that was given an expiry in the past.
pub fn delete_expired(ctx: &mut Ctx, key: &[u8]) {
    if ctx.keys.remove(key) {
        ctx.keys.notify(class::GENERIC, "del", key);
        let lazy = ctx.server.config.lazyfree_lazy_expire;
        ctx.propagate([if lazy { &b"UNLINK"[..] } else { b"DEL" }, key]);
    }
}
