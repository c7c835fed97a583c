//! Values of all types, sizes and encodings, written and read back; and whole files.

use std::collections::BTreeMap;

use goredis::base::crc64::crc64;
use goredis::base::rng::Rng;
use goredis::persist::rdb::payload::{self, restore};
use goredis::persist::rdb::save::{self, save};
use goredis::persist::rdb::write::{self, Use, Writer};
use goredis::persist::rdb::{AheadLoader, Item, Limits, Loader, Options, Problem, Reader};
use goredis::store::access::Lfu;
use goredis::store::digest::Digest;
use goredis::store::{Keyspace, NewValue};
use goredis::types::list::End;
use goredis::types::set::Member;
use goredis::types::stream::{self, Group, Pending, Stream, StreamId};
use goredis::types::{Inline, Loose, Object, Slot, hash, list, set, zset};

use super::contents::{Contents, LIMITS, NOW_MS, string, with_record};

/// Bytes as they may be: a number's, alike, or not.
fn bytes(rng: &mut Rng, longest: usize) -> Vec<u8> {
    let len = match rng.index(8) {
        0 => rng.index(longest + 1),
        _ => rng.index(longest.min(30) + 1),
    };
    match rng.index(4) {
        0 => ((rng.below(u64::MAX) as i64) >> rng.index(64)).to_string().into_bytes(),
        1 => vec![b'a' + rng.index(26) as u8; len],
        2 => format!("{}:{}", "name".repeat(len / 8), rng.index(1000)).into_bytes(),
        _ => (0..len).map(|_| rng.below(256) as u8).collect(),
    }
}

fn score(rng: &mut Rng) -> f64 {
    match rng.index(6) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => rng.index(1000) as f64,
        3 => -(rng.index(1_000_000) as f64) / 7.0,
        4 => 1e300 / (1 + rng.index(1000)) as f64,
        _ => (rng.below(u64::MAX) as i64) as f64,
    }
}

/// A value, and sometimes one that has been larger.
pub fn value(rng: &mut Rng, limits: &Limits) -> Loose {
    let count = 1 + match rng.index(8) {
        0 => rng.index(700),
        1..4 => rng.index(150),
        _ => rng.index(12),
    };
    let longest = [20, 60, 80, 5000][rng.index(4)];
    match rng.index(7) {
        0 => {
            let mut slot = Loose::Inline(Inline::Str, Vec::new());
            let text = bytes(rng, 100_000);
            goredis::types::string::append(&mut slot, &text);
            slot
        }
        1 => {
            let mut slot = list::empty();
            for _ in 0..count {
                let end = if rng.index(3) == 0 { End::Front } else { End::Back };
                let element = bytes(rng, longest);
                list::push(&mut slot, end, std::iter::once(&element[..]), &limits.list);
            }
            list::remove(&mut slot, 0, rng.index(count), &limits.list);
            slot
        }
        2 => {
            let mut slot = Loose::Inline(Inline::IntSet, Vec::new());
            let bits = 1 + rng.index(63);
            for _ in 0..count {
                let number = (rng.below(u64::MAX) as i64) >> bits;
                set::insert(&mut slot, Member::Int(number), &limits.set);
            }
            slot
        }
        3 => {
            let mut slot = Loose::Inline(Inline::Set, Vec::new());
            for _ in 0..count {
                let member = bytes(rng, longest);
                set::insert(&mut slot, Member::Text(&member), &limits.set);
            }
            slot
        }
        4 => {
            let mut slot = Loose::Inline(Inline::Zset, Vec::new());
            for _ in 0..count {
                let member = bytes(rng, longest);
                zset::insert(&mut slot, &member, score(rng), &limits.zset);
            }
            slot
        }
        5 => {
            let mut slot = Loose::Inline(Inline::Hash, Vec::new());
            let times = rng.index(3) == 0;
            for _ in 0..count {
                let (field, value) = (bytes(rng, longest), bytes(rng, longest));
                hash::insert(&mut slot, &field, &value, &limits.hash);
                if times && rng.index(2) == 0 {
                    let at = NOW_MS + rng.below(1 << 40) as i64;
                    hash::set_expire_at(&mut slot, &field, Some(at));
                }
            }
            slot
        }
        _ => Loose::Object(Object::Stream(Box::new(stream(rng, count)))),
    }
}

