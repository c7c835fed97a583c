//! Values as the commands that make them anew: a base in RESP form, for `aof-use-rdb-preamble no`.
//! What has no command is not in it, as with Redis: how a key was used, when a consumer was last
//! seen, and pending entries whose messages are deleted. Must not know files.

use crate::base::number::push_f64;
use crate::resp::command;
use crate::store::record::View;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::stream::{Entry, LogState, Pending, Stream, StreamId};
use crate::types::string::Str;
use crate::types::zset::Zset;
use crate::types::{Type, Value};

/// Elements that one command adds at most.
const TOGETHER: usize = 64;
/// Memory for elements that is kept from one command to the next. Bytes.
const KEEP: usize = 64 << 10;

/// What later commands are about.
pub fn select(out: &mut Vec<u8>, db: usize) {
    command::begin(out, 2);
    command::arg(out, b"SELECT");
    command::number(out, db);
}

/// When what follows was written, as Redis notes it in its files.
pub fn timestamp(out: &mut Vec<u8>, unix_s: i64) {
    out.extend_from_slice(format!("#TS:{unix_s}\r\n").as_bytes());
}

/// Writes one value after the other: its beginning, its pieces in their order, its end.
#[derive(Default)]
pub struct Encoder {
    key: Vec<u8>,
    kind: Option<Type>,
    /// When the key expires, in milliseconds since 1970.
    expire_at: Option<i64>,
    /// Elements for the next command, as arguments; how many arguments, and how many elements.
    elements: Vec<u8>,
    args: usize,
    count: usize,
    /// Commands about these elements that come behind.
    behind: Vec<u8>,
    /// The stream's group that is being written, and its consumer.
    group: Vec<u8>,
    consumer: Vec<u8>,
    text: Vec<u8>,
}

impl Encoder {
    /// A key with its whole value.
    pub fn entry(&mut self, out: &mut Vec<u8>, entry: View<'_>) {
        let value = entry.value();
        let len = Str::of(value).map_or(0, Str::len);
        self.begin(out, entry.key(), value.kind(), len, entry.expire_at());
        self.value(out, value);
        self.end(out);
    }

    fn value(&mut self, out: &mut Vec<u8>, value: Value<'_>) {
        if let Some(text) = Str::of(value) {
            text.with(|text| self.text(out, text));
        } else if let Some(list) = List::of(value) {
            list.for_each(|element| self.element(out, element));
        } else if let Some(set) = Set::of(value) {
            set.iter().for_each(|member| member.with_text(|text| self.member(out, text)));
        } else if let Some(zset) = Zset::of(value) {
            zset.iter().for_each(|(member, score)| self.scored(out, member, score));
        } else if let Some(hash) = Hash::of(value) {
            for ((field, value), expire_at) in hash.with_times() {
                self.field(out, field, value, expire_at);
            }
        } else if let Some(stream) = Stream::of(value) {
            stream.log.iter().for_each(|entry| self.stream_entry(out, entry));
            self.stream_end(out, stream);
        }
    }

    /// A value of this type begins; `len`: the bytes it has, if it is a string.
    pub fn begin(
        &mut self,
        out: &mut Vec<u8>,
        key: &[u8],
        kind: Type,
        len: usize,
        expire_at: Option<i64>,
    ) {
        self.key.clear();
        self.key.extend_from_slice(key);
        (self.kind, self.expire_at) = (Some(kind), expire_at);
        if kind == Type::String {
            command::begin(out, 3);
            command::arg(out, b"SET");
            command::arg(out, key);
            command::arg_of(out, len);
        }
    }

