//! Hashes: fields, each with a value.
//!
//! A small hash is packed into its key's record ([`packed`]); one with more or longer fields than
//! its [`Limits`] is a table ([`Table`]), and stays one. One whose fields expire is a table with
//! times ([`Expiring`]). Which of these it is shows in its name and in the order of its fields
//! alone.
//!
//! A field that is due may still be there: [`Hash::at`] passes over it.

mod expiring;
mod packed;
#[cfg(test)]
mod tests;

use super::entry::Pair;
use super::{Inline, Object, Slot, Value};
use crate::base::rng::Rng;
use packed::Packed;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// A large hash.
pub use super::entry::Entries as Table;
pub use expiring::Expiring;

/// The latest time at which a field can expire, in milliseconds since 1970: Redis's limit
/// (`HFE_MAX_ABS_TIME_MSEC` in `server.h`), with room to spare in what we and its files keep.
pub const MAX_EXPIRE_AT: i64 = (1 << 46) - 1;

/// The most bytes of a packed hash, so that it always fits a record, whatever the limits say.
/// Redis has the same limit for its own packed form.
const MAX_BYTES: usize = 1 << 30;

/// What a hash may be and still be packed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Fields it may have (`hash-max-listpack-entries`).
    pub entries: usize,
    /// Bytes that a field or a value may have (`hash-max-listpack-value`).
    pub value: usize,
}

/// A hash as it is read.
#[derive(Clone, Copy)]
pub struct Hash<'a>(Encoding<'a>);

