//! What time it is. The clock is handed to whoever needs one, so that a test can move time; and
//! the log's time stamp. Nothing else in the server asks the operating system for the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of time. Clones show the same time, also on other threads.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// When it was made, in nanoseconds of the system's monotonic clock.
    System {
        started_ns: u64,
    },
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    unix_us: AtomicI64,
    monotonic_us: AtomicU64,
}

impl Clock {
    /// The machine's clocks. Each reading is one call into the vDSO, without a system call.
    pub fn system() -> Clock {
        Clock { source: Source::System { started_ns: system_ns() } }
    }

    /// A clock that stands still at `start_ms` (milliseconds since 1970) until it is moved.
    pub fn manual(start_ms: i64) -> Clock {
        let unix_us = AtomicI64::new(start_ms.saturating_mul(1000));
        let manual = Manual { unix_us, monotonic_us: AtomicU64::new(0) };
        Clock { source: Source::Manual(Arc::new(manual)) }
    }

    /// Wall-clock time in microseconds since 1970. It can jump, in either direction, whenever
    /// somebody sets the machine's clock.
    pub fn unix_us(&self) -> i64 {
        match &self.source {
            Source::System { .. } => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(micros(since)).unwrap_or(i64::MAX),
                Err(before) => -i64::try_from(micros(before.duration())).unwrap_or(i64::MAX),
            },
            Source::Manual(manual) => manual.unix_us.load(Ordering::Relaxed),
        }
    }

    /// Wall-clock time in whole milliseconds since 1970; see [`Clock::unix_us`].
    pub fn unix_ms(&self) -> i64 {
        self.unix_us().div_euclid(1000)
    }

    /// Microseconds since this clock was made, never going back: for durations and deadlines.
    pub fn monotonic_us(&self) -> u64 {
        self.monotonic_ns() / 1000
    }

    /// The same in nanoseconds: commands are shorter than a microsecond.
    #[inline]
    pub fn monotonic_ns(&self) -> u64 {
        match &self.source {
            Source::System { started_ns } => system_ns().wrapping_sub(*started_ns),
            Source::Manual(manual) => manual.monotonic_us.load(Ordering::Relaxed) * 1000,
        }
    }

    /// Waits; a manual clock has moved by as much at once.
    pub fn sleep(&self, time: Duration) {
        match &self.source {
            Source::System { .. } => std::thread::sleep(time),
            Source::Manual(_) => self.advance_us(micros(time)),
        }
    }

    /// Lets `by_us` microseconds pass on a manual clock.
    ///
    /// # Panics
    /// On the system's clock: only a test moves time, and it has made its clock itself.
    pub fn advance_us(&self, by_us: u64) {
        let manual = self.manual_or_panic();
        let signed = i64::try_from(by_us).expect("a test does not wait for 292,000 years");
        manual.unix_us.fetch_add(signed, Ordering::Relaxed);
        manual.monotonic_us.fetch_add(by_us, Ordering::Relaxed);
    }

    /// Lets `by_ms` milliseconds pass on a manual clock.
    ///
    /// # Panics
    /// As [`Clock::advance_us`].
    pub fn advance(&self, by_ms: u64) {
        self.advance_us(by_ms * 1000);
    }

    /// Sets a manual clock's wall time, as an operator or NTP would: monotonic time goes on from
    /// where it was.
    ///
    /// # Panics
    /// As [`Clock::advance_us`].
    pub fn set_unix_ms(&self, unix_ms: i64) {
        self.manual_or_panic().unix_us.store(unix_ms * 1000, Ordering::Relaxed);
    }

    fn manual_or_panic(&self) -> &Manual {
        match &self.source {
            Source::Manual(manual) => manual,
            Source::System { .. } => panic!("the system's clock cannot be moved"),
        }
    }
}

/// The system's monotonic clock, which does not go back. Each command asks for it: what std's
/// `Instant` does to it beyond the reading takes longer than the reading.
#[allow(unsafe_code)]
#[inline]
fn system_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is a valid place to write to. This clock is always there, and where it
    // were not, time would stand still.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Whole microseconds. `Duration::as_micros` would do, but calculates in 128 bits.
fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
}

/// The time stamp of a log line, `22 Nov 2026 17:28:08.123`, from milliseconds since 1970, in the
/// process's time zone (`TZ`, or the machine's).
pub fn format_log_time(unix_ms: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let local = local_time(unix_ms.div_euclid(1000));
    // English in every locale, as Redis's.
    let month = usize::try_from(local.tm_mon).ok().and_then(|month| MONTHS.get(month));
    format!(
        "{:02} {} {} {:02}:{:02}:{:02}.{:03}",
        local.tm_mday,
        month.unwrap_or(&"???"),
        i64::from(local.tm_year) + 1900,
        local.tm_hour,
        local.tm_min,
        local.tm_sec,
        unix_ms.rem_euclid(1000)
    )
}

