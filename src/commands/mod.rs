//! The commands: one file a family, one row and one function a command.

pub mod acl;
pub mod bitmap;
mod client;
mod client_tracking;
pub mod command;
pub mod config;
pub mod connection;
pub mod debug;
pub mod dump;
mod expiration;
pub mod geo;
pub mod hash;
pub mod hash_expiry;
pub mod hyperloglog;
pub mod keys;
pub mod latency;
pub mod list;
pub mod memory;
pub mod migrate;
pub mod pubsub;
mod scan;
pub mod server;
pub mod set;
pub mod slowlog;
pub mod sort;
mod store;
pub mod stream;
pub mod string;
pub mod transactions;
pub mod zset;

#[cfg(test)]
mod info_tests;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod testing;

use crate::server::command::Command;

/// Every family, in the order of the documentation.
pub const FAMILIES: &[&[Command]] = &[
    connection::COMMANDS,
    command::COMMANDS,
    keys::COMMANDS,
    dump::COMMANDS,
    migrate::COMMANDS,
    string::COMMANDS,
    string::compare::COMMANDS,
    string::msetex::COMMANDS,
    hash::COMMANDS,
    hash_expiry::COMMANDS,
    pubsub::COMMANDS,
    transactions::COMMANDS,
    zset::COMMANDS,
    zset::range::COMMANDS,
    zset::pop::COMMANDS,
    zset::algebra::COMMANDS,
    set::COMMANDS,
    set::ALGEBRA,
    list::COMMANDS,
    stream::add::COMMANDS,
    stream::range::COMMANDS,
    stream::read::COMMANDS,
    stream::group::COMMANDS,
    stream::pending::COMMANDS,
    stream::info::COMMANDS,
    geo::COMMANDS,
    sort::COMMANDS,
    bitmap::COMMANDS,
    hyperloglog::COMMANDS,
    memory::COMMANDS,
    latency::COMMANDS,
    slowlog::COMMANDS,
    server::COMMANDS,
    acl::COMMANDS,
    config::COMMANDS,
    debug::COMMANDS,
];
