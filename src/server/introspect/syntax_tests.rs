//! The notation of rows' arguments. Structures are those that Redis 7.2's COMMAND DOCS has.

use super::syntax::{Argument, Kind, parse, show, words};

/// Arguments in a line: `name:type`, token in `<>`, flags behind `+`, parts in `{}`.
fn sketch(arguments: &[Argument]) -> String {
    let one = |a: &Argument| {
        let mut text = format!("{}:{}", a.name, a.kind.name());
        if let Some(token) = &a.token {
            text += &format!("<{token}>");
        }
        let flags = [(a.optional, 'o'), (a.multiple, 'm'), (a.multiple_token, 't')];
        let flags: String = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
        if !flags.is_empty() {
            text += &format!("+{flags}");
        }
        if a.is_group() {
            text += &format!("{{{}}}", sketch(&a.arguments));
        }
        text
    };
    arguments.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn sketch_of(text: &str) -> String {
    sketch(&parse(text, 1).unwrap())
}

#[test]
fn values_have_the_type_that_their_name_says() {
    assert_eq!(
        sketch_of("key seconds value pattern unix-time-seconds destkey score:double ID:string"),
        "key:key seconds:integer value:string pattern:pattern unix-time-seconds:unix-time \
         destkey:key score:double ID:string"
    );
}

#[test]
fn a_token_belongs_to_the_value_behind_it() {
    assert_eq!(sketch_of("[EX seconds]"), "seconds:integer<EX>+o");
    assert_eq!(sketch_of("LIMIT offset count"), "offset:integer<LIMIT> count:integer");
    assert_eq!(
        sketch_of("GET get-block:(encoding offset)"),
        "get-block:block<GET>{encoding:string offset:integer}"
    );
    assert_eq!(sketch_of("FULL [COUNT count]"), "full:pure-token<FULL> count:integer<COUNT>+o");
    assert_eq!(sketch_of("full:FULL count"), "full:pure-token<FULL> count:integer");
    assert_eq!(sketch_of("'lib-name' libname"), "libname:string<lib-name>");
}

#[test]
fn alternatives_are_one_argument() {
    assert_eq!(
        sketch_of("condition:[NX | XX] (id | auto-id:*)"),
        "condition:oneof+o{nx:pure-token<NX> xx:pure-token<XX>} \
         id-or-auto-id:oneof{id:string auto-id:pure-token<*>}"
    );
    assert_eq!(
        sketch_of("TYPE kind:(BYBOX width height | 'km')"),
        "kind:oneof<TYPE>{bybox:block{width:string<BYBOX> height:string} km:pure-token<km>}"
    );
}

#[test]
fn repetition_in_all_its_forms() {
    assert_eq!(sketch_of("key..."), "key:key+m");
    assert_eq!(sketch_of("[key ...]"), "key:key+om");
    assert_eq!(sketch_of("key [key ...]"), "key:key+m");
    assert_eq!(sketch_of("data:(field value)..."), "data:block+m{field:string value:string}");
    assert_eq!(
        sketch_of("key field value [field value ...]"),
        "key:key field-value:block+m{field:string value:string}"
    );
    assert_eq!(sketch_of("[GET pattern]..."), "pattern:pattern<GET>+omt");
    assert_eq!(sketch_of("[GET pattern [GET pattern ...]]"), "pattern:pattern<GET>+omt");
    assert_eq!(sketch_of("[ID client-id ...]"), "client-id:string<ID>+om");
    assert_eq!(sketch_of("[ID client-id [client-id ...]]"), "client-id:string<ID>+om");
}

#[test]
fn what_follows_a_word() {
    let arguments = parse("addr/ip:port@6.2.0 old!2.8.12 [BY by:pattern/pattern]#1@7.0.0", 2);
    let arguments = arguments.unwrap();
    assert_eq!(arguments[0].display.as_deref(), Some("ip:port"));
    assert_eq!(arguments[0].since.as_deref(), Some("6.2.0"));
    assert_eq!(arguments[1].deprecated_since.as_deref(), Some("2.8.12"));
    assert_eq!((arguments[2].kind, arguments[2].key_spec), (Kind::Pattern, Some(1)));
    assert_eq!(arguments[2].since.as_deref(), Some("7.0.0"));
}

#[test]
fn keys_count_through_the_specifications() {
    let specs = |text, specs| -> Vec<Option<usize>> {
        parse(text, specs).unwrap().iter().map(|a| a.key_spec).collect()
    };
    assert_eq!(specs("key newkey", 2), [Some(0), Some(1)]);
    assert_eq!(specs("key1:key key2:key", 1), [Some(0), Some(0)]);
    assert_eq!(specs("value key", 1), [None, Some(0)]);
    assert_eq!(specs("key", 0), [None]);
}

#[test]
fn mistakes_are_told() {
    let texts =
        ["(a", "a)", "[a | ]", "()", "...", "a:nonsense", "*", "a#x", "a@", "name:", "'open"];
    for text in texts {
        assert!(parse(text, 1).is_err(), "{text}");
    }
}

#[test]
fn counts_words() {
    let count = |text| words(&parse(text, 1).unwrap());
    assert_eq!(count("key value"), (2, Some(2)));
    assert_eq!(count("key [EX seconds]"), (1, Some(3)));
    assert_eq!(count("(a | b c | TOKEN d e f)"), (1, Some(4)));
    assert_eq!(count("key (field value)..."), (3, None));
    assert_eq!(count("STREAMS streams:(key... id...)"), (3, None));
}

#[test]
fn shows_what_the_documentation_shows() {
    let shown = |text| show(&parse(text, 1).unwrap());
    for text in [
        "key value [NX | XX] [GET] [EX seconds | KEEPTTL]",
        "key [key ...]",
        "[GET pattern [GET pattern ...]]",
        "[ID client-id [client-id ...]]",
        "key FROMLONLAT longitude latitude",
    ] {
        assert_eq!(shown(text), text);
    }
    assert_eq!(shown("enabled:(ON | OFF)"), "<ON | OFF>");
    assert_eq!(shown("(field value)..."), "field value [field value ...]");
}
