//! The protocol: bytes to arguments, replies to bytes. Must not know commands, clients or sockets.

pub mod command;
pub mod parse;
pub mod read;
pub mod reply;

pub use parse::Args;
pub use reply::Reply;
