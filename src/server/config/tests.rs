//! What holds for the whole table, and each part of the configuration by example. Expected texts
//! and values are those that redis-server 7.0.15 gave when asked the same.

use std::collections::BTreeMap;

use super::*;
use crate::base::glob;

/// See the first line of the file.
const REDIS_DEFAULTS: &str = include_str!("redis-7.0.15-defaults.txt");

/// Names that Redis 7.0 does not have, and ours.
const NEWER: [&str; 6] = [
    "aof-ring-dir",
    "aof-ring-size",
    "cluster-announce-human-nodename",
    "locale-collate",
    "set-max-listpack-entries",
    "set-max-listpack-value",
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

#[test]
fn names_and_defaults_are_those_of_redis() {
    let config = Config::default();
    for (name, value) in redis_defaults() {
        let expected = if name == "appendonly" { "yes" } else { value };
        assert_eq!(get(&config, &[name]), [(name.to_owned(), expected.to_owned())]);
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
