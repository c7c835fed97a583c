//! A node: some entries of a stream, one behind the other, packed into one run of bytes.
//!
//! ```text
//! node   = count of fields, the names of the node's fields, entries
//! entry  = bytes of the rest << 1 | same, ms, seq, then
//!          a value for each of the node's fields          if it has the same fields
//!          count of fields, a name and a value for each   if not
//! ms     = milliseconds since those of the node's first ID
//! seq    = the ID's number, less that of the node's first ID if ms is 0
//! name   = count of bytes, bytes
//! value  = (count of bytes) << 1, bytes; or number << 1 | 1 for the text of an integer
//! ```
//!
//! All numbers are [`varint`]s; an integer is zigzag-encoded, so that small negative ones are
//! short too. That entries of a stream have the same fields as a rule, and that those stand once
//! in a node, is Redis's idea. Must not know other nodes.

use super::{StreamId, listpack};
use crate::base::number::parse_i64;
use crate::types::packed::{push_varint, put_varint, varint, varint_size};
use crate::types::string::Str;

/// Integers from `-INTEGER_LIMIT` to `INTEGER_LIMIT - 1` are kept as such: what zigzag and the
/// mark make of them fits 64 bits.
const INTEGER_LIMIT: i64 = 1 << 61;

#[derive(Clone)]
pub struct Node {
    bytes: Vec<u8>,
    /// The last ID the node has ever had, be the entry deleted or not.
    last: StreamId,
    /// Where the entries begin in `bytes`.
    entries_at: u32,
    live: u32,
    deleted: u32,
    /// What the node's entries, deleted ones too, and its fields take in Redis.
    listpack_bytes: u32,
}

/// Bounds of a node. The first entry always fits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `stream-node-max-bytes`; 0 for none.
    pub bytes: usize,
    /// `stream-node-max-entries`, deleted ones counted; 0 for none.
    pub entries: u64,
}

/// A node is searched from its beginning, and is moved when it grows: without a limit given, this
/// is one.
const NODE_BYTES_MAX: usize = 1 << 20;

/// Larger memory is not handed on from node to node: the next entries may be small.
const REUSED_BYTES_MAX: usize = 8192;

/// From here on names that are repeated count as waste. Bytes.
const LONG_NAMES: usize = 512;

/// Fields with their values, as an entry's maker gives them.
pub trait Pairs<'a>: Iterator<Item = (&'a [u8], &'a [u8])> + ExactSizeIterator + Clone {}
impl<'a, T: Iterator<Item = (&'a [u8], &'a [u8])> + ExactSizeIterator + Clone> Pairs<'a> for T {}

fn push_name(bytes: &mut Vec<u8>, name: &[u8]) {
    push_varint(bytes, name.len());
    bytes.extend_from_slice(name);
}

/// Appends a value, and returns what it takes in Redis.
fn push_value(bytes: &mut Vec<u8>, value: &[u8]) -> usize {
    match integer(value) {
        Some(number) => {
            if (-INTEGER_LIMIT..INTEGER_LIMIT).contains(&number) {
                let zigzag = ((number << 1) ^ (number >> 63)) as usize;
                push_varint(bytes, zigzag << 1 | 1);
            } else {
                push_varint(bytes, value.len() << 1);
                bytes.extend_from_slice(value);
            }
            listpack::integer(number)
        }
        None => {
            push_varint(bytes, value.len() << 1);
            bytes.extend_from_slice(value);
            listpack::text(value.len())
        }
    }
}

/// Writes the head of the entry that begins at `start` with a byte for it.
fn close_entry(bytes: &mut Vec<u8>, start: usize, same: bool) {
    let body = start + 1..bytes.len();
    let head = body.len() << 1 | usize::from(same);
    let behind = start + varint_size(head);
    if behind > body.start {
        bytes.resize(behind + body.len(), 0);
        bytes.copy_within(body, behind);
    }
    put_varint(&mut &mut bytes[start..behind], head);
}

/// The integer that this is the text of.
fn integer(text: &[u8]) -> Option<i64> {
    // Most values are longer, or begin with something else.
    let may_be = text.len() <= 20 && text.first().is_some_and(|b| b.is_ascii_digit() || *b == b'-');
    if may_be { parse_i64(text) } else { None }
}

fn listpack_size(text: &[u8]) -> usize {
    integer(text).map_or_else(|| listpack::text(text.len()), listpack::integer)
}

