//! Access categories: what rows name, and what follows from a command's flags.

use crate::server::command::{Command, flag};

/// All categories, in the order in which they are listed everywhere (`acl.c`).
pub const NAMES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// A command's categories, in the order of [`NAMES`].
pub fn of(command: &Command) -> impl Iterator<Item = &'static str> + '_ {
    NAMES.into_iter().filter(|name| is_in(command, name))
}

/// Whether a command belongs to a category, which must be in lower case.
pub fn is_in(command: &Command, category: &str) -> bool {
    command.categories.contains(&category) || is_implied(command, category)
}

/// Whether a category follows from a command's flags, so that its row need not name it.
pub fn is_implied(command: &Command, category: &str) -> bool {
    match category {
        "write" => command.has(flag::WRITE),
        "read" => command.has(flag::READONLY) && !command.categories.contains(&"scripting"),
        "admin" | "dangerous" => command.has(flag::ADMIN),
        "pubsub" => command.has(flag::PUBSUB),
        "blocking" => command.has(flag::BLOCKING),
        "fast" => command.has(flag::FAST),
        "slow" => !command.has(flag::FAST),
        _ => false,
    }
}
