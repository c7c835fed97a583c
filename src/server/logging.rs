//! The log in Redis's line format: `PID:M 22 Nov 2026 17:28:08.123 * message`.
//!
//! Redis has four levels; the `log` crate's are used so: trace is debug, debug is verbose, info is
//! notice, warn and error are warning.

use super::config::LogLevel;
use crate::base::clock::{Clock, format_log_time};
use env_logger::{Builder, Target};
use log::{Level, LevelFilter};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

/// Writes each line with the file opened anew, so that a log rotated away is followed.
struct LogFile(PathBuf);

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        OpenOptions::new().append(true).create(true).open(&self.0)?.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins logging to a file, or to standard output if its name is empty. Call it once.
pub fn start(file: &str, level: LogLevel) {
    let target =
        if file.is_empty() { Target::Stdout } else { Target::Pipe(Box::new(LogFile(file.into()))) };
    let pid = std::process::id();
    let clock = Clock::system();
    let mut builder = Builder::new();
    builder.target(target).filter_level(LevelFilter::Trace).format(move |out, record| {
        let mark = match record.level() {
            Level::Trace => '.',
            Level::Debug => '-',
            Level::Info => '*',
            Level::Warn | Level::Error => '#',
        };
        let time = format_log_time(clock.unix_ms());
        writeln!(out, "{pid}:M {time} {mark} {}", record.args())
    });
    // A second server in one process (a test) goes on with the first one's log.
    let _ = builder.try_init();
    set_level(level);
}

/// `loglevel`, also at run time.
pub fn set_level(level: LogLevel) {
    log::set_max_level(match level {
        LogLevel::Debug => LevelFilter::Trace,
        LogLevel::Verbose => LevelFilter::Debug,
        LogLevel::Notice => LevelFilter::Info,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Nothing => LevelFilter::Off,
    });
}