fn take<'a>(bytes: &'a [u8], at: &mut usize, len: usize) -> &'a [u8] {
    let part = &bytes[*at..*at + len];
    *at += len;
    part
}

fn take_name<'a>(bytes: &'a [u8], at: &mut usize) -> &'a [u8] {
    let len = varint(bytes, at);
    take(bytes, at, len)
}

fn take_value<'a>(bytes: &'a [u8], at: &mut usize) -> Str<'a> {
    let head = varint(bytes, at);
    if head & 1 == 0 {
        return Str::Bytes(take(bytes, at, head >> 1));
    }
    let zigzag = head >> 1;
    Str::Int((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
}

impl Node {
    /// A node for entries from `first` on, with these fields as the ones entries may share.
    /// `bytes` is memory that may be used again.
    pub fn new<'a>(first: StreamId, pairs: impl Pairs<'a>, mut bytes: Vec<u8>) -> Node {
        let names = pairs.map(|(name, _)| name);
        // Names and values are about as long, as a rule.
        let size: usize = names.clone().map(|name| 2 * name.len() + 4).sum();
        bytes.clear();
        bytes.reserve(size + 8);
        push_varint(&mut bytes, names.len());
        let mut listpack_bytes =
            listpack::EMPTY + listpack::integer(names.len() as i64) + listpack::integer(0);
        for name in names {
            push_name(&mut bytes, name);
            listpack_bytes += listpack_size(name);
        }
        Node {
            last: first,
            entries_at: bytes.len() as u32,
            bytes,
            live: 0,
            deleted: 0,
            listpack_bytes: listpack_bytes as u32,
        }
    }

    /// Entries that are not deleted.
    pub fn live(&self) -> u64 {
        self.live.into()
    }

    pub fn last(&self) -> StreamId {
        self.last
    }

    /// Bytes of memory behind the node itself.
    pub fn memory(&self) -> usize {
        crate::types::allocated(self.bytes.capacity())
    }

    /// Whether the node takes a further entry whose names and values have so many bytes.
    pub fn takes(&self, payload: usize, limits: &Limits) -> bool {
        let max = match limits.bytes {
            0 => NODE_BYTES_MAX,
            bytes => bytes.min(NODE_BYTES_MAX),
        };
        let counts = listpack::integer(self.live.into()) + listpack::integer(self.deleted.into());
        let entries = u64::from(self.live) + u64::from(self.deleted);
        self.listpack_bytes as usize + counts + payload < max
            && (limits.entries == 0 || entries < limits.entries)
    }

    /// Keeps no memory for further entries: there will be none. Returns what the next node can
    /// use.
    pub fn seal(&mut self) -> Vec<u8> {
        // Shrinking would not do: an allocator may leave half of a block unused rather than move.
        let exact = self.bytes.as_slice().to_vec();
        let old = std::mem::replace(&mut self.bytes, exact);
        if old.capacity() <= REUSED_BYTES_MAX { old } else { Vec::new() }
    }

    /// Whether the names that entries share are long, and take more bytes than the entries.
    pub fn is_mostly_names(&self) -> bool {
        let names = self.entries_at as usize;
        names > LONG_NAMES && self.bytes.len() < 2 * names
    }

    /// Whether these are the node's fields, in their order.
    fn has_fields<'a>(&self, pairs: impl Pairs<'a>) -> bool {
        let mut at = 0;
        let count = varint(&self.bytes, &mut at);
        count == pairs.len()
            && pairs.into_iter().all(|(name, _)| {
                let (bytes, mut name_at) = (&self.bytes, at);
                let len = varint(bytes, &mut name_at);
                at = name_at + len;
                bytes[name_at..at] == *name
            })
    }

    /// Appends an entry, the ID of which must be above all IDs the node has had.
    pub fn push<'a>(&mut self, base: StreamId, id: StreamId, pairs: impl Pairs<'a>) {
        let same = self.has_fields(pairs.clone());
        self.put(base, id, pairs, same);
    }

    /// The same, of an entry that is known to have the node's fields.
    pub fn push_same<'a>(&mut self, base: StreamId, id: StreamId, pairs: impl Pairs<'a>) {
        self.put(base, id, pairs, true);
    }

    fn put<'a>(&mut self, base: StreamId, id: StreamId, pairs: impl Pairs<'a>, same: bool) {
        let ms = id.ms - base.ms;
        let seq = if ms == 0 { id.seq - base.seq } else { id.seq };
        let bytes = &mut self.bytes;
        let start = bytes.len();
        // Most entries are so short that their length is one byte: it is filled in at the end.
        bytes.push(0);
        push_varint(bytes, ms as usize);
        push_varint(bytes, seq as usize);
        let mut pieces = 3 + pairs.len();
        let mut listpack_bytes = listpack::integer(0)
            + listpack::integer(ms as i64)
            + listpack::integer(id.seq.wrapping_sub(base.seq) as i64);
        if !same {
            push_varint(bytes, pairs.len());
            pieces += pairs.len() + 1;
            listpack_bytes += listpack::integer(pairs.len() as i64);
        }
        for (name, value) in pairs {
            if !same {
                push_name(bytes, name);
                listpack_bytes += listpack_size(name);
            }
            listpack_bytes += push_value(bytes, value);
        }
        listpack_bytes += listpack::integer(pieces as i64);
        close_entry(bytes, start, same);
        self.last = id;
        self.live += 1;
        self.listpack_bytes = self.listpack_bytes.saturating_add(listpack_bytes as u32);
    }

    pub fn entries(&self, base: StreamId) -> Entries<'_> {
        Entries { node: self, base, at: self.entries_at as usize }
    }

    /// The same from the last one back. Entries can be walked forwards only: where they are is
    /// found out first.
    pub fn entries_back(&self, base: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let mut starts = Vec::with_capacity(self.live as usize);
        let mut at = self.entries_at as usize;
        while at < self.bytes.len() {
            starts.push(at as u32);
            let head = varint(&self.bytes, &mut at);
            at += head >> 1;
        }
        let entry_at = move |at| Entries { node: self, base, at: at as usize }.next();
        starts.into_iter().rev().filter_map(entry_at)
    }

    /// Deletes the entry with this ID; false if there is none.
    pub fn delete(&mut self, base: StreamId, id: StreamId) -> bool {
        let mut entries = self.entries(base);
        loop {
            let start = entries.at;
            match entries.next() {
                Some(entry) if entry.id == id => {
                    let end = entries.at;
                    self.bytes.drain(start..end);
                    self.live -= 1;
                    self.deleted += 1;
                    return true;
                }
                Some(entry) if entry.id < id => {}
                _ => return false,
            }
        }
    }

    /// Deletes entries from the first on, as long as `doomed` says so of each; returns how many.
    pub fn delete_front(&mut self, base: StreamId, doomed: impl Fn(u64, StreamId) -> bool) -> u64 {
        let mut entries = self.entries(base);
        let mut count = 0;
        let mut end = entries.at;
        while entries.next().is_some_and(|entry| doomed(count, entry.id)) {
            count += 1;
            end = entries.at;
        }
        self.bytes.drain(self.entries_at as usize..end);
        // No more than `live`, which is of this type.
        self.live -= count as u32;
        self.deleted += count as u32;
        count
    }
}

