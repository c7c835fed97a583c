//! Values as the commands that make them anew: a base in RESP form, for `aof-use-rdb-preamble no`.
//! What has no command is not in it, as with Redis: how a key was used, when a consumer was last
//! seen, and pending entries whose messages are deleted. Must not know files.

use crate::base::number::push_f64;
use crate::resp::command;
use crate::store::db::snapshot::Position;
use crate::store::record::View;
use crate::types::hash::Hash;
use crate::types::list::{End, List};
use crate::types::set::Set;
use crate::types::stream::{Group, Log, Stream, StreamId};
use crate::types::string::Str;
use crate::types::zset::Zset;
use std::ops::Bound;
use std::ops::ControlFlow;

/// Elements that one command adds at most.
const TOGETHER: usize = 64;
/// Elements of a part, about; also what is pending in a stream's groups.
const ELEMENTS: usize = 256;
/// Nodes of a stream in a part; each has up to a hundred entries.
const NODES: usize = 4;
/// Bytes of a string in a part.
const BYTES: usize = 64 << 10;

/// What later commands are about.
pub fn select(out: &mut Vec<u8>, db: usize) {
    command::begin(out, 2);
    command::arg(out, b"SELECT");
    command::number(out, db);
}

/// Writes values; keeps the memory it needs for that.
#[derive(Default)]
pub struct Encoder {
    /// Elements for the next command, and the number of arguments they are.
    elements: Vec<u8>,
    args: usize,
    /// How many elements.
    count: usize,
    /// Commands about these elements that come behind.
    behind: Vec<u8>,
    text: Vec<u8>,
    /// When the key expires, until that is written.
    expire_at: Option<i64>,
    /// Where in a stream's groups to go on.
    groups: Option<GroupPosition>,
}

/// A group, and the pending entry to go on with; none if the group is to be made first.
struct GroupPosition {
    name: Box<[u8]>,
    pending: Option<StreamId>,
}

impl Encoder {
    /// A key with its value. It may come between two parts of another key's.
    pub fn entry(&mut self, out: &mut Vec<u8>, entry: View<'_>) {
        let of_other = (self.expire_at.take(), self.groups.take());
        let mut from = 0;
        while let Some(next) = self.part(out, entry, from) {
            from = next;
        }
        (self.expire_at, self.groups) = of_other;
    }

    /// The part of a key's value from a position on, 0 being the beginning; returns where to go
    /// on, or none at the end. Between two parts only other keys may be changed, and between those
    /// of a string there may be nothing.
    pub fn part(&mut self, out: &mut Vec<u8>, entry: View<'_>, from: Position) -> Option<Position> {
        if from == 0 {
            self.expire_at = entry.expire_at();
            self.groups = None;
        }
        let (key, value) = (entry.key(), entry.value());
        let next = if let Some(text) = Str::of(value) {
            string(out, key, text, from as usize)
        } else if let Some(list) = List::of(value) {
            self.list(out, key, &list, from as usize)
        } else if let Some(zset) = Zset::of(value) {
            self.zset(out, key, &zset, from as usize)
        } else if let Some(set) = Set::of(value) {
            self.set(out, key, &set, from)
        } else if let Some(hash) = Hash::of(value) {
            self.hash(out, key, &hash, from)
        } else if let Some(stream) = Stream::of(value) {
            self.stream(out, key, stream, from)
        } else {
            None
        };
        if next.is_none()
            && let Some(ms) = self.expire_at.take()
        {
            command::begin(out, 3);
            command::arg(out, b"PEXPIREAT");
            command::arg(out, key);
            command::number(out, ms);
        }
        next
    }

    /// Writes the command for the elements that have gathered.
    fn flush(&mut self, out: &mut Vec<u8>, name: &[u8], key: &[u8]) {
        if self.count > 0 {
            command::begin(out, 2 + self.args);
            command::arg(out, name);
            command::arg(out, key);
            out.append(&mut self.elements);
            out.append(&mut self.behind);
            (self.args, self.count) = (0, 0);
        }
    }

