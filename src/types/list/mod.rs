//! Lists: elements in an order, with two ends.
//!
//! A small list is packed into its key's record ([`packed`], behind a byte that counts its
//! elements); a larger one is a deque of such packed [`chunks`]. What OBJECT ENCODING calls it
//! follows from Redis's [`limits`], which are much larger than a record should be.

mod chunk;
mod chunks;
mod frozen;
mod limits;
mod packed;
#[cfg(test)]
mod tests;

use super::{Inline, Loose, Object, Slot, Value};
use packed::{Backward, Forward, Patch};
use std::ops::ControlFlow;

pub use chunk::End;
/// A large list.
pub use chunks::Chunks;
pub use limits::Limits;

/// A list of more bytes does not live in its record, as each change moves all of them.
pub const INLINE_BYTES: usize = 512;
/// Nor does one of more elements, as their number is in a byte.
const INLINE_ELEMENTS: usize = 255;
/// One that has become so small goes back there.
const INLINE_AGAIN: usize = INLINE_BYTES / 2;

/// A list as it is read.
#[derive(Clone, Copy)]
pub struct List<'a>(Encoding<'a>);

#[derive(Clone, Copy)]
enum Encoding<'a> {
    Packed(Packed<'a>),
    Chunks(&'a Chunks),
}

/// A small list.
#[derive(Clone, Copy)]
struct Packed<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Packed<'a> {
        match bytes.split_first() {
            Some((&count, bytes)) => Packed { count: count.into(), bytes },
            None => Packed { count: 0, bytes },
        }
    }

    fn listpack_bytes(&self) -> usize {
        limits::LISTPACK_EMPTY + Forward::new(self.bytes).map(limits::entry_size).sum::<usize>()
    }

    /// Whether a listpack of these elements and so many more, of so many bytes, is too large.
    fn would_exceed(&self, bytes: usize, elements: usize, limits: &Limits) -> bool {
        // Seldom is it more than an estimate from above can tell.
        let estimate = limits::LISTPACK_EMPTY + self.bytes.len() + self.count * 2 + bytes;
        limits.exceeded_by(estimate, self.count + elements)
            && limits.exceeded_by(self.listpack_bytes() + bytes, self.count + elements)
    }
}

