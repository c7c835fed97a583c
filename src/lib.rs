//! goredis: a Redis-compatible server.

#![deny(unsafe_code)]

pub mod base;
pub mod commands;
pub mod net;
pub mod persist;
pub mod resp;
pub mod server;
pub mod store;
pub mod types;
