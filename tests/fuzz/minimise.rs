//! Finds few steps that still go wrong, among many that did.

use std::time::{Duration, Instant};

use super::run::{Servers, Step};

/// How long to look for fewer steps.
const PATIENCE: Duration = Duration::from_secs(90);

/// Few of the steps, in their order, that fail as well, on servers just reset. If all of them
/// together do not fail again, all of them.
pub fn minimise(servers: &mut Servers, steps: Vec<Step>) -> Vec<Step> {
    let began = Instant::now();
    let mut fails = |steps: &[Step]| {
        servers.reset();
        servers.run(steps, 0).err()
    };
    let mut left = steps;
    // What comes before a comparison of all data often parts the servers long before.
    if !matches!(left.last(), Some(Step::Restart { .. })) {
        left.push(Step::Compare);
    }
    match fails(&left) {
        Some(failure) => left.truncate(failure.step + 1),
        None => return left,
    }
    // Chunks go away while the rest fails, smaller and smaller ones, until no single step can.
    let mut chunk = left.len().div_ceil(2);
    while began.elapsed() < PATIENCE {
        let before = left.len();
        let mut at = 0;
        while at < left.len() && began.elapsed() < PATIENCE {
            let end = (at + chunk).min(left.len());
            let rest = [&left[..at], &left[end..]].concat();
            match fails(&rest) {
                Some(failure) => {
                    left = rest;
                    left.truncate(failure.step + 1);
                }
                None => at = end,
            }
        }
        if chunk == 1 && left.len() == before {
            break;
        }
        chunk = chunk.div_ceil(2).max(1);
    }
    left
}
