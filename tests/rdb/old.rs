//! Values in the forms of old versions, and in those of versions that are not at hand: their bytes
//! are made by hand, by the formats' descriptions.

use std::collections::{BTreeMap, BTreeSet};

use goredis::types::stream::StreamId;

use super::contents::{
    Contents, GroupContents, Piece, StreamContents, listpack, read_of, string, ziplist,
};
use Piece::{Int, Text};

const VERSION: u16 = 9;

#[track_caller]
fn check(of: u8, body: &[u8], contents: Contents, encoding: &str) {
    let (read, kept_as) = read_of(VERSION, of, body).unwrap();
    assert_eq!(read, contents);
    assert_eq!(kept_as, encoding);
    for end in 0..body.len() {
        assert!(read_of(VERSION, of, &body[..end]).is_err(), "cut at {end}");
    }
}

#[track_caller]
fn check_refused(of: u8, body: &[u8], why: &str) {
    let error = read_of(VERSION, of, body).unwrap_err();
    assert!(error.contains(why), "{error}");
}

fn list(elements: &[&[u8]]) -> Contents {
    Contents::List(elements.iter().map(|element| element.to_vec()).collect())
}

fn hash(pairs: &[(&[u8], &[u8], Option<i64>)]) -> Contents {
    let pair = |(field, value, at): &(&[u8], &[u8], _)| (field.to_vec(), (value.to_vec(), *at));
    Contents::Hash(pairs.iter().map(pair).collect::<BTreeMap<_, _>>())
}

fn set(members: &[&[u8]]) -> Contents {
    Contents::Set(members.iter().map(|member| member.to_vec()).collect::<BTreeSet<_>>())
}

fn zset(elements: &[(&[u8], f64)]) -> Contents {
    Contents::Zset(elements.iter().map(|(member, score)| (member.to_vec(), *score)).collect())
}

#[test]
fn zipmaps() {
    let two = hash(&[(b"foo", b"bar", None), (b"hello", b"world", None)]);
    let bytes = b"\x02\x03foo\x03\x00bar\x05hello\x05\x00world\xff";
    check(9, &string(bytes), two.clone(), "listpack");
    // With two bytes unused behind a value, and the number of fields not told.
    let bytes = b"\xfe\x03foo\x03\x02bar..\x05hello\x05\x00world\xff";
    check(9, &string(bytes), two, "listpack");
    let long = vec![b'x'; 300];
    let bytes = [b"\x01\x01f\xfe\x2c\x01\0\0\0", &long[..], b"\xff"].concat();
    check(9, &string(&bytes), hash(&[(b"f", &long, None)]), "hashtable");
    check_refused(9, &string(b"\x02\x03foo\x03\x00bar\xff"), "another number of fields");
    check_refused(9, &string(b"\x01\x03foo\xff"), "without value");
    check_refused(9, &string(b"\x01\x03foo\x03\x00bar\xff."), "before its last byte");
    check_refused(9, &string(b"\x01\x03foo\x30\x00bar\xff"), "beyond its end");
    check_refused(9, &string(b"\x02\x01a\x01\0b\x01a\x01\0c\xff"), "a field twice");
    check_refused(9, &string(b"\x01\xfe\x01\0\0\0f\x01\0v\xff"), "longer than need be");
    check_refused(9, &string(b"\x00\xff"), "without fields");
}

#[test]
fn ziplists() {
    // The example in the comments of `ziplist.c`.
    let bytes = b"\x0f\0\0\0\x0c\0\0\0\x02\0\x00\xf3\x02\xf6\xff";
    assert_eq!(ziplist(&[Int(2, 0), Int(5, 0)]), bytes);
    check(10, &string(bytes), list(&[b"2", b"5"]), "listpack");
    let (long, longer, longest) = (vec![b'l'; 100], vec![b'm'; 20_000], vec![b'n'; 252]);
    let pieces = [
        Int(0, 0),
        Int(12, 0),
        Int(-128, 1),
        Int(13, 1),
        Int(-32_768, 2),
        Int(8_388_607, 3),
        Int(-8_388_608, 3),
        Int(-2_147_483_648, 4),
        Int(i64::MIN, 8),
        Int(i64::MAX, 8),
        Text(b""),
        Text(b"text"),
        Text(&long),
        Text(&longer),
        Text(&longest),
        Text(b"behind"),
    ];
    let texts: Vec<Vec<u8>> = pieces
        .iter()
        .map(|piece| match piece {
            Text(text) => text.to_vec(),
            Int(number, _) => number.to_string().into_bytes(),
        })
        .collect();
    let (read, encoding) = read_of(VERSION, 10, &string(&ziplist(&pieces))).unwrap();
    assert_eq!((read, encoding), (Contents::List(texts), "quicklist"));
}

