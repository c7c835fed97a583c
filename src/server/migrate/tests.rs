//! The conversation with a target, and who gets which connection, without any.

use super::links::{Chance, Links};
use super::talk::Next;
use super::*;
use crate::store::NewValue;
use crate::types::Inline;

fn order(login: &[&str], target_db: i64) -> Order {
    let login = login.iter().map(|word| word.as_bytes().into()).collect();
    let target = Target { host: "127.0.0.1".into(), port: 1, login };
    Order { target, target_db, timeout_ms: 100, copies: false, replaces: false }
}

fn items(keys: &[&str]) -> Vec<Item> {
    let item = |key: &&str| Item { key: key.as_bytes().into(), way: Way::Here, changed: false };
    keys.iter().map(item).collect()
}

/// What there is to be sent, in one line.
fn said(talk: &mut Talk) -> String {
    let bytes: Vec<u8> = std::iter::from_fn(|| talk.take_output()).flatten().collect();
    String::from_utf8_lossy(&bytes).replace("\r\n", " ")
}

fn keyspace(pairs: &[(&str, Option<i64>)]) -> Keyspace {
    let mut keys = Keyspace::new(16, 1, 1000);
    for (key, expire_at) in pairs {
        drop(keys.insert(key.as_bytes(), NewValue::Inline(Inline::Str, b"v"), *expire_at));
    }
    keys
}

fn encode_all(talk: &mut Talk, order: &Order, items: &mut [Item], keys: &mut Keyspace) {
    let mut writer = Writer::new(false);
    while talk.encode(order, items, keys, &mut writer) {}
}

#[test]
fn nothing_is_sent_before_the_greeting_is_answered() {
    let mut keys = keyspace(&[("a", Some(1500)), ("b", None)]);
    let (mut talk, mut items) = (Talk::default(), items(&["a", "b"]));
    let order = order(&["user", "password"], 9);
    assert!(!talk.begin(&order, None));
    encode_all(&mut talk, &order, &mut items, &mut keys);
    let greeting = "*3 $4 AUTH $4 user $8 password *2 $6 SELECT $1 9 ";
    assert_eq!(said(&mut talk), greeting);
    assert_eq!(talk.on_reply(None, &mut items), Next::Wait);
    encode_all(&mut talk, &order, &mut items, &mut keys);
    assert_eq!(said(&mut talk), "");
    assert_eq!(talk.on_reply(None, &mut items), Next::Encode);
    encode_all(&mut talk, &order, &mut items, &mut keys);
    let restores = said(&mut talk);
    assert!(restores.starts_with("*4 $7 RESTORE $1 a $3 500 $13 "), "{restores}");
    assert!(restores.contains("*4 $7 RESTORE $1 b $1 0 $13 "), "{restores}");
    assert_eq!(talk.on_reply(Some(b"BUSYKEY"), &mut items), Next::Wait);
    assert_eq!(talk.on_reply(None, &mut items), Next::Done);
    assert_eq!(items.iter().map(|item| item.way).collect::<Vec<_>>(), [Way::Stays, Way::There]);
    assert_eq!(talk.on_reply(None, &mut items), Next::Unexpected);
}

#[test]
fn what_is_known_of_a_connection_is_not_said_again() {
    let (mut talk, order) = (Talk::default(), order(&[], 3));
    assert!(talk.begin(&order, Some(3)));
    assert_eq!(said(&mut talk), "");
    talk.reset();
    assert!(!talk.begin(&order, Some(2)));
    assert_eq!(said(&mut talk), "*2 $6 SELECT $1 3 ");
}

#[test]
fn a_refused_greeting_ends_it() {
    let (mut talk, mut items) = (Talk::default(), items(&["a"]));
    talk.begin(&order(&["wrong"], 3), None);
    assert_eq!(talk.on_reply(Some(b"WRONGPASS"), &mut items), Next::NotLoggedIn);
    talk.reset();
    talk.begin(&order(&[], 300), None);
    assert_eq!(talk.on_reply(Some(b"ERR DB index"), &mut items), Next::Done);
    assert!(talk.not_selected && items[0].way == Way::Here);
}

