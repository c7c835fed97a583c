//! What the tools say: lines on standard output, a progress bar on a terminal, and a question.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

const BAR_CELLS: usize = 40;
/// The bar is drawn anew no sooner than this.
const REDRAW: Duration = Duration::from_millis(100);

pub struct Output {
    /// Whether standard error is a terminal, where a bar can be drawn.
    has_bar: bool,
    /// When the bar was drawn last, if it is to be seen.
    drawn: Option<Instant>,
    began: Instant,
    /// The question has been answered with yes already.
    agreed: bool,
}

impl Output {
    pub fn new() -> Output {
        let has_bar = io::stderr().is_terminal();
        Output { has_bar, drawn: None, began: Instant::now(), agreed: false }
    }

    /// Prints a line. That nobody reads it is no reason to stop.
    pub fn line(&mut self, text: &str) {
        self.clear_bar();
        _ = writeln!(io::stdout().lock(), "{text}");
    }

    /// Prints a line for who called the tool in a wrong way.
    pub fn complain(&mut self, text: &str) {
        _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Shows how much of a file is done; bytes. Nothing is drawn for what is done in no time.
    pub fn progress(&mut self, done: u64, total: u64) {
        if !self.has_bar || self.drawn.unwrap_or(self.began).elapsed() < REDRAW {
            return;
        }
        self.drawn = Some(Instant::now());
        _ = write!(io::stderr().lock(), "\r{}", bar(done, total));
    }

    /// Takes the bar away.
    pub fn clear_bar(&mut self) {
        if self.drawn.take().is_some() {
            self.began = Instant::now();
            _ = write!(io::stderr().lock(), "\r{:79}\r", "");
        }
    }

    /// Asks whether to go on, once; a second time it is agreed to already.
    pub fn confirm(&mut self) -> bool {
        if self.agreed {
            return true;
        }
        self.clear_bar();
        let mut stdout = io::stdout().lock();
        _ = write!(stdout, "Continue? [y/N]: ");
        _ = stdout.flush();
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        self.agreed = read.is_ok() && answer.trim_start().starts_with(['y', 'Y']);
        self.agreed
    }
}

fn bar(done: u64, total: u64) -> String {
    let part = if total == 0 { 1.0 } else { (done as f64 / total as f64).min(1.0) };
    let full = (part * BAR_CELLS as f64) as usize;
    let (full, empty) = ("#".repeat(full), " ".repeat(BAR_CELLS - full));
    format!("[{full}{empty}] {:3.0}% of {} MB", part * 100.0, total >> 20)
}

/// Has what the library logs printed: what becomes of a ring, for one.
pub fn print_log() {
    struct Printer;
    impl log::Log for Printer {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.level() <= log::Level::Warn
        }
        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                _ = writeln!(io::stdout().lock(), "[warning] {}", record.args());
            }
        }
        fn flush(&self) {}
    }
    if log::set_logger(&Printer).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

/// `s` where it is not one.
pub fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert_eq!(bar(0, 100 << 20), format!("[{}]   0% of 100 MB", " ".repeat(40)));
        assert_eq!(bar(50, 100), format!("[{}{}]  50% of 0 MB", "#".repeat(20), " ".repeat(20)));
        assert_eq!(bar(200, 100), format!("[{}] 100% of 0 MB", "#".repeat(40)));
        assert_eq!(bar(0, 0), format!("[{}] 100% of 0 MB", "#".repeat(40)));
    }
}
