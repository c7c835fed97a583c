//! INFO: what the server tells of itself, in sections of lines `field:value`. Fields have Redis
//! 7.2's names and order. What there is not yet shows the value it has when nothing happens where
//! clients and monitors read it, and is left out elsewhere.
//!
//! A section is one function, a field one line in it.

mod clients;
mod cpu;
mod keyspace;
mod latency;
mod memory;
mod persistence;
mod phases;
mod replication;
mod server;
mod stats;

use super::Server;
use crate::store::Keyspace;
use std::fmt::{Display, Write};

/// What sections are written from.
#[derive(Clone, Copy)]
struct Source<'a> {
    server: &'a Server,
    keys: &'a Keyspace,
}

impl Source<'_> {
    fn now_s(&self) -> i64 {
        self.keys.now_ms / 1000
    }
}

struct Section {
    title: &'static str,
    /// By which it is asked for, in lower case.
    names: &'static [&'static str],
    when: When,
    write: fn(&mut Lines, Source<'_>),
}

/// For which requests a section is there, besides those that name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    /// For none.
    Named,
    /// For all of them.
    All,
    /// Also for the usual ones.
    Usual,
}

const fn section(
    title: &'static str,
    names: &'static [&'static str],
    when: When,
    write: fn(&mut Lines, Source<'_>),
) -> Section {
    Section { title, names, when, write }
}

/// In the order they are shown in.
const SECTIONS: &[Section] = &[
    section("Server", &["server"], When::Usual, server::write),
    section("Clients", &["clients"], When::Usual, clients::write),
    section("Memory", &["memory"], When::Usual, memory::write),
    section("Persistence", &["persistence"], When::Usual, persistence::write),
    section("Stats", &["stats"], When::Usual, stats::write),
    section("Replication", &["replication"], When::Usual, replication::write),
    section("CPU", &["cpu"], When::Usual, cpu::write),
    // There are none.
    section("Modules", &["modules", "module_list"], When::Usual, |_, _| {}),
    section("Commandstats", &["commandstats"], When::All, stats::write_commands),
    section("Errorstats", &["errorstats"], When::Usual, stats::write_errors),
    section("Latencystats", &["latencystats"], When::All, latency::write),
    section("Loop", &["loop"], When::All, phases::write),
    section("Cluster", &["cluster"], When::Usual, |lines, _| lines.field("cluster_enabled", 0)),
    section("Keyspace", &["keyspace"], When::Usual, keyspace::write),
    section("Debug", &["debug"], When::Named, phases::write_debug),
];

/// The text of the sections asked for, in any case of letters; of the usual ones if none is.
/// `all` and `everything` are all of them but `debug`, `default` the usual ones; others there are
/// none.
pub fn text(server: &Server, keys: &Keyspace, asked: &[&[u8]]) -> String {
    let is_asked = |name: &str| asked.iter().any(|a| a.eq_ignore_ascii_case(name.as_bytes()));
    let least = if is_asked("all") || is_asked("everything") {
        Some(When::All)
    } else if asked.is_empty() || is_asked("default") {
        Some(When::Usual)
    } else {
        None
    };
    let mut lines = Lines { text: String::with_capacity(8192) };
    for section in SECTIONS {
        let named = section.names.iter().any(|name| is_asked(name));
        if named || least.is_some_and(|least| section.when >= least) {
            lines.title(section.title);
            (section.write)(&mut lines, Source { server, keys });
        }
    }
    lines.text
}

/// The text so far.
struct Lines {
    text: String,
}

impl Lines {
    fn title(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\r\n");
        }
        self.line(format_args!("# {title}"));
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "{line}\r\n");
    }

    fn field(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("{name}:{value}"));
    }

    /// Bytes, and once more for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human(bytes));
    }

    /// A yes or no, as a digit.
    fn flag(&mut self, name: &str, value: bool) {
        self.field(name, u8::from(value));
    }

    fn status(&mut self, name: &str, ok: bool) {
        self.field(name, if ok { "ok" } else { "err" });
    }
}

/// Bytes in the largest unit that leaves a whole part: `512B`, `1.50K`, ... `2.00P`.
fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let exponent = (bytes.ilog2() / 10).min(5);
    let value = bytes as f64 / (1u64 << (10 * exponent)) as f64;
    format!("{value:.2}{}", ["", "K", "M", "G", "T", "P"][exponent as usize])
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_are_shown_to_people_as_redis_shows_them() {
        // As redis-server 7.0.15 gave them in maxmemory_human.
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_048_575, "1024.00K"),
            (1_048_576, "1.00M"),
            (123_456_789, "117.74M"),
            (5_000_000_000, "4.66G"),
            (1_500_000_000_000_000, "1.33P"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
