//! The RDB format: a file of all data, and the payload of DUMP for one value. Reads what any Redis
//! since 2.6 and any Valkey has written, and writes what Redis 7.0 loads. The format has no
//! specification; it is described in the comments of Redis's `rdb.h`, and by its sources.
//!
//! ```text
//! file    "REDIS" 4 digits of version, or "VALKEY" 3 digits
//!         AUX name value ...                             what wrote it, and when
//!         SELECTDB number [RESIZEDB keys, keys that expire]
//!         [EXPIRETIME_MS time] [IDLE seconds | FREQ counter] type key value ...
//!         EOF checksum
//! ```
//!
//! [`write`] appends such parts to a vector; [`Reader`] takes a file apart, entry by entry, and
//! [`load`] puts it into a keyspace. Must not know files, clients or commands.

mod bytes;
mod decode;
mod in_place;
mod input;
mod listpack;
mod load;
mod lzf;
mod old;
pub mod parts;
pub mod payload;
mod read;
pub mod save;
mod value;
mod value_stream;
pub mod write;

pub use load::{AheadLoader, Loaded, Loader, Options};
pub use read::{Entry, Item, Reader};

use crate::types::{hash, list, set, stream, zset};
use std::borrow::Cow;

/// The version that is written where the data allow it: that of Redis 7.0 and all later ones.
pub const VERSION: u32 = 10;
/// The version that is written where fields of hashes expire: that of Redis 7.4 and 8.0.
pub const VERSION_WITH_FIELD_TIMES: u32 = 12;
/// The latest version of Redis's that is read.
const NEWEST_VERSION: u32 = 13;
/// Valkey's own versions that are read: beginning with 9.0, it counts from here.
const VALKEY_VERSIONS: std::ops::RangeInclusive<u32> = 80..=81;

/// Which types of values there are, by their byte.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_2: u8 = 5;
    pub const MODULE: u8 = 6;
    pub const MODULE_2: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_3: u8 = 21;
    /// Of release candidates of Redis 7.4; in Valkey's versions [`HASH_WITH_TIMES_VALKEY`].
    pub const HASH_WITH_TIMES_EARLY: u8 = 22;
    pub const HASH_WITH_TIMES_VALKEY: u8 = 22;
    pub const HASH_LISTPACK_WITH_TIMES_EARLY: u8 = 23;
    pub const HASH_WITH_TIMES: u8 = 24;
    pub const HASH_LISTPACK_WITH_TIMES: u8 = 25;
}

/// What Redis's tools call a kind of value.
pub fn type_name(of: u8) -> &'static str {
    match of {
        kind::STRING => "string",
        kind::LIST => "list-linked",
        kind::SET => "set-hashtable",
        kind::ZSET => "zset-v1",
        kind::HASH => "hash-hashtable",
        kind::ZSET_2 => "zset-v2",
        kind::MODULE => "module-pre-release",
        kind::MODULE_2 => "module-value",
        kind::HASH_ZIPMAP => "hash-zipmap",
        kind::LIST_ZIPLIST => "list-ziplist",
        kind::SET_INTSET => "set-intset",
        kind::ZSET_ZIPLIST => "zset-ziplist",
        kind::HASH_ZIPLIST => "hash-ziplist",
        kind::LIST_QUICKLIST => "quicklist",
        kind::STREAM => "stream",
        kind::HASH_LISTPACK => "hash-listpack",
        kind::ZSET_LISTPACK => "zset-listpack",
        kind::LIST_QUICKLIST_2 => "quicklist-v2",
        kind::STREAM_2 => "stream-v2",
        kind::SET_LISTPACK => "set-listpack",
        kind::STREAM_3 => "stream-v3",
        kind::HASH_WITH_TIMES_EARLY
        | kind::HASH_LISTPACK_WITH_TIMES_EARLY
        | kind::HASH_WITH_TIMES
        | kind::HASH_LISTPACK_WITH_TIMES => "hash-with-field-times",
        _ => "unknown",
    }
}

/// What stands where a type may stand, and is none.
mod opcode {
    /// In Redis since version 13: data of modules about a key. In Valkey: [`SLOT_IMPORT`].
    pub const KEY_META: u8 = 243;
    pub const SLOT_IMPORT: u8 = 243;
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    pub const FUNCTION_EARLY: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZE_DB: u8 = 251;
    pub const EXPIRE_TIME_MS: u8 = 252;
    pub const EXPIRE_TIME: u8 = 253;
    pub const SELECT_DB: u8 = 254;
    pub const EOF: u8 = 255;
}

/// How a node of a list is kept ([`kind::LIST_QUICKLIST_2`]).
mod container {
    pub const PLAIN: u64 = 1;
    pub const PACKED: u64 = 2;
}

/// What the kinds of values may be and still be packed: values that are read end in the encodings
/// that commands would have made of them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub list: list::Limits,
    pub hash: hash::Limits,
    pub set: set::Limits,
    pub zset: zset::Limits,
    pub stream: stream::Limits,
}

impl Default for Limits {
    /// Those of a server that is told nothing.
    fn default() -> Limits {
        Limits {
            list: list::Limits { size: -2, depth: 0 },
            hash: hash::Limits { entries: 512, value: 64 },
            set: set::Limits { ints: 512, entries: 128, value: 64 },
            zset: zset::Limits { entries: 128, value: 64 },
            stream: stream::Limits { bytes: 4096, entries: 100 },
        }
    }
}

/// Why something cannot be read, and about where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Bytes from the beginning of the file: where reading stopped.
    pub offset: u64,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file ends here, in the midst of something.
    Short,
    Io(String),
    /// This cannot be.
    Damaged(Cow<'static, str>),
    /// This may be, but is not understood here.
    Unsupported(String),
    /// It was read, and could not be taken in.
    Refused(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.problem {
            Problem::Short => f.write_str("unexpected end of file")?,
            Problem::Io(why) => write!(f, "cannot be read: {why}")?,
            Problem::Damaged(what) => write!(f, "damaged: {what}")?,
            Problem::Unsupported(what) | Problem::Refused(what) => f.write_str(what)?,
        }
        write!(f, " (at offset {})", self.offset)
    }
}

impl std::error::Error for Error {}
