//! How many different elements a histogram of registers stands for.
//!
//! Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284,
//! algorithm 6. The order of the operations is Redis's, so that the numbers agree to the last.

use super::{Histogram, REGISTERS, RUN_BITS};

/// 1 / (2 ln 2).
const ALPHA_INF: f64 = 0.721_347_520_444_481_7;

/// The improved estimate.
pub fn estimate(histogram: &Histogram) -> u64 {
    let m = REGISTERS as f64;
    let longest = RUN_BITS as usize;
    let mut z = m * tau((m - f64::from(histogram[longest + 1])) / m);
    for &registers in histogram[1..=longest].iter().rev() {
        z = (z + f64::from(registers)) * 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    let estimate = (ALPHA_INF * m * m / z).round();
    // No hash leads to registers that make it infinite, but a string may claim them. What Redis
    // makes of that on x86, where such numbers have no integer, is this.
    if estimate < (1u64 << 63) as f64 { estimate as u64 } else { 1 << 63 }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let mut y = 1.0;
    let mut z = x;
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let mut y = 1.0;
    let mut z = 1.0 - x;
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}
