//! Numbers as Redis reads and writes them. Knows bytes only, no keys and no replies.
//!
//! Three kinds, each with its own rules: whole numbers (strict: one spelling each), doubles
//! (scores, RESP3 doubles: what C's `strtod` reads, the shortest text that reads back as the
//! same), and [`LongDouble`] (INCRBYFLOAT: x87 arithmetic, printed with 17 decimals).

mod double;
mod integer;
mod literal;
mod long_double;

pub use double::{parse_f64, push_f64, push_f64_17};
pub use integer::{digits, parse_i64, parse_u64, push_i64};
pub use long_double::LongDouble;
