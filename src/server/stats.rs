//! What the server counts: for INFO, and for CONFIG RESETSTAT to forget.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, Default)]
pub struct CommandStats {
    pub calls: u64,
    /// Nanoseconds spent in it.
    pub ns: u64,
    /// Refused before it ran.
    pub rejected: u64,
    /// Ran and answered with an error.
    pub failed: u64,
}

#[derive(Default)]
pub struct Stats {
    /// By the command's id.
    pub commands: Vec<CommandStats>,
    /// By the error's code.
    pub errors: BTreeMap<Box<str>, u64>,
    pub total_errors: u64,
    pub total_commands: u64,
    pub connections: u64,
    pub rejected_connections: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub reads: u64,
    pub writes: u64,
    pub acl_denied_auth: u64,
    pub query_buffer_disconnections: u64,
    pub output_buffer_disconnections: u64,
    /// Clients cut off for `maxmemory-clients`.
    pub evicted_clients: u64,
    pub peak_memory: u64,
    /// Commands a second, smoothed; see [`Rate`].
    pub command_rate: Rate,
    pub input_rate: Rate,
    pub output_rate: Rate,
}

/// Redis keeps as many error codes before it gives up, so that scripts cannot fill the memory.
const MAX_ERROR_CODES: usize = 128;

impl Stats {
    pub fn new(commands: usize) -> Stats {
        Stats { commands: vec![CommandStats::default(); commands], ..Stats::default() }
    }

    /// Counts an error reply by its first word.
    pub fn count_error(&mut self, text: &[u8]) {
        self.total_errors += 1;
        let end = text.iter().position(|&b| b == b' ').unwrap_or(text.len());
        let code = String::from_utf8_lossy(&text[..end]);
        if let Some(count) = self.errors.get_mut(code.as_ref()) {
            *count += 1;
        } else if self.errors.len() < MAX_ERROR_CODES {
            self.errors.insert(code.into(), 1);
        }
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&mut self) {
        *self = Stats { peak_memory: self.peak_memory, ..Stats::new(self.commands.len()) };
    }
}

/// Events a second, as the mean of the last samples.
#[derive(Default)]
pub struct Rate {
    last_total: u64,
    last_ms: i64,
    samples: [u64; 16],
    next: usize,
}

impl Rate {
    /// Takes a sample of a counter that only grows; a hundred milliseconds apart is good.
    pub fn sample(&mut self, total: u64, now_ms: i64) {
        let ms = (now_ms - self.last_ms).max(1) as u64;
        if self.last_ms > 0 {
            self.samples[self.next] = total.saturating_sub(self.last_total) * 1000 / ms;
            self.next = (self.next + 1) % self.samples.len();
        }
        (self.last_total, self.last_ms) = (total, now_ms);
    }

    pub fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / self.samples.len() as u64
    }
}