    /// Another element has gathered, of so many arguments.
    fn gathered(&mut self, args: usize, out: &mut Vec<u8>, name: &[u8], key: &[u8]) {
        self.args += args;
        self.count += 1;
        if self.count == TOGETHER {
            self.flush(out, name, key);
        }
    }

    fn list(
        &mut self,
        out: &mut Vec<u8>,
        key: &[u8],
        list: &List<'_>,
        from: usize,
    ) -> Option<Position> {
        let end = list.len().min(from + ELEMENTS);
        let mut left = end - from;
        list.visit(from, End::Back, |element| {
            command::arg(&mut self.elements, element);
            self.gathered(1, out, b"RPUSH", key);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.flush(out, b"RPUSH", key);
        (end < list.len()).then_some(end as Position)
    }

    fn zset(
        &mut self,
        out: &mut Vec<u8>,
        key: &[u8],
        zset: &Zset<'_>,
        from: usize,
    ) -> Option<Position> {
        let end = zset.len().min(from + ELEMENTS);
        for (member, score) in zset.range(from..end) {
            self.text.clear();
            push_f64(&mut self.text, score);
            command::arg(&mut self.elements, &self.text);
            command::arg(&mut self.elements, member);
            self.gathered(2, out, b"ZADD", key);
        }
        self.flush(out, b"ZADD", key);
        (end < zset.len()).then_some(end as Position)
    }

    fn set(
        &mut self,
        out: &mut Vec<u8>,
        key: &[u8],
        set: &Set<'_>,
        from: Position,
    ) -> Option<Position> {
        let next = scan(from, |cursor, count| {
            set.scan(cursor, |member| {
                *count += 1;
                member.with_text(|text| command::arg(&mut self.elements, text));
                self.gathered(1, out, b"SADD", key);
            })
        });
        self.flush(out, b"SADD", key);
        next
    }

    fn hash(
        &mut self,
        out: &mut Vec<u8>,
        key: &[u8],
        hash: &Hash<'_>,
        from: Position,
    ) -> Option<Position> {
        let next = scan(from, |cursor, count| {
            hash.scan(cursor, |(field, value)| {
                *count += 1;
                command::arg(&mut self.elements, field);
                command::arg(&mut self.elements, value);
                if let Some(ms) = hash.expire_at(field).flatten() {
                    command::begin(&mut self.behind, 6);
                    command::arg(&mut self.behind, b"HPEXPIREAT");
                    command::arg(&mut self.behind, key);
                    command::number(&mut self.behind, ms);
                    command::arg(&mut self.behind, b"FIELDS");
                    command::number(&mut self.behind, 1);
                    command::arg(&mut self.behind, field);
                }
                self.gathered(2, out, b"HMSET", key);
            })
        });
        self.flush(out, b"HMSET", key);
        next
    }

    /// A position is where the next node begins, which is never 0-0, as long as there are nodes.
    fn stream(
        &mut self,
        out: &mut Vec<u8>,
        key: &[u8],
        stream: &Stream,
        from: Position,
    ) -> Option<Position> {
        if let Some(position) = self.groups.take() {
            return self.groups(out, key, stream, Some(position));
        }
        let log = &stream.log;
        let mut nodes = log.nodes_from(StreamId::new((from >> 64) as u64, from as u64));
        for entry in nodes.by_ref().take(NODES).flat_map(|(_, entries)| entries) {
            command::begin(out, 3 + 2 * entry.len());
            command::arg(out, b"XADD");
            command::arg(out, key);
            id(out, entry.id);
            for (name, value) in entry.pairs() {
                command::arg(out, name);
                value.with(|text| command::arg(out, text));
            }
        }
        if let Some((next, _)) = nodes.next() {
            return Some(Position::from(next.ms) << 64 | Position::from(next.seq));
        }
        stream_state(out, key, log);
        self.groups(out, key, stream, None)
    }

    /// A stream's groups, with their consumers and what is pending.
    fn groups(
        &mut self,
        out: &mut Vec<u8>,
        key: &[u8],
        stream: &Stream,
        position: Option<GroupPosition>,
    ) -> Option<Position> {
        let (start, mut pending) = match &position {
            Some(position) => (Bound::Included(&*position.name), position.pending),
            None => (Bound::Unbounded, None),
        };
        let mut left = ELEMENTS;
        let later = |name: &[u8], pending| Some(GroupPosition { name: name.into(), pending });
        // What is not 0 will do: where to go on is kept here.
        let next = Some(1);
        for (name, group) in stream.groups.range::<[u8], _>((start, Bound::Unbounded)) {
            if left == 0 {
                self.groups = later(name, None);
                return next;
            }
            let first = pending.take();
            if first.is_none() {
                make_group(out, key, name, group);
                left = left.saturating_sub(1 + group.consumers_len());
            }
            for (id, _) in group.pending_range(first.unwrap_or(StreamId::MIN), None) {
                if left == 0 {
                    self.groups = later(name, Some(id));
                    return next;
                }
                left -= 1;
                claim(out, key, name, group, id);
            }
        }
        None
    }
}

/// Goes on with a scan until some elements were visited. A position is a cursor and one, as the
/// cursor of the beginning is 0.
fn scan(from: Position, mut step: impl FnMut(u64, &mut usize) -> u64) -> Option<Position> {
    let mut cursor = from.saturating_sub(1) as u64;
    let mut count = 0;
    while count < ELEMENTS {
        cursor = step(cursor, &mut count);
        if cursor == 0 {
            return None;
        }
    }
    Some(Position::from(cursor) + 1)
}

fn string(out: &mut Vec<u8>, key: &[u8], text: Str<'_>, from: usize) -> Option<Position> {
    text.with(|text| {
        if from == 0 {
            command::begin(out, 3);
            command::arg(out, b"SET");
            command::arg(out, key);
            command::arg_of(out, text.len());
        }
        let end = text.len().min(from + BYTES);
        out.extend_from_slice(&text[from..end]);
        if end < text.len() {
            return Some(end as Position);
        }
        out.extend_from_slice(b"\r\n");
        None
    })
}

fn id(out: &mut Vec<u8>, id: StreamId) {
    id.with_text(|text| command::arg(out, text));
}

/// What a stream knows of itself besides its entries.
fn stream_state(out: &mut Vec<u8>, key: &[u8], log: &Log) {
    if log.is_empty() {
        // Nothing else makes a stream without entries.
        command::whole(out, &[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    command::begin(out, 7);
    command::arg(out, b"XSETID");
    command::arg(out, key);
    id(out, log.last_id());
    command::arg(out, b"ENTRIESADDED");
    command::number(out, log.entries_added());
    command::arg(out, b"MAXDELETEDID");
    id(out, log.max_deleted_id());
}

/// Makes a group and its consumers: those without pending entries would not be made otherwise.
fn make_group(out: &mut Vec<u8>, key: &[u8], name: &[u8], group: &Group) {
    command::begin(out, 7);
    command::arg(out, b"XGROUP");
    command::arg(out, b"CREATE");
    command::arg(out, key);
    command::arg(out, name);
    id(out, group.last_id);
    command::arg(out, b"ENTRIESREAD");
    // -1 stands for what is not known.
    command::number(out, group.entries_read.unwrap_or(-1));
    for (_, consumer) in group.consumers() {
        command::whole(out, &[b"XGROUP", b"CREATECONSUMER", key, name, &consumer.name]);
    }
}

/// Makes an entry pending again.
fn claim(out: &mut Vec<u8>, key: &[u8], name: &[u8], group: &Group, pending: StreamId) {
    let Some(state) = group.pending(pending) else { return };
    command::begin(out, 12);
    command::arg(out, b"XCLAIM");
    command::arg(out, key);
    command::arg(out, name);
    command::arg(out, &group.consumer(state.consumer).name);
    command::arg(out, b"0");
    id(out, pending);
    command::arg(out, b"TIME");
    command::number(out, state.delivered_ms);
    command::arg(out, b"RETRYCOUNT");
    command::number(out, state.deliveries);
    command::arg(out, b"JUSTID");
    command::arg(out, b"FORCE");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Keyspace, NewValue};
    use crate::types::stream::{Limits, Pending};
    use crate::types::{Inline, Object};

    fn encoded(keys: &Keyspace) -> String {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        keys.records(0).iter().for_each(|entry| encoder.entry(&mut out, entry));
        String::from_utf8(out).unwrap()
    }

    fn only(keys: &Keyspace) -> View<'_> {
        keys.records(0).iter().next().unwrap()
    }

    #[test]
    fn a_string_and_its_expiry() {
        let mut keys = Keyspace::new(1, 1, 0);
        keys.insert(b"k", NewValue::Inline(Inline::Str, b"text"), Some(1234));
        let expected = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\ntext\r\n\
                        *3\r\n$9\r\nPEXPIREAT\r\n$1\r\nk\r\n$4\r\n1234\r\n";
        assert_eq!(encoded(&keys), expected);
    }

    /// As a snapshot does it: whole entries come between the parts of a large one.
    #[test]
    fn other_entries_between_parts_leave_them_as_they_are() {
        let mut keys = Keyspace::new(1, 1, 0);
        let mut stream = Stream::default();
        let limits = Limits { bytes: 4096, entries: 100 };
        for n in 1..=5 {
            let pairs = [(&b"name"[..], &b"value"[..])];
            stream.log.append_in_new_node(StreamId::new(n, 0), pairs.into_iter(), 9, &limits);
        }
        let mut group = Group::new(StreamId::new(5, 0), Some(5));
        let consumer = group.create_consumer(b"me", 0);
        for n in 1..=ELEMENTS as u64 + 5 {
            let (delivered_ms, deliveries) = (n as i64, 1);
            group.assign(StreamId::new(n, 0), Pending { consumer, delivered_ms, deliveries });
        }
        stream.groups.insert(b"first"[..].into(), group.clone());
        stream.groups.insert(b"second"[..].into(), group);
        keys.insert(
            b"large",
            NewValue::Object(Box::new(Object::Stream(Box::new(stream)))),
            Some(77),
        );
        let mut other = Keyspace::new(1, 1, 0);
        let text = NewValue::Inline(Inline::Str, b"text");
        other.insert(b"other", text, Some(99));
        let mut between = Vec::new();
        Encoder::default().entry(&mut between, only(&other));

        let (mut encoder, mut whole) = (Encoder::default(), Vec::new());
        encoder.entry(&mut whole, only(&keys));
        let (mut from, mut parts) = (0, Vec::new());
        let mut count = 0;
        loop {
            let next = encoder.part(&mut parts, only(&keys), from);
            count += 1;
            let mut out = Vec::new();
            encoder.entry(&mut out, only(&other));
            assert_eq!(out, between);
            let Some(next) = next else { break };
            from = next;
        }
        assert!(count > 3, "{count}");
        assert_eq!(parts, whole);
        let whole = String::from_utf8(whole).unwrap();
        assert_eq!(whole.matches("XADD").count(), 5);
        assert_eq!(whole.matches("XSETID").count(), 1);
        assert_eq!(whole.matches("CREATECONSUMER").count(), 2);
        assert_eq!(whole.matches("XCLAIM").count(), 2 * (ELEMENTS + 5));
        assert!(whole.ends_with("*3\r\n$9\r\nPEXPIREAT\r\n$5\r\nlarge\r\n$2\r\n77\r\n"));
    }

    #[test]
    fn a_long_string_in_parts() {
        let mut keys = Keyspace::new(1, 1, 0);
        let text = "0123456789".repeat(BYTES / 4);
        let object = Object::String(text.clone().into_bytes());
        keys.insert(b"k", NewValue::Object(Box::new(object)), None);
        let expected = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{text}\r\n", text.len());
        assert!(encoded(&keys) == expected);
    }
}