#[test]
fn damaged_ziplists() {
    let good = ziplist(&[Text(b"a"), Text(b"b")]);
    assert!(read_of(VERSION, 10, &string(&good)).is_ok());
    let spoiled = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        string(&bytes)
    };
    check_refused(10, &spoiled(0, 0), "another size");
    check_refused(10, &spoiled(4, 10), "last element is elsewhere");
    check_refused(10, &spoiled(8, 3), "another number of elements");
    check_refused(10, &spoiled(13, 2), "a wrong length before it");
    check_refused(10, &spoiled(14, 0x3F), "beyond its end");
    check_refused(10, &spoiled(14, 0xFF), "unknown encoding");
    check_refused(10, &spoiled(13, 0xFF), "before its last byte");
    check_refused(10, &string(&ziplist(&[])), "without elements");
}

#[test]
fn hashes_and_sorted_sets_in_ziplists() {
    let pairs = ziplist(&[Text(b"f"), Text(b"v"), Int(5, 0), Text(b"")]);
    check(13, &string(&pairs), hash(&[(b"f", b"v", None), (b"5", b"", None)]), "listpack");
    let scored = ziplist(&[
        Text(b"low"),
        Text(b"-inf"),
        Text(b"a"),
        Int(1, 0),
        Int(7, 0),
        Text(b"1.5"),
        Text(b"z"),
        Text(b"inf"),
    ]);
    let elements: [(&[u8], f64); 4] =
        [(b"low", f64::NEG_INFINITY), (b"a", 1.0), (b"7", 1.5), (b"z", f64::INFINITY)];
    check(12, &string(&scored), zset(&elements), "listpack");
    for of in [12, 13] {
        let odd = ziplist(&[Text(b"a"), Text(b"1"), Text(b"b")]);
        check_refused(of, &string(&odd), "lacks its other half");
        // The same text, differently.
        let twice = ziplist(&[Int(5, 0), Text(b"1"), Text(b"5"), Text(b"2")]);
        check_refused(of, &string(&twice), "twice");
        check_refused(of, &string(&ziplist(&[])), "without elements");
    }
    for score in [&b"nan"[..], b"", b"x", b"1x"] {
        check_refused(12, &string(&ziplist(&[Text(b"a"), Text(score)])), "no number");
    }
}

#[test]
fn intsets() {
    let intset = |width: u32, count: u32, numbers: &[u8]| {
        string(&[&width.to_le_bytes(), &count.to_le_bytes(), numbers].concat())
    };
    let two = intset(2, 2, &[0xFE, 0xFF, 3, 0]);
    check(11, &two, set(&[b"-2", b"3"]), "intset");
    let wide = [i64::MIN.to_le_bytes(), 7i64.to_le_bytes()].concat();
    check(11, &intset(8, 2, &wide), set(&[b"-9223372036854775808", b"7"]), "intset");
    let many: Vec<u8> = (0..1000u32).flat_map(u32::to_le_bytes).collect();
    let (read, encoding) = read_of(VERSION, 11, &intset(4, 1000, &many)).unwrap();
    assert!(matches!(read, Contents::Set(members) if members.len() == 1000));
    assert_eq!(encoding, "hashtable");
    check_refused(11, &intset(2, 2, &[3, 0, 3, 0]), "ascending");
    check_refused(11, &intset(2, 2, &[3, 0, 2, 0]), "ascending");
    check_refused(11, &intset(3, 1, &[3, 0, 2]), "unknown size");
    check_refused(11, &intset(2, u32::MAX, &[3, 0]), "another size");
    check_refused(11, &intset(2, 0, &[]), "without elements");
}

