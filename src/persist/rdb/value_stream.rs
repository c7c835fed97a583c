//! Reading streams: nodes of packed entries, then what the stream knows of itself, then its groups
//! of consumers. Format: `t_stream.c` and `rdb.c` in Redis.

use super::bytes::Damage;
use super::input::Input;
use super::value::Values;
use super::{Error, Problem, kind, listpack};
use crate::types::stream::{self, Group, Pending, Stream, StreamId};
use crate::types::string::Str;
use crate::types::{Loose, Object};
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

/// Flags of entries.
const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// Who was given an entry when, and how often: before it is known to whom.
type Given = BTreeMap<StreamId, (i64, i64)>;

impl Values {
    pub(super) fn stream<R: Read>(&mut self, input: &mut Input<R>, of: u8) -> Result<(), Error> {
        let mut stream = Stream::default();
        let nodes = input.length()?;
        let (mut blob, mut texts) = (std::mem::take(&mut self.first), Texts::default());
        let mut last = None;
        for _ in 0..nodes {
            input.string(&mut blob)?;
            let Some(base) = raw_id(&blob) else {
                return input.damaged("a node of a stream whose ID has not 16 bytes");
            };
            input.string(&mut blob)?;
            let limits = &self.limits.stream;
            let read = Node::new(base, &blob, &mut texts)
                .and_then(|node| node.append_to(&mut stream.log, &mut last, limits));
            read.or_else(|Damage(what)| {
                let what = format!("Stream listpack integrity check failed: {what}");
                input.fail(Problem::Damaged(what.into()))
            })?;
        }
        blob.clear();
        blob.shrink_to(crate::types::string::INLINE_LIMIT);
        self.first = blob;
        state(input, &mut stream, of)?;
        let groups = input.length()?;
        for _ in 0..groups {
            group(input, &mut stream, of)?;
        }
        self.made = Loose::Object(Object::Stream(Box::new(stream)));
        Ok(())
    }
}

fn raw_id(bytes: &[u8]) -> Option<StreamId> {
    let (ms, seq) = (bytes.first_chunk()?, bytes.get(8..)?.first_chunk()?);
    let is_whole = bytes.len() == 16;
    is_whole.then(|| StreamId::new(u64::from_be_bytes(*ms), u64::from_be_bytes(*seq)))
}

fn id<R: Read>(input: &mut Input<R>) -> Result<StreamId, Error> {
    Ok(StreamId::new(input.length()?, input.length()?))
}

/// A count that must fit a signed number.
fn count<R: Read>(input: &mut Input<R>) -> Result<i64, Error> {
    let count = input.length()?;
    let fits = i64::try_from(count).map_err(|_| Damage("a stream with an impossible count"));
    input.check(fits)
}

/// What stands behind the nodes; the first form of it has only the length and the last ID.
fn state<R: Read>(input: &mut Input<R>, stream: &mut Stream, of: u8) -> Result<(), Error> {
    let log = &mut stream.log;
    let len = input.length()?;
    let last_id = id(input)?;
    if len != log.len() {
        return input.damaged("a stream with another number of entries than it says");
    }
    if last_id < log.top_id() {
        return input.damaged("a stream whose last ID is before that of its last entry");
    }
    log.set_last_id(last_id);
    log.set_entries_added(len);
    if of == kind::STREAM {
        return Ok(());
    }
    // The ID of the first entry is known.
    id(input)?;
    log.set_max_deleted_id(id(input)?);
    let added = count(input)? as u64;
    if added < len {
        return input.damaged("a stream to which fewer entries were added than it has");
    }
    log.set_entries_added(added);
    Ok(())
}

fn group<R: Read>(input: &mut Input<R>, stream: &mut Stream, of: u8) -> Result<(), Error> {
    let mut name = Vec::new();
    input.string(&mut name)?;
    let last_id = id(input)?;
    let entries_read = if of == kind::STREAM {
        stream.log.added_up_to(last_id).map(|count| count as i64)
    } else {
        match input.length()? {
            // -1: it is not known.
            u64::MAX => None,
            read => match i64::try_from(read) {
                Ok(read) => Some(read),
                Err(_) => return input.damaged("a group that has read an impossible number"),
            },
        }
    };
    let mut group = Group::new(last_id, entries_read);
    let mut given = given(input)?;
    let consumers = input.length()?;
    for _ in 0..consumers {
        consumer(input, &mut group, &mut given, of)?;
    }
    if !given.is_empty() {
        return input.damaged("a group with a pending entry that no consumer has");
    }
    if stream.groups.insert(name.into(), group).is_some() {
        return input.damaged("a stream with a group twice");
    }
    Ok(())
}

fn given<R: Read>(input: &mut Input<R>) -> Result<Given, Error> {
    let mut given = Given::new();
    let pending = input.length()?;
    for _ in 0..pending {
        let id =
            StreamId::new(u64::from_be_bytes(input.array()?), u64::from_be_bytes(input.array()?));
        let delivered_ms = input.i64()?;
        let deliveries = count(input)?;
        if given.insert(id, (delivered_ms, deliveries)).is_some() {
            return input.damaged("a group with a pending entry twice");
        }
    }
    Ok(given)
}

