//! The loop with a clock that stands still unless a command moves it.

use super::*;
use crate::base::clock::Clock;
use crate::server::command::{Command, CommandTable, flag};
use crate::server::config::Config;
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::phases::Durations;
use std::io::Read;
use std::net::TcpStream;

const COMMANDS: &[Command] = &[
    Command { name: "last", arity: 2, handler: last, ..Command::BASE },
    Command { name: "slow", arity: 2, handler: slow, ..Command::BASE },
    Command { name: "quick", arity: 2, flags: flag::FAST, handler: slow, ..Command::BASE },
];

/// Takes as many milliseconds as it is told.
fn slow(ctx: &mut Ctx) -> Result<(), Error> {
    let ms = String::from_utf8_lossy(ctx.arg(1)).parse().map_err(|_| Error::NOT_AN_INTEGER)?;
    ctx.server.clock.advance(ms);
    ctx.out.ok();
    Ok(())
}

/// Ends all clients but the one that says so.
fn last(ctx: &mut Ctx) -> Result<(), Error> {
    let own = ctx.client_key;
    for (key, client) in ctx.server.clients.iter_mut().filter(|(key, _)| *key != own) {
        client.close(Closing::Now);
        ctx.server.doomed.push(key);
    }
    ctx.out.ok();
    Ok(())
}

fn eventloop(clock: &Clock, config: Config) -> EventLoop {
    let bind = vec!["127.0.0.1".to_string()];
    let config = Config { appendonly: false, port: 0, bind, ..config };
    let instance = Instance::new(config, CommandTable::new(&[COMMANDS]), clock.clone());
    EventLoop::new(instance).unwrap()
}

/// One client, whose requests are answered as soon as they are there.
struct Talk {
    eventloop: EventLoop,
    stream: TcpStream,
}

impl Talk {
    fn new(clock: &Clock, config: Config) -> Talk {
        let mut eventloop = eventloop(clock, config);
        eventloop.listen().unwrap();
        let port = eventloop.instance.server.listeners.port();
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nonblocking(true).unwrap();
        Talk { eventloop, stream }
    }

    fn another(&mut self) -> TcpStream {
        let port = self.server().listeners.port();
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // Accepted when it has been answered.
        (&stream).write_all(request("slow", 0).as_bytes()).unwrap();
        let replies = self.server().stats.total_commands;
        while self.server().stats.total_commands == replies {
            self.eventloop.tick(&mut Events::with_capacity(16), Duration::from_secs(1)).unwrap();
        }
        (&stream).read_exact(&mut [0; 5]).unwrap();
        stream
    }

    /// Has commands of two words executed, which are sent at once.
    #[track_caller]
    fn ask(&mut self, commands: &[(&str, u32)]) {
        let request: String = commands.iter().map(|(name, ms)| request(name, *ms)).collect();
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut reply = Vec::new();
        while reply.iter().filter(|&&b| b == b'\n').count() < commands.len() {
            let wait = self.eventloop.timeout();
            self.eventloop.tick(&mut Events::with_capacity(16), wait).unwrap();
            let mut bytes = [0; 100];
            if let Ok(len) = self.stream.read(&mut bytes) {
                reply.extend_from_slice(&bytes[..len]);
            }
        }
        assert_eq!(reply, b"+OK\r\n".repeat(commands.len()));
    }

    fn server(&mut self) -> &mut crate::server::Server {
        &mut self.eventloop.instance.server
    }

    fn events(&mut self) -> Vec<(&'static str, u64)> {
        let events = self.server().latency.iter();
        events.map(|(name, series)| (name, series.samples().last().unwrap().took_ms)).collect()
    }
}

fn request(name: &str, ms: u32) -> String {
    format!("*2\r\n${}\r\n{name}\r\n$3\r\n{ms:03}\r\n", name.len())
}

fn ms(durations: &Durations) -> (u64, u64) {
    (durations.sum_ns / 1_000_000, durations.max_ns / 1_000_000)
}

#[test]
fn periodic_work_goes_on_when_the_clock_is_set_back() {
    let clock = Clock::manual(1_700_000_000_000);
    let mut eventloop = eventloop(&clock, Config::default());
    eventloop.tick_while_loading().unwrap();
    let (crons, second_ms) = (eventloop.cron_count, eventloop.next_second_ms);
    clock.set_unix_ms(1_600_000_000_000);
    clock.advance(1000);
    eventloop.tick_while_loading().unwrap();
    assert_eq!(eventloop.cron_count, crons + 1);
    assert_eq!(eventloop.next_second_ms, second_ms + 1000);
    assert_eq!(eventloop.timeout(), Duration::from_millis(CRON_MS));
}

