//! Writing: the parts of a file, appended to a vector in their order.
//!
//! Small values are written in Redis's packed forms, others element by element: then it is their
//! type, their count and the elements, so a caller can also write a large one in pieces with
//! [`plain_type`], [`length`], [`Writer::string`], [`score`], [`field_time`] and
//! [`Writer::stream_node`]. All forms are those that Redis 7.0 loads, but where fields of a hash
//! expire, for which it has none.

use super::{VERSION, VERSION_WITH_FIELD_TIMES, container, kind, listpack, lzf, opcode};
use crate::base::number::push_f64;
use crate::store::{Keyspace, View};
use crate::types::frozen::{ConsumerHead, GroupHead};
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::stream::{Entry, LogState, Pending, Stream, StreamId};
use crate::types::string::Str;
use crate::types::zset::Zset;
use crate::types::{Object, Type, Value};

/// Strings up to this are not compressed.
const COMPRESS_ABOVE: usize = 20;
/// Larger texts are not looked at for whether they are an integer: it would not fit 32 bits.
const INTEGER_TEXT_MAX: usize = 11;
/// Hashes and sorted sets whose elements have more bytes are not written packed, as they are read
/// and checked at once.
const PACKED_BYTES_MAX: usize = 64 << 10;
/// Elements of a list that were pieced together take so many bytes at most.
const LIST_NODE_BYTES: usize = 8 << 10;

/// What is known of a key's use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Use {
    #[default]
    Unknown,
    /// Seconds since it was accessed: under a policy of least recent use.
    Idle(u64),
    /// The logarithmic counter of accesses: under a policy of least frequent use.
    Frequency(u8),
}

/// The version that a file of these data must have.
pub fn version_for(keys: &Keyspace) -> u32 {
    let expires = |db| keys.records(db).next_field() < i64::MAX;
    let some_field_expires = (0..keys.databases()).any(expires);
    if some_field_expires { VERSION_WITH_FIELD_TIMES } else { VERSION }
}

/// What a file begins with.
pub fn header(out: &mut Vec<u8>, version: u32) {
    out.extend_from_slice(format!("REDIS{version:04}").as_bytes());
}

/// What keys of a database begin with.
pub fn select(out: &mut Vec<u8>, number: usize) {
    out.push(opcode::SELECT_DB);
    length(out, number as u64);
}

/// How many keys the selected database has, and how many of them expire.
pub fn resize(out: &mut Vec<u8>, keys: usize, expiring: usize) {
    out.push(opcode::RESIZE_DB);
    length(out, keys as u64);
    length(out, expiring as u64);
}

/// What the last key is followed by; then there is the checksum only.
pub fn end(out: &mut Vec<u8>) {
    out.push(opcode::EOF);
}

