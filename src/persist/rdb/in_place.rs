//! Large values in the form of an RDB file, part by part, of which nothing was frozen: between two
//! parts the value must not change.

use super::write::{self, Writer};
use crate::types::hash::Hash;
use crate::types::list::{End, List};
use crate::types::set::Set;
use crate::types::stream::{Stream, StreamId};
use crate::types::string::Str;
use crate::types::zset::Zset;
use crate::types::{Object, Value};
use std::ops::ControlFlow;

/// How far a value is written: 0 is its beginning, what else is the business of its type.
pub type Position = u128;

/// Elements of a part.
const ELEMENTS: usize = 256;
/// Nodes of a stream in a part; each has up to a hundred entries.
const NODES: usize = 4;
/// Bytes of a string in a part.
const BYTES: usize = 64 << 10;

/// The type byte of a value whose parts are written.
pub fn kind(value: Value<'_>) -> u8 {
    write::plain_type(value.kind(), write::first_field_time(value).is_some())
}

/// The elements from a position on; returns where to go on, or none at the end.
pub fn part(
    writer: &mut Writer,
    out: &mut Vec<u8>,
    object: &Object,
    from: Position,
) -> Option<Position> {
    let value = Value::Object(object);
    match object {
        Object::String(_) | Object::FrozenString(_) => Str::of(value)?.with(|text| {
            if from == 0 {
                write::length(out, text.len() as u64);
            }
            let (from, len) = (from as usize, text.len());
            let end = len.min(from + BYTES);
            out.extend_from_slice(&text[from..end]);
            (end < len).then_some(end as Position)
        }),
        Object::List(_) => list(writer, out, &List::of(value)?, from as usize),
        Object::Zset(_) => zset(writer, out, &Zset::of(value)?, from as usize),
        Object::Set(_) => {
            let set = Set::of(value)?;
            if from == 0 {
                write::length(out, set.len() as u64);
            }
            scan(from, |cursor, count| {
                set.scan(cursor, |member| {
                    *count += 1;
                    member.with_text(|text| writer.string(out, text));
                })
            })
        }
        Object::Hash(_) | Object::ExpiringHash(_) => {
            hash(writer, out, &Hash::of(value)?, write::first_field_time(value), from)
        }
        Object::Stream(stream) => self::stream(writer, out, stream, from),
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

fn list(writer: &mut Writer, out: &mut Vec<u8>, list: &List<'_>, from: usize) -> Option<Position> {
    if from == 0 {
        write::length(out, list.len() as u64);
    }
    let end = list.len().min(from + ELEMENTS);
    let mut left = end - from;
    list.visit(from, End::Back, |element| {
        writer.string(out, element);
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (end < list.len()).then_some(end as Position)
}

fn zset(writer: &mut Writer, out: &mut Vec<u8>, zset: &Zset<'_>, from: usize) -> Option<Position> {
    if from == 0 {
        write::length(out, zset.len() as u64);
    }
    let end = zset.len().min(from + ELEMENTS);
    for (member, score) in zset.range(from..end) {
        writer.string(out, member);
        write::score(out, score);
    }
    (end < zset.len()).then_some(end as Position)
}

fn hash(
    writer: &mut Writer,
    out: &mut Vec<u8>,
    hash: &Hash<'_>,
    first: Option<i64>,
    from: Position,
) -> Option<Position> {
    if from == 0 {
        first.into_iter().for_each(|first| write::time(out, first));
        write::length(out, hash.len() as u64);
    }
    scan(from, |cursor, count| {
        hash.scan(cursor, |(field, value)| {
            *count += 1;
            if let Some(first) = first {
                write::field_time(out, first, hash.expire_at(field).flatten());
            }
            writer.string(out, field);
            writer.string(out, value);
        })
    })
}

/// A position is where the next node begins; no entry has the ID 0-0.
fn stream(
    writer: &mut Writer,
    out: &mut Vec<u8>,
    stream: &Stream,
    from: Position,
) -> Option<Position> {
    if from == 0 {
        write::length(out, stream.log.nodes() as u64);
    }
    let mut nodes = stream.log.nodes_from(StreamId::new((from >> 64) as u64, from as u64));
    for (base, entries) in nodes.by_ref().take(NODES) {
        writer.stream_node(out, base, entries);
    }
    if let Some((next, _)) = nodes.next() {
        return Some(Position::from(next.ms) << 64 | Position::from(next.seq));
    }
    writer.stream_end(out, stream);
    None
}
