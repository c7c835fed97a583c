//! Large values in the form of an RDB file, part by part. A value is written element by element
//! there, so a part is a few more elements. What is written is what was frozen of the value, which
//! may change between two parts.

use super::write::{self, Use, Writer};
use crate::store::db::snapshot::LargeEntry;
use crate::types::frozen::Piece;

/// Elements of a part.
const ELEMENTS: usize = 256;

/// All that stands before the elements.
pub fn begin(writer: &mut Writer, out: &mut Vec<u8>, entry: &LargeEntry<'_>, used: Use) {
    let head = &entry.head;
    let kind = write::plain_type(head.kind, head.first_field_time.is_some());
    writer.key(out, entry.key, kind, entry.expire_at, used);
    head.first_field_time.into_iter().for_each(|first| write::time(out, first));
    write::length(out, head.len as u64);
}

/// The next elements; false if these were the last.
pub fn part(writer: &mut Writer, out: &mut Vec<u8>, entry: &mut LargeEntry<'_>) -> bool {
    let first_field_time = entry.head.first_field_time;
    entry.value.read_frozen(ELEMENTS, &mut |piece| {
        if let (Piece::Field(_, _, expire_at), Some(first)) = (&piece, first_field_time) {
            write::field_time(out, first, *expire_at);
        }
        write(writer, out, piece);
    })
}

fn write(writer: &mut Writer, out: &mut Vec<u8>, piece: Piece<'_>) {
    match piece {
        Piece::Bytes(bytes) => out.extend_from_slice(bytes),
        Piece::Element(element) => writer.string(out, element),
        Piece::Member(member) => member.with_text(|text| writer.string(out, text)),
        Piece::Scored(member, score) => {
            writer.string(out, member);
            write::score(out, score);
        }
        Piece::Field(field, value, _) => {
            writer.string(out, field);
            writer.string(out, value);
        }
        Piece::Node(base, entries) => writer.stream_node(out, base, entries),
        Piece::State(state, groups) => {
            write::stream_state(out, &state);
            write::length(out, groups as u64);
        }
        Piece::Group(group) => writer.stream_group(out, &group),
        Piece::Pending(id, pending) => write::stream_pending(out, id, &pending),
        Piece::Consumers(count) => write::length(out, count as u64),
        Piece::Consumer(consumer) => writer.stream_consumer(out, &consumer),
        Piece::Owned(id, _) => write::raw_stream_id(out, id),
    }
}