/// The end of a file: the checksum of all its bytes, as [`crc64`](crate::base::crc64::crc64) gives
/// it, or 0 for none.
pub fn checksum(out: &mut Vec<u8>, checksum: u64) {
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// A length or a count.
#[inline]
pub fn length(out: &mut Vec<u8>, len: u64) {
    match len {
        0..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend_from_slice(&[0x40 | (len >> 8) as u8, len as u8]),
        0x4000..0x1_0000_0000 => {
            out.push(0x80);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// A score, behind its member.
pub fn score(out: &mut Vec<u8>, score: f64) {
    out.extend_from_slice(&score.to_le_bytes());
}

/// A time, in milliseconds since 1970.
pub fn time(out: &mut Vec<u8>, ms: i64) {
    out.extend_from_slice(&ms.to_le_bytes());
}

/// When a field of a hash expires, before the field. `first` is when the first of its hash does:
/// that stands before the hash's count.
pub fn field_time(out: &mut Vec<u8>, first: i64, expire_at: Option<i64>) {
    let after_first = expire_at.map_or(0, |ms| ms.abs_diff(first) + 1);
    length(out, after_first);
}

/// The type of a value that is written element by element. `fields_expire` is about hashes: then
/// the time of the first field to expire ([`time`]) comes before the count, and a [`field_time`]
/// before each field.
pub fn plain_type(of: Type, fields_expire: bool) -> u8 {
    match of {
        Type::String => kind::STRING,
        Type::List => kind::LIST,
        Type::Set => kind::SET,
        Type::Zset => kind::ZSET_2,
        Type::Hash if fields_expire => kind::HASH_WITH_TIMES,
        Type::Hash => kind::HASH,
        Type::Stream => kind::STREAM_2,
    }
}

/// When the first field of a hash expires, if any does, in milliseconds since 1970.
pub fn first_field_time(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Object(Object::ExpiringHash(hash)) => hash.fields.earliest(),
        _ => None,
    }
}

/// Writes strings and values; keeps the memory it needs for that.
#[derive(Default)]
pub struct Writer {
    /// None: strings are not compressed.
    lzf: Option<lzf::Compressor>,
    compressed: Vec<u8>,
    packed: listpack::Builder,
    nodes: Vec<u8>,
    text: Vec<u8>,
}

impl Writer {
    /// `compresses`: what `rdbcompression` says.
    pub fn new(compresses: bool) -> Writer {
        Writer { lzf: compresses.then(lzf::Compressor::default), ..Writer::default() }
    }

    /// Something to be known of the file. Readers pass over names they do not know.
    pub fn aux(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8]) {
        out.push(opcode::AUX);
        self.string(out, name.as_bytes());
        self.string(out, value);
    }

    /// A key and its value.
    pub fn entry(&mut self, out: &mut Vec<u8>, view: &View<'_>, used: Use) {
        let value = view.value();
        let type_byte = self.type_of(value);
        self.key(out, view.key(), type_byte, view.expire_at(), used);
        self.value(out, value);
    }

    /// All that stands before a value of this type.
    pub fn key(
        &mut self,
        out: &mut Vec<u8>,
        key: &[u8],
        type_byte: u8,
        expire_at: Option<i64>,
        used: Use,
    ) {
        if let Some(ms) = expire_at {
            out.push(opcode::EXPIRE_TIME_MS);
            time(out, ms);
        }
        match used {
            Use::Unknown => {}
            Use::Idle(seconds) => {
                out.push(opcode::IDLE);
                length(out, seconds);
            }
            Use::Frequency(counter) => out.extend_from_slice(&[opcode::FREQ, counter]),
        }
        out.push(type_byte);
        self.string(out, key);
    }

    /// A string: as an integer or compressed where it is shorter so.
    pub fn string(&mut self, out: &mut Vec<u8>, string: &[u8]) {
        if string.len() <= INTEGER_TEXT_MAX
            && let Some(number) = crate::types::string::integer(string)
            && push_small_integer(out, number)
        {
            return;
        }
        if string.len() > COMPRESS_ABOVE
            && let Some(lzf) = &mut self.lzf
        {
            self.compressed.clear();
            if lzf.compress(string, &mut self.compressed) {
                out.push(0xC3);
                length(out, self.compressed.len() as u64);
                length(out, string.len() as u64);
                out.extend_from_slice(&self.compressed);
                return;
            }
        }
        length(out, string.len() as u64);
        out.extend_from_slice(string);
    }

    /// A string that may be kept as an integer.
    pub fn str(&mut self, out: &mut Vec<u8>, string: Str<'_>) {
        match string {
            Str::Bytes(bytes) => self.string(out, bytes),
            Str::Int(number) if push_small_integer(out, number) => {}
            Str::Int(number) => {
                let mut digits = itoa::Buffer::new();
                let digits = digits.format(number).as_bytes();
                length(out, digits.len() as u64);
                out.extend_from_slice(digits);
            }
        }
    }

    /// The type byte of what [`Writer::value`] writes.
    pub fn type_of(&self, value: Value<'_>) -> u8 {
        if let Some(set) = Set::of(value) {
            return if set.encoding_name() == "intset" { kind::SET_INTSET } else { kind::SET };
        }
        if let Some(zset) = Zset::of(value) {
            return if packs_zset(&zset) { kind::ZSET_LISTPACK } else { kind::ZSET_2 };
        }
        if let Some(hash) = Hash::of(value) {
            let has_times = first_field_time(value).is_some();
            let packs = !has_times && packs_hash(&hash);
            return if packs { kind::HASH_LISTPACK } else { plain_type(Type::Hash, has_times) };
        }
        match value.kind() {
            Type::List => kind::LIST_QUICKLIST_2,
            other => plain_type(other, false),
        }
    }

    /// A whole value, behind its type byte and its key.
    pub fn value(&mut self, out: &mut Vec<u8>, value: Value<'_>) {
        if let Some(string) = Str::of(value) {
            self.str(out, string);
        } else if let Some(list) = List::of(value) {
            self.list(out, &list);
        } else if let Some(set) = Set::of(value) {
            self.set(out, &set);
        } else if let Some(zset) = Zset::of(value) {
            self.zset(out, &zset);
        } else if let Some(hash) = Hash::of(value) {
            self.hash(out, &hash, first_field_time(value));
        } else if let Some(stream) = Stream::of(value) {
            self.stream(out, stream);
        }
    }

    /// Writes what is in `self.packed` as a string.
    fn packed(&mut self, out: &mut Vec<u8>) {
        let mut packed = std::mem::take(&mut self.packed);
        self.string(out, packed.finish());
        self.packed = packed;
    }

    fn list(&mut self, out: &mut Vec<u8>, list: &List<'_>) {
        // A quicklist has nodes; one of several nodes is read as a quicklist, whatever its size.
        let most = match list.encoding_name() {
            "listpack" => listpack::MOST_BYTES,
            _ => LIST_NODE_BYTES,
        };
        let mut nodes = std::mem::take(&mut self.nodes);
        nodes.clear();
        let mut count = 0;
        self.packed.clear();
        list.for_each(|element| {
            if self.packed.count() > 0 && self.packed.len() + element.len() > most {
                count += self.list_node(&mut nodes);
            }
            if element.len() <= most {
                self.packed.push(element);
                return;
            }
            length(&mut nodes, container::PLAIN);
            self.string(&mut nodes, element);
            count += 1;
        });
        if self.packed.count() > 0 {
            count += self.list_node(&mut nodes);
        }
        length(out, count);
        out.extend_from_slice(&nodes);
        nodes.clear();
        nodes.shrink_to(PACKED_BYTES_MAX);
        self.nodes = nodes;
    }

    /// Writes what is in `self.packed` as one node, and begins the next.
    fn list_node(&mut self, nodes: &mut Vec<u8>) -> u64 {
        length(nodes, container::PACKED);
        self.packed(nodes);
        self.packed.clear();
        1
    }

    fn set(&mut self, out: &mut Vec<u8>, set: &Set<'_>) {
        if set.encoding_name() == "intset" {
            let mut numbers: Vec<i64> = set.iter().filter_map(|member| member.int()).collect();
            numbers.sort_unstable();
            let blob = intset(&numbers);
            self.string(out, &blob);
            return;
        }
        length(out, set.len() as u64);
        set.iter().for_each(|member| member.with_text(|text| self.string(out, text)));
    }

    fn zset(&mut self, out: &mut Vec<u8>, zset: &Zset<'_>) {
        if !packs_zset(zset) {
            length(out, zset.len() as u64);
            for (member, its_score) in zset.iter() {
                self.string(out, member);
                score(out, its_score);
            }
            return;
        }
        self.packed.clear();
        for (member, score) in zset.iter() {
            self.packed.push(member);
            self.text.clear();
            push_f64(&mut self.text, score);
            self.packed.push(&self.text);
        }
        self.packed(out);
    }

    fn hash(&mut self, out: &mut Vec<u8>, hash: &Hash<'_>, first: Option<i64>) {
        if first.is_none() && packs_hash(hash) {
            self.packed.clear();
            for (field, value) in hash.iter() {
                self.packed.push(field);
                self.packed.push(value);
            }
            return self.packed(out);
        }
        if let Some(first) = first {
            time(out, first);
        }
        length(out, hash.len() as u64);
        for ((field, value), expire_at) in hash.with_times() {
            if let Some(first) = first {
                field_time(out, first, expire_at);
            }
            self.string(out, field);
            self.string(out, value);
        }
    }

    fn stream(&mut self, out: &mut Vec<u8>, stream: &Stream) {
        length(out, stream.log.nodes() as u64);
        for (base, entries) in stream.log.nodes_from(StreamId::MIN) {
            self.stream_node(out, base, entries);
        }
        self.stream_end(out, stream);
    }

    /// What stands before a group's pending entries.
    pub fn stream_group(&mut self, out: &mut Vec<u8>, group: &GroupHead<'_>) {
        self.string(out, group.name);
        stream_id(out, group.last_id);
        // -1 stands for what is not known.
        length(out, group.entries_read.unwrap_or(-1) as u64);
        length(out, group.pending as u64);
    }

    /// What stands before the IDs of a consumer's pending entries.
    pub fn stream_consumer(&mut self, out: &mut Vec<u8>, consumer: &ConsumerHead<'_>) {
        self.string(out, consumer.name);
        time(out, consumer.seen_ms);
        length(out, consumer.pending as u64);
    }

    /// What follows a stream's nodes: what it knows of itself, and its groups.
    pub fn stream_end(&mut self, out: &mut Vec<u8>, stream: &Stream) {
        stream_state(out, &stream.log.state());
        length(out, stream.groups.len() as u64);
        for (name, group) in &stream.groups {
            let (last_id, entries_read) = (group.last_id, group.entries_read);
            let pending = group.pending_len();
            self.stream_group(out, &GroupHead { name, last_id, entries_read, pending });
            for (id, pending) in group.pending_range(StreamId::MIN, None) {
                stream_pending(out, id, &pending);
            }
            length(out, group.consumers_len() as u64);
            for (consumer_id, consumer) in group.consumers() {
                self.stream_consumer(
                    out,
                    &ConsumerHead {
                        name: &consumer.name,
                        seen_ms: consumer.seen_ms,
                        active_ms: consumer.active_ms,
                        pending: consumer.pending_len(),
                    },
                );
                for (id, _) in group.pending_range(StreamId::MIN, Some(consumer_id)) {
                    raw_stream_id(out, id);
                }
            }
        }
    }

    /// A node of a stream. A stream is the count of its nodes, the nodes, its
    /// [`stream_state`], the count of its groups and the groups.
    pub fn stream_node<'a>(
        &mut self,
        out: &mut Vec<u8>,
        base: StreamId,
        entries: impl Iterator<Item = Entry<'a>> + Clone,
    ) {
        let mut raw = Vec::with_capacity(16);
        raw.extend_from_slice(&base.ms.to_be_bytes());
        raw.extend_from_slice(&base.seq.to_be_bytes());
        length(out, raw.len() as u64);
        out.extend_from_slice(&raw);
        let packed = &mut self.packed;
        packed.clear();
        packed.push_int(entries.clone().count() as i64);
        packed.push_int(0);
        let first = entries.clone().next();
        packed.push_int(first.map_or(0, |first| first.len() as i64));
        first.iter().flat_map(names).for_each(|name| packed.push(name));
        packed.push_int(0);
        for entry in entries {
            push_stream_entry(packed, base, &entry, first.as_ref());
        }
        self.packed(out);
    }
}

const SAME_FIELDS: i64 = 2;

fn names<'a>(entry: &Entry<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    entry.pairs().map(|(name, _)| name)
}

