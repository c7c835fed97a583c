//! The commands: one file a family, one row and one function a command.

pub mod bitmap;
mod client;
pub mod command;
pub mod config;
pub mod connection;
pub mod debug;
mod expiration;
pub mod hash;
pub mod hyperloglog;
pub mod keys;
pub mod memory;
mod scan;
pub mod server;
pub mod string;

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
    string::COMMANDS,
    string::compare::COMMANDS,
    string::msetex::COMMANDS,
    hash::COMMANDS,
    bitmap::COMMANDS,
    hyperloglog::COMMANDS,
    memory::COMMANDS,
    server::COMMANDS,
    config::COMMANDS,
    debug::COMMANDS,
];