fn consumer<R: Read>(
    input: &mut Input<R>,
    group: &mut Group,
    given: &mut Given,
    of: u8,
) -> Result<(), Error> {
    let mut name = Vec::new();
    input.string(&mut name)?;
    let seen_ms = input.i64()?;
    // The best that is known where it is not told. Otherwise -1 stands for never.
    let active_ms = if of == kind::STREAM_3 { input.i64()? } else { seen_ms };
    if group.consumer_id(&name).is_some() {
        return input.damaged("Duplicate stream consumer detected");
    }
    let consumer = group.create_consumer(&name, seen_ms);
    group.consumer_mut(consumer).active_ms = (active_ms != -1).then_some(active_ms);
    let pending = input.length()?;
    for _ in 0..pending {
        let id =
            StreamId::new(u64::from_be_bytes(input.array()?), u64::from_be_bytes(input.array()?));
        let Some((delivered_ms, deliveries)) = given.remove(&id) else {
            return input.damaged(match group.pending(id) {
                Some(_) => "Stream consumer PEL entry already has a consumer assigned",
                None => "a consumer with a pending entry that its group does not have",
            });
        };
        group.assign(id, Pending { consumer, delivered_ms, deliveries });
    }
    Ok(())
}

/// Texts one behind the other: first the names of a node's fields, then an entry's.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    names: Vec<Range<usize>>,
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

impl Texts {
    fn put(&mut self, text: Str<'_>) -> Range<usize> {
        let start = self.bytes.len();
        text.with(|text| self.bytes.extend_from_slice(text));
        start..self.bytes.len()
    }
}

/// A node of a stream as it is in a file, a listpack:
///
/// ```text
/// entries, deleted ones, fields, the names of these, 0
/// flags, ms, seq, the values, pieces                        an entry with these fields
/// flags, ms, seq, fields, names and values, pieces          one with others
/// ```
///
/// IDs are differences from the node's own; pieces are the elements of the listpack before.
struct Node<'a, 't> {
    base: StreamId,
    pieces: listpack::Reader<'a>,
    texts: &'t mut Texts,
    live: i64,
    deleted: i64,
    /// Where the names end in the texts.
    names_end: usize,
}

const NO_FIELDS: Damage = Damage("an entry of a stream without fields");

impl<'a, 't> Node<'a, 't> {
    fn new(base: StreamId, blob: &'a [u8], texts: &'t mut Texts) -> Result<Node<'a, 't>, Damage> {
        let mut pieces = listpack::Reader::new(blob)?;
        let live = pieces.expect_int()?;
        let deleted = pieces.expect_int()?;
        if live < 0 || deleted < 0 {
            return Err(Damage("a node of a stream with a negative number of entries"));
        }
        let fields = pieces.expect_int()?;
        if fields < 1 {
            return Err(NO_FIELDS);
        }
        texts.bytes.clear();
        texts.names.clear();
        for _ in 0..fields {
            let name = texts.put(pieces.expect()?);
            texts.names.push(name);
        }
        if pieces.expect_int()? != 0 {
            return Err(Damage("a node of a stream whose fields are not followed by 0"));
        }
        let names_end = texts.bytes.len();
        Ok(Node { base, pieces, texts, live, deleted, names_end })
    }

    /// Appends the entries that are not deleted. `last` is the ID of the last entry of all nodes.
    fn append_to(
        mut self,
        log: &mut stream::Log,
        last: &mut Option<StreamId>,
        limits: &stream::Limits,
    ) -> Result<(), Damage> {
        let (mut live, mut deleted) = (0, 0);
        let mut shares_fields = false;
        while let Some(flags) = self.pieces.next()? {
            let flags = flags.as_integer().ok_or(Damage("an entry of a stream without flags"))?;
            if flags & !(DELETED | SAME_FIELDS) != 0 {
                return Err(Damage("an entry of a stream with unknown flags"));
            }
            let same_fields = flags & SAME_FIELDS != 0;
            let id = self.entry(same_fields)?;
            if last.is_some_and(|last| id <= last) {
                return Err(Damage("a stream whose entries are not in ascending order"));
            }
            *last = Some(id);
            if flags & DELETED != 0 {
                deleted += 1;
                continue;
            }
            let Texts { bytes, pairs, .. } = &*self.texts;
            let pairs =
                pairs.iter().map(|(name, value)| (&bytes[name.clone()], &bytes[value.clone()]));
            let size = stream::payload(pairs.clone()).ok_or(Damage("too large a stream entry"))?;
            // Where nodes begin and end is seen by who trims a stream by nodes.
            let nodes = log.nodes();
            match live {
                0 => log.append_in_new_node(id, pairs, size, limits),
                _ if same_fields && shares_fields => {
                    log.append_same(id, pairs, size, limits);
                }
                _ => log.append(id, pairs, size, limits),
            }
            if log.nodes() > nodes {
                shares_fields = same_fields;
            }
            live += 1;
        }
        if (live, deleted) != (self.live, self.deleted) {
            return Err(Damage("a node of a stream with another number of entries than it says"));
        }
        Ok(())
    }

    /// Reads an entry behind its flags: its fields into the texts.
    fn entry(&mut self, same_fields: bool) -> Result<StreamId, Damage> {
        let Node { base, pieces, texts, names_end, .. } = self;
        // Differences are modulo 2^64.
        let ms = base.ms.wrapping_add(pieces.expect_int()? as u64);
        let seq = base.seq.wrapping_add(pieces.expect_int()? as u64);
        texts.bytes.truncate(*names_end);
        texts.pairs.clear();
        let mut count = 3;
        if same_fields {
            for nth in 0..texts.names.len() {
                let value = texts.put(pieces.expect()?);
                texts.pairs.push((texts.names[nth].clone(), value));
                count += 1;
            }
        } else {
            let fields = pieces.expect_int()?;
            if fields < 1 {
                return Err(NO_FIELDS);
            }
            for _ in 0..fields {
                let (name, value) = (texts.put(pieces.expect()?), texts.put(pieces.expect()?));
                texts.pairs.push((name, value));
                count += 2;
            }
            count += 1;
        }
        if pieces.expect_int()? != count {
            return Err(Damage("an entry of a stream of another length than it says"));
        }
        Ok(StreamId::new(ms, seq))
    }
}