/// Appends an entry; its fields' names only if they are not those of the node's first.
fn push_stream_entry(
    packed: &mut listpack::Builder,
    base: StreamId,
    entry: &Entry<'_>,
    first: Option<&Entry<'_>>,
) {
    let is_same = first.is_some_and(|first| names(first).eq(names(entry)));
    packed.push_int(if is_same { SAME_FIELDS } else { 0 });
    // As Redis has it: differences modulo 2^64, read back the same way.
    packed.push_int(entry.id.ms.wrapping_sub(base.ms) as i64);
    packed.push_int(entry.id.seq.wrapping_sub(base.seq) as i64);
    let mut pieces = 3 + entry.len() as i64;
    if !is_same {
        packed.push_int(entry.len() as i64);
        pieces += entry.len() as i64 + 1;
    }
    for (name, value) in entry.pairs() {
        if !is_same {
            packed.push(name);
        }
        packed.push_str(value);
    }
    packed.push_int(pieces);
}

/// What a stream knows of itself besides its entries.
pub fn stream_state(out: &mut Vec<u8>, state: &LogState) {
    length(out, state.len);
    stream_id(out, state.last_id);
    stream_id(out, state.first_id);
    stream_id(out, state.max_deleted_id);
    length(out, state.entries_added);
}

/// An entry that a group waits for to be acknowledged.
pub fn stream_pending(out: &mut Vec<u8>, id: StreamId, pending: &Pending) {
    raw_stream_id(out, id);
    time(out, pending.delivered_ms);
    length(out, pending.deliveries as u64);
}

