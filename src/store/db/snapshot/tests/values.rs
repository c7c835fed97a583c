//! Values of all types: as a model that can be compared, made at random, and changed at random.

use crate::base::rng::Rng;
use crate::store::db::Edit;
use crate::types::frozen::{Head, Piece};
use crate::types::hash::{self, Hash};
use crate::types::list::{self, End, List};
use crate::types::set::{self, Member, Set};
use crate::types::stream::{
    Entry, Group, Limits as NodeLimits, LogState, Pending, Stream, StreamId, Trim, TrimTo,
};
use crate::types::string::{self, Str};
use crate::types::zset::{self, Zset};
use crate::types::{Inline, Loose, Object, Slot, Type, Value};
use std::collections::{BTreeMap, BTreeSet};

const HASH: hash::Limits = hash::Limits { entries: 2, value: 8 };
const SET: set::Limits = set::Limits { ints: 2, entries: 2, value: 8 };
const ZSET: zset::Limits = zset::Limits { entries: 2, value: 8 };
const LIST: list::Limits = list::Limits { size: 6, depth: 1 };
const NODE: NodeLimits = NodeLimits { bytes: 0, entries: 4 };

type Bytes = Vec<u8>;
type Fields = Vec<(Bytes, Bytes)>;

/// What a value holds, whatever its form.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Text(Bytes),
    List(Vec<Bytes>),
    Set(BTreeSet<Bytes>),
    /// Scores as bits.
    Zset(BTreeMap<Bytes, u64>),
    Hash(BTreeMap<Bytes, (Bytes, Option<i64>)>),
    Stream(StreamContent),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamContent {
    nodes: Vec<(StreamId, Vec<(StreamId, Fields)>)>,
    state: LogState,
    groups: Vec<GroupContent>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct GroupContent {
    name: Bytes,
    last_id: StreamId,
    entries_read: Option<i64>,
    /// When each was delivered, and how often.
    pending: Vec<(StreamId, (i64, i64))>,
    consumers: Vec<ConsumerContent>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct ConsumerContent {
    name: Bytes,
    seen_ms: i64,
    active_ms: Option<i64>,
    /// When each was delivered.
    owned: Vec<(StreamId, i64)>,
}

fn entry(entry: Entry<'_>) -> (StreamId, Fields) {
    let fields = entry.pairs().map(|(name, value)| (name.to_vec(), value.to_vec()));
    (entry.id, fields.collect())
}

fn group_content(name: &[u8], group: &Group) -> GroupContent {
    let known = |pending: Pending| (pending.delivered_ms, pending.deliveries);
    let pending = group.pending_range(StreamId::MIN, None).map(|(id, p)| (id, known(p)));
    let consumers = group.consumers().map(|(id, consumer)| {
        let owned = group.pending_range(StreamId::MIN, Some(id));
        let owned = owned.map(|(id, pending)| (id, pending.delivered_ms)).collect();
        let (seen_ms, active_ms) = (consumer.seen_ms, consumer.active_ms);
        ConsumerContent { name: consumer.name.to_vec(), seen_ms, active_ms, owned }
    });
    GroupContent {
        name: name.to_vec(),
        last_id: group.last_id,
        entries_read: group.entries_read,
        pending: pending.collect(),
        consumers: consumers.collect(),
    }
}

impl Content {
    /// What a value holds now.
    pub fn of(value: Value<'_>) -> Content {
        if let Some(string) = Str::of(value) {
            return Content::Text(string.to_vec());
        }
        if let Some(list) = List::of(value) {
            let mut elements = Vec::new();
            list.for_each(|element| elements.push(element.to_vec()));
            return Content::List(elements);
        }
        if let Some(set) = Set::of(value) {
            return Content::Set(set.iter().map(|m| m.with_text(<[u8]>::to_vec)).collect());
        }
        if let Some(zset) = Zset::of(value) {
            return Content::Zset(zset.iter().map(|(m, s)| (m.to_vec(), s.to_bits())).collect());
        }
        if let Some(hash) = Hash::of(value) {
            let fields = hash.with_times().map(|((f, v), ms)| (f.to_vec(), (v.to_vec(), ms)));
            return Content::Hash(fields.collect());
        }
        let stream = Stream::of(value).unwrap();
        let nodes = stream.log.nodes_from(StreamId::MIN);
        Content::Stream(StreamContent {
            nodes: nodes.map(|(base, entries)| (base, entries.map(entry).collect())).collect(),
            state: stream.log.state(),
            groups: stream.groups.iter().map(|(name, group)| group_content(name, group)).collect(),
        })
    }

    /// What is known of a frozen value at first, to which its pieces are added.
    pub fn begin(head: &Head) -> Content {
        match head.kind {
            Type::String => Content::Text(Vec::new()),
            Type::List => Content::List(Vec::new()),
            Type::Set => Content::Set(BTreeSet::new()),
            Type::Zset => Content::Zset(BTreeMap::new()),
            Type::Hash => Content::Hash(BTreeMap::new()),
            Type::Stream => Content::Stream(StreamContent::default()),
        }
    }

    pub fn add(&mut self, piece: Piece<'_>) {
        match (self, piece) {
            (Content::Text(text), Piece::Bytes(bytes)) => text.extend_from_slice(bytes),
            (Content::List(list), Piece::Element(element)) => list.push(element.to_vec()),
            (Content::Set(set), Piece::Member(member)) => {
                assert!(set.insert(member.with_text(<[u8]>::to_vec)), "twice");
            }
            (Content::Zset(zset), Piece::Scored(member, score)) => {
                assert_eq!(zset.insert(member.to_vec(), score.to_bits()), None, "twice");
            }
            (Content::Hash(hash), Piece::Field(field, value, ms)) => {
                assert_eq!(hash.insert(field.to_vec(), (value.to_vec(), ms)), None, "twice");
            }
            (Content::Stream(stream), piece) => stream.add(piece),
            _ => panic!("a piece of another type"),
        }
    }

    /// Whether all is there that was announced.
    pub fn fits(&self, head: &Head) -> bool {
        let len = match self {
            Content::Text(text) => text.len(),
            Content::List(list) => list.len(),
            Content::Set(set) => set.len(),
            Content::Zset(zset) => zset.len(),
            Content::Hash(hash) => {
                assert_eq!(head.first_field_time, hash.values().filter_map(|(_, ms)| *ms).min());
                hash.len()
            }
            Content::Stream(stream) => stream.nodes.len(),
        };
        len == head.len
    }
}

impl StreamContent {
    fn add(&mut self, piece: Piece<'_>) {
        let group = self.groups.last_mut();
        match piece {
            Piece::Node(base, entries) => self.nodes.push((base, entries.map(entry).collect())),
            Piece::State(state, _) => self.state = state,
            Piece::Group(head) => self.groups.push(GroupContent {
                name: head.name.to_vec(),
                last_id: head.last_id,
                entries_read: head.entries_read,
                ..GroupContent::default()
            }),
            Piece::Pending(id, pending) => {
                let known = (pending.delivered_ms, pending.deliveries);
                group.unwrap().pending.push((id, known));
            }
            Piece::Consumers(_) => {}
            Piece::Consumer(head) => {
                let (name, owned) = (head.name.to_vec(), Vec::new());
                let (seen_ms, active_ms) = (head.seen_ms, head.active_ms);
                let consumer = ConsumerContent { name, seen_ms, active_ms, owned };
                group.unwrap().consumers.push(consumer);
            }
            Piece::Owned(id, pending) => {
                let owned = &mut group.unwrap().consumers.last_mut().unwrap().owned;
                owned.push((id, pending.delivered_ms));
            }
            _ => panic!("no piece of a stream"),
        }
    }
}

/// Counts of a stream's parts, as they were announced and as they came.
#[derive(Default)]
pub struct Counts {
    announced: Vec<usize>,
    came: Vec<usize>,
}

impl Counts {
    pub fn note(&mut self, piece: &Piece<'_>) {
        // Groups, pending entries, consumers, entries of consumers.
        self.announced.resize(4, 0);
        self.came.resize(4, 0);
        match piece {
            Piece::State(_, groups) => self.announced[0] += groups,
            Piece::Group(head) => {
                self.came[0] += 1;
                self.announced[1] += head.pending;
            }
            Piece::Pending(..) => self.came[1] += 1,
            Piece::Consumers(count) => self.announced[2] += count,
            Piece::Consumer(head) => {
                self.came[2] += 1;
                self.announced[3] += head.pending;
            }
            Piece::Owned(..) => self.came[3] += 1,
            _ => {}
        }
    }

    pub fn agree(&self) -> bool {
        self.announced == self.came
    }
}

// ---------------------------------------------------------------------------------------------
// At random.

fn name(rng: &mut Rng) -> Bytes {
    // Few, so that one is met again; or many, so that tables have several segments.
    let number = if rng.below(3) == 0 { rng.below(2000) } else { rng.below(50) };
    match number % 3 {
        0 => number.to_string().into_bytes(),
        1 => format!("name:{number}").into_bytes(),
        _ => vec![number as u8; number as usize % 300],
    }
}

/// A large value without elements.
fn empty(kind: Type) -> Object {
    let mut slot = match kind {
        Type::String => return Object::String(Vec::new()),
        Type::Stream => return Object::Stream(Box::default()),
        Type::List => Loose::Inline(Inline::List, Vec::new()),
        Type::Set => set::empty(Member::Text(b"x"), 10, &SET),
        Type::Zset => Loose::Inline(Inline::Zset, Vec::new()),
        Type::Hash => {
            let mut slot = Loose::Inline(Inline::Hash, Vec::new());
            (0..3u8).for_each(|n| _ = hash::insert(&mut slot, &[n], &[n; 20], &HASH));
            slot
        }
    };
    match kind {
        Type::List => list::make_quicklist(&mut slot, &LIST),
        Type::Zset => zset::make_skiplist(&mut slot),
        _ => {}
    }
    match slot {
        Loose::Object(object) => object,
        Loose::Inline(..) => panic!("not large"),
    }
}

/// A large value.
pub fn random_value(rng: &mut Rng) -> Object {
    let mut slot = Loose::Object(empty(Type::ALL[rng.index(6)]));
    let steps = if rng.below(20) == 0 { 1000 } else { 30 };
    (0..steps).for_each(|_| grow(&mut slot, rng));
    match slot {
        Loose::Object(object) => object,
        Loose::Inline(..) => panic!("not large"),
    }
}

fn grow(slot: &mut impl Slot, rng: &mut Rng) {
    match slot.value().kind() {
        Type::String => _ = string::append(slot, &name(rng)),
        Type::List => {
            let end = if rng.below(2) == 0 { End::Front } else { End::Back };
            list::push(slot, end, [&name(rng)[..]].into_iter(), &LIST);
        }
        Type::Set => _ = set::insert(slot, Member::Text(&name(rng)), &SET),
        Type::Zset => _ = zset::insert(slot, &name(rng), score(rng), &ZSET),
        Type::Hash => {
            let field = name(rng);
            hash::insert(slot, &field, &name(rng), &HASH);
            if rng.below(8) == 0 {
                let at = 1_700_000_100_000 + rng.below(1_000_000) as i64;
                hash::set_expire_at(slot, &field, Some(at));
            }
        }
        Type::Stream => {
            if let Some(Object::Stream(stream)) = slot.object_mut() {
                append(stream, rng);
            }
        }
    }
}

fn score(rng: &mut Rng) -> f64 {
    [f64::NEG_INFINITY, -0.0, 0.0, rng.below(30) as f64, rng.below(1000) as f64 / 7.0][rng.index(5)]
}

/// Changes a value; true if nothing is left of it.
pub fn change_value(edit: &mut Edit<'_>, rng: &mut Rng) -> bool {
    let steps = if rng.below(12) == 0 { 300 } else { 1 };
    let growth = rng.below(5);
    for _ in 0..steps {
        match rng.below(5) < growth {
            true => grow(edit, rng),
            false => shrink(edit, rng),
        }
        let is_empty = match Content::head_len(edit.value()) {
            Some(len) => len == 0,
            None => false,
        };
        if is_empty {
            return true;
        }
    }
    false
}

impl Content {
    /// How many elements a collection has.
    fn head_len(value: Value<'_>) -> Option<usize> {
        let list = List::of(value).map(|list| list.len());
        let set = Set::of(value).map(|set| set.len());
        let zset = Zset::of(value).map(|zset| zset.len());
        list.or(set).or(zset).or(Hash::of(value).map(|hash| hash.len()))
    }
}

/// Removes something, or replaces it.
fn shrink(slot: &mut impl Slot, rng: &mut Rng) {
    match slot.value().kind() {
        Type::String => change_string(slot, rng),
        Type::List => change_list(slot, rng),
        Type::Set => _ = set::remove(slot, Member::Text(&name(rng))),
        Type::Zset => {
            let len = Zset::of(slot.value()).unwrap().len();
            let start = rng.index(len);
            match rng.below(3) {
                0 => _ = zset::remove(slot, &name(rng)),
                1 => zset::remove_range(slot, start..len.min(start + rng.index(20))),
                _ => {
                    let (member, _) = Zset::of(slot.value()).unwrap().at(start).unwrap();
                    let member = member.to_vec();
                    zset::insert(slot, &member, score(rng), &ZSET);
                }
            }
        }
        Type::Hash => {
            let field = name(rng);
            match rng.below(3) {
                0 => _ = hash::set_expire_at(slot, &field, None),
                _ => _ = hash::remove(slot, &field),
            }
        }
        Type::Stream => {
            if let Some(Object::Stream(stream)) = slot.object_mut() {
                change_stream(stream, rng);
            }
        }
    }
}

fn change_string(slot: &mut impl Slot, rng: &mut Rng) {
    let len = Str::of(slot.value()).unwrap().len();
    let at = rng.index(len + 1);
    match rng.below(4) {
        0 => _ = string::overwrite(slot, at, &name(rng)),
        1 => _ = string::overwrite(slot, len + rng.index(20), b"far"),
        2 => string::splice(slot, at, (len - at).min(rng.index(30)), &name(rng)),
        _ => {
            let end = len.min(at + rng.index(20));
            string::bytes_mut_of(slot, at..end)[at..end].fill(b'#');
        }
    }
}

fn change_list(slot: &mut impl Slot, rng: &mut Rng) {
    let len = List::of(slot.value()).unwrap().len();
    let index = rng.index(len);
    match rng.below(6) {
        0 => list::insert(slot, index, &name(rng), &LIST),
        1 => list::set(slot, index, &name(rng), &LIST),
        2 => _ = list::remove_equal(slot, &name(rng), 1 + rng.index(5), End::Back, &LIST),
        3 => {
            let count = (1 + rng.index(50)).min(len - index);
            drop(list::remove(slot, index, count, &LIST));
        }
        4 => drop(list::remove(slot, 0, (1 + rng.index(10)).min(len), &LIST)),
        _ => drop(list::remove(slot, len - 1, 1, &LIST)),
    }
}

fn append(stream: &mut Stream, rng: &mut Rng) {
    let fields: Fields = (0..1 + rng.index(3)).map(|n| (vec![b'f'; n], name(rng))).collect();
    let pairs = fields.iter().map(|(name, value)| (&name[..], &value[..]));
    let last = stream.log.last_id();
    let id = StreamId::new(last.ms + rng.below(2), last.seq + 1);
    let size = crate::types::stream::payload(pairs.clone()).unwrap();
    match rng.below(8) {
        0 => stream.log.append_in_new_node(id, pairs, size, &NODE),
        _ => stream.log.append(id, pairs, size, &NODE),
    }
}

fn change_stream(stream: &mut Stream, rng: &mut Rng) {
    let ids: Vec<StreamId> = stream.log.iter().map(|entry| entry.id).collect();
    let len = ids.len() as u64;
    match rng.below(10) {
        0 | 1 if !ids.is_empty() => _ = stream.log.delete(ids[rng.index(ids.len())]),
        2 => {
            let to = match rng.below(2) {
                0 => TrimTo::Len(len.saturating_sub(rng.below(20))),
                _ => TrimTo::Id(StreamId::new(rng.below(1 + stream.log.top_id().ms), 0)),
            };
            stream.log.trim(&Trim { to, approximate: rng.below(2) == 0, limit: None });
        }
        // As XSETID may, once there are no entries: IDs come again.
        3 if ids.is_empty() => stream.log.set_last_id(StreamId::MIN),
        3 => stream.log.set_entries_added(len + 5),
        _ => change_groups(stream, rng),
    }
}

fn change_groups(stream: &mut Stream, rng: &mut Rng) {
    let name = [b'g', b'0' + rng.below(3) as u8];
    let consumer = [b'c', b'0' + rng.below(3) as u8];
    let id = StreamId::new(rng.below(30), rng.below(3));
    let Some(group) = stream.groups.get_mut(&name[..]) else {
        return stream.insert_group(&name, Group::new(id, None));
    };
    let now = rng.below(1000) as i64;
    match rng.below(24) {
        0 => drop(stream.remove_group(&name)),
        1 => (group.last_id, group.entries_read) = (id, Some(7)),
        2..=4 => _ = group.delete_consumer(&consumer),
        5..=9 => _ = group.forget(id),
        _ => {
            let owner = group.consumer_id(&consumer);
            let owner = owner.unwrap_or_else(|| group.create_consumer(&consumer, now));
            group.consumer_mut(owner).active_ms = Some(now);
            let pending = Pending { consumer: owner, delivered_ms: now, deliveries: 1 + now % 3 };
            group.assign(id, pending);
        }
    }
}
