//! Large values as commands, part by part. Between two parts the value must not change.

use crate::persist::aof::encode::Encoder;
use crate::store::db::snapshot::Position;
use crate::store::record::View;
use crate::types::hash::Hash;
use crate::types::list::{End, List};
use crate::types::set::Set;
use crate::types::stream::{Stream, StreamId};
use crate::types::string::Str;
use crate::types::zset::Zset;
use std::ops::ControlFlow;

/// Elements of a part.
const ELEMENTS: usize = 256;
/// Nodes of a stream in a part; each has up to a hundred entries.
const NODES: usize = 4;
/// Bytes of a string in a part.
const BYTES: usize = 64 << 10;

/// All that stands before the value.
pub fn begin(encoder: &mut Encoder, out: &mut Vec<u8>, entry: View<'_>) {
    let value = entry.value();
    let len = Str::of(value).map_or(0, Str::len);
    encoder.begin(out, entry.key(), value.kind(), len, entry.expire_at());
}

/// The elements from a position on; returns where to go on, or none at the end.
pub fn part(
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
    entry: View<'_>,
    from: Position,
) -> Option<Position> {
    let value = entry.value();
    let next = if let Some(text) = Str::of(value) {
        text.with(|text| {
            let (from, len) = (from as usize, text.len());
            let end = len.min(from + BYTES);
            encoder.text(out, &text[from..end]);
            (end < len).then_some(end as Position)
        })
    } else if let Some(list) = List::of(value) {
        list_part(encoder, out, &list, from as usize)
    } else if let Some(zset) = Zset::of(value) {
        let (from, len) = (from as usize, zset.len());
        let end = len.min(from + ELEMENTS);
        zset.range(from..end).for_each(|(member, score)| encoder.scored(out, member, score));
        (end < len).then_some(end as Position)
    } else if let Some(set) = Set::of(value) {
        scan(from, |cursor, count| {
            set.scan(cursor, |member| {
                *count += 1;
                member.with_text(|text| encoder.member(out, text));
            })
        })
    } else if let Some(hash) = Hash::of(value) {
        scan(from, |cursor, count| {
            hash.scan(cursor, |(field, value)| {
                *count += 1;
                encoder.field(out, field, value, hash.expire_at(field).flatten());
            })
        })
    } else if let Some(stream) = Stream::of(value) {
        stream_part(encoder, out, stream, from)
    } else {
        None
    };
    if next.is_none() {
        encoder.end(out);
    }
    next
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

fn list_part(
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
    list: &List<'_>,
    from: usize,
) -> Option<Position> {
    let end = list.len().min(from + ELEMENTS);
    let mut left = end - from;
    list.visit(from, End::Back, |element| {
        encoder.element(out, element);
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (end < list.len()).then_some(end as Position)
}

/// A position is where the next node begins; no entry has the ID 0-0.
fn stream_part(
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
    stream: &Stream,
    from: Position,
) -> Option<Position> {
    let mut nodes = stream.log.nodes_from(StreamId::new((from >> 64) as u64, from as u64));
    let entries = nodes.by_ref().take(NODES).flat_map(|(_, entries)| entries);
    entries.for_each(|entry| encoder.stream_entry(out, entry));
    if let Some((next, _)) = nodes.next() {
        return Some(Position::from(next.ms) << 64 | Position::from(next.seq));
    }
    encoder.stream_end(out, stream);
    None
}