#[test]
fn time_belongs_to_the_phase_it_was_spent_in() {
    let clock = Clock::manual(1_700_000_000_000);
    let mut talk = Talk::new(&clock, Config::default());
    talk.ask(&[("slow", 300)]);
    talk.ask(&[("slow", 40), ("slow", 50), ("quick", 1)]);
    let phases = &talk.server().phases;
    assert_eq!(ms(phases.of(Phase::Execute)), (391, 300));
    assert_eq!(ms(phases.ticks()), (391, 300));
    assert_eq!(phases.most_commands(), 3);
    for phase in [Phase::Accept, Phase::Read, Phase::Deliver, Phase::Write, Phase::Other] {
        assert_eq!(phases.of(phase).count, 0, "{phase:?}");
    }
    // Commands are measured by themselves.
    let slow = talk.server().commands.find(b"slow").unwrap().id;
    let counts = &talk.server().stats.commands[slow];
    assert_eq!((counts.calls, counts.ns), (3, 390_000_000));
    let longest = counts.times.as_ref().unwrap().percentile(100.0);
    assert!((300_000_000..303_000_000).contains(&longest), "{longest}");
}

#[test]
fn long_phases_and_commands_are_events() {
    let clock = Clock::manual(1_700_000_000_000);
    let config = Config { latency_monitor_threshold: 100, ..Config::default() };
    let mut talk = Talk::new(&clock, config);
    talk.ask(&[("slow", 99)]);
    assert_eq!(talk.events(), []);
    talk.ask(&[("quick", 100)]);
    assert_eq!(talk.events(), [("fast-command", 100), ("loop-execute", 100)]);
    talk.server().latency.reset(None);
    // None of them is long, but all together are.
    talk.ask(&[("slow", 40), ("slow", 40), ("slow", 40)]);
    assert_eq!(talk.events(), [("loop-execute", 120)]);
}

#[test]
fn rates_are_sampled_by_the_periodic_work() {
    let clock = Clock::manual(1_700_000_000_000);
    let mut talk = Talk::new(&clock, Config::default());
    for _ in 0..40 {
        talk.ask(&[("slow", 100)]);
    }
    let stats = &talk.server().stats;
    // One command, and at least one tick, in 100 ms each.
    assert_eq!(stats.command_rate.mean(), 10);
    assert!(stats.tick_rate.mean() >= 10, "{}", stats.tick_rate.mean());
    let tick_ms = stats.tick_ns.mean() / 1_000_000;
    assert!((1..=100).contains(&tick_ms), "{tick_ms}");
}

#[test]
fn many_have_their_turns_in_one_tick() {
    let clock = Clock::manual(1_700_000_000_000);
    let mut talk = Talk::new(&clock, Config::default());
    let streams: Vec<TcpStream> = (0..40).map(|_| talk.another()).collect();
    let slow = request("slow", 0);
    let (begin, end) = slow.split_at(20);
    // Arrays, lines, what is not whole, what is no command, and what is not short.
    let long = slow.repeat(100);
    let sent = [&slow, "slow 0\r\nslow 0\r\n", begin, "*2\r\n!\r\n", &long];
    for (stream, text) in streams.iter().zip(sent.iter().cycle()) {
        (&*stream).write_all(text.as_bytes()).unwrap();
    }
    let before = talk.server().stats.total_commands;
    talk.eventloop.tick(&mut Events::with_capacity(64), Duration::from_secs(1)).unwrap();
    assert_eq!(talk.server().stats.total_commands - before, 8 * (1 + 2 + 100));
    for stream in streams.iter().skip(2).step_by(5) {
        (&*stream).write_all(end.as_bytes()).unwrap();
    }
    talk.eventloop.tick(&mut Events::with_capacity(64), Duration::from_secs(1)).unwrap();
    let error = "-ERR Protocol error: expected '$', got '!'\r\n";
    let replies = ["+OK\r\n", "+OK\r\n+OK\r\n", "+OK\r\n", error, &"+OK\r\n".repeat(100)];
    for (stream, expected) in streams.iter().zip(replies.iter().cycle()) {
        let mut reply = vec![0; expected.len()];
        (&*stream).read_exact(&mut reply).unwrap();
        assert_eq!(String::from_utf8(reply).unwrap(), *expected);
    }
}

#[test]
fn who_is_ended_in_anothers_turn_has_none() {
    let clock = Clock::manual(1_700_000_000_000);
    let mut talk = Talk::new(&clock, Config::default());
    let streams = [talk.another(), talk.another(), talk.another()];
    for (stream, name) in streams.iter().zip(["quick", "last", "slow"]) {
        (&*stream).write_all(request(name, 1).as_bytes()).unwrap();
    }
    talk.eventloop.tick(&mut Events::with_capacity(16), Duration::from_secs(1)).unwrap();
    let mut calls = |name: &[u8]| {
        let id = talk.server().commands.find(name).unwrap().id;
        talk.server().stats.commands[id].calls
    };
    let calls = [calls(b"quick"), calls(b"last"), calls(b"slow")];
    assert_eq!(calls, [1, 1, 3], "each was accepted with a slow one");
    (&streams[1]).read_exact(&mut [0; 5]).unwrap();
    for stream in [&streams[0], &streams[2]] {
        assert_eq!((&*stream).read(&mut [0; 5]).unwrap(), 0);
    }
}