#[test]
fn lists_of_nodes() {
    let node = |pieces: &[Piece<'_>]| string(&ziplist(pieces));
    let first = node(&[Text(b"a"), Int(1, 0)]);
    let body = [&[3], &first[..], &node(&[]), &node(&[Text(b"b")])].concat();
    check(14, &body, list(&[b"a", b"1", b"b"]), "quicklist");
    check(14, &[&[1], &first[..]].concat(), list(&[b"a", b"1"]), "listpack");
    check_refused(14, &[&[1], &node(&[])[..]].concat(), "without elements");
    check_refused(14, b"\0", "without elements");
    let packed = string(&listpack(&[Text(b"a"), Int(1, 0)]));
    let body = [&[2, 2], &packed[..], &[1], &string(b"plain")].concat();
    check(18, &body, list(&[b"a", b"1", b"plain"]), "quicklist");
    check_refused(18, &[&[1, 3], &packed[..]].concat(), "unknown form");
    check_refused(18, &[&[1, 1], &string(b"")[..]].concat(), "without bytes");
}

#[test]
fn plain_collections() {
    let body = [&[3][..], &string(b"a"), b"\xc0\xfe", b"\xc1\x00\x10"].concat();
    check(1, &body, list(&[b"a", b"-2", b"4096"]), "listpack");
    check(2, &body, set(&[b"a", b"-2", b"4096"]), "listpack");
    check(2, b"\x02\xc0\xfe\xc2\0\0\x01\0", set(&[b"-2", b"65536"]), "intset");
    check_refused(2, b"\x02\xc0\x05\x015", "a member twice");
    let scores = [
        &[4][..],
        &string(b"a"),
        b"\x041e10",
        &string(b"b"),
        b"\xfe",
        &string(b"c"),
        b"\xff",
        &string(b"d"),
        b"\x13-0.5000000000000000",
    ];
    let order: [(&[u8], f64); 4] =
        [(b"c", f64::NEG_INFINITY), (b"d", -0.5), (b"a", 1e10), (b"b", f64::INFINITY)];
    check(3, &scores.concat(), zset(&order), "listpack");
    check_refused(3, b"\x01\x01a\xfd", "no number");
    check_refused(3, b"\x01\x01a\x03abc", "no number");
    let nan = [b"\x01\x01a", &f64::NAN.to_le_bytes()[..]].concat();
    check_refused(5, &nan, "no number");
    check_refused(4, b"\x02\x01a\x01b\x01a\x01c", "a field twice");
    for of in [1, 2, 3, 4, 5] {
        check_refused(of, b"\0", "without elements");
        // A count that nothing stands behind.
        check_refused(of, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a\x01", "unexpected end");
    }
}

#[test]
fn fields_that_expire() {
    const AT: i64 = 2_000_000_000_000;
    let contents = hash(&[(b"a", b"1", Some(AT)), (b"b", b"2", None), (b"c", b"3", Some(AT + 9))]);
    let len = |number: i64| [&[0x81], &number.to_be_bytes()[..]].concat();
    let fields: [&[u8]; 3] = [b"\x01a\x01\x31", b"\x01b\x01\x32", b"\x01c\x01\x33"];
    // In version 12 of Redis's, two of its release candidates' forms and two that stayed.
    let early = [&[3], &len(AT)[..], fields[0], b"\0", fields[1], &len(AT + 9), fields[2]].concat();
    check(22, &early, contents.clone(), "listpackex");
    let pieces = [
        Text(b"a"),
        Int(1, 0),
        Int(AT, 8),
        Text(b"c"),
        Int(3, 0),
        Int(AT + 9, 8),
        Text(b"b"),
        Int(2, 0),
        Int(0, 0),
    ];
    let packed = string(&listpack(&pieces));
    check(23, &packed, contents.clone(), "listpackex");
    let late = [&AT.to_le_bytes(), &[3, 1][..], fields[0], b"\0", fields[1], b"\x0a", fields[2]];
    check(24, &late.concat(), contents.clone(), "listpackex");
    check(25, &[&AT.to_le_bytes(), &packed[..]].concat(), contents.clone(), "listpackex");
    // In Valkey's, the first of these numbers means something else.
    let times = [AT, -1, AT + 9].map(i64::to_le_bytes);
    let valkey = [&[3], fields[0], &times[0][..], fields[1], &times[1], fields[2], &times[2]];
    let (read, encoding) = read_of(80, 22, &valkey.concat()).unwrap();
    assert_eq!((read, encoding), (contents, "listpackex"));
    assert!(read_of(80, 24, &late.concat()).is_err());
    // Times that cannot be.
    check_refused(22, &[b"\x01", &len(-1)[..], fields[0]].concat(), "impossible time");
    check_refused(22, &[b"\x01", &len(1 << 46)[..], fields[0]].concat(), "impossible time");
    let far = [&i64::MAX.to_le_bytes()[..], b"\x01\x01", fields[0]];
    check_refused(24, &far.concat(), "impossible time");
    let sum = [&AT.to_le_bytes()[..], b"\x01", &len(i64::MAX), fields[0]];
    check_refused(24, &sum.concat(), "impossible time");
    check_refused(23, &string(&listpack(&pieces[..8])), "lacks its other half");
}

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId::new(ms, seq)
}

fn raw_id(id: StreamId) -> Vec<u8> {
    [id.ms.to_be_bytes(), id.seq.to_be_bytes()].concat()
}

/// A node from 10-5 on: 10-5 a=1 b=x; 10-7, deleted; 12-0 c=3.
fn stream_node() -> Vec<u8> {
    let pieces = [
        // Two entries and a deleted one; two fields.
        Int(2, 0),
        Int(1, 0),
        Int(2, 0),
        Text(b"a"),
        Text(b"b"),
        Int(0, 0),
        // The same fields.
        Int(2, 0),
        Int(0, 0),
        Int(0, 0),
        Int(1, 0),
        Text(b"x"),
        Int(5, 0),
        // The same fields, deleted.
        Int(3, 0),
        Int(0, 0),
        Int(2, 0),
        Int(9, 0),
        Text(b"y"),
        Int(5, 0),
        // One of its own; the number of the ID is smaller than the node's.
        Int(0, 0),
        Int(2, 0),
        Int(-5, 8),
        Int(1, 0),
        Text(b"c"),
        Int(3, 0),
        Int(6, 0),
    ];
    [string(&raw_id(id(10, 5))), string(&listpack(&pieces))].concat()
}

fn stream_contents() -> StreamContents {
    let pair = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
    StreamContents {
        nodes: 1,
        entries: vec![
            (id(10, 5), vec![pair(b"a", b"1"), pair(b"b", b"x")]),
            (id(12, 0), vec![pair(b"c", b"3")]),
        ],
        last_id: id(20, 1),
        ..StreamContents::default()
    }
}

#[test]
fn streams_of_all_versions() {
    let time = |ms: i64| ms.to_le_bytes();
    let raw = raw_id(id(10, 5));
    // Length, last ID; then first ID, greatest ID deleted and entries added.
    let short = [&[1], &stream_node()[..], b"\x02\x14\x01"].concat();
    let long = [&short[..], b"\x0a\x05\x0a\x07\x11"].concat();
    // The group's name, its last ID, and what it has read; the pending entry; the consumers.
    let group = |read: &[u8], active: &[u8]| {
        let pending = [&b"\x01"[..], &raw, &time(1111), b"\x03"].concat();
        let consumer = [b"\x05alice", &time(2222)[..], active, b"\x01", &raw].concat();
        [b"\x01\x05group\x0a\x05", read, &pending, b"\x01", &consumer].concat()
    };
    let contents = |read, active, long: bool| {
        let pending = vec![(id(10, 5), b"alice".to_vec(), 1111, 3)];
        let consumers = vec![(b"alice".to_vec(), 2222, active)];
        let (name, last_id) = (b"group".to_vec(), id(10, 5));
        Contents::Stream(StreamContents {
            max_deleted_id: if long { id(10, 7) } else { StreamId::MIN },
            entries_added: if long { 17 } else { 2 },
            groups: vec![GroupContents { name, last_id, entries_read: read, pending, consumers }],
            ..stream_contents()
        })
    };
    let unknown = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff";
    let first = [&short[..], &group(b"", b"")].concat();
    check(15, &first, contents(Some(1), Some(2222), false), "stream");
    let second = [&long[..], &group(b"\x10", b"")].concat();
    check(19, &second, contents(Some(16), Some(2222), true), "stream");
    let third = [&long[..], &group(unknown, &time(3333))].concat();
    check(21, &third, contents(None, Some(3333), true), "stream");
    let third = [&long[..], &group(b"\x10", &time(-1))].concat();
    check(21, &third, contents(Some(16), None, true), "stream");
}

#[test]
fn damaged_streams() {
    let raw = raw_id(id(10, 5));
    let node = |pieces: &[Piece<'_>]| {
        let node = [string(&raw), string(&listpack(pieces))].concat();
        [b"\x01", &node[..], b"\x01\x14\x01\0"].concat()
    };
    let entry = [Int(2, 0), Int(0, 0), Int(0, 0), Int(7, 0), Int(4, 0)];
    let head = [Int(1, 0), Int(0, 0), Int(1, 0), Text(b"a"), Int(0, 0)];
    let with = |head: &[Piece<'static>], entries: &[&[Piece<'static>]]| {
        node(&[head, &entries.concat()].concat())
    };
    assert!(read_of(VERSION, 15, &with(&head, &[&entry])).is_ok());
    check_refused(15, &with(&head, &[]), "another number of entries");
    check_refused(15, &with(&head, &[&entry, &entry]), "ascending order");
    let mut marked = entry;
    marked[0] = Int(6, 0);
    check_refused(15, &with(&head, &[&marked]), "unknown flags");
    marked[0] = Int(3, 0);
    check_refused(15, &with(&head, &[&marked]), "another number of entries");
    let mut long = entry;
    long[4] = Int(5, 0);
    check_refused(15, &with(&head, &[&long]), "another length");
    let mut odd = head;
    odd[4] = Int(1, 0);
    check_refused(15, &with(&odd, &[&entry]), "not followed by 0");
    odd[2] = Int(0, 0);
    check_refused(15, &with(&odd, &[&entry]), "without fields");
    odd[2] = Int(i64::MAX, 8);
    check_refused(15, &with(&odd, &[&entry]), "too few elements");
    check_refused(15, &with(&[Text(b"x")], &[]), "a text where a number must be");
    let good = with(&head, &[&entry]);
    let state = good.len() - 4;
    let tail = |tail: &[u8]| [&good[..state], tail].concat();
    check_refused(15, &tail(b"\x02\x14\x01\0"), "another number of entries");
    check_refused(15, &tail(b"\x01\x0a\x04\0"), "last ID");
    check_refused(19, &tail(b"\x01\x14\x01\0\0\0\0\0\0"), "fewer entries were added");
    let twice = tail(b"\x01\x14\x01\x02\x01g\0\0\0\0\x01g\0\0\0\0");
    check_refused(15, &twice, "a group twice");
    let pending = [&raw[..], &[0; 8], &[1]].concat();
    let group = b"\x01\x14\x01\x01\x01g\0\0";
    let with_group = |rest: &[&[u8]]| tail(&[&group[..], &rest.concat()].concat());
    check_refused(15, &with_group(&[b"\x02", &pending, &pending]), "a pending entry twice");
    check_refused(15, &with_group(&[b"\x01", &pending, b"\0"]), "that no consumer has");
    let consumer = [&b"\x01c"[..], &[0; 8]].concat();
    let owned = with_group(&[b"\0", b"\x01", &consumer, b"\x01", &raw]);
    check_refused(15, &owned, "that its group does not have");
    let same = with_group(&[b"\0", b"\x02", &consumer, b"\0", &consumer, b"\0"]);
    check_refused(15, &same, "Duplicate stream consumer");
    let shared = with_group(&[
        b"\x01", &pending, b"\x02", &consumer, b"\x01", &raw, b"\x01d", &[0; 8], b"\x01", &raw,
    ]);
    check_refused(15, &shared, "already has a consumer");
    check_refused(15, b"\x01\x04text", "16 bytes");
}
