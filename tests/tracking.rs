//! Client-side caching as clients see it. A model checker: clients with caches, in every mode,
//! read and change few keys at random, against a real server; now and then each cached reply is
//! compared with what the server answers. One that differs is an invalidation that was missed.
//! Also no client may be told of a key that it has not read, or has not asked for.
//!
//! `GOREDIS_TRACKING_SEED` and `GOREDIS_TRACKING_COUNT` (how many rounds) say what to try;
//! `GOREDIS_REFEREE=redis-server` asks that server instead.

mod support;

mod tracking {
    pub mod cache;
    pub mod commands;
}

use goredis::base::rng::Rng;
use goredis::resp::read::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use support::run::referee;
use support::{Conn, Options, Server, encode, wait_until_eq};
use tracking::cache::{Client, PLANS, Tally};
use tracking::commands::{Args, Generator};

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Rounds from one comparison to the next.
const ROUNDS: usize = 12;
/// Lines of each client's log that are shown in case of a failure.
const LOGGED: usize = 100;

struct Checker {
    server: Server,
    clients: Vec<Client>,
    generator: Generator,
    /// Ask the server itself, in RESP2 and RESP3.
    witnesses: [Conn; 2],
    /// Works in the other database.
    elsewhere: Conn,
}

impl Checker {
    fn new(seed: u64) -> Checker {
        let server = Server::start(Options::new_or_referee());
        let ours = referee().is_none();
        let clients = PLANS.iter().map(|&plan| Client::new(&server, plan, ours)).collect();
        let mut witnesses = [server.connect(), server.connect()];
        witnesses[1].command(&["HELLO", "3"]);
        let mut elsewhere = server.connect();
        elsewhere.command(&["SELECT", "1"]);
        let generator = Generator { rng: Rng::from_seed(seed), ours };
        Checker { server, clients, generator, witnesses, elsewhere }
    }

    /// Several clients send something at the same time.
    fn round(&mut self) -> Result<(), String> {
        let Checker { clients, generator, .. } = self;
        let mut chosen: Vec<usize> = (0..clients.len()).collect();
        for _ in 0..clients.len() - 1 - generator.rng.index(4) {
            chosen.swap_remove(generator.rng.index(chosen.len()));
        }
        let sent: Vec<_> =
            chosen.into_iter().map(|index| (index, clients[index].send(generator))).collect();
        for (index, batch) in sent {
            clients[index].receive(batch)?;
        }
        Ok(())
    }

    /// What happens seldom.
    fn disturb(&mut self) -> Result<(), String> {
        let index = self.generator.rng.index(self.clients.len());
        let client = &mut self.clients[index];
        match self.generator.rng.index(12) {
            0 => client.reconnect(&self.server),
            1 => {
                client.turn_off();
                client.turn_on();
            }
            // Options may be changed while tracking is on.
            2 => {
                client.listen(&self.server);
                if client.plan.prefixes.is_some() {
                    // Its prefixes are there already.
                    client.turn_off();
                }
                client.turn_on();
            }
            3 => {
                let key = self.generator.key();
                self.elsewhere.command(&["MOVE", &key, "0"]);
            }
            4 => {
                // Names stand for keys of all databases.
                let key = self.generator.key();
                self.elsewhere.command(&["SET", &key, "elsewhere"]);
            }
            5 | 6 => {
                // With the limit in force, redis-server does not tell a client of keys forgotten
                // when its own command begins, if that client wants no loop.
                let limits = if self.generator.ours { ["0", "3", "10", "1000"] } else { ["0"; 4] };
                let limit = limits[self.generator.rng.index(limits.len())];
                self.elsewhere.command(&["CONFIG", "SET", "tracking-table-max-keys", limit]);
            }
            // Time is what makes keys expire.
            7..10 => std::thread::sleep(Duration::from_millis(self.generator.rng.below(25))),
            _ => {}
        }
        Ok(())
    }

    /// Compares every cached reply with the server's.
    fn compare(&mut self) -> Result<(), String> {
        let mut actual: [BTreeMap<Args, Value>; 2] = Default::default();
        for client in &self.clients {
            let resp3 = usize::from(client.plan.resp3);
            for query in client.cache.keys() {
                if !actual[resp3].contains_key(query) {
                    let reply = self.witnesses[resp3].command(query);
                    actual[resp3].insert(query.clone(), reply);
                }
            }
        }
        // What has changed until then, also by what was asked just now, has been told.
        for client in &mut self.clients {
            client.drain()?;
            let actual = &actual[usize::from(client.plan.resp3)];
            for (query, cached) in &client.cache {
                client.tally.compared += 1;
                if actual[query] != *cached {
                    return Err(format!(
                        "{}: missed that the reply to {} is {:?} and no longer {cached:?}",
                        client.plan.name,
                        query.join(" "),
                        actual[query],
                    ));
                }
            }
        }
        Ok(())
    }

    fn run(&mut self, rounds: usize) -> Result<(), String> {
        for round in 1..=rounds {
            self.round()?;
            if self.generator.one_in(4) {
                self.disturb()?;
            }
            if round.is_multiple_of(ROUNDS) {
                self.compare()?;
            }
        }
        Ok(())
    }
}

