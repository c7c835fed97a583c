//! Sets: members without order or repetition.
//!
//! A small set is kept in its key's record, as a sorted array if all members are integers
//! ([`ints`]) and one behind the other if not ([`packed`]); a large one is a [`Large`]. Redis's
//! limits decide how OBJECT ENCODING calls a set, and of those called `hashtable` they make a
//! [`Large`]. But a set may be called `intset` or `listpack` and be a [`Large`] all the same: with
//! more than [`INLINE_BYTES`], each change of a record would move too much.

pub mod algebra;
mod ints;
mod packed;
mod table;
#[cfg(test)]
mod tests;

use super::frozen::{Head, Thawed, Ticket, Visit};
use super::{Inline, Loose, Object, Slot, Value};
use crate::base::number::parse_i64;
use crate::base::rng::Rng;
use crate::base::table::Ahead;
use ints::Ints;
use itoa::Buffer;
use packed::Packed;
use std::ops::ControlFlow;
use table::{Place, Probe, Table};

/// A record holds no more of a set than this: the array of the 512 widest integers that
/// `set-max-intset-entries` allows by default.
pub const INLINE_BYTES: usize = 1 + 512 * 8;

/// What a set may be and still be called `intset` or `listpack`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members of an `intset` (`set-max-intset-entries`).
    pub ints: usize,
    /// Members of a `listpack` (`set-max-listpack-entries`).
    pub entries: usize,
    /// Bytes of each member of a `listpack` (`set-max-listpack-value`).
    pub value: usize,
}

impl Limits {
    /// No configuration makes Redis put more than 2^30 members into an intset.
    fn most_ints(&self) -> usize {
        self.ints.min(1 << 30)
    }

    /// Whether a `listpack` of so many members, or what is to become one, may get one more.
    fn allow_packed(&self, members: usize, text: &[u8]) -> bool {
        members < self.entries && text.len() <= self.value
    }
}

/// A member as it is read.
#[derive(Clone, Copy, Debug)]
pub enum Member<'a> {
    /// Its text is this number in decimal.
    Int(i64),
    /// Its text, which may also be that of a number.
    Text(&'a [u8]),
}

impl Member<'_> {
    /// The number whose decimal form it is, if there is one.
    #[inline]
    pub fn int(self) -> Option<i64> {
        match self {
            Member::Int(number) => Some(number),
            Member::Text(text) => parse_i64(text),
        }
    }

    #[inline]
    pub fn with_text<R>(self, act: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Member::Int(number) => act(itoa::Buffer::new().format(number).as_bytes()),
            Member::Text(text) => act(text),
        }
    }
}

/// How OBJECT ENCODING calls a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    IntSet,
    Listpack,
    Hashtable,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Name::IntSet => "intset",
            Name::Listpack => "listpack",
            Name::Hashtable => "hashtable",
        }
    }
}

/// A set that is a hash table.
#[derive(Clone)]
pub struct Large {
    table: Table,
    name: Name,
}

impl Large {
    fn new(name: Name) -> Large {
        Large { table: Table::default(), name }
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding_name(&self) -> &'static str {
        self.name.text()
    }

    fn find(&self, member: Member<'_>) -> Option<Place> {
        self.table.find(&Probe::new(member, &mut Buffer::new()))
    }

    /// Adds a member that is not there.
    fn add(&mut self, member: Member<'_>) {
        self.table.insert(&Probe::new(member, &mut Buffer::new()));
    }