/// The entries of a node, from the first on.
#[derive(Clone)]
pub struct Entries<'a> {
    node: &'a Node,
    base: StreamId,
    at: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let bytes = &self.node.bytes[..];
        if self.at >= bytes.len() {
            return None;
        }
        let head = varint(bytes, &mut self.at);
        let body = take(bytes, &mut self.at, head >> 1);
        let mut at = 0;
        let ms = varint(body, &mut at) as u64;
        let seq = varint(body, &mut at) as u64;
        let seq = if ms == 0 { self.base.seq + seq } else { seq };
        let id = StreamId { ms: self.base.ms + ms, seq };
        let body = &body[at..];
        let values = (head & 1 == 1).then_some(body);
        // Behind their count, be they the node's or the entry's own.
        let names = if values.is_some() { bytes } else { body };
        let mut names_at = 0;
        let len = varint(names, &mut names_at);
        Some(Entry { id, len, names: &names[names_at..], values })
    }
}

/// An entry as it is read.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub id: StreamId,
    len: usize,
    names: &'a [u8],
    /// None if each value stands behind its name.
    values: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fields with their values.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], Str<'a>)> + use<'a> {
        let Entry { names, values, len, .. } = *self;
        let (mut at, mut values_at) = (0, 0);
        (0..len).map(move |_| {
            let name = take_name(names, &mut at);
            let value = match values {
                Some(values) => take_value(values, &mut values_at),
                None => take_value(names, &mut at),
            };
            (name, value)
        })
    }
}
