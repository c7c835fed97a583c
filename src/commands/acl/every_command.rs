//! Every command and subcommand of the table is tried by users who may and who may not execute it,
//! and, wherever its documented arguments have keys or channels, by users who may and may not read
//! or write these. By the direct path and through MULTI and EXEC: what is refused has no effect,
//! and the log tells.
//!
//! Lines are made from the rows' `args`: the least that the command takes, then with each option
//! and each alternative in turn. Which words are keys is known from there, and not from the key
//! specifications, by which the server finds them.

use crate::commands::FAMILIES;
use crate::commands::testing::Run;
use crate::server::acl::Reason;
use crate::server::client::Closing;
use crate::server::command::{Channels, Command, CommandTable, Entry, flag};
use crate::server::ctx::Origin;
use crate::server::gate;
use crate::server::introspect::categories;
use crate::server::introspect::syntax::{self, Argument, Kind};

/// A word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Text(String),
    /// A key, by the key specification of this number.
    Key(usize),
    /// How many keys follow.
    Count,
}

type Words = Vec<Word>;

/// All arguments, each as it is at least, and then each in its other forms.
fn forms(arguments: &[Argument]) -> Vec<Words> {
    let each: Vec<Vec<Words>> = arguments.iter().map(forms_of_one).collect();
    let with = |at: usize, form: &Words| -> Words {
        let forms = each.iter().enumerate();
        forms.flat_map(|(index, own)| if index == at { form } else { &own[0] }).cloned().collect()
    };
    let mut all = vec![with(usize::MAX, &Vec::new())];
    for (at, own) in each.iter().enumerate() {
        all.extend(own[1..].iter().map(|form| with(at, form)));
    }
    all
}

fn forms_of_one(argument: &Argument) -> Vec<Words> {
    let text = |text: &str| Word::Text(text.to_string());
    let token = argument.token.as_ref().map(|token| text(token));
    let values: Vec<Words> = match argument.kind {
        Kind::PureToken => return optional(argument, vec![token.into_iter().collect()]),
        Kind::Block => forms(&argument.arguments),
        Kind::OneOf => argument.arguments.iter().flat_map(forms_of_one).collect(),
        Kind::Key => vec![vec![Word::Key(argument.key_spec.unwrap_or(0))]],
        Kind::Integer if argument.name == "numkeys" => vec![vec![Word::Count]],
        Kind::Integer | Kind::Double => vec![vec![text("1")]],
        Kind::UnixTime => vec![vec![text("2000000000")]],
        Kind::String | Kind::Pattern => vec![vec![text(&argument.name)]],
    };
    let whole = |value: &Words| {
        let first = token.iter().chain(value);
        let again = token.iter().filter(|_| argument.multiple_token).chain(value);
        if argument.multiple {
            first.chain(again).cloned().collect()
        } else {
            first.cloned().collect()
        }
    };
    optional(argument, values.iter().map(whole).collect())
}

fn optional(argument: &Argument, mut forms: Vec<Words>) -> Vec<Words> {
    if argument.optional {
        forms.insert(0, Vec::new());
    }
    forms
}

/// A command as a client sends it.
#[derive(Debug)]
struct Line {
    words: Vec<String>,
    /// Which words are keys, and the numbers of their key specifications.
    keys: Vec<(usize, usize)>,
}

impl Line {
    fn new(entry: &Entry, words: Words) -> Line {
        let mut line = Line {
            words: entry.full_name.split('|').map(String::from).collect(),
            keys: Vec::new(),
        };
        let count = words.iter().filter(|word| matches!(word, Word::Key(_))).count();
        for word in words {
            let text = match word {
                Word::Text(text) => text,
                Word::Count => (count - line.keys.len()).to_string(),
                Word::Key(specification) => {
                    line.keys.push((line.words.len(), specification));
                    format!("key:{}", line.keys.len())
                }
            };
            line.words.push(text);
        }
        line
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|other| other.eq_ignore_ascii_case(word))
    }
}

