//! Puts the parts in order: the tick, the gate, execution, effects.
pub mod config;
