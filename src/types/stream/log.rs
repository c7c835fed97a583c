//! The entries of a stream, in nodes that are ordered by their first IDs, and what a stream
//! remembers of those it had. Must not know groups.

use super::node::{Entry, Limits, Node, Pairs};
use super::{StreamId, Trim, TrimTo};
use crate::types::frozen::{Memory, Piece, Thawed, Visit};
use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;

#[derive(Clone, Default)]
pub struct Log {
    /// By the first ID each has had. None is without an entry that is not deleted.
    nodes: BTreeMap<StreamId, Node>,
    len: u64,
    first_id: StreamId,
    /// The last entry there is, while `last_id` is the last there has ever been.
    top_id: StreamId,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    frozen: Memory<Frozen>,
}

/// What a log knows of itself besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// How many entries there are.
    pub len: u64,
    pub last_id: StreamId,
    pub first_id: StreamId,
    pub max_deleted_id: StreamId,
    pub entries_added: u64,
}

/// What a log remembers of the moment it was frozen.
struct Frozen {
    state: LogState,
    nodes: usize,
    /// Nodes whose first IDs are from here to `last` are to be read, if they were there.
    next: StreamId,
    last: StreamId,
    /// What was there before a change; none where there was nothing.
    kept: BTreeMap<StreamId, Option<Node>>,
}

impl Frozen {
    /// Whether what is at an ID must be kept before it changes.
    fn needs(&self, base: StreamId) -> bool {
        (self.next..=self.last).contains(&base) && !self.kept.contains_key(&base)
    }

    fn keep(&mut self, base: StreamId, node: impl FnOnce() -> Option<Node>) {
        if self.needs(base) {
            self.kept.insert(base, node());
        }
    }
}

/// What ID a new entry is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// The time, and the next free number.
    Auto,
    /// The next free number of this millisecond.
    AutoSeq(u64),
    Given(StreamId),
}

/// Why there cannot be an entry with such an ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoId {
    /// The last one is the greatest there is.
    Exhausted,
    NotAboveLast,
}

/// More bytes than this, names and values, do not fit an entry. Redis's limit.
const PAYLOAD_MAX: usize = 1 << 30;

/// How many bytes an entry's names and values have, or none if that is too much.
pub fn payload<'a>(pairs: impl Pairs<'a>) -> Option<usize> {
    let size = pairs.map(|(name, value)| name.len() + value.len()).sum();
    (size <= PAYLOAD_MAX).then_some(size)
}

impl Memory<Frozen> {
    /// Removes a node, and keeps it if need be.
    fn let_go(&mut self, node: OccupiedEntry<'_, StreamId, Node>) {
        let (base, node) = node.remove_entry();
        if let Some(frozen) = self.get_mut() {
            frozen.keep(base, || Some(node));
        }
    }
}

impl Log {
    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The ID of the first entry; 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The ID of the last entry; 0-0 if there is none.
    pub fn top_id(&self) -> StreamId {
        self.top_id
    }

    /// The greatest ID there has been.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The greatest ID that was deleted by itself rather than trimmed.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// How many entries there have been.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// What XSETID sets.
    pub fn set_last_id(&mut self, id: StreamId) {
        self.last_id = id;
    }

    /// What XSETID sets.
    pub fn set_max_deleted_id(&mut self, id: StreamId) {
        self.max_deleted_id = id;
    }

    /// What XSETID sets.
    pub fn set_entries_added(&mut self, entries: u64) {
        self.entries_added = entries;
    }

    pub fn state(&self) -> LogState {
        LogState {
            len: self.len,
            last_id: self.last_id,
            first_id: self.first_id,
            max_deleted_id: self.max_deleted_id,
            entries_added: self.entries_added,
        }
    }

    /// See [`Object::freeze`](crate::types::Object::freeze).
    pub fn freeze(&mut self) {
        let last = self.nodes.last_key_value().map(|(base, _)| *base);
        self.frozen = Memory::new(Frozen {
            state: self.state(),
            nodes: self.nodes.len(),
            // Without nodes there is nothing from the greatest ID to the least one.
            next: if last.is_some() { StreamId::MIN } else { StreamId::MAX },
            last: last.unwrap_or(StreamId::MIN),
            kept: BTreeMap::new(),
        });
    }

    /// How many nodes were frozen, and what the log knew of itself.
    pub fn frozen(&self) -> Option<(usize, LogState)> {
        self.frozen.get().map(|frozen| (frozen.nodes, frozen.state))
    }