#[test]
fn keys_that_are_gone_are_passed_over() {
    let mut keys = keyspace(&[("b", None)]);
    let (mut talk, mut items) = (Talk::default(), items(&["a", "b", "c"]));
    let order = order(&[], 0);
    assert!(talk.begin(&order, Some(0)));
    encode_all(&mut talk, &order, &mut items, &mut keys);
    assert_eq!(said(&mut talk).matches("RESTORE").count(), 1);
    assert_eq!(talk.on_reply(None, &mut items), Next::Done);
    let ways: Vec<Way> = items.iter().map(|item| item.way).collect();
    assert_eq!(ways, [Way::Stays, Way::There, Way::Stays]);
}

#[test]
fn a_payload_whose_value_changes_is_made_again() {
    use crate::types::Object;
    let mut keys = Keyspace::new(16, 1, 1000);
    let long = vec![b'x'; 300_000];
    let value = |bytes: &[u8]| NewValue::Object(Box::new(Object::String(bytes.to_vec())));
    drop(keys.insert(b"k", value(&long), None));
    let (mut talk, mut items) = (Talk::default(), items(&["k"]));
    let (order, mut writer) = (order(&[], 0), Writer::new(false));
    talk.begin(&order, Some(0));
    assert!(!talk.restart(0));
    for _ in 0..3 {
        assert!(talk.encode(&order, &mut items, &mut keys, &mut writer));
    }
    assert!(!talk.has_output() && items[0].way == Way::Here);
    keys.remove(b"k");
    drop(keys.insert(b"k", value(&long[..200_000]), None));
    assert!(talk.restart(0) && !talk.restart(0));
    encode_all(&mut talk, &order, &mut items, &mut keys);
    let text = said(&mut talk);
    assert_eq!(text.matches('x').count(), 200_000);
    assert_eq!(items[0].way, Way::Sent);
}

#[test]
fn nothing_is_encoded_while_much_waits_to_be_sent() {
    let names: Vec<String> = (0..40_000).map(|n| format!("key:{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let pairs: Vec<_> = names.iter().map(|name| (*name, None)).collect();
    let mut keys = keyspace(&pairs);
    let (mut talk, mut items) = (Talk::default(), items(&names));
    let order = order(&[], 0);
    talk.begin(&order, Some(0));
    let mut rounds = 0;
    while !talk.has_encoded(&items) {
        encode_all(&mut talk, &order, &mut items, &mut keys);
        let pieces: Vec<Vec<u8>> = std::iter::from_fn(|| talk.take_output()).collect();
        let bytes: usize = pieces.iter().map(Vec::len).sum();
        assert!(bytes < OUTPUT + 1000, "{bytes}");
        rounds += 1;
    }
    assert!(rounds > 1);
}

#[test]
fn places_without_use_are_forgotten() {
    let mut links = Links::default();
    let named = Target { host: "a.name".into(), port: 1, login: Vec::new() };
    let place = links.wait(&named, 7, 0);
    assert_eq!(links.wait(&named, 8, 0), place);
    let Some((7, Chance::LookUp(target))) = links.chance(place) else { panic!() };
    assert!(matches!(links.chance(place), Some((7, Chance::None))));
    // All give up before the name is found.
    links.wait_no_more(place, 7);
    links.wait_no_more(place, 8);
    assert!(links.chance(place).is_none() && links.places_waited_for().is_empty());
    let other = Target { host: "127.0.0.1".into(), port: 1, login: Vec::new() };
    assert_eq!(links.wait(&other, 9, 0), place);
    let found = links::Found { place, target, addresses: Vec::new() };
    links.finder().send(found).unwrap();
    // Whom it does not concern waits on.
    assert_eq!(links.take_found(), Some(Vec::new()));
    assert_eq!(links.take_found(), None);
    let Some((9, Chance::Connect(addresses))) = links.chance(place) else { panic!() };
    assert_eq!(addresses, ["127.0.0.1:1".parse().unwrap()]);

    let place = links.wait(&named, 3, 0);
    assert!(matches!(links.chance(place), Some((3, Chance::LookUp(_)))));
    links.finder().send(links::Found { place, target: named, addresses: Vec::new() }).unwrap();
    assert_eq!(links.take_found(), Some(vec![3]));
}