impl<'a> List<'a> {
    /// The list in a value, or none if it is of another type.
    #[inline]
    pub fn of(value: Value<'a>) -> Option<List<'a>> {
        match value {
            Value::Inline(Inline::List, bytes) => Some(List(Encoding::Packed(Packed::new(bytes)))),
            Value::Object(Object::List(chunks)) => Some(List(Encoding::Chunks(chunks))),
            _ => None,
        }
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding_name(&self) -> &'static str {
        match self.0 {
            Encoding::Chunks(chunks) if chunks.is_quicklist() => "quicklist",
            _ => "listpack",
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        match self.0 {
            Encoding::Packed(packed) => packed.count,
            Encoding::Chunks(chunks) => chunks.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands elements to `visit` until it breaks: from the one with this index on, towards the
    /// back or the front.
    #[inline]
    pub fn visit(
        &self,
        index: usize,
        towards: End,
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) {
        let Packed { bytes, count } = match self.0 {
            Encoding::Packed(packed) => packed,
            Encoding::Chunks(chunks) => return chunks.visit(index, towards, visit),
        };
        if index >= count {
            return;
        }
        // Broken off or not, it is done.
        let _ = match towards {
            End::Back => Forward::from(bytes, index, count).try_for_each(&mut visit),
            End::Front => Backward::from(bytes, count - 1 - index, count).try_for_each(&mut visit),
        };
    }

    /// Hands all elements to `visit`, from the front.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8])) {
        self.visit(0, End::Back, |element| {
            visit(element);
            ControlFlow::Continue(())
        });
    }

    /// Hands the element with this index to `take`; none if there is no such element.
    pub fn with<T>(&self, index: usize, take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut take = Some(take);
        let mut taken = None;
        self.visit(index, End::Back, |element| {
            taken = take.take().map(|take| take(element));
            ControlFlow::Break(())
        });
        taken
    }

    /// The index of the first element that is equal to this one.
    pub fn find(&self, element: &[u8]) -> Option<usize> {
        let mut index = 0;
        let mut found = None;
        self.visit(0, End::Back, |other| {
            if other == element {
                found = Some(index);
                return ControlFlow::Break(());
            }
            index += 1;
            ControlFlow::Continue(())
        });
        found
    }
}

#[inline]
fn packed_in<S: Slot>(slot: &S) -> Option<Packed<'_>> {
    match slot.value() {
        Value::Inline(_, bytes) => Some(Packed::new(bytes)),
        Value::Object(_) => None,
    }
}

#[inline]
fn chunks_in<S: Slot>(slot: &mut S) -> &mut Chunks {
    match slot.object_mut() {
        Some(Object::List(chunks)) => chunks,
        _ => unreachable!("not a list"),
    }
}

/// Replaces elements of a packed list by one or none.
fn replace_packed<S: Slot>(slot: &mut S, index: usize, remove: usize, element: Option<&[u8]>) {
    let Some(Packed { bytes, count }) = packed_in(slot) else { return };
    let first = packed::gap(bytes, index, count);
    let last = packed::gap(bytes, index + remove, count);
    let patch = Patch::new(first, last, element, bytes.len());
    // The byte that counts may not be there yet.
    let missing = usize::from(matches!(slot.value(), Value::Inline(_, [])));
    let at = if missing > 0 { 0 } else { 1 + first.at };
    let out = slot.splice(at, last.end() - first.at, missing + patch.size());
    patch.write(&mut out[missing..]);
    let count = count - remove + usize::from(element.is_some());
    // Its callers see to it that there are not more.
    slot.bytes_mut()[0] = count as u8;
}

/// Makes a packed list one of chunks.
fn unpack<S: Slot>(slot: &mut S, is_quicklist: bool, limits: &Limits) {
    let mut chunks = Chunks::new(is_quicklist, limits);
    if let Some(packed) = packed_in(slot) {
        chunks.set_packed(packed.bytes);
    }
    slot.set_object(Object::List(chunks));
}

/// So many elements of so many bytes are about to be added: it may no longer be a listpack.
#[inline]
fn grow<S: Slot>(slot: &mut S, bytes: usize, elements: usize, limits: &Limits) {
    match packed_in(slot) {
        Some(packed) if packed.would_exceed(bytes, elements, limits) => unpack(slot, true, limits),
        Some(_) => {}
        None => chunks_in(slot).note_growth(bytes, elements, limits),
    }
}

/// Elements were removed or replaced: it may be a listpack again, and fit its record.
#[inline]
fn shrink<S: Slot>(slot: &mut S, limits: &Limits) {
    if packed_in(slot).is_some() {
        return;
    }
    let chunks = chunks_in(slot);
    chunks.note_shrinking(limits);
    if chunks.is_quicklist() || chunks.is_empty() || chunks.len() > INLINE_ELEMENTS {
        return;
    }
    if let Some(bytes) = chunks.packed_within(INLINE_AGAIN) {
        let mut inline = Vec::with_capacity(1 + bytes.len());
        inline.push(chunks.len() as u8);
        inline.extend_from_slice(bytes);
        slot.set_inline(Inline::List, &inline);
    }
}

/// Whether the list is packed, and still can be with one element more.
#[inline]
fn has_room<S: Slot>(slot: &S, element: &[u8]) -> bool {
    packed_in(slot).is_some_and(|packed| {
        // The separators at both sides may become longer than they are.
        let size = packed.bytes.len() + packed::size_alone(element) + 8;
        packed.count < INLINE_ELEMENTS && size <= INLINE_BYTES
    })
}

/// A new list, without elements yet.
pub fn empty() -> Loose {
    Loose::Inline(Inline::List, Vec::new())
}

/// Pushes elements one after the other at an end; returns how many there are now.
#[inline]
pub fn push<'e, S, I>(slot: &mut S, end: End, mut elements: I, limits: &Limits) -> usize
where
    S: Slot,
    I: ExactSizeIterator<Item = &'e [u8]> + Clone,
{
    let bytes = elements.clone().map(<[u8]>::len).sum();
    let more = elements.len();
    // Looking into the slot costs as much as pushing.
    if let Some(Object::List(chunks)) = slot.object_mut() {
        chunks.note_growth(bytes, more, limits);
        elements.for_each(|element| chunks.push(end, element, limits));
        return chunks.len();
    }
    grow(slot, bytes, more, limits);
    let mut count = packed_in(slot).map_or(0, |packed| packed.count);
    while let Some(element) = elements.next() {
        if !has_room(slot, element) {
            if packed_in(slot).is_some() {
                unpack(slot, false, limits);
            }
            let chunks = chunks_in(slot);
            chunks.push(end, element, limits);
            elements.for_each(|element| chunks.push(end, element, limits));
            return chunks.len();
        }
        let index = if end == End::Back { count } else { 0 };
        replace_packed(slot, index, 0, Some(element));
        count += 1;
    }
    count
}

/// Inserts an element before the one with this index, which must be there.
pub fn insert<S: Slot>(slot: &mut S, index: usize, element: &[u8], limits: &Limits) {
    grow(slot, element.len(), 1, limits);
    if has_room(slot, element) {
        replace_packed(slot, index, 0, Some(element));
        return;
    }
    if packed_in(slot).is_some() {
        unpack(slot, false, limits);
    }
    chunks_in(slot).insert(index, element, limits);
}

/// Replaces the element with this index, which must be there.
pub fn set<S: Slot>(slot: &mut S, index: usize, element: &[u8], limits: &Limits) {
    grow(slot, element.len(), 1, limits);
    if has_room(slot, element) {
        replace_packed(slot, index, 1, Some(element));
        return;
    }
    if packed_in(slot).is_some() {
        unpack(slot, false, limits);
    }
    chunks_in(slot).set(index, element, limits);
    shrink(slot, limits);
}

/// Removes `count` elements from the one with this index on; all must be there. Returns what is to
/// be freed elsewhere, if that takes long.
pub fn remove<S: Slot>(
    slot: &mut S,
    index: usize,
    count: usize,
    limits: &Limits,
) -> Option<Object> {
    if count == 0 {
        return None;
    }
    if packed_in(slot).is_some() {
        replace_packed(slot, index, count, None);
        return None;
    }
    let garbage = chunks_in(slot).remove(index, count, limits);
    shrink(slot, limits);
    garbage.map(Object::List)
}

/// Removes at most so many elements that are equal to this one, beginning at an end. Returns how
/// many; if none, nothing has changed.
pub fn remove_equal<S: Slot>(
    slot: &mut S,
    element: &[u8],
    most: usize,
    from: End,
    limits: &Limits,
) -> usize {
    let packed = match List::of(slot.value()) {
        Some(List(Encoding::Packed(packed))) => packed,
        Some(List(Encoding::Chunks(chunks))) => {
            // Looking for the first one changes nothing.
            let Some(first) = chunks.first_with(element, from) else { return 0 };
            let removed = chunks_in(slot).remove_equal(element, most, first, from, limits);
            shrink(slot, limits);
            return removed;
        }
        None => return 0,
    };
    let matches = Forward::new(packed.bytes).filter(|other| *other == element).count();
    let removed = matches.min(most);
    if removed == 0 {
        return 0;
    }
    // From the back, the first ones stay.
    let stay = if from == End::Back { matches - removed } else { 0 };
    let mut seen = 0;
    let kept = packed::pack(Forward::new(packed.bytes).filter(|other| {
        let is_match = *other == element;
        seen += usize::from(is_match);
        !is_match || seen <= stay || seen > stay + removed
    }));
    let mut inline = vec![(packed.count - removed) as u8];
    inline.extend_from_slice(&kept);
    slot.set_inline(Inline::List, &inline);
    removed
}

/// From now on OBJECT ENCODING calls the list a quicklist, until it has become small.
pub fn make_quicklist<S: Slot>(slot: &mut S, limits: &Limits) {
    match slot.object_mut() {
        Some(Object::List(chunks)) => chunks.make_quicklist(),
        _ => unpack(slot, true, limits),
    }
}

/// A list of one element as bytes for a record, in `buffer`; none if it is too large for that.
pub fn inline_of_one<'b>(element: &[u8], buffer: &'b mut [u8; INLINE_BYTES]) -> Option<&'b [u8]> {
    let patch = Patch::new(packed::Gap::default(), packed::Gap::default(), Some(element), 0);
    let size = 1 + patch.size();
    let out = buffer.get_mut(..size)?;
    out[0] = 1;
    patch.write(&mut out[1..]);
    Some(out)
}
