//! What must hold for the rows of all families: what Redis's own commands have in common, so that
//! a slip in a row does not wait for somebody to notice it in COMMAND INFO.

use super::FAMILIES;
use crate::server::command::{Command, CommandTable, Entry, Group, Keys, flag};
use crate::server::introspect::categories;
use crate::server::introspect::syntax::{self, Argument, Kind};
use crate::server::keys;

/// Commands that take more words than they document, as they do in Redis.
const OPEN_ARITY: [&str; 5] = ["command", "quit", "debug", "replconf", "psync"];

/// Flags of key specifications in the order in which they are listed; the first four exclude each
/// other.
const KEY_FLAGS: [&str; 11] = [
    "RO",
    "RW",
    "OW",
    "RM",
    "access",
    "update",
    "insert",
    "delete",
    "not_key",
    "incomplete",
    "variable_flags",
];

/// Runs a check over all commands and subcommands, and reports all rows that it complains about.
fn check(complaint: impl Fn(&Entry) -> Option<String>) {
    let table = CommandTable::new(FAMILIES);
    let complaints: Vec<String> = table
        .with_subcommands()
        .filter_map(|entry| Some(format!("{}: {}", entry.full_name, complaint(entry)?)))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn arguments(command: &Command) -> Vec<Argument> {
    syntax::parse(command.args, command.keys.len()).unwrap_or_default()
}

fn version(text: &str) -> Option<Vec<u32>> {
    let parts: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    parts.filter(|parts| parts.len() == 3)
}

fn is_ascending<T: PartialOrd>(list: &[T]) -> bool {
    list.windows(2).all(|pair| pair[0] < pair[1])
}

#[test]
fn arguments_parse() {
    check(|entry| {
        let command = entry.command;
        syntax::parse(command.args, command.keys.len()).err().map(|error| error.to_string())
    });
}

#[test]
fn siblings_have_different_names() {
    fn twin(arguments: &[Argument]) -> Option<String> {
        let names: Vec<&str> = arguments.iter().map(|a| a.name.as_str()).collect();
        let repeated = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
        let within = || arguments.iter().find_map(|a| twin(&a.arguments));
        repeated.map(|(_, name)| format!("two arguments are called '{name}'")).or_else(within)
    }
    check(|entry| twin(&arguments(entry.command)));
}

#[test]
fn arity_is_the_number_of_arguments() {
    check(|entry| {
        let command = entry.command;
        if entry.is_container() || OPEN_ARITY.contains(&command.name) {
            return None;
        }
        let name = 1 + usize::from(entry.full_name.contains('|'));
        let (least, most) = syntax::words(&arguments(command));
        let least = least + name;
        let is_fixed = most.map(|n| n + name) == Some(least);
        let arity = if is_fixed { least as i32 } else { -(least as i32) };
        (arity != command.arity).then(|| format!("arity {} but {arity} by args", command.arity))
    });
}

#[test]
fn key_arguments_and_key_specifications_fit() {
    fn numbers(arguments: &[Argument], found: &mut Vec<Option<usize>>) {
        for argument in arguments {
            if argument.kind == Kind::Key || argument.key_spec.is_some() {
                found.push(argument.key_spec);
            }
            numbers(&argument.arguments, found);
        }
    }
    check(|entry| {
        let command = entry.command;
        let mut found = Vec::new();
        numbers(&arguments(command), &mut found);
        if found.iter().any(|n| n.is_none_or(|n| n >= command.keys.len())) {
            return Some("a key argument without key specification".to_string());
        }
        let is_named = |(n, keys): (usize, &Keys)| keys.is_not_key() || found.contains(&Some(n));
        let unnamed = command.keys.iter().enumerate().position(|pair| !is_named(pair));
        // What SORT_RO looks up by patterns is in none of its arguments.
        let unnamed = unnamed.filter(|_| command.name != "sort_ro");
        unnamed.map(|n| format!("key specification {n} without key argument"))
    });
}

#[test]
fn key_specifications_are_sound() {
    check(|entry| {
        let command = entry.command;
        for keys in command.keys {
            let places: Option<Vec<usize>> =
                keys.flags.iter().map(|f| KEY_FLAGS.iter().position(|known| known == f)).collect();
            let Some(places) = places else { return Some(format!("unknown: {:?}", keys.flags)) };
            let accesses = places.iter().filter(|&&place| place < 4).count();
            if !is_ascending(&places) || accesses != usize::from(!keys.is_not_key()) {
                return Some(format!("odd key flags {:?}", keys.flags));
            }
            let read_only = keys.flags.contains(&"RO") || keys.is_not_key();
            // PFCOUNT keeps what it counted in the key.
            if command.has(flag::READONLY) && !read_only && command.name != "pfcount" {
                return Some("a read-only command that changes its key".to_string());
            }
        }
        let all_read = command.keys.iter().all(|keys| keys.flags.contains(&"RO"));
        // XREADGROUP changes what is known of the group, not the stream.
        if command.has(flag::WRITE) && keys::has_keys(command) && all_read {
            return (command.name != "xreadgroup").then(|| "writes no key".to_string());
        }
        None
    });
}

#[test]
fn flags_are_sound() {
    check(|entry| {
        let command = entry.command;
        let writes = command.has(flag::WRITE);
        if writes && command.has(flag::READONLY) {
            return Some("both write and readonly".to_string());
        }
        if command.has(flag::DENYOOM) && !writes {
            return Some("denyoom without write".to_string());
        }
        let must_find = command.keys.iter().any(|keys| keys.flags.contains(&"variable_flags"));
        if must_find && command.find_keys.is_none() {
            return Some("variable_flags without find_keys".to_string());
        }
        None
    });
}

/// The category that all commands of a group are in.
fn category_of(group: Group) -> Option<&'static str> {
    match group {
        Group::Connection => Some("connection"),
        Group::String => Some("string"),
        Group::Hash => Some("hash"),
        Group::List => Some("list"),
        Group::Set => Some("set"),
        Group::SortedSet => Some("sortedset"),
        Group::Stream => Some("stream"),
        Group::Bitmap => Some("bitmap"),
        Group::Hyperloglog => Some("hyperloglog"),
        Group::Geo => Some("geo"),
        Group::Transactions => Some("transaction"),
        Group::Scripting => Some("scripting"),
        Group::Generic | Group::Pubsub | Group::Server | Group::Cluster => None,
    }
}

