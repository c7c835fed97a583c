//! Reading values of all kinds, into the encodings that commands would have made of them. Knows
//! neither keys nor files.
//!
//! Whatever a value could not be is refused: elements that come twice, scores that are no numbers,
//! packed forms whose parts do not agree. A damaged value is never half a value.

use super::bytes::Damage;
use super::input::Input;
use super::old::{Intset, Ziplist, Zipmap};
use super::{Error, Limits, Problem, container, kind, listpack};
use crate::base::number::parse_f64;
use crate::store::NewValue;
use crate::types::list::End;
use crate::types::set::Member;
use crate::types::string::{INLINE_LIMIT, Str, integer};
use crate::types::{Inline, Loose, Object, hash, list, set, zset};
use std::io::Read;

const TWICE_IN_SET: Damage = Damage("a set with a member twice");
const TWICE_IN_ZSET: Damage = Damage("a sorted set with a member twice");
const TWICE_IN_HASH: Damage = Damage("a hash with a field twice");
const NO_SCORE: Damage = Damage("a score that is no number");
const ODD: Damage = Damage("a packed value whose last element lacks its other half");
const FIELD_TIME: Damage = Damage("a field of a hash that expires at an impossible time");

/// What Redis calls a kind of packed value in its log, which people search for.
fn form_name(of: u8) -> &'static str {
    match of {
        kind::HASH_ZIPMAP => "Zipmap",
        kind::LIST_ZIPLIST => "List ziplist",
        kind::SET_INTSET => "Intset",
        kind::ZSET_ZIPLIST => "Zset ziplist",
        kind::HASH_ZIPLIST => "Hash ziplist",
        kind::ZSET_LISTPACK => "Zset listpack",
        kind::SET_LISTPACK => "Set listpack",
        _ => "Hash listpack",
    }
}

/// What a kind of packed value is made of.
trait Elements<'a> {
    fn next(&mut self) -> Result<Option<Str<'a>>, Damage>;
}

impl<'a> Elements<'a> for listpack::Reader<'a> {
    fn next(&mut self) -> Result<Option<Str<'a>>, Damage> {
        listpack::Reader::next(self)
    }
}

impl<'a> Elements<'a> for Ziplist<'a> {
    fn next(&mut self) -> Result<Option<Str<'a>>, Damage> {
        Ziplist::next(self)
    }
}

impl<'a> Elements<'a> for Zipmap<'a> {
    fn next(&mut self) -> Result<Option<Str<'a>>, Damage> {
        Zipmap::next(self)
    }
}

/// Reads values; keeps the memory it needs for that.
pub struct Values {
    pub limits: Limits,
    /// The value being made, and made last.
    pub(super) made: Loose,
    pub(super) first: Vec<u8>,
    second: Vec<u8>,
}

impl Values {
    pub fn new(limits: Limits) -> Values {
        let made = Loose::Inline(Inline::Str, Vec::new());
        Values { limits, made, first: Vec::new(), second: Vec::new() }
    }

