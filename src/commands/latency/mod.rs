//! LATENCY: what took long, and how long each command takes.

mod doctor;
mod graph;

use crate::resp::Reply;
use crate::server::command::{Command, CommandTable, Entry, Group, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::introspect::help;
use crate::server::stats::CallTimes;

const ROW: Command = Command {
    group: Group::Server,
    since: "2.8.13",
    arity: 2,
    flags: ADMIN | NOSCRIPT | LOADING | STALE,
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    ..Command::BASE
};

pub const COMMANDS: &[Command] = &[Command {
    name: "latency",
    summary: "Tells what took long",
    complexity: "Depends on the subcommand",
    arity: -2,
    flags: 0,
    tips: &[],
    subcommands: &[
        Command {
            name: "doctor",
            summary: "Describes what took long, and what can be done about it",
            handler: doctor::doctor,
            ..ROW
        },
        Command {
            name: "graph",
            summary: "Draws the events of a kind",
            arity: 3,
            args: "event",
            handler: graph::graph,
            ..ROW
        },
        Command {
            name: "help",
            summary: "Describes the subcommands",
            flags: LOADING | STALE,
            tips: &[],
            handler: help,
            ..ROW
        },
        Command {
            name: "histogram",
            summary: "Tells how many calls of commands, or of all of them, took how long",
            since: "7.0.0",
            complexity: "O(N) for N commands told of",
            arity: -2,
            args: "[COMMAND:string ...]",
            handler: histogram,
            ..ROW
        },
        Command {
            name: "history",
            summary: "Lists the events of a kind, with their times and durations",
            arity: 3,
            args: "event",
            handler: history,
            ..ROW
        },
        Command {
            name: "latest",
            summary: "Lists the last event of each kind, and the worst duration",
            handler: latest,
            ..ROW
        },
        Command {
            name: "reset",
            summary: "Forgets the events of these kinds, or all of them",
            arity: -2,
            args: "[event ...]",
            tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
            handler: reset,
            ..ROW
        },
    ],
    ..ROW
}];

fn latest(ctx: &mut Ctx) -> Result<(), Error> {
    let events = ctx.server.latency.iter();
    ctx.out.array(events.len());
    for (event, series) in events {
        let last = series.samples().last();
        ctx.out.array(4);
        ctx.out.bulk(event.as_bytes());
        ctx.out.int(last.map_or(0, |last| last.at_s));
        ctx.out.int(last.map_or(0, |last| last.took_ms as i64));
        ctx.out.int(series.worst_ms as i64);
    }
    Ok(())
}

fn history(ctx: &mut Ctx) -> Result<(), Error> {
    let Some((_, series)) = ctx.server.latency.get(ctx.arg(2)) else {
        ctx.out.array(0);
        return Ok(());
    };
    let samples = series.samples();
    ctx.out.array(samples.len());
    for sample in samples {
        ctx.out.array(2);
        ctx.out.int(sample.at_s);
        ctx.out.int(sample.took_ms as i64);
    }
    Ok(())
}

fn reset(ctx: &mut Ctx) -> Result<(), Error> {
    let latency = &mut ctx.server.latency;
    let forgotten: usize = match ctx.args.len() {
        2 => latency.reset(None),
        _ => ctx.args.from(2).iter().map(|event| latency.reset(Some(event))).sum(),
    };
    ctx.out.int(forgotten as i64);
    Ok(())
}

fn histogram(ctx: &mut Ctx) -> Result<(), Error> {
    let commands = ctx.server.commands;
    let asked: Vec<&Entry> = match ctx.args.len() {
        2 => commands.with_subcommands().collect(),
        _ => ctx.args.from(2).iter().flat_map(|name| named(commands, name)).collect(),
    };
    let open = ctx.out.open();
    let mut count = 0;
    for entry in asked {
        if let Some(times) = &ctx.server.stats.commands[entry.id].times {
            ctx.out.bulk(entry.full_name.as_bytes());
            write_histogram(ctx.out, times);
            count += 1;
        }
    }
    ctx.out.close_map(open, count);
    Ok(())
}

/// A command and its subcommands, or the one subcommand of `container|subcommand`; none if there
/// is no such command.
fn named(commands: &CommandTable, name: &[u8]) -> Vec<&'static Entry> {
    let mut words = name.split(|&b| b == b'|');
    let container = words.next().and_then(|word| commands.find(word));
    match (container, words.next(), words.next()) {
        (Some(entry), None, _) => std::iter::once(entry).chain(entry.subcommands()).collect(),
        (Some(entry), Some(word), None) => entry.subcommand(word).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Microseconds, twice as many each time, and how many calls took no longer. Those up to which no
/// call is new are left out.
fn write_histogram(out: &mut Reply, times: &CallTimes) {
    /// The first of them, in nanoseconds.
    const FIRST: u64 = 1024;
    out.map(2);
    out.bulk(b"calls");
    out.int(times.count() as i64);
    out.bulk(b"histogram_usec");
    let open = out.open();
    let (mut levels, mut before) = (0, 0);
    for (ns, calls) in times.doubling(FIRST) {
        if calls > before {
            out.int((ns / 1000) as i64);
            out.int(calls as i64);
            levels += 1;
        }
        before = calls;
    }
    out.close_map(open, levels);
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Run;

    fn run() -> Run {
        let mut run = Run::debugging();
        run.check(&[("config set latency-monitor-threshold 100", "+OK")]);
        run
    }

    #[test]
    fn slow_commands_are_told() {
        let mut run = run();
        run.check(&[
            ("latency latest", "*0"),
            ("latency history command", "*0"),
            ("debug sleep 0.0999", "+OK"),
            ("latency latest", "*0"),
            ("debug sleep 0.3", "+OK"),
            ("debug sleep 1", "+OK"),
            ("debug sleep 0.1", "+OK"),
            ("latency latest", "*1 *4 $7 command :1700000001 :1000 :1000"),
            ("latency history command", "*2 *2 :1700000000 :300 *2 :1700000001 :1000"),
            ("latency history COMMAND", "*0"),
            ("latency reset nosuch fast-command", ":0"),
            ("latency reset COMMAND command", ":1"),
            ("latency latest", "*0"),
        ]);
    }

    #[test]
    fn without_a_threshold_nothing_is_told() {
        let mut run = Run::debugging();
        run.check(&[
            ("debug sleep 3", "+OK"),
            ("latency latest", "*0"),
            ("config set latency-monitor-threshold 3000", "+OK"),
            ("debug sleep 3", "+OK"),
            ("config set latency-monitor-threshold 0", "+OK"),
            ("debug sleep 4", "+OK"),
            ("latency latest", "*1 *4 $7 command :1700000006 :3000 :3000"),
            ("latency reset", ":1"),
            ("latency reset", ":0"),
        ]);
    }

    #[test]
    fn a_transaction_lasts_as_long_as_its_commands() {
        let mut run = run();
        run.check(&[
            ("multi", "+OK"),
            ("debug sleep 0.06", "+QUEUED"),
            ("debug sleep 0.06", "+QUEUED"),
            ("exec", "*2 +OK +OK"),
            ("latency latest", "*1 *4 $7 command :1700000000 :120 :120"),
            (
                "latency histogram exec",
                "*2 $4 exec *4 $5 calls :1 $14 histogram_usec *2 :135266 :1",
            ),
        ]);
    }

    #[test]
    fn calls_are_counted_by_their_duration() {
        let mut run = Run::debugging();
        run.check(&[
            ("latency histogram", "*0"),
            ("debug sleep 0.01", "+OK"),
            ("debug sleep 0.02", "+OK"),
            ("debug sleep 0.6", "+OK"),
            ("debug sleep 2", "+OK"),
            // As redis-server 7.0.15 answers.
            (
                "latency histogram DEBUG",
                "*2 $5 debug *4 $5 calls :4 $14 histogram_usec \
                 *6 :16908 :1 :33816 :2 :1073741 :4",
            ),
            ("latency histogram nosuch set debug|sleep a|b|c", "*0"),
            ("client id", ":1"),
            ("client no-evict off", "+OK"),
            (
                "latency histogram client|ID",
                "*2 $9 client|id *4 $5 calls :1 $14 histogram_usec *2 :1 :1",
            ),
        ]);
        assert!(run.reply("latency histogram client").starts_with("*4 "));
        run.set_resp3(true);
        let wanted = "%1 $9 client|id %2 $5 calls :1 $14 histogram_usec %1 :1 :1";
        assert_eq!(run.reply("latency histogram client|id"), wanted);
        run.check(&[
            ("config resetstat", "+OK"),
            (
                "latency histogram",
                "%1 $16 config|resetstat %2 $5 calls :1 $14 histogram_usec %1 :1 :1",
            ),
            ("config set latency-tracking no", "+OK"),
            ("client id", ":1"),
            ("latency histogram client", "%0"),
        ]);
    }
}