/// Seconds since 1970 as local calendar time; all zero where the C library cannot tell (years
/// beyond two thousand million).
///
/// Libc is asked because std knows no time zones, and reading their files is not our business.
#[allow(unsafe_code)]
fn local_time(unix_s: libc::time_t) -> libc::tm {
    // SAFETY: `tm` is plain C data (integers and a nullable pointer), for which zeros are valid.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right types, for the call's time only.
    // localtime_r may read the environment's TZ; std's own accesses to it cannot collide with
    // that here, as this program never sets a variable of its own environment.
    unsafe { libc::localtime_r(&unix_s, &mut local) };
    local
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Instant;

    #[test]
    fn system_time_is_the_systems_and_goes_on() {
        let clock = Clock::system();
        let us_since_1970 = || {
            i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros())
                .unwrap()
        };
        let before = us_since_1970();
        let (unix_us, unix_ms) = (clock.unix_us(), clock.unix_ms());
        let after = us_since_1970();
        assert!((before..=after).contains(&unix_us), "{before} {unix_us} {after}");
        assert!((before / 1000..=after / 1000).contains(&unix_ms));

        // A span within, and a span around, the one that the clock measures.
        let around = Instant::now();
        let first = clock.monotonic_us();
        let within = Instant::now();
        while within.elapsed().as_micros() < 50 {}
        let at_least = micros(within.elapsed());
        let passed = clock.monotonic_us() - first;
        let at_most = micros(around.elapsed());
        // Each reading is rounded down.
        assert!((at_least - 1..=at_most + 1).contains(&passed), "{at_least} {passed} {at_most}");
    }

    #[test]
    fn manual_time_moves_when_told() {
        let clock = Clock::manual(1_000);
        let clone = clock.clone();
        assert_eq!((clock.unix_ms(), clock.unix_us(), clock.monotonic_us()), (1_000, 1_000_000, 0));
        clock.advance(5);
        clock.advance_us(7);
        assert_eq!((clone.unix_ms(), clone.unix_us()), (1_005, 1_005_007));
        assert_eq!(clone.monotonic_us(), 5_007);
        clone.set_unix_ms(500);
        assert_eq!((clock.unix_ms(), clock.monotonic_us()), (500, 5_007));
    }

    #[test]
    fn milliseconds_before_1970_are_rounded_down() {
        let clock = Clock::manual(-1);
        clock.advance_us(1);
        assert_eq!((clock.unix_us(), clock.unix_ms()), (-999, -1));
    }

    #[test]
    #[should_panic(expected = "cannot be moved")]
    fn system_time_cannot_be_moved() {
        Clock::system().advance(1);
    }

    /// Prints some stamps; the next test runs it in a process of its own for each time zone.
    #[test]
    fn prints_log_times() {
        for unix_ms in [0, 951_782_400_007, 1_795_368_488_123, -1] {
            println!("stamp {}", format_log_time(unix_ms));
        }
    }

    #[test]
    fn log_times_are_in_the_time_zone_asked_for() {
        let stamps = |time_zone: &str| {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "base::clock::tests::prints_log_times", "--nocapture"])
                .env("TZ", time_zone)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let stamp = |line: &str| line.split_once("stamp ").map(|(_, stamp)| stamp.to_string());
            text.lines().filter_map(stamp).collect::<Vec<_>>()
        };
        // Expected values from `TZ=... date -d @seconds`. The zones are written out, in POSIX's
        // form, so that the machine need not have a time zone database.
        assert_eq!(
            stamps("UTC0"),
            [
                "01 Jan 1970 00:00:00.000",
                "29 Feb 2000 00:00:00.007",
                "22 Nov 2026 17:28:08.123",
                "31 Dec 1969 23:59:59.999",
            ]
        );
        assert_eq!(
            stamps("IST-5:30"),
            [
                "01 Jan 1970 05:30:00.000",
                "29 Feb 2000 05:30:00.007",
                "22 Nov 2026 22:58:08.123",
                "01 Jan 1970 05:29:59.999",
            ]
        );
        // With summer time, the whole year.
        assert_eq!(stamps("EST5EDT4,0/0,365/25")[2], "22 Nov 2026 13:28:08.123");
    }
}