fn stream(rng: &mut Rng, count: usize) -> Stream {
    let limits = stream::Limits { bytes: 4096, entries: 1 + rng.index(100) as u64 };
    let mut stream = Stream::default();
    let mut ids = Vec::new();
    let mut id = StreamId::new(rng.below(u64::MAX / 2), rng.below(u64::MAX));
    for _ in 0..count {
        let fields = if rng.index(3) == 0 { 1 + rng.index(4) } else { 2 };
        let pair = |nth| (format!("field{nth}").into_bytes(), bytes(rng, 500));
        let pairs: Vec<_> = (0..fields).map(pair).collect();
        let pairs = pairs.iter().map(|(name, value)| (&name[..], &value[..]));
        let size = stream::payload(pairs.clone()).unwrap();
        stream.log.append(id, pairs, size, &limits);
        ids.push(id);
        id = match rng.index(4) {
            0 => StreamId::new(id.ms + 1 + rng.below(1 << 20), rng.below(u64::MAX)),
            _ => id.next().unwrap(),
        };
    }
    for _ in 0..rng.index(count) {
        stream.log.delete(ids[rng.index(ids.len())]);
    }
    for nth in 0..rng.index(4) {
        let read = (rng.index(2) == 0).then(|| rng.index(count) as i64);
        let mut group = Group::new(ids[rng.index(ids.len())], read);
        for nth in 0..rng.index(4) {
            let name = format!("consumer{nth}");
            let consumer = group.create_consumer(name.as_bytes(), NOW_MS - nth as i64);
            // What files of Redis 7.0 do not tell is taken for the same.
            group.consumer_mut(consumer).active_ms = Some(NOW_MS - nth as i64);
            for _ in 0..rng.index(20) {
                let delivered_ms = NOW_MS + rng.index(1000) as i64;
                let deliveries = 1 + rng.index(200) as i64;
                let pending = Pending { consumer, delivered_ms, deliveries };
                group.assign(ids[rng.index(ids.len())], pending);
            }
        }
        stream.groups.insert(format!("group{nth}").into_bytes().into(), group);
    }
    stream
}

pub fn new_value(value: &Loose) -> NewValue<'_> {
    match value {
        Loose::Inline(kind, bytes) => NewValue::Inline(*kind, bytes),
        Loose::Object(object) => NewValue::Object(Box::new(object.clone())),
    }
}

#[test]
fn payloads_of_all_values_come_back() {
    let mut rng = Rng::from_seed(17);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let wide = Limits {
        hash: hash::Limits { entries: 3, value: 8 },
        zset: zset::Limits { entries: 3, value: 8 },
        set: set::Limits { ints: 600, entries: 600, value: 5000 },
        list: list::Limits { size: 5, depth: 1 },
        ..LIMITS
    };
    for nth in 0..300 {
        let limits = if nth % 3 == 0 { wide } else { LIMITS };
        let value = value(&mut rng, &limits);
        let contents = Contents::of(value.value());
        let mut writer = Writer::new(nth % 4 > 0);
        let dumped = payload::dump(&mut writer, value.value());
        let kept_as = with_record(new_value(&value), |view| view.value().encoding(false));
        let read = restore(&dumped, limits, true, |value| {
            with_record(value, |view| (Contents::of(view.value()), view.value().encoding(false)))
        });
        let (read, read_as) = read.unwrap();
        assert!(read == contents, "value {nth}");
        // Appending makes no integer; a set of integers alone may become an intset, and a list that
        // has become short a listpack.
        let may_differ = [
            ("embstr", "int"),
            ("hashtable", "intset"),
            ("listpack", "intset"),
            ("quicklist", "listpack"),
        ];
        let same = kept_as == read_as || may_differ.contains(&(kept_as, read_as));
        assert!(same, "value {nth}: {kept_as} and {read_as}");
        *seen.entry(format!("{:?} {read_as}", value.value().kind())).or_default() += 1;
    }
    for name in [
        "String int",
        "String raw",
        "List listpack",
        "List quicklist",
        "Set intset",
        "Set listpack",
        "Set hashtable",
        "Zset listpack",
        "Zset skiplist",
        "Hash listpack",
        "Hash hashtable",
        "Hash listpackex",
        "Stream stream",
    ] {
        assert!(seen.get(name).is_some_and(|count| *count > 0), "{name}: {seen:?}");
    }
}

