//! What holds for the whole table, and each part of the configuration by example. Expected texts
//! and values are those that redis-server 7.0.15 gave when asked the same, but for what is ours.

mod command_line;
mod loading;
mod properties;
mod rewriting;
mod run_time;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::load::{Loader, Source};
use super::values::Input;
use super::*;
use crate::base::glob;

/// See the first line of the file.
const REDIS_DEFAULTS: &str = include_str!("redis-7.0.15-defaults.txt");

/// Names that Redis 7.0 does not have, and ours.
const NEWER: [&str; 7] = [
    "aof-ring-dir",
    "aof-ring-size",
    "cluster-announce-human-nodename",
    "locale-collate",
    "set-max-listpack-entries",
    "set-max-listpack-value",
    "snapshot-queue-size",
];

fn redis_defaults() -> BTreeMap<&'static str, &'static str> {
    let lines = REDIS_DEFAULTS.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).collect()
}

fn get(config: &Config, patterns: &[&str]) -> Vec<(String, String)> {
    let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let found = config.get(&patterns, &|pattern, name| glob::matches(pattern, name, true));
    found.into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

/// The value of one directive.
fn value(config: &Config, name: &str) -> String {
    let found = get(config, &[name]);
    assert_eq!(found.len(), 1, "{name}");
    found.into_iter().next().unwrap().1
}

/// What a file `test.conf` with this text gives.
fn load(text: &[u8]) -> Result<Config, String> {
    let mut loader = Loader::new();
    let source = Source::File(Arc::new("test.conf".into()));
    loader.text(text, &source).map_err(|error| error.to_string())?;
    loader.finish().map_err(|error| error.to_string())
}

fn loaded(text: &str) -> Config {
    load(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn names_and_defaults_are_those_of_redis() {
    let config = Config::default();
    for (name, redis_value) in redis_defaults() {
        let expected = if name == "appendonly" { "yes" } else { redis_value };
        assert_eq!(value(&config, name), expected, "{name}");
    }
}

#[test]
fn all_other_names_are_known_to_be_newer() {
    let redis = redis_defaults();
    let all = TABLE.iter().filter(|row| !row.is_declaration()).flat_map(Directive::names);
    let mut others: Vec<_> =
        all.filter(|name| !redis.contains_key(name) && *name != "dir").collect();
    others.sort();
    assert_eq!(others, NEWER);
}

#[test]
fn no_name_is_used_twice() {
    let mut names: Vec<_> = TABLE.iter().flat_map(Directive::names).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// So that a value inside the range always fits the field.
#[test]
fn both_ends_of_each_range_fit_the_type() {
    for row in TABLE {
        let Kind::Number { min, max, unit } = row.kind else { continue };
        for number in [min, max] {
            let text = if unit == Unit::Octal { format!("{number:o}") } else { number.to_string() };
            let words = [text.into_bytes()];
            let input = Input { words: &words, place: &Place::Client, again: false };
            let mut config = Config::default();
            assert_eq!((row.assign)(&mut config, &row.kind, &input), Ok(()), "{}", row.name);
            let expected = if unit == Unit::Hertz {
                number.clamp(1, 500).to_string().into()
            } else {
                words[0].clone()
            };
            assert_eq!((row.show)(&config, &row.kind), expected, "{}", row.name);
        }
    }
}

/// CONFIG SET does not look at it.
#[test]
fn what_is_refused_cannot_be_set_at_run_time() {
    for row in TABLE.iter().filter(|row| row.traits.support == Support::Refused) {
        assert!(!row.traits.runtime, "{}", row.name);
    }
}

#[test]
fn the_reference_has_a_line_for_each_directive() {
    let reference = reference();
    for row in TABLE {
        assert_eq!(reference.matches(&format!("- **`{}`**", row.name)).count(), 1, "{}", row.name);
        assert!(row.doc().ends_with('.'), "{}", row.name);
    }
    let line = |start: &str| reference.lines().find(|line| line.starts_with(start)).unwrap();
    assert_eq!(
        line("- **`tcp-keepalive`"),
        "- **`tcp-keepalive`** *number, 0 to 2147483647* = `300`, run time. Seconds without \
         traffic after which the kernel probes whether a client is still there; 0 for never."
    );
    assert!(line("- **`zset-max-listpack-value`").contains(" (also `zset-max-ziplist-value`) "));
}

#[test]
fn only_what_is_missing_and_used_is_unsupported() {
    assert_eq!(Config::default().unsupported_in_use(), [""; 0]);
    let config = loaded("syslog-enabled yes\nport 1\nio-threads 4\ncrash-log-enabled yes\n");
    assert_eq!(config.unsupported_in_use(), ["syslog-enabled"]);
}