    /// See [`Object::ahead`].
    #[inline]
    pub fn ahead(&self, member: &[u8]) -> Ahead<'_> {
        self.table.ahead(&Probe::new(Member::Text(member), &mut Buffer::new()))
    }

    /// About how many allocations freeing it takes.
    pub fn free_effort(&self) -> usize {
        self.table.blocks() + self.table.len() / 64
    }

    /// About how many bytes of memory it takes, judged by so many members (all if 0).
    pub fn memory(&self, samples: usize) -> usize {
        self.table.memory(samples)
    }

    /// See [`Object::freeze`].
    pub fn freeze(&mut self, ticket: Ticket) {
        self.table.freeze(ticket);
    }

    pub fn frozen(&self) -> Option<(Ticket, Head)> {
        self.table.frozen()
    }

    /// See [`Object::read_frozen`].
    pub fn read_frozen(&mut self, most: usize, visit: &mut Visit<'_>) -> bool {
        self.table.read_frozen(most, visit)
    }

    /// See [`Object::thaw`].
    pub fn thaw(&mut self) -> Option<Thawed> {
        self.table.thaw()
    }

    /// How it is called with one member more.
    fn name_with(&self, member: Member<'_>, limits: &Limits) -> Name {
        let len = self.table.len();
        let allow_packed = || member.with_text(|text| limits.allow_packed(len, text));
        match self.name {
            Name::IntSet if member.int().is_some() => {
                if len < limits.most_ints() {
                    Name::IntSet
                } else {
                    Name::Hashtable
                }
            }
            Name::IntSet => {
                let fits = allow_packed() && limits.value >= self.longest_text(limits.value);
                if fits { Name::Listpack } else { Name::Hashtable }
            }
            Name::Listpack if allow_packed() => Name::Listpack,
            Name::Listpack | Name::Hashtable => Name::Hashtable,
        }
    }

    /// The most bytes that the text of one of its integers has, or a guess that is above it but
    /// not above `enough`.
    fn longest_text(&self, enough: usize) -> usize {
        const LONGEST: usize = "-9223372036854775808".len();
        if enough >= LONGEST {
            return LONGEST;
        }
        let lengths = self.table.iter().map(|member| member.with_text(<[u8]>::len));
        lengths.max().unwrap_or(0)
    }
}

/// A set as it is read.
#[derive(Clone, Copy)]
pub struct Set<'a>(Encoding<'a>);

