//! What a value holds, in a form that can be compared, and payloads made by hand.

use std::collections::{BTreeMap, BTreeSet};

use goredis::persist::rdb::Limits;
use goredis::persist::rdb::payload::{Refusal, restore};
use goredis::store::Keyspace;
use goredis::store::record::{NewValue, View};
use goredis::types::Value;
use goredis::types::hash::{self, Hash};
use goredis::types::list::{self, List};
use goredis::types::set::{self, Set};
use goredis::types::stream::{self, Stream, StreamId};
use goredis::types::string::Str;
use goredis::types::zset::{self, Zset};

pub const NOW_MS: i64 = 1_700_000_000_000;

/// Those of the default configuration, but for one.
pub const LIMITS: Limits = Limits {
    list: list::Limits { size: -2, depth: 0 },
    hash: hash::Limits { entries: 512, value: 64 },
    set: set::Limits { ints: 512, entries: 128, value: 64 },
    zset: zset::Limits { entries: 128, value: 64 },
    // Nodes end where they end in the file.
    stream: stream::Limits { bytes: 0, entries: 0 },
};

type Bytes = Vec<u8>;

#[derive(Clone, Debug, PartialEq)]
pub enum Contents {
    String(Bytes),
    List(Vec<Bytes>),
    Set(BTreeSet<Bytes>),
    /// Members with scores, in their order.
    Zset(Vec<(Bytes, f64)>),
    /// Values, and when fields expire.
    Hash(BTreeMap<Bytes, (Bytes, Option<i64>)>),
    Stream(StreamContents),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamContents {
    /// IDs of first entries.
    pub nodes: usize,
    pub entries: Vec<(StreamId, Vec<(Bytes, Bytes)>)>,
    pub last_id: StreamId,
    pub max_deleted_id: StreamId,
    pub entries_added: u64,
    pub groups: Vec<GroupContents>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupContents {
    pub name: Bytes,
    pub last_id: StreamId,
    pub entries_read: Option<i64>,
    /// To whom, when and how often entries were given.
    pub pending: Vec<(StreamId, Bytes, i64, i64)>,
    /// Name, when seen and when active.
    pub consumers: Vec<(Bytes, i64, Option<i64>)>,
}

impl Contents {
    pub fn of(value: Value<'_>) -> Contents {
        if let Some(string) = Str::of(value) {
            Contents::String(string.to_vec())
        } else if let Some(list) = List::of(value) {
            let mut elements = Vec::new();
            list.for_each(|element| elements.push(element.to_vec()));
            Contents::List(elements)
        } else if let Some(set) = Set::of(value) {
            Contents::Set(set.iter().map(|member| member.with_text(<[u8]>::to_vec)).collect())
        } else if let Some(zset) = Zset::of(value) {
            Contents::Zset(zset.iter().map(|(member, score)| (member.to_vec(), score)).collect())
        } else if let Some(hash) = Hash::of(value) {
            let pairs = hash.with_times();
            Contents::Hash(pairs.map(|((f, v), at)| (f.to_vec(), (v.to_vec(), at))).collect())
        } else if let Some(stream) = Stream::of(value) {
            Contents::Stream(of_stream(stream))
        } else {
            panic!("a type of no kind")
        }
    }
}

fn of_stream(stream: &Stream) -> StreamContents {
    let log = &stream.log;
    let fields = |entry: stream::Entry<'_>| {
        entry.pairs().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    };
    let groups = stream.groups.iter().map(|(name, group)| GroupContents {
        name: name.to_vec(),
        last_id: group.last_id,
        entries_read: group.entries_read,
        pending: group
            .pending_range(StreamId::MIN, None)
            .map(|(id, pending)| {
                let owner = group.consumer(pending.consumer).name.to_vec();
                (id, owner, pending.delivered_ms, pending.deliveries)
            })
            .collect(),
        consumers: group
            .consumers()
            .map(|(_, consumer)| (consumer.name.to_vec(), consumer.seen_ms, consumer.active_ms))
            .collect(),
    });
    StreamContents {
        nodes: log.nodes(),
        entries: log.iter().map(|entry| (entry.id, fields(entry))).collect(),
        last_id: log.last_id(),
        max_deleted_id: log.max_deleted_id(),
        entries_added: log.entries_added(),
        groups: groups.collect(),
    }
}

/// Hands the record that a value makes to `look`.
pub fn with_record<T>(value: NewValue<'_>, look: impl FnOnce(&View<'_>) -> T) -> T {
    let mut keys = Keyspace::new(1, 1, NOW_MS);
    keys.set_now(NOW_MS);
    // A hash may have fields whose time is over.
    keys.expiry_enabled = false;
    keys.insert(b"k", value, None);
    look(&keys.view(b"k").expect("the key that was inserted"))
}

