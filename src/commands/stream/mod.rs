//! Commands on streams, and what they share: IDs as arguments, entries as replies, groups that
//! must be there.

pub mod add;
pub mod group;
pub mod info;
pub mod pending;
mod propagate;
pub mod range;
pub mod read;
#[cfg(test)]
mod tests;

use crate::resp::Reply;
use crate::server::command::{Command, Group as Family, Keys};
use crate::server::error::Error;
use crate::store::{Edit, Keyspace};
use crate::types::stream::{Entry, Group, Stream, StreamId};
use crate::types::{Object, Slot, Value};

const BASE: Command =
    Command { since: "5.0.0", group: Family::Stream, categories: &["stream"], ..Command::BASE };

const INVALID_ID: Error =
    Error::Static("ERR Invalid stream ID specified as stream command argument");

/// The first argument is the one key; what is done to it is said by the flags.
const fn key(flags: &'static [&'static str]) -> Keys {
    Keys::at(1, flags)
}

/// The same behind a subcommand's name.
const fn second(flags: &'static [&'static str]) -> Keys {
    Keys::at(2, flags)
}

/// An ID that names one entry; a missing number is 0.
fn id(text: &[u8]) -> Result<StreamId, Error> {
    StreamId::parse(text, 0).ok_or(INVALID_ID)
}

fn ids<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Result<Vec<StreamId>, Error> {
    texts.map(id).collect()
}

/// One end of a range: `-` and `+` are the least and the greatest ID there can be.
fn bound(text: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => StreamId::parse(text, missing_seq).ok_or(INVALID_ID),
    }
}

/// Where a range begins: `(` excludes the ID.
fn range_start(text: &[u8]) -> Result<StreamId, Error> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            let error = Error::Static("ERR invalid start ID for the interval");
            id(rest)?.next().ok_or(error)
        }
        _ => bound(text, 0),
    }
}

/// Where a range ends: an ID without a number stands for the whole millisecond.
fn range_end(text: &[u8]) -> Result<StreamId, Error> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            let id = StreamId::parse(rest, u64::MAX).ok_or(INVALID_ID)?;
            id.previous().ok_or(Error::Static("ERR invalid end ID for the interval"))
        }
        _ => bound(text, u64::MAX),
    }
}

fn stream_of(value: Value<'_>) -> Result<&Stream, Error> {
    Stream::of(value).ok_or(Error::WRONG_TYPE)
}

/// The stream at a key, if there is one, read on behalf of a client.
fn read<'a>(keys: &'a mut Keyspace, key: &[u8]) -> Result<Option<&'a Stream>, Error> {
    keys.read(key).map(|view| stream_of(view.value())).transpose()
}

/// A key that holds a stream, if it exists, for change.
fn edit<'a>(keys: &'a mut Keyspace, key: &[u8]) -> Result<Option<Edit<'a>>, Error> {
    let Some(edit) = keys.edit(key) else { return Ok(None) };
    stream_of(edit.value())?;
    Ok(Some(edit))
}

/// The stream behind a guard from [`edit`], which marks its key as changed.
fn stream_mut<'a>(edit: &'a mut Edit<'_>) -> &'a mut Stream {
    match edit.object_mut() {
        Some(Object::Stream(stream)) => stream,
        _ => unreachable!("not a stream"),
    }
}

/// The same without a mark: whom a group has given what is no change of the stream to those who
/// watch the key, or wait for entries.
fn stream_unmarked<'a>(edit: &'a mut Edit<'_>) -> &'a mut Stream {
    match edit.object_unmarked() {
        Some(Object::Stream(stream)) => stream,
        _ => unreachable!("not a stream"),
    }
}

fn new_stream() -> Box<Object> {
    Box::new(Object::Stream(Box::default()))
}

/// The group that a command is about.
struct Place<'a> {
    key: &'a [u8],
    group: &'a [u8],
}

impl Place<'_> {
    fn no_group(&self) -> Error {
        let parts =
            [b"NOGROUP No such key '", self.key, b"' or consumer group '", self.group, b"'"];
        Error::Bytes(parts.concat())
    }

    /// The same where the key is known to exist.
    fn no_group_of_key(&self) -> Error {
        let parts =
            [b"NOGROUP No such consumer group '", self.group, b"' for key name '", self.key, b"'"];
        Error::Bytes(parts.concat())
    }

    /// Fails unless there is the group.
    fn check(&self, keys: &mut Keyspace) -> Result<(), Error> {
        let stream = read(keys, self.key)?;
        let group = stream.and_then(|stream| stream.groups.get(self.group));
        group.map(drop).ok_or_else(|| self.no_group())
    }

    /// The group in a stream that [`Place::check`] has found it in.
    fn of<'s>(&self, stream: &'s mut Stream) -> Result<Parts<'s>, Error> {
        let Stream { log, groups, .. } = stream;
        let group = groups.get_mut(self.group).ok_or_else(|| self.no_group())?;
        Ok(Parts { log, group })
    }
}

/// A stream's entries, and one of its groups for change.
struct Parts<'s> {
    log: &'s crate::types::stream::Log,
    group: &'s mut Group,
}

fn write_id(out: &mut Reply, id: StreamId) {
    id.with_text(|text| out.bulk(text));
}

/// An ID, and its fields with their values.
fn write_entry(out: &mut Reply, entry: &Entry<'_>) {
    out.array(2);
    write_id(out, entry.id);
    out.array(entry.len() * 2);
    for (field, value) in entry.pairs() {
        out.bulk(field);
        value.with(|bytes| out.bulk(bytes));
    }
}

/// An array of the first `count` entries, or of all if that is 0.
fn write_entries<'a>(out: &mut Reply, entries: impl Iterator<Item = Entry<'a>>, count: usize) {
    let open = out.open();
    let mut written = 0;
    for entry in entries.take(at_most(count)) {
        write_entry(out, &entry);
        written += 1;
    }
    out.close_array(open, written);
}

/// A count of which 0 stands for no limit.
fn at_most(count: usize) -> usize {
    if count == 0 { usize::MAX } else { count }
}

/// A count argument's meaning: what is below 0 is 0.
fn count_from(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0)
}