#[derive(Clone, Copy)]
enum Encoding<'a> {
    Ints(Ints<'a>),
    Packed(Packed<'a>),
    Large(&'a Large),
}

impl<'a> Set<'a> {
    /// The set in a value, or none if it is of another type.
    #[inline]
    pub fn of(value: Value<'a>) -> Option<Set<'a>> {
        match value {
            Value::Inline(Inline::IntSet, bytes) => Some(Set(Encoding::Ints(Ints(bytes)))),
            Value::Inline(Inline::Set, bytes) => Some(Set(Encoding::Packed(Packed(bytes)))),
            Value::Object(Object::Set(large)) => Some(Set(Encoding::Large(large))),
            _ => None,
        }
    }

    fn name(&self) -> Name {
        match self.0 {
            Encoding::Ints(_) => Name::IntSet,
            Encoding::Packed(_) => Name::Listpack,
            Encoding::Large(large) => large.name,
        }
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding_name(&self) -> &'static str {
        self.name().text()
    }

    pub fn len(&self) -> usize {
        match self.0 {
            Encoding::Ints(ints) => ints.len(),
            Encoding::Packed(packed) => packed.len(),
            Encoding::Large(large) => large.table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self.0 {
            Encoding::Packed(packed) => packed.0.is_empty(),
            _ => self.len() == 0,
        }
    }

    #[inline]
    pub fn contains(&self, member: Member<'_>) -> bool {
        match self.0 {
            Encoding::Ints(ints) => member.int().is_some_and(|n| ints.search(n).is_ok()),
            Encoding::Packed(packed) => member.with_text(|text| packed.search(text).is_ok()),
            Encoding::Large(large) => large.find(member).is_some(),
        }
    }

    /// All members: of a record's sets integers in ascending order, others in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        let (ints, packed, large) = match self.0 {
            Encoding::Ints(ints) => (Some(ints), None, None),
            Encoding::Packed(packed) => (None, Some(packed), None),
            Encoding::Large(large) => (None, None, Some(large)),
        };
        let ints = ints.into_iter().flat_map(Ints::iter).map(Member::Int);
        let texts = packed.into_iter().flat_map(Packed::iter).map(Member::Text);
        ints.chain(texts).chain(large.into_iter().flat_map(|large| large.table.iter()))
    }

    /// A step of SSCAN: visits some members and returns the next cursor, 0 at the end. What is in
    /// the set from the first step to the last is visited at least once.
    pub fn scan(&self, cursor: u64, visit: impl FnMut(Member<'a>)) -> u64 {
        match self.0 {
            Encoding::Large(large) => large.table.scan(cursor, visit),
            // All at once, as Redis does: where a member is changes with every removal before it.
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    /// A member drawn with equal chances; none if there is no member.
    pub fn random(&self, rng: &mut Rng) -> Option<Member<'a>> {
        if self.is_empty() {
            return None;
        }
        match self.0 {
            Encoding::Ints(ints) => Some(Member::Int(ints.get(rng.index(ints.len())))),
            Encoding::Packed(packed) => {
                packed.iter().nth(rng.index(packed.len())).map(Member::Text)
            }
            Encoding::Large(large) => large.table.random(rng),
        }
    }

    /// Visits `count` members, each drawn with equal chances from all: one may come repeatedly.
    /// Ends early when `visit` says so.
    pub fn draw(
        &self,
        count: u64,
        rng: &mut Rng,
        mut visit: impl FnMut(Member<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.is_empty() {
            return ControlFlow::Continue(());
        }
        if let Encoding::Packed(packed) = self.0 {
            // Each draw would walk half of the bytes without this index.
            let texts: Vec<&[u8]> = packed.iter().collect();
            (0..count).try_for_each(|_| visit(Member::Text(texts[rng.index(texts.len())])))
        } else {
            (0..count).try_for_each(|_| self.random(rng).into_iter().try_for_each(&mut visit))
        }
    }

    /// Visits `count` different members, or all if there are not so many: each choice of members
    /// is as likely as any other.
    pub fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Member<'a>)) {
        if let Encoding::Large(large) = self.0
            && count < large.table.len() / 3
        {
            // At most every third draw is one that was seen already.
            large.table.sample_few(count, rng, visit);
            return;
        }
        // Each member is taken with the chance that its share of those still to come gives it
        // (Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S).
        let mut left = self.len();
        let mut wanted = count.min(left);
        for member in self.iter() {
            if wanted == 0 {
                break;
            }
            if rng.index(left) < wanted {
                visit(member);
                wanted -= 1;
            }
            left -= 1;
        }
    }
}

/// A set without members, as Redis begins one that is to have so many, `first` among them.
pub fn empty(first: Member<'_>, members: usize, limits: &Limits) -> Loose {
    if members <= limits.ints && first.int().is_some() {
        Loose::Inline(Inline::IntSet, Vec::new())
    } else if members <= limits.entries {
        Loose::Inline(Inline::Set, Vec::new())
    } else {
        Loose::Object(Object::Set(Large::new(Name::Hashtable)))
    }
}

fn set_in<S: Slot>(slot: &S) -> Set<'_> {
    match Set::of(slot.value()) {
        Some(set) => set,
        None => unreachable!("not a set"),
    }
}

/// Prepares for so many members to be added: when they are more than a small set may have, Redis
/// does not wait to see whether all of them are new.
pub fn prepare<S: Slot>(slot: &mut S, members: usize, limits: &Limits) {
    let most = match set_in(slot).name() {
        Name::IntSet => limits.ints,
        Name::Listpack => limits.entries,
        Name::Hashtable => return,
    };
    if members > most {
        enlarge(slot, Name::Hashtable);
    }
}

/// Makes a set a large one, and gives it this name.
fn enlarge<S: Slot>(slot: &mut S, name: Name) {
    if let Value::Object(_) = slot.value() {
        if let Some(Object::Set(large)) = slot.object_mut() {
            large.name = name;
        }
        return;
    }
    let mut large = Large::new(name);
    for member in set_in(slot).iter() {
        large.add(member);
    }
    slot.set_object(Object::Set(large));
}

/// Makes a set a large one of this name, and adds a member that it does not have.
fn enlarge_with<S: Slot>(slot: &mut S, name: Name, member: Member<'_>) {
    enlarge(slot, name);
    if let Some(Object::Set(large)) = slot.object_mut() {
        large.add(member);
    }
}

/// Adds a member to the set in `slot`; false if it is there, and then nothing changes.
#[inline]
pub fn insert<S: Slot>(slot: &mut S, member: Member<'_>, limits: &Limits) -> bool {
    match set_in(slot).0 {
        Encoding::Large(large) => {
            let mut digits = Buffer::new();
            let probe = Probe::new(member, &mut digits);
            if large.table.find(&probe).is_some() {
                return false;
            }
            let name = large.name_with(member, limits);
            let Some(Object::Set(large)) = slot.object_mut() else { return false };
            large.name = name;
            large.table.insert(&probe);
            true
        }
        Encoding::Packed(_) => member.with_text(|text| insert_packed(slot, member, text, limits)),
        Encoding::Ints(_) => match member.int() {
            Some(number) => insert_int(slot, number, limits),
            None => {
                member.with_text(|text| insert_beside_ints(slot, text, limits));
                true
            }
        },
    }
}

fn insert_packed<S: Slot>(slot: &mut S, member: Member<'_>, text: &[u8], limits: &Limits) -> bool {
    let Encoding::Packed(packed) = set_in(slot).0 else { return false };
    let Err(members) = packed.search(text) else { return false };
    let size = packed.0.len() + packed::member_size(text);
    if !limits.allow_packed(members, text) {
        enlarge_with(slot, Name::Hashtable, member);
    } else if size > INLINE_BYTES {
        enlarge_with(slot, Name::Listpack, member);
    } else {
        packed::append(slot, text);
    }
    true
}

fn insert_int<S: Slot>(slot: &mut S, number: i64, limits: &Limits) -> bool {
    let Encoding::Ints(ints) = set_in(slot).0 else { return false };
    let Err(at) = ints.search(number) else { return false };
    let size = ints.size_with(number);
    if ints.len() >= limits.most_ints() {
        enlarge_with(slot, Name::Hashtable, Member::Int(number));
    } else if size > INLINE_BYTES {
        enlarge_with(slot, Name::IntSet, Member::Int(number));
    } else {
        ints::insert(slot, at, number);
    }
    true
}

/// Adds a text that is no integer to a set that has only had integers.
fn insert_beside_ints<S: Slot>(slot: &mut S, text: &[u8], limits: &Limits) {
    let Encoding::Ints(ints) = set_in(slot).0 else { return };
    let member = Member::Text(text);
    if !limits.allow_packed(ints.len(), text) || ints.longest_text() > limits.value {
        return enlarge_with(slot, Name::Hashtable, member);
    }
    let texts = || ints.iter().map(Member::Int).chain([member]);
    let size = |member: Member<'_>| member.with_text(packed::member_size);
    let total = texts().map(size).sum();
    if total > INLINE_BYTES {
        return enlarge_with(slot, Name::Listpack, member);
    }
    let mut bytes = vec![0; total];
    let mut at = 0;
    for member in texts() {
        let end = at + size(member);
        member.with_text(|text| packed::write_member(&mut bytes[at..end], text));
        at = end;
    }
    slot.set_inline(Inline::Set, &bytes);
}

/// Removes a member from the set in `slot`; false if it is not there, and then nothing changes.
pub fn remove<S: Slot>(slot: &mut S, member: Member<'_>) -> bool {
    match set_in(slot).0 {
        Encoding::Ints(ints) => {
            let place = member.int().and_then(|number| ints.search(number).ok());
            place.map(|at| ints::remove(slot, at)).is_some()
        }
        Encoding::Packed(_) => member.with_text(|text| packed::remove(slot, text)),
        Encoding::Large(large) => {
            let Some(place) = large.find(member) else { return false };
            let Some(Object::Set(large)) = slot.object_mut() else { return false };
            large.table.remove(place);
            true
        }
    }
}

/// Reduces a set to `count` members drawn at random and hands over the others: for where more go
/// than stay. Redis makes a new set of those that stay, so it may be called otherwise afterwards.
pub fn retain_random<S: Slot>(
    slot: &mut S,
    count: usize,
    rng: &mut Rng,
    limits: &Limits,
    mut visit: impl FnMut(Member<'_>),
) {
    let set = set_in(slot);
    let kind = if set.name() == Name::IntSet { Inline::IntSet } else { Inline::Set };
    let mut stays = Loose::Inline(kind, Vec::new());
    set.sample(count, rng, |member| _ = insert(&mut stays, member, limits));
    let kept = set_in(&stays);
    set.iter().filter(|member| !kept.contains(*member)).for_each(&mut visit);
    match stays {
        Loose::Inline(kind, bytes) => slot.set_inline(kind, &bytes),
        Loose::Object(object) => slot.set_object(object),
    }
}
