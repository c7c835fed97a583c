//! What goes to disk and comes back. Must not know clients or commands' meanings.
mod ahead;
pub mod aof;
pub mod files;
pub mod rdb;
pub mod snapshot;
