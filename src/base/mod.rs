//! Small tools that know nothing of Redis's commands or data: patterns, number formats, the clock,
//! random numbers, a checksum, argument lines. Nothing in here may mention another folder of this
//! crate.

pub mod args;
pub mod clock;
pub mod crc64;
pub mod glob;
pub mod hash;
pub mod histogram;
pub mod number;
pub mod prefetch;
pub mod rng;
pub mod table;