    /// The value has no more pieces.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        if self.kind == Some(Type::String) {
            out.extend_from_slice(b"\r\n");
        }
        if let Some(ms) = self.expire_at {
            command::begin(out, 3);
            command::arg(out, b"PEXPIREAT");
            command::arg(out, &self.key);
            command::number(out, ms);
        }
    }

    /// Bytes of a string. All of them come one behind the other, with nothing between.
    pub fn text(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        out.extend_from_slice(bytes);
    }

    /// An element of a list.
    pub fn element(&mut self, out: &mut Vec<u8>, element: &[u8]) {
        command::arg(&mut self.elements, element);
        self.gathered(out, 1);
    }

    pub fn member(&mut self, out: &mut Vec<u8>, member: &[u8]) {
        command::arg(&mut self.elements, member);
        self.gathered(out, 1);
    }

    /// A member of a sorted set.
    pub fn scored(&mut self, out: &mut Vec<u8>, member: &[u8], score: f64) {
        self.text.clear();
        push_f64(&mut self.text, score);
        command::arg(&mut self.elements, &self.text);
        command::arg(&mut self.elements, member);
        self.gathered(out, 2);
    }

    /// A field of a hash, and when it expires.
    pub fn field(&mut self, out: &mut Vec<u8>, field: &[u8], value: &[u8], expire_at: Option<i64>) {
        command::arg(&mut self.elements, field);
        command::arg(&mut self.elements, value);
        if let Some(ms) = expire_at {
            command::begin(&mut self.behind, 6);
            command::arg(&mut self.behind, b"HPEXPIREAT");
            command::arg(&mut self.behind, &self.key);
            command::number(&mut self.behind, ms);
            command::arg(&mut self.behind, b"FIELDS");
            command::arg(&mut self.behind, b"1");
            command::arg(&mut self.behind, field);
        }
        self.gathered(out, 2);
    }

    /// An element has gathered that takes so many arguments.
    fn gathered(&mut self, out: &mut Vec<u8>, args: usize) {
        self.args += args;
        self.count += 1;
        if self.count == TOGETHER {
            self.flush(out);
        }
    }

    /// Writes the command for the elements that have gathered.
    fn flush(&mut self, out: &mut Vec<u8>) {
        if self.count == 0 {
            return;
        }
        command::begin(out, 2 + self.args);
        command::arg(
            out,
            match self.kind {
                Some(Type::List) => b"RPUSH",
                Some(Type::Set) => b"SADD",
                Some(Type::Zset) => b"ZADD",
                _ => b"HMSET",
            },
        );
        command::arg(out, &self.key);
        out.append(&mut self.elements);
        out.append(&mut self.behind);
        self.elements.shrink_to(KEEP);
        (self.args, self.count) = (0, 0);
    }

    pub fn stream_entry(&mut self, out: &mut Vec<u8>, entry: Entry<'_>) {
        command::begin(out, 3 + 2 * entry.len());
        command::arg(out, b"XADD");
        command::arg(out, &self.key);
        id(out, entry.id);
        for (name, value) in entry.pairs() {
            command::arg(out, name);
            value.with(|text| command::arg(out, text));
        }
    }

    /// What follows a stream's entries.
    pub fn stream_end(&mut self, out: &mut Vec<u8>, stream: &Stream) {
        self.stream_state(out, &stream.log.state());
        for (name, group) in &stream.groups {
            self.group(out, name, group.last_id, group.entries_read);
            for (consumer_id, consumer) in group.consumers() {
                self.consumer(out, &consumer.name);
                for (id, pending) in group.pending_range(StreamId::MIN, Some(consumer_id)) {
                    self.pending(out, id, &pending);
                }
            }
        }
    }

    /// What a stream knows of itself besides its entries.
    pub fn stream_state(&mut self, out: &mut Vec<u8>, log: &LogState) {
        if log.len == 0 {
            // Nothing else makes a stream without entries.
            command::whole(out, &[b"XADD", &self.key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
        }
        command::begin(out, 7);
        command::arg(out, b"XSETID");
        command::arg(out, &self.key);
        id(out, log.last_id);
        command::arg(out, b"ENTRIESADDED");
        command::number(out, log.entries_added);
        command::arg(out, b"MAXDELETEDID");
        id(out, log.max_deleted_id);
    }

    /// A group of a stream; its consumers follow.
    pub fn group(
        &mut self,
        out: &mut Vec<u8>,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<i64>,
    ) {
        self.group.clear();
        self.group.extend_from_slice(name);
        command::begin(out, 7);
        command::arg(out, b"XGROUP");
        command::arg(out, b"CREATE");
        command::arg(out, &self.key);
        command::arg(out, name);
        id(out, last_id);
        command::arg(out, b"ENTRIESREAD");
        // -1 stands for what is not known.
        command::number(out, entries_read.unwrap_or(-1));
    }

    /// A consumer of the group; its pending entries follow.
    pub fn consumer(&mut self, out: &mut Vec<u8>, name: &[u8]) {
        self.consumer.clear();
        self.consumer.extend_from_slice(name);
        let words: [&[u8]; 5] = [b"XGROUP", b"CREATECONSUMER", &self.key, &self.group, name];
        command::whole(out, &words);
    }

    /// A pending entry of the consumer.
    pub fn pending(&mut self, out: &mut Vec<u8>, entry: StreamId, pending: &Pending) {
        command::begin(out, 12);
        command::arg(out, b"XCLAIM");
        command::arg(out, &self.key);
        command::arg(out, &self.group);
        command::arg(out, &self.consumer);
        command::arg(out, b"0");
        id(out, entry);
        command::arg(out, b"TIME");
        command::number(out, pending.delivered_ms);
        command::arg(out, b"RETRYCOUNT");
        command::number(out, pending.deliveries);
        command::arg(out, b"JUSTID");
        command::arg(out, b"FORCE");
    }
}

fn id(out: &mut Vec<u8>, id: StreamId) {
    id.with_text(|text| command::arg(out, text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Keyspace, NewValue};
    use crate::types::stream::Group;
    use crate::types::stream::Limits;
    use crate::types::{Inline, Object};

    fn encoded(keys: &Keyspace) -> String {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        keys.records(0).iter().for_each(|entry| encoder.entry(&mut out, entry));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_string_and_its_expiry() {
        let mut keys = Keyspace::new(1, 1, 0);
        keys.insert(b"k", NewValue::Inline(Inline::Str, b"text"), Some(1234));
        let expected = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\ntext\r\n\
                        *3\r\n$9\r\nPEXPIREAT\r\n$1\r\nk\r\n$4\r\n1234\r\n";
        assert_eq!(encoded(&keys), expected);
    }

    #[test]
    fn a_stream_and_its_groups() {
        let mut keys = Keyspace::new(1, 1, 0);
        let mut stream = Stream::default();
        let limits = Limits { bytes: 4096, entries: 100 };
        for n in 1..=5 {
            let pairs = [(&b"name"[..], &b"value"[..])];
            stream.log.append_in_new_node(StreamId::new(n, 0), pairs.into_iter(), 9, &limits);
        }
        let mut group = Group::new(StreamId::new(5, 0), Some(5));
        let consumer = group.create_consumer(b"me", 0);
        group.create_consumer(b"you", 0);
        for n in 1..=3 {
            let (delivered_ms, deliveries) = (n as i64, 1);
            group.assign(StreamId::new(n, 0), Pending { consumer, delivered_ms, deliveries });
        }
        stream.groups.insert(b"first"[..].into(), group);
        keys.insert(b"s", NewValue::Object(Box::new(Object::Stream(Box::new(stream)))), Some(77));
        let text = encoded(&keys);
        let words: Vec<&str> =
            text.split("\r\n").filter(|word| !word.starts_with(['$', '*'])).collect();
        let claims = |n: &str| {
            let start = "XCLAIM s first me 0 ".to_string();
            start + n + "-0 TIME " + n + " RETRYCOUNT 1 JUSTID FORCE "
        };
        let adds: String = (1..=5).map(|n| format!("XADD s {n}-0 name value ")).collect();
        let expected = adds
            + "XSETID s 5-0 ENTRIESADDED 5 MAXDELETEDID 0-0 "
            + "XGROUP CREATE s first 5-0 ENTRIESREAD 5 XGROUP CREATECONSUMER s first me "
            + &["1", "2", "3"].map(claims).concat()
            + "XGROUP CREATECONSUMER s first you PEXPIREAT s 77 ";
        assert_eq!(words.join(" "), expected);
    }
}