    /// Hands over a node as it was, or finds that there is none where it looked; false if that was
    /// the last one.
    pub fn read_frozen(&mut self, visit: &mut Visit<'_>) -> bool {
        let Some(frozen) = self.frozen.get_mut().filter(|frozen| frozen.next <= frozen.last) else {
            return false;
        };
        let range = frozen.next..=frozen.last;
        let kept = frozen.kept.range(range.clone()).next().map(|(base, _)| *base);
        let there = self.nodes.range(range).next();
        let base = match (kept, there) {
            (Some(kept), there) if there.is_none_or(|(base, _)| kept <= *base) => {
                if let Some(node) = frozen.kept.remove(&kept).flatten() {
                    visit(Piece::Node(kept, node.entries(kept)));
                }
                kept
            }
            (_, Some((base, node))) => {
                visit(Piece::Node(*base, node.entries(*base)));
                *base
            }
            _ => frozen.last,
        };
        match base.next() {
            Some(next) => frozen.next = next,
            // Behind the greatest ID there is nothing.
            None => (frozen.next, frozen.last) = (StreamId::MAX, StreamId::MIN),
        }
        frozen.next <= frozen.last
    }

    pub fn thaw(&mut self) -> Option<Thawed> {
        self.frozen.take()
    }

    /// The ID that an entry added now gets.
    pub fn next_id(&self, wanted: NewId, now_ms: u64) -> Result<StreamId, NoId> {
        let after_last = self.last_id.next().ok_or(NoId::Exhausted)?;
        let id = match wanted {
            NewId::Auto if now_ms > self.last_id.ms => StreamId::new(now_ms, 0),
            NewId::Auto => after_last,
            NewId::AutoSeq(ms) if ms == self.last_id.ms => {
                let seq = self.last_id.seq.checked_add(1).ok_or(NoId::NotAboveLast)?;
                StreamId { ms, seq }
            }
            NewId::AutoSeq(ms) => StreamId::new(ms, 0),
            NewId::Given(id) => id,
        };
        if id > self.last_id { Ok(id) } else { Err(NoId::NotAboveLast) }
    }