/// All that is in a large value may also be written in pieces.
#[test]
fn values_written_in_pieces_are_values() {
    let mut rng = Rng::from_seed(18);
    for _ in 0..150 {
        let value = value(&mut rng, &LIMITS);
        let (mut writer, mut body) = (Writer::new(true), Vec::new());
        let first = write::first_field_time(value.value());
        let of = write::plain_type(value.value().kind(), first.is_some());
        match Contents::of(value.value()) {
            Contents::List(elements) => {
                write::length(&mut body, elements.len() as u64);
                elements.iter().for_each(|element| writer.string(&mut body, element));
            }
            Contents::Set(members) => {
                write::length(&mut body, members.len() as u64);
                members.iter().for_each(|member| writer.string(&mut body, member));
            }
            Contents::Zset(elements) => {
                write::length(&mut body, elements.len() as u64);
                for (member, score) in elements {
                    writer.string(&mut body, &member);
                    write::score(&mut body, score);
                }
            }
            Contents::Hash(fields) => {
                first.into_iter().for_each(|first| write::time(&mut body, first));
                write::length(&mut body, fields.len() as u64);
                for (field, (value, at)) in fields {
                    first.into_iter().for_each(|first| write::field_time(&mut body, first, at));
                    writer.string(&mut body, &field);
                    writer.string(&mut body, &value);
                }
            }
            _ => continue,
        }
        let payload = super::contents::payload(12, of, &body);
        let read = restore(&payload, LIMITS, false, |value| {
            with_record(value, |view| Contents::of(view.value()))
        });
        assert!(read.unwrap() == Contents::of(value.value()));
    }
}

pub fn fill(seed: u64, count: u64) -> Keyspace {
    let mut rng = Rng::from_seed(seed);
    let mut keys = Keyspace::new(4, 1, NOW_MS);
    keys.set_now(NOW_MS);
    for nth in 0..count {
        keys.select([0, 0, 1, 3][rng.index(4)]);
        let key = [&bytes(&mut rng, 300)[..], format!("/{nth}").as_bytes()].concat();
        let value = value(&mut rng, &LIMITS);
        let expire_at = match rng.index(4) {
            0 => Some(NOW_MS + 1 + rng.below(1 << 42) as i64),
            1 => Some(rng.index(2) as i64),
            _ => None,
        };
        keys.insert(&key, new_value(&value), expire_at);
    }
    keys.select(2);
    keys
}

fn options(leaves_out_expired: Option<i64>) -> Options {
    Options { limits: LIMITS, checks_sum: true, leaves_out_expired, ..Options::default() }
}

fn load(bytes: &[u8], options: Options) -> (Keyspace, goredis::persist::rdb::Loaded) {
    let mut keys = Keyspace::new(4, 2, NOW_MS);
    keys.set_now(NOW_MS);
    keys.expiry_enabled = false;
    let mut loader = Loader::new(bytes, options).unwrap();
    while loader.step(&mut keys, 5000).unwrap() {}
    let (loaded, rest, _) = loader.finish();
    assert!(rest.is_empty());
    (keys, loaded)
}

fn file(keys: &Keyspace, used: impl Fn(u32) -> Use) -> Vec<u8> {
    let mut bytes = Vec::new();
    let aux = vec![("aof-base", b"1".to_vec()), ("repl-id", b"abc".to_vec())];
    let options = save::Options { compresses: true, has_checksum: true, aux };
    save(keys, &mut bytes, &options, used).unwrap();
    bytes
}

