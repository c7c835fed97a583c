//! What the integration tests share: a server as a process, a raw client, and waiting with a
//! deadline. All but [`aof`] knows the program only from outside: its arguments, sockets, files
//! and log.

// Each test program uses its own part of this.
#![allow(dead_code)]

pub mod aof;
pub mod conn;
pub mod expect;
pub mod run;
pub mod script;
pub mod server;

pub use conn::{Conn, encode};
pub use server::{Options, Server};

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what should come at once. Generous, as tests share few cores.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until the condition holds; false if it does not within `deadline`.
pub fn wait_for(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    let mut pause_us = 200;
    while !condition() {
        if began.elapsed() > deadline {
            return false;
        }
        thread::sleep(Duration::from_micros(pause_us));
        pause_us = (pause_us * 2).min(20_000);
    }
    true
}

/// Waits until `look` gives `expected`, and fails the test with what it gave last otherwise.
#[track_caller]
pub fn wait_until_eq<T: PartialEq + Debug>(expected: T, mut look: impl FnMut() -> T) {
    let mut last = None;
    let done = wait_for(DEADLINE, || *last.insert(look()) == expected);
    assert!(done, "waited for {expected:?}, got {:?}", last.unwrap());
}