/// All lines of a command that it takes at all.
fn lines(entry: &Entry) -> Vec<Line> {
    let command = entry.command;
    let arguments = syntax::parse(command.args, command.keys.len()).unwrap();
    let mut lines: Vec<Line> =
        forms(&arguments).into_iter().map(|words| Line::new(entry, words)).collect();
    if arguments.is_empty() {
        // DEBUG does not document its arguments.
        let least = command.arity.unsigned_abs() as usize;
        lines.iter_mut().for_each(|line| line.words.resize(least, "x".to_string()));
    }
    if command.name == "migrate" {
        // Its one key is empty exactly if there are several at its end.
        lines.retain(|line| (line.words[3] == "\"\"") == line.has("KEYS"));
        lines.iter_mut().filter(|line| line.has("KEYS")).for_each(|line| line.words[3].clear());
    }
    lines.retain(|line| command.takes(line.words.len()));
    assert!(!lines.is_empty(), "{}: no line", entry.full_name);
    lines
}

/// What a user must be allowed to do with a key: to read it, to write it.
fn need(command: &Command, line: &Line, specification: usize) -> (bool, bool) {
    let changes = |words: &[&str]| words.iter().any(|word| line.has(word));
    // Where the specification leaves it open, it is written here once more.
    match command.name {
        "set" => return (changes(&["GET", "IFEQ", "IFNE", "IFDEQ", "IFDNE"]), true),
        "delex" => return (line.words.len() > 2, true),
        "bitfield" => return (true, changes(&["SET", "INCRBY"])),
        _ => {}
    }
    let flags = command.keys[specification].flags;
    assert!(!flags.contains(&"variable_flags"), "{}: say what it needs", command.name);
    let writes = ["update", "insert", "delete"].iter().any(|word| flags.contains(word));
    (flags.contains(&"access"), writes)
}

/// A server with an administrator, and a client who is the user `u`.
struct Trial {
    run: Run,
    admin: usize,
    client: usize,
}

impl Trial {
    fn new() -> Trial {
        let mut run = Run::new();
        let admin = run.client;
        let client = run.connect();
        Trial { run, admin, client }
    }

