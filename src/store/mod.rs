//! The keyspace: records, the table that finds them, their expiry, the databases. Must not know
//! the protocol, clients or files.

pub mod access;
pub mod db;
pub mod digest;
pub mod event;
pub mod expiry;
pub mod interest;
pub mod record;
pub mod table;

pub use db::{Edit, Keyspace};
pub use record::{NewValue, View};
