//! LATENCY GRAPH: the events of a kind as a drawing of letters, as Redis draws it.
//!
//! ```text
//! command - high 50 ms, low 6 ms (all time high 50 ms)
//! ----------------------------------------------------
//!    #
//!    |
//!  _ |
//! o|#|_
//!
//! 54321
//! sssss
//! ```

use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::latency::{Sample, Series};

const COLUMNS: usize = 80;
/// Of a column, without its label.
const ROWS: usize = 4;
/// What a column may end with, from low to high.
const TOPS: [char; 3] = ['_', 'o', '#'];
/// What is below.
const STEM: char = '|';

pub fn graph(ctx: &mut Ctx) -> Result<(), Error> {
    let Some((event, series)) = ctx.server.latency.get(ctx.arg(2)) else {
        let text = [b"ERR No samples available for event '", ctx.arg(2), b"'"].concat();
        return Err(Error::Bytes(text));
    };
    let text = draw(event, series, ctx.now_ms() / 1000);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn draw(event: &str, series: &Series, now_s: i64) -> String {
    let samples: Vec<Sample> = series.samples().collect();
    let took = || samples.iter().map(|sample| sample.took_ms);
    let (low, high) = (took().min().unwrap_or(0), took().max().unwrap_or(0));
    let worst = series.worst_ms;
    let mut text = format!("{event} - high {high} ms, low {low} ms (all time high {worst} ms)\n");
    text.push_str(&"-".repeat(COLUMNS));
    text.push('\n');
    let parts = samples.chunks(COLUMNS).map(|part| draw_part(part, low, high, now_s));
    text.push_str(&parts.collect::<Vec<_>>().join("\n"));
    text
}

fn draw_part(samples: &[Sample], low: u64, high: u64, now_s: i64) -> String {
    let steps = ROWS * TOPS.len();
    let heights: Vec<usize> = samples
        .iter()
        .map(|sample| {
            let share = (sample.took_ms - low) as u128 * steps as u128;
            ((share / u128::from((high - low).max(1))) as usize).min(steps - 1)
        })
        .collect();
    let labels: Vec<String> = samples.iter().map(|sample| age(now_s - sample.at_s)).collect();
    let longest = labels.iter().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for row in (0..ROWS).rev() {
        text.extend(heights.iter().map(|&height| cell(height, row * TOPS.len())));
        text.push('\n');
    }
    text.push_str(&" ".repeat(samples.len()));
    text.push('\n');
    for row in 0..longest {
        text.extend(labels.iter().map(|label| label.chars().nth(row).unwrap_or(' ')));
        text.push('\n');
    }
    text
}

/// What is seen of a column in a row that begins at `bottom`.
fn cell(height: usize, bottom: usize) -> char {
    match height.checked_sub(bottom) {
        None => ' ',
        Some(above) => *TOPS.get(above).unwrap_or(&STEM),
    }
}

/// How long ago something was, in the largest unit that leaves a whole part.
fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::latency::Latency;

    fn drawn(took_ms: &[u64]) -> String {
        let mut latency = Latency::default();
        took_ms.iter().enumerate().for_each(|(at_s, ms)| latency.add("command", *ms, at_s as i64));
        let (event, series) = latency.get(b"command").unwrap();
        draw(event, series, took_ms.len() as i64)
    }

    #[test]
    fn the_drawing_is_redis_s() {
        // As redis-server 7.0.15 drew it, with blanks at the ends of lines.
        let wanted = [
            "command - high 50 ms, low 6 ms (all time high 50 ms)",
            "--------------------------------------------------------------------------------",
            "   # ",
            "   | ",
            " _ | ",
            "o|#|_",
            "     ",
            "54321",
            "sssss",
            "",
        ];
        assert_eq!(drawn(&[10, 20, 15, 50, 6]).split('\n').collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn many_events_take_several_lines() {
        let text = drawn(&(0..85).collect::<Vec<_>>());
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!((lines[2].len(), lines[7].len()), (80, 80));
        assert_eq!(
            (&lines[7][..6], &lines[8][..6], &lines[9][..6]),
            ("111111", "mmmmmm", "      ")
        );
        // The last four of this part are younger than ten seconds.
        assert_eq!((lines[9].trim_end().len(), lines[10]), (76, ""));
        assert_eq!(
            lines[11..],
            ["#####", "|||||", "|||||", "|||||", "     ", "54321", "sssss", ""]
        );
    }

    #[test]
    fn equal_events_are_low() {
        let text = drawn(&[7, 7]);
        assert_eq!(text.lines().nth(5), Some("__"));
    }

    #[test]
    fn ages_have_one_unit() {
        let ages = [0, 59, 60, 3599, 3600, 86_399, 86_400, 864_000].map(age);
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "10d"]);
    }
}