#[test]
fn whole_files_come_back() {
    for seed in 0..3 {
        let keys = fill(seed, 300);
        let bytes = file(&keys, |_| Use::Unknown);
        let (copy, loaded) = load(&bytes, options(None));
        assert_eq!(Digest::of_all(&copy), Digest::of_all(&keys));
        assert_eq!((loaded.keys, loaded.expired), (300, 0));
        assert!(loaded.is_aof_base && loaded.replication.id.as_deref() == Some("abc"));
        assert_eq!(copy.current(), 0);
        for db in 0..4 {
            assert_eq!(copy.records(db).len(), keys.records(db).len());
            for view in keys.records(db).iter() {
                let records = copy.records(db);
                let (_, other) = records.find(records.hash(view.key()), view.key()).unwrap();
                assert_eq!(other.expire_at(), view.expire_at());
            }
        }
        let (copy, loaded) = load(&bytes, options(Some(NOW_MS)));
        assert!(loaded.expired > 20 && loaded.keys + loaded.expired == 300);
        let is_live = |keys: &Keyspace, db| {
            keys.records(db).iter().all(|view| view.expire_at().is_none_or(|at| at > NOW_MS))
        };
        assert!((0..4).all(|db| is_live(&copy, db)));
    }
}

#[test]
fn what_is_known_of_a_key_s_use_comes_back() {
    let mut keys = fill(7, 10);
    keys.select(0);
    keys.insert(b"k", NewValue::Inline(Inline::Str, b"v"), None).set_access(0);
    let bytes = file(&keys, |_| Use::Idle(1234));
    let (copy, _) = load(&bytes, options(None));
    let access = copy.view(b"k").unwrap().access();
    assert_eq!(copy.access.idle_s(access), 1234);
    let bytes = file(&keys, |_| Use::Frequency(77));
    let mut copy = Keyspace::new(4, 2, NOW_MS);
    copy.set_now(NOW_MS);
    copy.access.set_lfu(Some(Lfu { log_factor: 10, decay_minutes: 1 }));
    let mut loader = Loader::new(&bytes[..], options(None)).unwrap();
    while loader.step(&mut copy, 1 << 20).unwrap() {}
    let access = copy.view(b"k").unwrap().access();
    assert_eq!(copy.access.frequency(access), 77);
}

#[test]
fn a_file_that_is_cut_or_changed_is_refused() {
    let bytes = file(&fill(1, 25), |_| Use::Unknown);
    let read = |bytes: &[u8]| {
        let mut keys = Keyspace::new(4, 2, NOW_MS);
        keys.expiry_enabled = false;
        let mut loader = Loader::new(bytes, options(None))?;
        while loader.step(&mut keys, 1 << 16)? {}
        Ok::<_, goredis::persist::rdb::Error>(())
    };
    assert_eq!(read(&bytes), Ok(()));
    for end in (0..bytes.len()).step_by(1 + bytes.len() / 300) {
        let error = read(&bytes[..end]).unwrap_err();
        assert_eq!((&error.problem, error.offset), (&Problem::Short, end as u64), "{error}");
    }
    for at in (9..bytes.len()).step_by(1 + bytes.len() / 300) {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 0x10;
        assert!(read(&spoiled).is_err(), "byte {at}");
    }
    // No checksum; a wrong one that nobody asks for.
    let mut unsummed = bytes.clone();
    let end = bytes.len() - 8;
    unsummed[end..].fill(0);
    assert_eq!(read(&unsummed), Ok(()));
    unsummed[end] = 1;
    assert!(read(&unsummed).unwrap_err().to_string().contains("RDB CRC error"));
    let mut reader = Reader::new(&unsummed[..], LIMITS, false).unwrap();
    while !matches!(reader.next().unwrap(), Item::End) {}
}