/// A payload of a type's number and its value, with the version of a file it is from. The
/// checksum is none.
pub fn payload(version: u16, of: u8, body: &[u8]) -> Vec<u8> {
    [&[of], body, &version.to_le_bytes(), &[0; 8]].concat()
}

/// What is in a value of a type, and how it is kept.
pub fn read_of(version: u16, of: u8, body: &[u8]) -> Result<(Contents, &'static str), String> {
    let look = |view: &View<'_>| (Contents::of(view.value()), view.value().encoding(view.is_raw()));
    restore(&payload(version, of, body), LIMITS, false, |value| with_record(value, look)).map_err(
        |refusal| match refusal {
            Refusal::Footer => "footer".to_string(),
            Refusal::Format(error) => error.to_string(),
        },
    )
}

/// A string as it is in a file.
pub fn string(text: &[u8]) -> Vec<u8> {
    let len = (text.len() as u32).to_be_bytes();
    [&[0x80], &len[..], text].concat()
}

/// An element of a ziplist.
#[derive(Clone, Copy)]
pub enum Piece<'a> {
    Text(&'a [u8]),
    /// An integer in so many bytes; none for one within the encoding.
    Int(i64, usize),
}

/// A ziplist, as the comments of `ziplist.c` describe it.
pub fn ziplist(pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; 10];
    let (mut last_at, mut len_before) = (10u32, 0);
    for piece in pieces {
        last_at = bytes.len() as u32;
        match len_before {
            0..254 => bytes.push(len_before as u8),
            len => {
                bytes.push(254);
                bytes.extend((len as u32).to_le_bytes());
            }
        }
        match *piece {
            Piece::Text(text) => {
                match text.len() {
                    len @ 0..64 => bytes.push(len as u8),
                    len @ 64..16384 => bytes.extend([0x40 | (len >> 8) as u8, len as u8]),
                    len => {
                        bytes.push(0x80);
                        bytes.extend((len as u32).to_be_bytes());
                    }
                }
                bytes.extend(text);
            }
            Piece::Int(number, size) => {
                bytes.push(match size {
                    0 => 0xF1 + number as u8,
                    1 => 0xFE,
                    2 => 0xC0,
                    3 => 0xF0,
                    4 => 0xD0,
                    _ => 0xE0,
                });
                bytes.extend(&number.to_le_bytes()[..size]);
            }
        }
        len_before = bytes.len() - last_at as usize;
    }
    bytes.push(0xFF);
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes[4..8].copy_from_slice(&last_at.to_le_bytes());
    bytes[8..10].copy_from_slice(&(pieces.len() as u16).to_le_bytes());
    bytes
}

/// A listpack.
pub fn listpack(pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; 6];
    for piece in pieces {
        let start = bytes.len();
        match *piece {
            Piece::Text(text) if text.len() < 64 => {
                bytes.push(0x80 | text.len() as u8);
                bytes.extend(text);
            }
            Piece::Text(text) => {
                bytes.push(0xF0);
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text);
            }
            Piece::Int(number @ 0..128, _) => bytes.push(number as u8),
            Piece::Int(number, _) => {
                bytes.push(0xF4);
                bytes.extend(number.to_le_bytes());
            }
        }
        // Seven bits a byte, to be read from the back.
        let len = bytes.len() - start;
        let size = [127, 16_382, 2_097_150, usize::MAX].iter().position(|max| len <= *max).unwrap();
        for nth in (0..=size).rev() {
            let more = if nth == size { 0 } else { 0x80 };
            bytes.push((len >> (7 * nth)) as u8 & 0x7F | more);
        }
    }
    bytes.push(0xFF);
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes[4..6].copy_from_slice(&(pieces.len() as u16).to_le_bytes());
    bytes
}