#[test]
fn categories_fit_the_group() {
    check(|entry| {
        let command = entry.command;
        if let Some(unknown) = command.categories.iter().find(|c| !categories::NAMES.contains(c)) {
            return Some(format!("unknown category {unknown}"));
        }
        // LASTSAVE and ROLE are kept from ordinary users although they are no administration.
        let is_odd = ["lastsave", "role"].contains(&command.name);
        let implied = command.categories.iter().find(|c| categories::is_implied(command, c));
        // Dangerous may be said again.
        if let Some(implied) = implied.filter(|c| !is_odd && **c != "dangerous") {
            return Some(format!("{implied} follows from its flags"));
        }
        let wanted = category_of(command.group).filter(|_| !entry.is_container())?;
        let is_there = command.categories.contains(&wanted);
        (!is_there).then(|| format!("is not in {wanted} as all of its group"))
    });
}

#[test]
fn names_are_lower_case_and_subcommands_in_order() {
    check(|entry| {
        let command = entry.command;
        let is_named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if command.name.is_empty() || !command.name.chars().all(is_named) {
            return Some("odd name".to_string());
        }
        let names: Vec<&str> = command.subcommands.iter().map(|c| c.name).collect();
        if !is_ascending(&names) {
            return Some(format!("not in order: {names:?}"));
        }
        let lacks_help = entry.is_container() && !names.contains(&"help");
        lacks_help.then(|| "a container without HELP".to_string())
    });
}

#[test]
fn texts_are_in_form() {
    check(|entry| {
        let Command { summary, complexity, since, history, deprecated, .. } = *entry.command;
        if !summary.starts_with(|c: char| c.is_uppercase()) || summary.ends_with('.') {
            return Some(format!("summary '{summary}'"));
        }
        if complexity.ends_with('.') {
            return Some(format!("complexity '{complexity}'"));
        }
        let mut versions: Vec<_> = history.iter().map(|(version, _)| *version).collect();
        versions.insert(0, since);
        versions.extend(deprecated.map(|(_, since)| since));
        if let Some(odd) = versions.iter().find(|text| version(text).is_none()) {
            return Some(format!("version '{odd}'"));
        }
        let mut changes: Vec<_> = history.iter().map(|(text, _)| version(text)).collect();
        changes.dedup();
        (!is_ascending(&changes)).then(|| "history is not in order".to_string())
    });
}