/// A file of parts, with its checksum.
fn file_of(magic: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [magic.as_bytes(), &parts.concat(), b"\xff"].concat();
    let sum = crc64(0, &bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

fn try_load(bytes: &[u8]) -> Result<(Keyspace, goredis::persist::rdb::Loaded), String> {
    let mut keys = Keyspace::new(4, 2, NOW_MS);
    keys.set_now(NOW_MS);
    let mut loader = Loader::new(bytes, options(None)).map_err(|e| e.to_string())?;
    while loader.step(&mut keys, 10).map_err(|e| e.to_string())? {}
    let (loaded, rest, _) = loader.finish();
    assert_eq!(rest, b"");
    Ok((keys, loaded))
}

#[test]
fn parts_of_files_that_are_not_ours() {
    let key = b"\x00\x01k\x01v";
    for magic in ["REDIS0001", "REDIS0004", "REDIS0005", "REDIS0012", "REDIS0013", "VALKEY080"] {
        let mut bytes = file_of(magic, &[key]);
        if magic < "REDIS0005" {
            // There were no checksums.
            bytes.truncate(bytes.len() - 8);
        }
        assert_eq!(try_load(&bytes).map(|(_, loaded)| loaded.keys), Ok(1), "{magic}");
    }
    for magic in ["REDIS0000", "REDIS0014", "REDIS00a1", "VALKEY011", "VALKEY079"] {
        let error = try_load(&file_of(magic, &[key])).err().unwrap();
        assert!(error.contains("can't handle RDB format version"), "{magic}: {error}");
    }
    assert!(try_load(&file_of("RADIS0009", &[])).err().unwrap().contains("wrong signature"));
    // An old expiry in seconds; an unknown field; what modules and clusters leave.
    let seconds = [b"\xfd", &2_000_000_000i32.to_le_bytes()[..], b"\x00\x01s\x01v"].concat();
    let id = [0x81, 0x0F, 0xBB, 0x6D, 0x6D, 0x6D, 0x6D, 0x6D, 0x01];
    let aux = [b"\xf7", &id[..], b"\x02\x02\x05\x03abc\x04\0\0\0\0\0\0\0\0\x03\0\0\0\0\0"].concat();
    let library = [b"\xf5", &string(b"#!lua name=lib\nreturn 1")[..]].concat();
    let skipped = [&b"\xfa\x01a\x01b"[..], b"\xfb\x05\x05", &aux, &library, b"\xf4\x01\x02\x03"];
    let parts = [&skipped.concat()[..], b"\xf9\x05", key, b"\xf8\x07", &seconds];
    let (mut keys, loaded) = try_load(&file_of("REDIS0012", &parts)).unwrap();
    assert_eq!((loaded.keys, loaded.functions), (2, 1));
    assert_eq!(keys.peek(b"s").unwrap().expire_at(), Some(2_000_000_000_000));
    assert_eq!(keys.peek(b"k").unwrap().expire_at(), None);
    // One number, two meanings.
    let meta = [b"\xf3\x01\0\0\0\0\x02\x07\0", &key[..]].concat();
    assert_eq!(try_load(&file_of("REDIS0013", &[&meta])).unwrap().1.keys, 1);
    let import = [b"\xf3\x03job\x01\x05\x06", &key[..]].concat();
    assert_eq!(try_load(&file_of("VALKEY080", &[&import])).unwrap().1.keys, 1);
    // An empty key is left out.
    let empty = b"\x04\x01e\x00";
    assert_eq!(try_load(&file_of("REDIS0009", &[empty, key])).unwrap().1.empty, 1);
}

#[test]
fn what_cannot_be_taken_in_is_refused() {
    let key = b"\x00\x01k\x01v";
    let refused = |parts: &[&[u8]], why: &str| {
        let error = try_load(&file_of("REDIS0010", parts)).err().unwrap();
        assert!(error.contains(why), "{error}");
        assert!(error.contains("at offset"), "{error}");
    };
    refused(&[key, key], "comes twice");
    refused(&[b"\xfe\x04", key], "'databases' is 4");
    let id = [0x81, 0x0F, 0xBB, 0x6D, 0x6D, 0x6D, 0x6D, 0x6D, 0x01];
    refused(&[b"\x07\x01m", &id[..], b"\0"], "module type");
    refused(&[b"\x06\x01m"], "module");
    refused(&[b"\xf6\x01m"], "functions");
    refused(&[b"\xf0"], "unknown type or opcode, 240");
    refused(&[b"\x08\x01k"], "unknown type 8");
    refused(&[b"\x00\xc5"], "a string in an unknown form");
    refused(&[b"\x00\x83"], "a length in an unknown form");
    refused(&[b"\x01\x01k\xc0\x01"], "where a length must be");
    refused(&[b"\x00\x01k\xc3\x02\x50\x00aa"], "cannot be decompressed");
}

#[test]
fn what_follows_a_file_is_handed_back() {
    let commands = b"*1\r\n$4\r\nPING\r\n".repeat(20_000);
    let bytes = [&file(&fill(3, 100), |_| Use::Unknown)[..], &commands].concat();
    let mut keys = Keyspace::new(4, 2, NOW_MS);
    keys.expiry_enabled = false;
    let mut loader = Loader::new(&bytes[..], options(None)).unwrap();
    while loader.step(&mut keys, 1 << 20).unwrap() {}
    assert_eq!(loader.offset(), (bytes.len() - commands.len()) as u64);
    let (_, rest, source) = loader.finish();
    assert!([&rest[..], source].concat() == commands);
}

/// A file of many pieces.
fn large_file() -> Vec<u8> {
    let mut keys = fill(4, 200);
    keys.select(2);
    for nth in 0..20_000u32 {
        let key = format!("key:{nth}").into_bytes();
        let value = nth.to_le_bytes().repeat(10 + nth as usize % 20);
        keys.insert(&key, NewValue::Inline(Inline::Str, &value), None);
    }
    let options = save::Options { has_checksum: true, ..save::Options::default() };
    let mut bytes = Vec::new();
    save(&keys, &mut bytes, &options, |_| Use::Unknown).unwrap();
    assert!(bytes.len() > 5 << 18);
    bytes
}

/// Loads by another thread's help, or without: the result, and how many bytes were loaded.
fn load_ahead(bytes: Vec<u8>, helped: bool) -> (Result<u64, String>, u64, Keyspace) {
    let mut keys = Keyspace::new(4, 2, NOW_MS);
    keys.expiry_enabled = false;
    keys.select(1);
    // Nobody is asked for help with a short file.
    let len = if helped { bytes.len() as u64 } else { 0 };
    let mut loader = AheadLoader::new(std::io::Cursor::new(bytes), options(None), len).unwrap();
    let mut offset = loader.offset();
    let result = loop {
        match loader.step(&mut keys) {
            Ok(more) => {
                assert!(more || loader.offset() > offset);
                offset = loader.offset();
                if !more {
                    break Ok(loader.loaded().keys);
                }
            }
            Err(e) => break Err(e.to_string()),
        }
    };
    assert_eq!(keys.current(), 1);
    (result, offset, keys)
}

#[test]
fn a_file_taken_apart_by_a_thread_is_the_same() {
    let bytes = large_file();
    let (copy, loaded) = load(&bytes, options(None));
    for helped in [false, true] {
        let (result, offset, keys) = load_ahead(bytes.clone(), helped);
        assert_eq!((result, offset), (Ok(loaded.keys), bytes.len() as u64));
        assert_eq!(Digest::of_all(&keys), Digest::of_all(&copy));
        // What is behind the end is not part of it.
        let (result, offset, _) = load_ahead([&bytes[..], &[b'*'; 1 << 20]].concat(), helped);
        assert_eq!((result, offset), (Ok(loaded.keys), bytes.len() as u64));
    }
}

#[test]
fn damage_found_by_a_thread_is_told_as_without() {
    let bytes = large_file();
    let error = |bytes: &[u8]| {
        let [alone, helped] = [false, true].map(|helped| load_ahead(bytes.to_vec(), helped));
        assert_eq!(alone.0, helped.0);
        // All that stands before the damage was put in.
        assert_eq!(Digest::of_all(&alone.2), Digest::of_all(&helped.2));
        alone.0.unwrap_err()
    };
    for part in 1..8 {
        let at = bytes.len() / 8 * part;
        assert_eq!(error(&bytes[..at]), format!("unexpected end of file (at offset {at})"));
    }
    let mut spoiled = bytes.clone();
    spoiled[bytes.len() / 2] ^= 0x10;
    error(&spoiled);
    let len = bytes.len();
    let sum = (len - 3)..len;
    let mut wrong = bytes.clone();
    wrong[sum].fill(1);
    assert!(error(&wrong).contains("RDB CRC error"));
    // Twice the same database: its first key comes again, far behind.
    let twice = [&bytes[..len - 9], &bytes[9..]].concat();
    assert!(error(&twice).contains("comes twice in database"), "{}", error(&twice));
}
