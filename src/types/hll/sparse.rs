//! The sparse form: runs of equal registers, one after the other, until all are covered.
//!
//! ```text
//! 00nnnnnn            ZERO   n + 1 registers are 0
//! 01nnnnnn nnnnnnnn   XZERO  n + 1 registers are 0, high bits first
//! 1vvvvvnn            VAL    n + 1 registers are v + 1
//! ```
//!
//! Which of several equal forms results from a change is Redis's choice (`hllSparseSet`), step for
//! step, so that the bytes are the same. Must not know the header.

use super::{Corrupt, REGISTERS};

/// All registers in one XZERO.
pub const ALL_ZERO: [u8; 2] = [0x40 | ((REGISTERS - 1) >> 8) as u8, (REGISTERS - 1) as u8];

const ZERO_MAX: usize = 64;
const VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;

/// Some registers in a row with the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub value: u8,
    pub len: usize,
    /// Written as an XZERO.
    pub is_long: bool,
}

impl Run {
    /// The run at the beginning of these bytes. One that is cut off covers more registers than
    /// there are, as no whole one does.
    fn read(bytes: &[u8]) -> Option<Run> {
        let (&first, rest) = bytes.split_first()?;
        let low = usize::from(first & 0x3F);
        Some(match first >> 6 {
            0 => Run { value: 0, len: low + 1, is_long: false },
            1 => {
                let len = rest.first().map(|next| (low << 8 | usize::from(*next)) + 1);
                Run { value: 0, len: len.unwrap_or(REGISTERS + 1), is_long: true }
            }
            _ => Run { value: (first >> 2 & 0x1F) + 1, len: low % 4 + 1, is_long: false },
        })
    }

    /// Bytes it takes.
    fn size(&self) -> usize {
        if self.is_long { 2 } else { 1 }
    }

    fn is_value(&self) -> bool {
        self.value > 0
    }
}

pub fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> + '_ {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let run = Run::read(rest)?;
        rest = rest.get(run.size()..).unwrap_or_default();
        Some(run)
    })
}

/// What raising a register asks for.
pub enum Change {
    /// It holds as much already.
    None,
    Splice(Splice),
    /// The value has no sparse form.
    TooGreat,
}

/// Bytes to be replaced.
pub struct Splice {
    pub at: usize,
    pub remove: usize,
    /// Bytes more than before, until neighbours were joined: what the limit is compared with.
    pub growth: usize,
    with: Buffer,
}

impl Splice {
    pub fn with(&self) -> &[u8] {
        &self.with.bytes[..self.with.len]
    }
}

/// Room for the run before the changed one, three that come of it, and those looked at behind.
struct Buffer {
    bytes: [u8; 32],
    len: usize,
}

impl Buffer {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Adds a run, if it is not empty.
    fn push_run(&mut self, value: u8, len: usize) {
        match (value, len) {
            (_, 0) => {}
            (0, 1..=ZERO_MAX) => self.push(&[(len - 1) as u8]),
            (0, _) => self.push(&[0x40 | ((len - 1) >> 8) as u8, (len - 1) as u8]),
            _ => self.push(&[0x80 | (value - 1) << 2 | (len - 1) as u8]),
        }
    }

    fn remove(&mut self, at: usize) {
        self.bytes.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }

    /// Joins equal values among the first five runs, as far as one run can hold them.
    fn join(&mut self) {
        let mut at = 0;
        for _ in 0..RUNS_JOINED {
            // A run that is cut off ends behind the end.
            let from = |at: usize| Run::read(&self.bytes[at.min(self.len)..self.len]);
            let Some(run) = from(at) else { return };
            let next = from(at + run.size());
            if let Some(next) = next.filter(|next| run.is_value() && next.value == run.value)
                && run.len + next.len <= VALUE_RUN_MAX
            {
                // The joined run is looked at again, as it may take in the next one, too.
                self.remove(at);
                self.bytes[at] = 0x80 | (run.value - 1) << 2 | (run.len + next.len - 1) as u8;
            } else {
                at += run.size();
            }
        }
    }
}

const RUNS_JOINED: usize = 5;
/// So many bytes behind the changed run are looked at, at most.
const LOOK_AHEAD: usize = 2 * RUNS_JOINED + 2;

/// How the bytes change if a register is to hold at least this value.
pub fn change(bytes: &[u8], index: usize, value: u8) -> Result<Change, Corrupt> {
    if value > VALUE_MAX {
        return Ok(Change::TooGreat);
    }
    // The run that covers the register, and the one before it.
    let (mut at, mut before, mut first) = (0, 0, 0);
    let run = loop {
        let run = Run::read(&bytes[at..]).ok_or(Corrupt)?;
        if at + run.size() > bytes.len() {
            return Err(Corrupt);
        }
        if index < first + run.len {
            break run;
        }
        before = at;
        at += run.size();
        first += run.len;
    };
    if run.value >= value {
        return Ok(Change::None);
    }
    let behind = at + run.size();
    let end = bytes.len().min(behind + LOOK_AHEAD);
    let mut with = Buffer { bytes: [0; 32], len: 0 };
    with.push(&bytes[before..at]);
    with.push_run(run.value, index - first);
    with.push_run(value, 1);
    with.push_run(run.value, first + run.len - 1 - index);
    let growth = with.len.saturating_sub(behind - before);
    with.push(&bytes[behind..end]);
    with.join();
    Ok(Change::Splice(Splice { at: before, remove: end - before, growth, with }))
}