#[derive(Clone, Copy)]
enum Encoding<'a> {
    Packed(Packed<'a>),
    Table(&'a Table),
    /// With the time at which it is read.
    Expiring(&'a Expiring, i64),
}

impl<'a> Hash<'a> {
    /// The hash in a value, or none if it is of another type. All its fields count, until
    /// [`Hash::at`] says otherwise.
    #[inline]
    pub fn of(value: Value<'a>) -> Option<Hash<'a>> {
        match value {
            Value::Inline(Inline::Hash, bytes) => Some(Hash(Encoding::Packed(Packed(bytes)))),
            Value::Object(Object::Hash(table)) => Some(Hash(Encoding::Table(table))),
            Value::Object(Object::ExpiringHash(hash)) => {
                Some(Hash(Encoding::Expiring(hash, i64::MIN)))
            }
            _ => None,
        }
    }

    /// The hash without the fields that are due at a time in milliseconds since 1970.
    #[inline]
    pub fn at(self, now_ms: i64) -> Hash<'a> {
        match self.0 {
            Encoding::Expiring(hash, _) => Hash(Encoding::Expiring(hash, now_ms)),
            _ => self,
        }
    }

    /// When a field expires, in milliseconds since 1970, if it does; none if there is no such
    /// field.
    pub fn expire_at(&self, field: &[u8]) -> Option<Option<i64>> {
        match self.0 {
            Encoding::Expiring(hash, now) => {
                hash.fields.live(field, now).map(|place| hash.fields.expire_at(place))
            }
            _ => self.get(field).map(|_| None),
        }
    }

    /// All fields with their values, and when they expire.
    pub fn with_times(&self) -> impl Iterator<Item = (Pair<'a>, Option<i64>)> + use<'a> {
        let (plain, expiring) = match self.0 {
            Encoding::Expiring(hash, now) => (None, Some((hash, now))),
            _ => (Some(*self), None),
        };
        let plain = plain.into_iter().flat_map(|hash| hash.iter()).map(|pair| (pair, None));
        plain.chain(expiring.into_iter().flat_map(|(hash, now)| hash.fields.with_times(now)))
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding_name(&self) -> &'static str {
        match self.0 {
            Encoding::Packed(_) => "listpack",
            Encoding::Table(_) => "hashtable",
            Encoding::Expiring(hash, _) => hash.encoding_name(),
        }
    }

    pub fn len(&self) -> usize {
        match self.0 {
            Encoding::Packed(packed) => packed.len(),
            Encoding::Table(table) => table.len(),
            Encoding::Expiring(hash, now) => hash.fields.len() - hash.fields.due(now),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self.0 {
            Encoding::Packed(packed) => packed.0.is_empty(),
            Encoding::Table(table) => table.is_empty(),
            Encoding::Expiring(hash, now) => hash.fields.all_due(now),
        }
    }

    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<&'a [u8]> {
        match self.0 {
            Encoding::Packed(packed) => packed.get(field),
            Encoding::Table(table) => table.find(field).map(|place| table.get(place).1),
            Encoding::Expiring(hash, now) => {
                hash.fields.live(field, now).map(|place| hash.fields.get(place).1)
            }
        }
    }

    /// All fields with their values; those of a packed hash in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = Pair<'a>> + use<'a> {
        let (packed, table, expiring) = match self.0 {
            Encoding::Packed(packed) => (Some(packed), None, None),
            Encoding::Table(table) => (None, Some(table), None),
            Encoding::Expiring(hash, now) => (None, None, Some((hash, now))),
        };
        let packed = packed.into_iter().flat_map(Packed::iter);
        let table = table.into_iter().flat_map(Table::iter);
        packed
            .chain(table)
            .chain(expiring.into_iter().flat_map(|(hash, now)| hash.fields.iter(now)))
    }

    /// A step of HSCAN: visits some fields and returns the next cursor, 0 at the end. What is in
    /// the hash from the first step to the last is visited at least once.
    pub fn scan(&self, cursor: u64, visit: impl FnMut(Pair<'a>)) -> u64 {
        match self.0 {
            // All at once, as Redis does: where a field is changes with every removal before it.
            Encoding::Packed(packed) => {
                packed.iter().for_each(visit);
                0
            }
            Encoding::Table(table) => table.scan(cursor, visit),
            Encoding::Expiring(hash, now) => hash.fields.scan(cursor, now, visit),
        }
    }

    /// A field drawn with equal chances; none if there is no field.
    pub fn random(&self, rng: &mut Rng) -> Option<Pair<'a>> {
        match self.0 {
            Encoding::Packed(packed) if packed.0.is_empty() => None,
            Encoding::Packed(packed) => packed.iter().nth(rng.index(packed.len())),
            Encoding::Table(table) => table.random(rng),
            Encoding::Expiring(..) => {
                let mut drawn = None;
                _ = self.draw(1, rng, |pair| {
                    drawn = Some(pair);
                    ControlFlow::Break(())
                });
                drawn
            }
        }
    }

    /// Visits `count` fields, each drawn with equal chances from all: one may come repeatedly.
    /// Ends early when `visit` says so.
    pub fn draw(
        &self,
        count: u64,
        rng: &mut Rng,
        mut visit: impl FnMut(Pair<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.0 {
            _ if self.is_empty() => ControlFlow::Continue(()),
            Encoding::Packed(packed) => {
                // Each draw would walk half of the bytes without this index.
                let items: Vec<_> = packed.items().collect();
                (0..count).try_for_each(|_| visit(packed.pair(items[rng.index(items.len())])))
            }
            _ if self.mostly_due() => {
                let pairs: Vec<_> = self.iter().collect();
                (0..count).try_for_each(|_| visit(pairs[rng.index(pairs.len())]))
            }
            _ => (0..count).try_for_each(|_| visit(self.try_until_live(rng))),
        }
    }

    /// Whether drawing a field that is not due would take many attempts.
    fn mostly_due(&self) -> bool {
        matches!(self.0, Encoding::Expiring(hash, _) if self.len() < hash.fields.len() / 8)
    }

    /// Draws from a table that is not empty until it gives a field that is not due.
    fn try_until_live(&self, rng: &mut Rng) -> Pair<'a> {
        loop {
            let drawn = match self.0 {
                Encoding::Packed(_) => self.random(rng),
                Encoding::Table(table) => table.random(rng),
                Encoding::Expiring(hash, now) => hash.fields.random(now, rng),
            };
            if let Some(pair) = drawn {
                return pair;
            }
        }
    }

    /// Visits `count` different fields, or all if there are not so many: each choice of fields
    /// is as likely as any other.
    pub fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Pair<'a>)) {
        let len = self.len();
        if !matches!(self.0, Encoding::Packed(_)) && count < len / 3 && !self.mostly_due() {
            // Few of many: at most every third draw is one that was seen already.
            let mut seen = HashSet::with_capacity(count);
            while seen.len() < count {
                let pair = self.try_until_live(rng);
                if seen.insert(pair.0) {
                    visit(pair);
                }
            }
            return;
        }
        // Each field is taken with the chance that its share of those still to come gives it
        // (Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S).
        let mut left = len;
        let mut wanted = count.min(left);
        for pair in self.iter() {
            if wanted == 0 {
                break;
            }
            if rng.index(left) < wanted {
                visit(pair);
                wanted -= 1;
            }
            left -= 1;
        }
    }
}

/// Sets a field of the hash in `slot`; true if it is new. It does not expire from now on.
pub fn insert<S: Slot>(slot: &mut S, field: &[u8], value: &[u8], limits: &Limits) -> bool {
    put(slot, field, value, limits, false)
}

/// The same for a field that goes on to expire when it does, if it does.
pub fn update<S: Slot>(slot: &mut S, field: &[u8], value: &[u8], limits: &Limits) -> bool {
    put(slot, field, value, limits, true)
}

fn put<S: Slot>(
    slot: &mut S,
    field: &[u8],
    value: &[u8],
    limits: &Limits,
    keeps_time: bool,
) -> bool {
    if let Value::Inline(_, bytes) = slot.value() {
        let size = bytes.len() + packed::entry_size(field, value);
        if field.len().max(value.len()) <= limits.value && size <= MAX_BYTES {
            let is_new = packed::insert(slot, field, value);
            if is_packed_beyond(slot, limits.entries) {
                unpack(slot);
            }
            return is_new;
        }
        unpack(slot);
    }
    match slot.object_mut() {
        Some(Object::Hash(table)) => match table.find(field) {
            Some(place) => {
                table.set_value(place, value);
                false
            }
            None => {
                table.insert(field, value);
                true
            }
        },
        Some(Object::ExpiringHash(hash)) => {
            let fields = &mut hash.fields;
            let found = fields.find(field);
            match found {
                Some(place) => {
                    if !keeps_time {
                        fields.set_expire_at(place, None);
                    }
                    fields.set_value(place, value);
                }
                None => _ = fields.insert(field, value),
            }
            let longest = field.len().max(value.len());
            hash.large |= longest > limits.value || hash.fields.len() > limits.entries;
            found.is_none()
        }
        _ => unreachable!("not a hash"),
    }
}

/// Says when a field expires, in milliseconds since 1970, or that it does not; false if there is
/// no such field, and then nothing changes.
pub fn set_expire_at<S: Slot>(slot: &mut S, field: &[u8], expire_at: Option<i64>) -> bool {
    match Hash::of(slot.value()).and_then(|hash| hash.expire_at(field)) {
        None => return false,
        Some(before) if before == expire_at => return true,
        Some(_) => {}
    }
    let large = match slot.value() {
        Value::Inline(..) => {
            unpack(slot);
            false
        }
        Value::Object(_) => true,
    };
    let Some(object) = slot.object_mut() else { unreachable!("not a hash") };
    if let Object::Hash(table) = object {
        let hash = Expiring::new(std::mem::take(table), large);
        *object = Object::ExpiringHash(Box::new(hash));
    }
    if let Object::ExpiringHash(hash) = object
        && let Some(place) = hash.fields.find(field)
    {
        hash.fields.set_expire_at(place, expire_at);
    }
    true
}

fn is_packed_beyond<S: Slot>(slot: &S, entries: usize) -> bool {
    matches!(slot.value(), Value::Inline(_, bytes) if Packed(bytes).is_longer_than(entries))
}

/// Makes a packed hash a table.
fn unpack<S: Slot>(slot: &mut S) {
    let mut table = Table::new();
    for (field, value) in Hash::of(slot.value()).iter().flat_map(Hash::iter) {
        table.insert(field, value);
    }
    slot.set_object(Object::Hash(table));
}

/// Removes a field from the hash in `slot`; false if there is none, and then nothing changes.
pub fn remove<S: Slot>(slot: &mut S, field: &[u8]) -> bool {
    if let Value::Inline(..) = slot.value() {
        return packed::remove(slot, field);
    }
    if Hash::of(slot.value()).is_none_or(|hash| hash.get(field).is_none()) {
        return false;
    }
    match slot.object_mut() {
        Some(Object::Hash(table)) => {
            table.find(field).into_iter().for_each(|place| table.remove(place));
        }
        Some(Object::ExpiringHash(hash)) => {
            let fields = &mut hash.fields;
            fields.find(field).into_iter().for_each(|place| fields.remove(place));
        }
        _ => unreachable!("not a hash"),
    }
    true
}
