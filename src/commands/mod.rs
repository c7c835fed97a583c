//! The commands: one file a family, one row and one function a command.

pub mod connection;
mod expiration;
pub mod keys;
mod scan;
pub mod string;
#[cfg(test)]
mod testing;

use crate::server::command::Command;

/// Every family, in the order of the documentation.
pub const FAMILIES: &[&[Command]] = &[connection::COMMANDS, keys::COMMANDS, string::COMMANDS];
