//! What can be said about a command from its row alone: COMMAND INFO, COMMAND DOCS, the HELP of
//! containers, access categories. Must not know handlers, clients or data.

pub mod categories;
mod describe;
mod help;
pub mod syntax;
mod syntax_parse;
#[cfg(test)]
mod syntax_tests;

pub use describe::{docs, info, simple_set};
pub use help::{help, wrong_subcommand};