fn stream_id(out: &mut Vec<u8>, id: StreamId) {
    length(out, id.ms);
    length(out, id.seq);
}

/// As pending entries are named.
pub fn raw_stream_id(out: &mut Vec<u8>, id: StreamId) {
    out.extend_from_slice(&id.ms.to_be_bytes());
    out.extend_from_slice(&id.seq.to_be_bytes());
}

/// Writes an integer as such; false if it has more than 32 bits.
fn push_small_integer(out: &mut Vec<u8>, number: i64) -> bool {
    let (form, size) = match number {
        -0x80..=0x7F => (0xC0, 1),
        -0x8000..=0x7FFF => (0xC1, 2),
        -0x8000_0000..=0x7FFF_FFFF => (0xC2, 4),
        _ => return false,
    };
    out.push(form);
    out.extend_from_slice(&number.to_le_bytes()[..size]);
    true
}

fn packs_hash(hash: &Hash<'_>) -> bool {
    let bytes = || hash.iter().map(|(field, value)| field.len() + value.len()).sum::<usize>();
    hash.encoding_name() == "listpack" && bytes() <= PACKED_BYTES_MAX
}

fn packs_zset(zset: &Zset<'_>) -> bool {
    let bytes = || zset.iter().map(|(member, _)| member.len() + 8).sum::<usize>();
    zset.encoding_name() == "listpack" && bytes() <= PACKED_BYTES_MAX
}

/// A sorted array of integers, as `intset.c` has it.
fn intset(numbers: &[i64]) -> Vec<u8> {
    let fits = |bits: u32| numbers.iter().all(|n| (n << (64 - bits)) >> (64 - bits) == *n);
    let width = if fits(16) {
        2
    } else if fits(32) {
        4
    } else {
        8
    };
    let mut blob = Vec::with_capacity(8 + numbers.len() * width);
    blob.extend_from_slice(&(width as u32).to_le_bytes());
    blob.extend_from_slice(&(numbers.len() as u32).to_le_bytes());
    numbers.iter().for_each(|n| blob.extend_from_slice(&n.to_le_bytes()[..width]));
    blob
}
