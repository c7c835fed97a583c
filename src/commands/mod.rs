//! The commands: one file a family, one row and one function a command.

mod client;
pub mod command;
pub mod config;
pub mod connection;
pub mod debug;
pub mod hash;
pub mod memory;
pub mod server;
pub mod string;

use crate::server::command::Command;

/// Every family, in the order of the documentation.
pub const FAMILIES: &[&[Command]] = &[
    connection::COMMANDS,
    command::COMMANDS,
    string::COMMANDS,
    hash::COMMANDS,
    memory::COMMANDS,
    server::COMMANDS,
    config::COMMANDS,
    debug::COMMANDS,
];

#[cfg(test)]
mod info_tests;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod testing;
