//! Sockets and their buffers. Must not know commands or data.

pub mod conn;
pub mod listener;
pub mod stream;
