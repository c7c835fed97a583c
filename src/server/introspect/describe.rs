//! The replies of COMMAND INFO and COMMAND DOCS, as Redis 7.2 builds them.

use super::categories;
use super::syntax::{self, Argument};
use crate::resp::Reply;
use crate::server::command::{Begin, Command, Entry, Find, Keys, flag};
use crate::server::keys;

/// COMMAND INFO's element for one command.
pub fn info(out: &mut Reply, entry: &Entry) {
    let command = entry.command;
    let (first, last, step) = keys::legacy_range(command);
    out.array(10);
    out.bulk(entry.full_name.as_bytes());
    out.int(command.arity as i64);
    let movable = if keys::are_movable(command) { flag::MOVABLEKEYS } else { 0 };
    let flags = command.flags | movable;
    let flags = flag::NAMES.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name);
    simple_set(out, flags);
    out.int(first as i64);
    out.int(last as i64);
    out.int(step as i64);
    let names: Vec<String> = categories::of(command).map(|name| format!("@{name}")).collect();
    simple_set(out, names.iter().map(String::as_str));
    out.set(command.tips.len());
    command.tips.iter().for_each(|tip| out.bulk(tip.as_bytes()));
    out.set(command.keys.len());
    command.keys.iter().for_each(|keys| key_specification(out, keys));
    if entry.is_container() {
        out.array(command.subcommands.len());
        entry.subcommands().for_each(|subcommand| info(out, subcommand));
    } else {
        out.set(0);
    }
}

/// A set of words, as flags are given everywhere.
pub fn simple_set<'a>(out: &mut Reply, words: impl Iterator<Item = &'a str>) {
    let words: Vec<&str> = words.collect();
    out.set(words.len());
    words.iter().for_each(|word| out.simple(word));
}

fn key_specification(out: &mut Reply, keys: &Keys) {
    out.map(3);
    out.bulk(b"flags");
    simple_set(out, keys.flags.iter().copied());
    out.bulk(b"begin_search");
    match keys.begin {
        Begin::Index(index) => specification(out, "index", &[("index", index as i64)]),
        Begin::Keyword { word, from } => {
            typed(out, "keyword", 2);
            text(out, "keyword", word);
            number(out, "startfrom", from as i64);
        }
        Begin::Unknown => specification(out, "unknown", &[]),
    }
    out.bulk(b"find_keys");
    match keys.find {
        Find::Range { last, step, limit } => {
            let numbers =
                [("lastkey", last as i64), ("keystep", step as i64), ("limit", limit as i64)];
            specification(out, "range", &numbers);
        }
        Find::Count { at, first, step } => {
            let numbers =
                [("keynumidx", at as i64), ("firstkey", first as i64), ("keystep", step as i64)];
            specification(out, "keynum", &numbers);
        }
        Find::Unknown => specification(out, "unknown", &[]),
    }
}

fn typed(out: &mut Reply, kind: &str, fields: usize) {
    out.map(2);
    text(out, "type", kind);
    out.bulk(b"spec");
    out.map(fields);
}

fn specification(out: &mut Reply, kind: &str, numbers: &[(&str, i64)]) {
    typed(out, kind, numbers.len());
    numbers.iter().for_each(|(name, n)| number(out, name, *n));
}

fn text(out: &mut Reply, name: &str, value: &str) {
    out.bulk(name.as_bytes());
    out.bulk(value.as_bytes());
}

fn number(out: &mut Reply, name: &str, value: i64) {
    out.bulk(name.as_bytes());
    out.int(value);
}

/// COMMAND DOCS' map for one command.
pub fn docs(out: &mut Reply, entry: &Entry) {
    let command = entry.command;
    // Rows that do not parse are found by the tests; here they have no arguments to show.
    let arguments = syntax::parse(command.args, command.keys.len()).unwrap_or_default();
    let open = out.open();
    text(out, "summary", command.summary);
    text(out, "since", command.since);
    text(out, "group", command.group.name());
    let mut fields = 3;
    if !command.complexity.is_empty() {
        text(out, "complexity", command.complexity);
        fields += 1;
    }
    if let Some((replaced_by, since)) = command.deprecated {
        out.bulk(b"doc_flags");
        simple_set(out, ["deprecated"].into_iter());
        text(out, "deprecated_since", since);
        text(out, "replaced_by", replaced_by);
        fields += 3;
    }
    if !command.history.is_empty() {
        out.bulk(b"history");
        history(out, command);
        fields += 1;
    }
    if !arguments.is_empty() {
        out.bulk(b"arguments");
        all_arguments(out, &arguments);
        fields += 1;
    }
    if entry.is_container() {
        out.bulk(b"subcommands");
        out.map(command.subcommands.len());
        for subcommand in entry.subcommands() {
            out.bulk(subcommand.full_name.as_bytes());
            docs(out, subcommand);
        }
        fields += 1;
    }
    out.close_map(open, fields);
}

fn history(out: &mut Reply, command: &Command) {
    out.set(command.history.len());
    for (version, change) in command.history {
        out.array(2);
        out.bulk(version.as_bytes());
        out.bulk(change.as_bytes());
    }
}

fn all_arguments(out: &mut Reply, arguments: &[Argument]) {
    out.array(arguments.len());
    arguments.iter().for_each(|argument| one_argument(out, argument));
}

fn one_argument(out: &mut Reply, argument: &Argument) {
    let open = out.open();
    text(out, "name", &argument.name);
    text(out, "type", argument.kind.name());
    let mut fields = 2;
    if !argument.is_group() {
        text(out, "display_text", argument.display.as_ref().unwrap_or(&argument.name));
        fields += 1;
    }
    if let Some(index) = argument.key_spec {
        number(out, "key_spec_index", index as i64);
        fields += 1;
    }
    let optional_texts = [
        ("token", &argument.token),
        ("since", &argument.since),
        ("deprecated_since", &argument.deprecated_since),
    ];
    for (name, value) in optional_texts {
        if let Some(value) = value {
            text(out, name, value);
            fields += 1;
        }
    }
    let flags = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
        (argument.multiple_token, "multiple_token"),
    ];
    if flags.iter().any(|(set, _)| *set) {
        out.bulk(b"flags");
        simple_set(out, flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name));
        fields += 1;
    }
    if argument.is_group() {
        out.bulk(b"arguments");
        all_arguments(out, &argument.arguments);
        fields += 1;
    }
    out.close_map(open, fields);
}
