//! Large values as commands, part by part, of what was frozen of them.

use crate::persist::aof::encode::Encoder;
use crate::store::db::snapshot::LargeEntry;
use crate::types::frozen::Piece;

/// Elements of a part.
const ELEMENTS: usize = 256;

/// All that stands before the value.
pub fn begin(encoder: &mut Encoder, out: &mut Vec<u8>, entry: &LargeEntry<'_>) {
    encoder.begin(out, entry.key, entry.head.kind, entry.head.len, entry.expire_at);
}

/// The next elements; false if these were the last.
pub fn part(encoder: &mut Encoder, out: &mut Vec<u8>, entry: &mut LargeEntry<'_>) -> bool {
    let has_more = entry.value.read_frozen(ELEMENTS, &mut |piece| put(&mut *encoder, out, piece));
    if !has_more {
        encoder.end(out);
    }
    has_more
}

fn put(encoder: &mut Encoder, out: &mut Vec<u8>, piece: Piece<'_>) {
    match piece {
        Piece::Bytes(bytes) => encoder.text(out, bytes),
        Piece::Element(element) => encoder.element(out, element),
        Piece::Member(member) => member.with_text(|text| encoder.member(out, text)),
        Piece::Scored(member, score) => encoder.scored(out, member, score),
        Piece::Field(field, value, expire_at) => encoder.field(out, field, value, expire_at),
        Piece::Node(_, entries) => entries.for_each(|entry| encoder.stream_entry(out, entry)),
        Piece::State(state, _) => encoder.stream_state(out, &state),
        Piece::Group(group) => encoder.group(out, group.name, group.last_id, group.entries_read),
        // They come again with their consumers.
        Piece::Pending(..) | Piece::Consumers(_) => {}
        Piece::Consumer(consumer) => encoder.consumer(out, consumer.name),
        Piece::Owned(id, pending) => encoder.pending(out, id, &pending),
    }
}