#[test]
fn no_change_of_a_cached_key_is_missed() {
    let seed = number("GOREDIS_TRACKING_SEED", 1) as u64;
    let count = number("GOREDIS_TRACKING_COUNT", 3000);
    let mut checker = Checker::new(seed);
    if let Err(what) = checker.run(count) {
        for client in &checker.clients {
            println!("\n{}:", client.plan.name);
            client.log.iter().rev().take(LOGGED).rev().for_each(|line| println!("  {line}"));
        }
        panic!("{what}\nGOREDIS_TRACKING_SEED={seed} GOREDIS_TRACKING_COUNT={count} tries again");
    }
    for Client { plan, tally, .. } in &checker.clients {
        println!("{:40} {tally:?}", plan.name);
        let Tally { queries, told, flushes, compared } = tally;
        assert!(*told > 0 && *compared > 0 && *flushes > 0 && *queries > 0, "{}", plan.name);
    }
}

/// The checker is worth something: it finds a client that does not listen at times.
#[test]
fn a_missed_change_is_found() {
    for (index, plan) in PLANS.iter().enumerate() {
        let mut checker = Checker::new(7 + index as u64);
        checker.clients[index].deaf = Some(5);
        let what = checker.run(20_000).expect_err(plan.name);
        let begin = format!("{}: missed that", plan.name);
        assert!(what.starts_with(&begin), "{what}");
    }
}

fn words(line: &str) -> Vec<u8> {
    encode(&line.split(' ').collect::<Vec<_>>())
}

/// Each message comes behind the reply of the command that caused it, not behind all that were
/// sent at once.
#[test]
fn messages_come_between_the_replies_of_a_pipeline() {
    let server = Server::start(Options::new_or_referee());
    let mut conn = server.connect();
    conn.command(&["HELLO", "3"]);
    conn.command(&["CLIENT", "TRACKING", "ON"]);
    let lines = ["GET k", "SET k 1", "GET k", "MULTI", "DEL k", "GET k", "EXEC", "SET k 2", "PING"];
    conn.send(&lines.map(words).concat());
    conn.expect_bytes(
        b"_\r\n+OK\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n$1\r\n1\r\n\
          +OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n_\r\n\
          >2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n\
          +OK\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n+PONG\r\n",
    );
    if referee().is_some() {
        // That is so for other messages since 7.2.
        return;
    }
    conn.command(&["SUBSCRIBE", "ch"]);
    conn.send(&["PUBLISH ch a", "PUBLISH ch b", "PING"].map(words).concat());
    let message = |text: &str| format!(">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\n{text}\r\n");
    let expected = format!(":1\r\n{}:1\r\n{}+PONG\r\n", message("a"), message("b"));
    conn.expect_bytes(expected.as_bytes());
}

/// What is known of many keys goes away in small pieces when there may be fewer of them, while the
/// server goes on answering.
#[test]
fn many_keys_are_forgotten_bit_by_bit() {
    const KEYS: usize = 50_000;
    let server = Server::start(Options::new_or_referee());
    let (mut conn, mut control) = (server.connect(), server.connect());
    conn.command(&["HELLO", "3"]);
    conn.command(&["CLIENT", "TRACKING", "ON"]);
    let mut args = vec!["EXISTS".to_string()];
    args.extend((0..KEYS).map(|number| format!("key:{number}")));
    assert_eq!(conn.command(&args), Value::Int(0));
    assert_eq!(control.info("tracking_total_keys"), KEYS.to_string());
    control.command(&["CONFIG", "SET", "tracking-table-max-keys", "10"]);
    let mut told = BTreeSet::new();
    while told.len() < KEYS - 10 {
        let Value::Push(message) = conn.read() else { panic!("no message") };
        let [_, Value::Array(keys)] = &message[..] else { panic!("{message:?}") };
        assert!(told.insert(keys[0].bytes().unwrap().to_vec()), "told twice of {keys:?}");
    }
    wait_until_eq("10".to_string(), || control.info("tracking_total_keys"));
    assert_eq!(control.info("tracking_total_items"), "10");
    assert_eq!(conn.command(&["PING"]), Value::Simple(b"PONG".to_vec()));
}

/// Nothing is kept for clients of which none is left.
#[test]
fn the_last_one_who_leaves_takes_all_with_it() {
    let server = Server::start(Options::new());
    let (mut reader, mut listener) = (server.connect(), server.connect());
    let mut control = server.connect();
    reader.command(&["CLIENT", "TRACKING", "ON"]);
    listener.command(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a"]);
    reader.command(&["MGET", "a", "b", "c"]);
    let fields = ["tracking_clients", "tracking_total_keys", "tracking_total_prefixes"];
    let mut numbers = || fields.map(|field| control.info(field));
    assert_eq!(numbers(), ["2", "3", "1"]);
    drop(listener);
    wait_until_eq(["1", "3", "0"].map(String::from), &mut numbers);
    drop(reader);
    wait_until_eq(["0", "0", "0"].map(String::from), &mut numbers);
}