    fn send(&mut self, client: usize, words: &[&str]) -> String {
        self.run.client = client;
        let reply = self.run.run_as(Origin::Client, words);
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// Makes the user's rules these, `+@all` and so on.
    fn rule(&mut self, rules: &[String]) {
        let mut words = vec!["acl", "setuser", "u", "reset", "on", "nopass"];
        words.extend(rules.iter().map(String::as_str));
        assert_eq!(self.send(self.admin, &words), "+OK\r\n", "{rules:?}");
    }

    /// The client begins anew as the user; on another server if it waits, or is to end, or if it
    /// has paused everybody.
    fn log_in(&mut self, rules: &[String]) {
        let server = &self.run.instance.server;
        let client = &server.clients[self.client];
        let is_paused = server.state & gate::state::PAUSED != 0;
        if client.is_waiting() || client.closing != Closing::No || is_paused {
            *self = Trial::new();
        }
        self.rule(rules);
        self.send(self.client, &["reset"]);
        assert_eq!(self.send(self.client, &["auth", "u", "x"]), "+OK\r\n");
    }

    fn ask(&mut self, line: &Line) -> String {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        self.send(self.client, &words)
    }

    /// What must not change when a command is refused: how often it ran, and the data.
    fn state(&self, entry: &Entry) -> (u64, u64) {
        (self.run.instance.server.stats.commands[entry.id].calls, self.run.instance.keys.dirty)
    }

    /// The newest entry of the log: why, in which context, what.
    fn logged(&self) -> Option<(Reason, &'static str, String)> {
        let entry = self.run.instance.server.acl.log().iter().next()?;
        let event = &entry.event;
        let object = String::from_utf8_lossy(&event.object).into_owned();
        Some((event.reason, event.context.name(), object))
    }

    /// The user with these rules may execute the line.
    fn allow(&mut self, line: &Line, rules: &[String]) {
        self.log_in(rules);
        let reply = self.ask(line);
        assert!(!reply.starts_with("-NOPERM"), "{line:?} with {rules:?}: {reply}");
    }

    /// The user with these rules may not: neither directly, nor in a transaction, nor when the
    /// transaction was begun with the rules `before`.
    fn refuse(
        &mut self,
        entry: &Entry,
        line: &Line,
        (before, rules): (&[String], &[String]),
        (reason, object): (Reason, &str),
    ) {
        let (text, reason_at_exec) = match reason {
            Reason::Key => {
                ("No permissions to access a key", "no permission to touch the specified keys")
            }
            Reason::Channel => (
                "No permissions to access a channel",
                "no permission to access one of the channels used as arguments",
            ),
            _ => (
                "has no permissions to run the",
                "no permission to execute the command or subcommand",
            ),
        };
        let what = format!("{line:?} with {rules:?}");
        self.log_in(rules);
        let state = self.state(entry);
        let rejected = self.run.instance.server.stats.commands[entry.id].rejected;
        let reply = self.ask(line);
        let is_exec = entry.command.has(flag::EXECUTES_QUEUED);
        let before_reason =
            if is_exec { "-EXECABORT Transaction discarded because of: " } else { "-" };
        let is_right = reply.starts_with(&format!("{before_reason}NOPERM "));
        assert!(is_right && reply.contains(text), "{what}: {reply}");
        assert_eq!(self.state(entry), state, "{what}: it has been executed");
        assert_eq!(self.logged(), Some((reason, "toplevel", object.to_string())), "{what}");
        let counts = &self.run.instance.server.stats.commands[entry.id];
        assert_eq!(counts.rejected, rejected + 1, "{what}");

        // EXEC and the like are never queued.
        if entry.command.has(flag::IMMEDIATE | flag::NO_MULTI | flag::NEVER_QUEUED) {
            return;
        }
        self.send(self.client, &["multi"]);
        let reply = self.ask(line);
        assert!(reply.starts_with("-NOPERM ") && reply.contains(text), "{what}: {reply}");
        assert_eq!(self.logged(), Some((reason, "multi", object.to_string())), "{what}");
        let reply = self.send(self.client, &["exec"]);
        assert!(reply.starts_with("-EXECABORT "), "{what}: {reply}");
        assert_eq!(self.state(entry), state, "{what}: it has been executed by EXEC");

        self.log_in(before);
        self.send(self.admin, &["acl", "log", "reset"]);
        self.send(self.client, &["multi"]);
        let reply = self.ask(line);
        assert_eq!(reply, "+QUEUED\r\n", "{line:?} with {before:?}");
        self.rule(rules);
        let state = self.state(entry);
        let reply = self.send(self.client, &["exec"]);
        assert!(
            reply.starts_with("*1\r\n-NOPERM ") && reply.contains(reason_at_exec),
            "{what}: {reply}"
        );
        assert_eq!(self.state(entry), state, "{what}: it has been executed by EXEC");
        assert_eq!(self.logged(), Some((reason, "multi", object.to_string())), "{what}");
    }
}

fn entries() -> Vec<&'static Entry> {
    let table = CommandTable::new(FAMILIES);
    table
        .with_subcommands()
        .filter(|entry| !entry.is_container() || entry.command.arity == -1)
        .collect()
}

fn rules(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|rule| rule.to_string()).collect()
}

#[test]
fn a_command_is_for_those_who_may_execute_it() {
    let mut trial = Trial::new();
    for entry in entries() {
        let name = entry.full_name.as_str();
        let line = lines(entry).remove(0);
        let around = ["+multi", "+exec", "~*", "&*"];
        let allow = format!("+{name}");
        let deny = format!("-{name}");
        trial.allow(&line, &rules(&[&["-@all", &allow], &around[2..]].concat()));
        let without = rules(&[&["+@all"], &around[..], &[&deny]].concat());
        if entry.command.has(flag::NO_AUTH) {
            // What is needed to log in, nobody can be denied.
            trial.allow(&line, &without);
            continue;
        }
        let only_others = rules(&[&["-@all"], &around[..], &[&deny]].concat());
        let with = rules(&[&["+@all"], &around[..]].concat());
        // Who may not even say MULTI or EXEC cannot be asked about the rest.
        let name = name.to_string();
        trial.refuse(entry, &line, (&with, &without), (Reason::Command, &name));
        trial.refuse(entry, &line, (&with, &only_others), (Reason::Command, &name));
    }
}