    /// The value that was read last, if that was not empty.
    pub fn take(&mut self) -> NewValue<'_> {
        if let Loose::Object(_) = self.made {
            let empty = Loose::Inline(Inline::Str, Vec::new());
            if let Loose::Object(object) = std::mem::replace(&mut self.made, empty) {
                return NewValue::Object(Box::new(object));
            }
        }
        match &self.made {
            Loose::Inline(kind, bytes) => NewValue::Inline(*kind, bytes),
            // It was taken out above.
            Loose::Object(_) => NewValue::Inline(Inline::Str, &[]),
        }
    }

    /// Begins a value within a record, in the memory of the one before.
    fn begin(&mut self, kind: Inline) {
        let mut memory = match &mut self.made {
            Loose::Inline(_, bytes) => std::mem::take(bytes),
            Loose::Object(_) => Vec::new(),
        };
        memory.clear();
        self.made = Loose::Inline(kind, memory);
    }

    /// Reads a value of a kind; false if it is a collection without elements, which should not be
    /// in a file, but has been. `is_valkey`: the file is of one of Valkey's own versions.
    pub fn read<R: Read>(
        &mut self,
        input: &mut Input<R>,
        of: u8,
        is_valkey: bool,
    ) -> Result<bool, Error> {
        match of {
            kind::STRING => self.string(input).map(|()| true),
            kind::LIST => self.plain_list(input),
            kind::SET => self.plain_set(input),
            kind::ZSET | kind::ZSET_2 => self.plain_zset(input, of == kind::ZSET_2),
            kind::HASH => self.plain_hash(input),
            kind::HASH_WITH_TIMES_VALKEY if is_valkey => self.hash_of_valkey(input),
            // Valkey's numbers end here.
            23.. if is_valkey => {
                input.fail(Problem::Unsupported(format!("a value of the unknown type {of}")))
            }
            kind::HASH_WITH_TIMES_EARLY => self.hash_with_times(input, 0),
            kind::HASH_WITH_TIMES => {
                let first = input.i64()?;
                if !(0..=hash::MAX_EXPIRE_AT).contains(&first) {
                    return input.check(Err(FIELD_TIME));
                }
                // Times are counted from there, beginning with 1.
                self.hash_with_times(input, first - 1)
            }
            kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
                self.quicklist(input, of == kind::LIST_QUICKLIST_2)
            }
            kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => self.stream(input, of).map(|()| true),
            kind::HASH_LISTPACK_WITH_TIMES => {
                input.i64()?;
                self.packed(input, of)
            }
            kind::MODULE => input.fail(Problem::Unsupported(
                "a module's value in the form of a release candidate of Redis 4.0".into(),
            )),
            kind::MODULE_2 => {
                let name = super::read::module_name(input.length()?);
                let what = format!("a value of the module type '{name}', which is unknown here");
                input.fail(Problem::Unsupported(what))
            }
            kind::HASH_ZIPMAP
            | kind::LIST_ZIPLIST..=kind::HASH_ZIPLIST
            | kind::HASH_LISTPACK
            | kind::ZSET_LISTPACK
            | kind::SET_LISTPACK
            | kind::HASH_LISTPACK_WITH_TIMES_EARLY => self.packed(input, of),
            _ => input.fail(Problem::Unsupported(format!("a value of the unknown type {of}"))),
        }
    }

    fn string<R: Read>(&mut self, input: &mut Input<R>) -> Result<(), Error> {
        self.begin(Inline::Str);
        let Loose::Inline(_, bytes) = &mut self.made else { return Ok(()) };
        let number = match input.string_or_int(bytes)? {
            None => integer(bytes),
            number => number,
        };
        if let Some(number) = number {
            bytes.clear();
            bytes.extend_from_slice(&number.to_le_bytes());
            self.made = Loose::Inline(Inline::Int, std::mem::take(bytes));
        } else if bytes.len() > INLINE_LIMIT {
            let mut string = std::mem::take(bytes);
            string.shrink_to_fit();
            self.made = Loose::Object(Object::String(string));
        }
        Ok(())
    }

    // -----------------------------------------------------------------------------------------
    // Elements.

    fn push(&mut self, element: &[u8]) {
        list::push(&mut self.made, End::Back, std::iter::once(element), &self.limits.list);
    }

    fn add_member(&mut self, member: Member<'_>) -> Result<(), Damage> {
        let is_new = set::insert(&mut self.made, member, &self.limits.set);
        if is_new { Ok(()) } else { Err(TWICE_IN_SET) }
    }

    fn add_score(&mut self, member: &[u8], score: f64) -> Result<(), Damage> {
        if score.is_nan() {
            return Err(NO_SCORE);
        }
        let change = zset::insert(&mut self.made, member, score, &self.limits.zset);
        if change.old.is_none() { Ok(()) } else { Err(TWICE_IN_ZSET) }
    }

    /// `expire_at`: 0 for a field that does not expire.
    fn add_field(&mut self, field: &[u8], value: &[u8], expire_at: i64) -> Result<(), Damage> {
        if !(0..=hash::MAX_EXPIRE_AT).contains(&expire_at) {
            return Err(FIELD_TIME);
        }
        if !hash::insert(&mut self.made, field, value, &self.limits.hash) {
            return Err(TWICE_IN_HASH);
        }
        if expire_at > 0 {
            hash::set_expire_at(&mut self.made, field, Some(expire_at));
        }
        Ok(())
    }

    /// Does something with the memory for two strings.
    fn with_strings<T>(
        &mut self,
        act: impl FnOnce(&mut Values, &mut Vec<u8>, &mut Vec<u8>) -> T,
    ) -> T {
        let (mut first, mut second) =
            (std::mem::take(&mut self.first), std::mem::take(&mut self.second));
        let result = act(self, &mut first, &mut second);
        // A large string should not keep its memory from the small ones behind it.
        first.clear();
        first.shrink_to(INLINE_LIMIT);
        second.clear();
        second.shrink_to(INLINE_LIMIT);
        (self.first, self.second) = (first, second);
        result
    }

    // -----------------------------------------------------------------------------------------
    // Values written element by element.

    fn plain_list<R: Read>(&mut self, input: &mut Input<R>) -> Result<bool, Error> {
        let count = input.length()?;
        self.made = list::empty();
        self.with_strings(|values, element, _| {
            for _ in 0..count {
                input.string(element)?;
                values.push(element);
            }
            Ok(count > 0)
        })
    }

    fn plain_set<R: Read>(&mut self, input: &mut Input<R>) -> Result<bool, Error> {
        let count = input.length()?;
        self.with_strings(|values, text, _| {
            for nth in 0..count {
                let number = input.string_or_int(text)?;
                let member = number.map_or(Member::Text(text), Member::Int);
                if nth == 0 {
                    let members = usize::try_from(count).unwrap_or(usize::MAX);
                    values.made = set::empty(member, members, &values.limits.set);
                }
                input.check(values.add_member(member))?;
            }
            Ok(count > 0)
        })
    }

    fn plain_zset<R: Read>(&mut self, input: &mut Input<R>, binary: bool) -> Result<bool, Error> {
        let count = input.length()?;
        self.begin(Inline::Zset);
        self.with_strings(|values, member, _| {
            for _ in 0..count {
                input.string(member)?;
                let score = if binary { input.double()? } else { input.text_double()? };
                input.check(values.add_score(member, score))?;
            }
            Ok(count > 0)
        })
    }

    fn plain_hash<R: Read>(&mut self, input: &mut Input<R>) -> Result<bool, Error> {
        let count = input.length()?;
        self.begin(Inline::Hash);
        self.with_strings(|values, field, value| {
            for _ in 0..count {
                input.string(field)?;
                input.string(value)?;
                input.check(values.add_field(field, value, 0))?;
            }
            Ok(count > 0)
        })
    }

    /// Before each field there is when it expires, less `before`; 0 if it does not.
    fn hash_with_times<R: Read>(
        &mut self,
        input: &mut Input<R>,
        before: i64,
    ) -> Result<bool, Error> {
        let count = input.length()?;
        self.begin(Inline::Hash);
        self.with_strings(|values, field, value| {
            for _ in 0..count {
                let expire_at = match input.length()? {
                    0 => Some(0),
                    after => i64::try_from(after).ok().and_then(|ms| ms.checked_add(before)),
                };
                input.string(field)?;
                input.string(value)?;
                let added = expire_at.ok_or(FIELD_TIME);
                input.check(added.and_then(|ms| values.add_field(field, value, ms)))?;
            }
            Ok(count > 0)
        })
    }

    /// Behind each field and value there is when it expires, or -1.
    fn hash_of_valkey<R: Read>(&mut self, input: &mut Input<R>) -> Result<bool, Error> {
        let count = input.length()?;
        self.begin(Inline::Hash);
        self.with_strings(|values, field, value| {
            for _ in 0..count {
                input.string(field)?;
                input.string(value)?;
                let expire_at = match input.i64()? {
                    -1 => 0,
                    // A time that is over for long, and not the mark for none.
                    0 => 1,
                    ms => ms,
                };
                input.check(values.add_field(field, value, expire_at))?;
            }
            Ok(count > 0)
        })
    }

    // -----------------------------------------------------------------------------------------
    // Packed values.

    /// Lists in nodes: packed ones, and since the second form of it single elements.
    fn quicklist<R: Read>(
        &mut self,
        input: &mut Input<R>,
        has_containers: bool,
    ) -> Result<bool, Error> {
        let nodes = input.length()?;
        self.made = list::empty();
        self.with_strings(|values, node, _| {
            for _ in 0..nodes {
                let form = if has_containers { input.length()? } else { container::PACKED };
                input.string(node)?;
                let done = match form {
                    container::PLAIN if node.is_empty() => {
                        Err(Damage("a node of a list without bytes"))
                    }
                    container::PLAIN => {
                        values.push(node);
                        Ok(())
                    }
                    container::PACKED if has_containers => {
                        listpack::Reader::new(node).and_then(|list| values.push_all(list))
                    }
                    container::PACKED => Ziplist::new(node).and_then(|list| values.push_all(list)),
                    _ => Err(Damage("a node of a list in an unknown form")),
                };
                done.or_else(|Damage(what)| {
                    let what = format!("Quicklist integrity check failed: {what}");
                    input.fail(Problem::Damaged(what.into()))
                })?;
            }
            let is_empty = list::List::of(crate::types::Slot::value(&values.made))
                .is_none_or(|list| list.is_empty());
            if nodes > 1 && !is_empty {
                list::make_quicklist(&mut values.made, &values.limits.list);
            }
            Ok(!is_empty)
        })
    }

    fn push_all<'a>(&mut self, mut elements: impl Elements<'a>) -> Result<(), Damage> {
        while let Some(element) = elements.next()? {
            element.with(|element| self.push(element));
        }
        Ok(())
    }

    fn packed<R: Read>(&mut self, input: &mut Input<R>, of: u8) -> Result<bool, Error> {
        self.with_strings(|values, blob, text| {
            input.string(blob)?;
            values.unpack(of, blob, text).or_else(|Damage(what)| {
                let form = form_name(of);
                let what = format!("{form} integrity check failed: {what}");
                input.fail(Problem::Damaged(what.into()))
            })
        })
    }

    fn unpack(&mut self, of: u8, blob: &[u8], text: &mut Vec<u8>) -> Result<bool, Damage> {
        match of {
            kind::LIST_ZIPLIST => {
                self.made = list::empty();
                let list = Ziplist::new(blob)?;
                let is_empty = list.clone().next()?.is_none();
                self.push_all(list)?;
                Ok(!is_empty)
            }
            kind::SET_INTSET => self.unpack_ints(Intset::new(blob)?),
            kind::SET_LISTPACK => self.unpack_set(listpack::Reader::new(blob)?),
            kind::ZSET_ZIPLIST => self.unpack_zset(Ziplist::new(blob)?),
            kind::ZSET_LISTPACK => self.unpack_zset(listpack::Reader::new(blob)?),
            kind::HASH_ZIPMAP => match self.unpack_hash(Zipmap::new(blob)?, text, false)? {
                // Those have never been in a file.
                false => Err(Damage("a zipmap without fields")),
                true => Ok(true),
            },
            kind::HASH_ZIPLIST => self.unpack_hash(Ziplist::new(blob)?, text, false),
            kind::HASH_LISTPACK => self.unpack_hash(listpack::Reader::new(blob)?, text, false),
            _ => self.unpack_hash(listpack::Reader::new(blob)?, text, true),
        }
    }

    fn unpack_ints(&mut self, numbers: Intset<'_>) -> Result<bool, Damage> {
        let count = numbers.len();
        // With too many it becomes a table, never a listpack.
        let members = if count <= self.limits.set.ints { count } else { usize::MAX };
        self.made = set::empty(Member::Int(0), members, &self.limits.set);
        for number in numbers {
            self.add_member(Member::Int(number?))?;
        }
        Ok(count > 0)
    }

    fn unpack_set<'a>(&mut self, mut elements: impl Elements<'a>) -> Result<bool, Damage> {
        let mut is_empty = true;
        while let Some(element) = elements.next()? {
            if std::mem::take(&mut is_empty) {
                // A listpack stays one, though its members may be integers.
                self.made = set::empty(Member::Text(b""), 1, &self.limits.set);
            }
            match element {
                Str::Int(number) => self.add_member(Member::Int(number))?,
                Str::Bytes(text) => self.add_member(Member::Text(text))?,
            }
        }
        Ok(!is_empty)
    }

    fn unpack_zset<'a>(&mut self, mut elements: impl Elements<'a>) -> Result<bool, Damage> {
        self.begin(Inline::Zset);
        let mut is_empty = true;
        while let Some(member) = elements.next()? {
            is_empty = false;
            let score = match elements.next()?.ok_or(ODD)? {
                Str::Int(number) => number as f64,
                Str::Bytes(text) => parse_f64(text).ok_or(NO_SCORE)?,
            };
            member.with(|member| self.add_score(member, score))?;
        }
        Ok(!is_empty)
    }

    /// `timed`: when it expires stands behind each value.
    fn unpack_hash<'a>(
        &mut self,
        mut elements: impl Elements<'a>,
        text: &mut Vec<u8>,
        timed: bool,
    ) -> Result<bool, Damage> {
        self.begin(Inline::Hash);
        let mut is_empty = true;
        while let Some(field) = elements.next()? {
            is_empty = false;
            let value = elements.next()?.ok_or(ODD)?;
            let expire_at = match timed {
                true => elements.next()?.ok_or(ODD)?.as_integer().ok_or(FIELD_TIME)?,
                false => 0,
            };
            text.clear();
            field.with(|field| text.extend_from_slice(field));
            value.with(|value| self.add_field(text, value, expire_at))?;
        }
        Ok(!is_empty)
    }
}