    /// Appends an entry whose ID is one of [`Log::next_id`]; its names and values have `payload`
    /// bytes.
    pub fn append<'a>(
        &mut self,
        id: StreamId,
        pairs: impl Pairs<'a>,
        payload: usize,
        limits: &Limits,
    ) {
        self.put(id, pairs, payload, limits, false);
        self.note_appended(id);
    }

    /// The same, and a node begins with the entry.
    pub fn append_in_new_node<'a>(
        &mut self,
        id: StreamId,
        pairs: impl Pairs<'a>,
        payload: usize,
        limits: &Limits,
    ) {
        self.put(id, pairs, payload, limits, true);
        self.note_appended(id);
    }

    /// Appends an entry that is known to have the fields of the last node, which are not compared.
    /// Where their names are long they are not repeated for few entries, whatever the limits: a
    /// file can have many small entries that share them. Names and values have `payload` bytes.
    pub fn append_same<'a>(
        &mut self,
        id: StreamId,
        pairs: impl Pairs<'a>,
        payload: usize,
        limits: &Limits,
    ) {
        if let Some(mut tail) = self.nodes.last_entry() {
            let (base, node) = (*tail.key(), tail.get_mut());
            if node.is_mostly_names() || node.takes(payload, limits) {
                node.push_same(base, id, pairs);
                self.note_appended(id);
                return;
            }
        }
        self.append_in_new_node(id, pairs, payload, limits);
    }

    fn note_appended(&mut self, id: StreamId) {
        self.len += 1;
        self.entries_added = self.entries_added.saturating_add(1);
        self.last_id = id;
        self.top_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
    }

    fn put<'a>(
        &mut self,
        id: StreamId,
        pairs: impl Pairs<'a>,
        payload: usize,
        limits: &Limits,
        in_new_node: bool,
    ) {
        let mut memory = Vec::new();
        if let Some(mut tail) = self.nodes.last_entry() {
            let base = *tail.key();
            let node = tail.get_mut();
            if !in_new_node && node.takes(payload, limits) {
                if let Some(frozen) = self.frozen.get_mut() {
                    frozen.keep(base, || Some(node.clone()));
                }
                node.push(base, id, pairs);
                return;
            }
            memory = node.seal();
        }
        if let Some(frozen) = self.frozen.get_mut() {
            frozen.keep(id, || None);
        }
        let mut node = Node::new(id, pairs.clone(), memory);
        node.push(id, id, pairs);
        self.nodes.insert(id, node);
    }

    /// The nodes that may have entries between two IDs.
    fn nodes_between(
        &self,
        start: StreamId,
        end: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, &Node)> {
        let before = self.nodes.range(..=start).next_back();
        let from = before.map_or(start, |(base, _)| *base);
        // The tree takes no range that ends before it begins.
        let range = (start <= end).then(|| self.nodes.range(from..=end));
        range.into_iter().flatten().map(|(base, node)| (*base, node))
    }

    /// The nodes from the one on that may have an entry with this ID: each with the first ID it has
    /// had, and its entries.
    pub fn nodes_from(
        &self,
        start: StreamId,
    ) -> impl Iterator<Item = (StreamId, impl Iterator<Item = Entry<'_>> + Clone)> {
        self.nodes_between(start, StreamId::MAX).map(|(base, node)| (base, node.entries(base)))
    }

    /// Entries from `start` to `end`, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        self.nodes_between(start, end)
            .flat_map(|(base, node)| node.entries(base))
            .skip_while(move |entry| entry.id < start)
            .take_while(move |entry| entry.id <= end)
    }

    /// The same from `end` back to `start`.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        self.nodes_between(start, end)
            .rev()
            .flat_map(|(base, node)| node.entries_back(base))
            .skip_while(move |entry| entry.id > end)
            .take_while(move |entry| entry.id >= start)
    }

    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.range(StreamId::MIN, StreamId::MAX)
    }

    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// Deletes an entry; false if there is none with this ID.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((&base, node)) = self.nodes.range_mut(..=id).next_back() else { return false };
        if let Some(frozen) = self.frozen.get_mut() {
            frozen.keep(base, || Some(node.clone()));
        }
        if !node.delete(base, id) {
            return false;
        }
        if node.live() == 0 {
            self.nodes.remove(&base);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if id == self.first_id || self.len == 0 {
            self.find_first_id();
        }
        if id == self.top_id {
            let top = self.range_back(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id);
            self.top_id = top.unwrap_or_default();
        }
        true
    }

    fn find_first_id(&mut self) {
        let first = self.iter().next().map(|entry| entry.id);
        self.first_id = first.unwrap_or_default();
    }

    /// Removes entries from the first on; returns how many.
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        let mut removed = 0;
        while let Some(mut first) = self.nodes.first_entry() {
            let (len, base) = (self.len, *first.key());
            let node = first.get_mut();
            let live = node.live();
            if trim.to == TrimTo::Len(len) || matches!(trim.to, TrimTo::Len(max) if len < max) {
                break;
            }
            if trim.limit.is_some_and(|limit| removed + live > limit) {
                break;
            }
            let whole = match trim.to {
                TrimTo::Len(max) => len - live >= max,
                TrimTo::Id(min) => node.last() < min,
            };
            if whole {
                self.frozen.let_go(first);
                self.len -= live;
                removed += live;
                continue;
            }
            if !trim.approximate {
                if let Some(frozen) = self.frozen.get_mut() {
                    frozen.keep(base, || Some(node.clone()));
                }
                let count = node.delete_front(base, |before, id| match trim.to {
                    TrimTo::Len(max) => len - before > max,
                    TrimTo::Id(min) => id < min,
                });
                if node.live() == 0 {
                    first.remove();
                }
                self.len -= count;
                removed += count;
            }
            break;
        }
        if removed > 0 {
            self.find_first_id();
        }
        if self.len == 0 {
            self.top_id = StreamId::MIN;
        }
        removed
    }

    /// Whether an entry at or above `start` may have been deleted by itself, such that entries
    /// cannot be counted by what was added.
    pub fn has_gaps_from(&self, start: StreamId) -> bool {
        self.len > 0
            && self.max_deleted_id != StreamId::MIN
            && self.first_id <= self.max_deleted_id
            && start <= self.max_deleted_id
    }

    /// How many entries had been added when the one with this ID was, if that is known: it is of
    /// the first entry and of those before, unless some were deleted, and of the last one.
    pub fn added_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if id == self.last_id || self.len == 0 && id < self.last_id {
            return Some(self.entries_added);
        }
        let is_whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        if id > self.last_id || !is_whole || id > self.first_id {
            return None;
        }
        let before_first = self.entries_added.saturating_sub(self.len);
        Some(if id == self.first_id { before_first.saturating_add(1) } else { before_first })
    }

    /// About how many bytes of memory the entries take, judged by so many nodes (all if 0).
    pub fn memory(&self, samples: usize) -> usize {
        // A B-tree's leaf has room for eleven, and holds about seven.
        const SLOT: usize = (size_of::<StreamId>() + size_of::<Node>()) * 11 / 7;
        let count = self.nodes.len();
        let looked_at = if samples == 0 { count } else { samples.min(count) };
        let sum: usize = self.nodes.values().take(looked_at).map(Node::memory).sum();
        let bytes = sum as u128 * count as u128 / looked_at.max(1) as u128;
        bytes as usize + count * SLOT
    }
}