#[test]
fn a_command_goes_with_its_container_and_its_categories() {
    let mut trial = Trial::new();
    for entry in entries().into_iter().filter(|entry| !entry.command.has(flag::NO_AUTH)) {
        let name = entry.full_name.as_str();
        let line = lines(entry).remove(0);
        let container = name.split('|').next().filter(|container| *container != name);
        let categories = categories::of(entry.command).map(|category| format!("@{category}"));
        for group in container.map(String::from).into_iter().chain(categories) {
            let allowed = format!("-@all +{group}");
            let denied = format!("+@all -{group} +multi +exec");
            // What is said of the command itself afterwards counts, and before does not.
            let lines = [
                (true, format!("{allowed} ~* &*")),
                (true, format!("-{name} {allowed} ~* &*")),
                (true, format!("{denied} +{name} ~* &*")),
                (false, format!("{denied} -{name} ~* &*")),
                (false, format!("-@all +{name} -{group} ~* &*")),
                (false, format!("{allowed} -{name} ~* &*")),
            ];
            for (is_allowed, text) in lines {
                let rules: Vec<String> = text.split(' ').map(String::from).collect();
                if is_allowed {
                    trial.allow(&line, &rules);
                    continue;
                }
                trial.log_in(&rules);
                let reply = trial.ask(&line);
                assert!(reply.contains("NOPERM User u has no "), "{line:?} with {text}: {reply}");
            }
        }
    }
}

#[test]
fn a_key_is_for_those_who_may_read_or_write_it() {
    let mut trial = Trial::new();
    let (mut tried, mut commands) = (0, 0);
    for entry in entries() {
        let found: Vec<Line> =
            lines(entry).into_iter().filter(|line| !line.keys.is_empty()).collect();
        commands += usize::from(!found.is_empty());
        for line in found {
            for (index, &(at, specification)) in line.keys.iter().enumerate() {
                let key = &line.words[at];
                let (reads, writes) = need(entry.command, &line, specification);
                let others = line.keys.iter().enumerate().filter(|(other, _)| *other != index);
                let mut known = rules(&["+@all", "&*"]);
                known.extend(others.map(|(_, (at, _))| format!("~{}", line.words[*at])));
                let with = |rule: String| [known.clone(), vec![rule]].concat();
                let least = match (reads, writes) {
                    (true, true) => with(format!("~{key}")),
                    (false, true) => with(format!("%W~{key}")),
                    // Something about it, whatever.
                    _ => with(format!("%R~{key}")),
                };
                trial.allow(&line, &least);
                let denied = (Reason::Key, key.as_str());
                trial.refuse(entry, &line, (&least, &known), denied);
                if reads {
                    trial.refuse(entry, &line, (&least, &with(format!("%W~{key}"))), denied);
                }
                if writes {
                    trial.refuse(entry, &line, (&least, &with(format!("%R~{key}"))), denied);
                }
                tried += 1;
            }
        }
    }
    assert!(commands > 150 && tried > 500, "{commands} commands, {tried} keys");
}

#[test]
fn a_channel_is_for_those_who_may_use_it() {
    let mut trial = Trial::new();
    // How many of the first words behind the name are channels.
    let all = [
        ("publish", 1),
        ("spublish", 1),
        ("subscribe", 3),
        ("ssubscribe", 3),
        ("psubscribe", 3),
        ("unsubscribe", 0),
        ("sunsubscribe", 0),
        ("punsubscribe", 0),
    ];
    for entry in entries() {
        let listed = all.iter().find(|(name, _)| *name == entry.command.name);
        let is_free = entry.command.channels == Channels::None;
        assert_eq!(is_free, listed.is_none_or(|(_, count)| *count == 0), "{}", entry.full_name);
        let Some(&(name, count)) = listed else { continue };
        let words = if name.ends_with("publish") { &["a", "m"][..] } else { &["a", "b", "c"] };
        let words = [&[name], words].concat().iter().map(|word| word.to_string()).collect();
        let line = Line { words, keys: Vec::new() };
        trial.allow(&line, &rules(&["+@all", "~*", "&a", "&b", "&c"]));
        if count == 0 {
            trial.allow(&line, &rules(&["+@all", "~*"]));
        }
        for at in 1..=count {
            let channel = &line.words[at];
            let before = rules(&["+@all", "~*", "&a", "&b", "&c"]);
            let own = format!("&{channel}");
            let known: Vec<String> = before.iter().filter(|rule| **rule != own).cloned().collect();
            let denied = (Reason::Channel, channel.as_str());
            trial.refuse(entry, &line, (&before, &known), denied);
            // A pattern that matches is as good, except for patterns.
            let glob = [known, rules(&[&format!("&[{channel}]")])].concat();
            if name == "psubscribe" {
                trial.refuse(entry, &line, (&before, &glob), denied);
            } else {
                trial.allow(&line, &glob);
            }
        }
    }
}
