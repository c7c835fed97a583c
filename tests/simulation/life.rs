//! One life of a server on a recording disk: commands of a client, and what else changes files,
//! mixed by chance with the operations of the threads in the background.

use super::boot::{Booted, History, Setup, boot};
use super::disk::{Disk, INCREMENT, LOG, SNAPSHOT};
use super::journal::{Event, Image, Mark};
use goredis::base::rng::Rng;
use goredis::resp::Reply;
use goredis::resp::parse::OwnedArgs;
use goredis::server::Instance;
use goredis::server::config::AppendFsync;
use goredis::server::ctx::Origin;
use goredis::server::execute::{Request, execute};
use goredis::server::snapshot::{self, Purpose};
use std::collections::VecDeque;

/// Far enough for no key to expire, in milliseconds since 1970.
const EXPIRY_MS: i64 = 9_999_999_000_000;
/// So many operations are granted at once, which is more than ever wait.
const MOST_LEFT: usize = 10_000;

/// What a life is like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub setup: Setup,
    pub steps: usize,
    /// Operations of the disk fail now and then.
    pub has_faults: bool,
    /// It ends with a shutdown.
    pub shuts_down: bool,
}

pub struct Life<'a> {
    disk: Disk,
    server: Booted,
    rng: Rng,
    plan: Plan,
    history: &'a mut History,
    /// Commands, and the offset that must be acknowledged before their replies.
    unanswered: VecDeque<(usize, u64)>,
    acknowledged: usize,
    /// What is durable when the log thread has done what the timer asked for.
    syncing: Option<usize>,
    /// Commands before what a snapshot shows.
    rewriting_at: Option<usize>,
    saving_at: Option<usize>,
    rewrites: u64,
    saves: u64,
}

/// Lives on `image`, whose data are those behind all of the history's commands; returns what was
/// done to the disk.
///
/// # Errors
/// The server does not start, in its words.
pub fn live(image: &Image, history: &mut History, plan: Plan) -> Result<Vec<Event>, String> {
    let disk = Disk::driven(image.clone());
    let begun = history.executed();
    disk.mark(Mark::Executed(begun));
    let server = boot(&disk, &plan.setup)?;
    let found = history.find(&server.digest(), begun, begun);
    assert_eq!(found, Ok(begun), "it does not start twice with the same");
    if plan.setup.appendonly {
        disk.mark(Mark::Durable(begun));
    }
    disk.settle();
    disk.gate(true);
    let mut life = Life {
        disk: disk.clone(),
        server,
        rng: Rng::from_seed(plan.seed),
        plan,
        history,
        unanswered: VecDeque::new(),
        acknowledged: begun,
        syncing: None,
        rewriting_at: None,
        saving_at: None,
        rewrites: 0,
        saves: 0,
    };
    for _ in 0..plan.steps {
        life.step();
    }
    if plan.shuts_down {
        life.shut_down();
    }
    let journal = disk.take_journal();
    // What is left to do is not part of it; but the threads must come to their end.
    disk.gate(false);
    snapshot::abort(&mut life.server.instance.server, &mut life.server.instance.keys);
    drop(life);
    disk.settle();
    Ok(journal)
}

impl Life<'_> {
    fn step(&mut self) {
        let chance = self.rng.below(100);
        match chance {
            0..=54 => self.commands(),
            55..=62 => self.second(),
            63..=66 => self.begin_rewrite(),
            67..=69 => self.begin_save(),
            70 => self.save_now(),
            71 | 72 => self.turn_log(),
            73 => {
                // While the increment is still being made.
                self.begin_rewrite();
                self.turn_log();
                self.commands();
                self.turn_log();
            }
            _ => {}
        }
        self.end_tick();
        for _ in 0..self.rng.below(4) {
            self.let_one_work();
        }
        self.look_around();
    }

    fn execute(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let owned: OwnedArgs = words.iter().collect();
        let mut out = Reply::new(Vec::new(), false);
        let request = Request { args: owned.args(), entry: None, verbatim: None };
        let Instance { server, keys } = &mut self.server.instance;
        execute(server, keys, Origin::Client, self.server.client, request, &mut out);
        out.into_buf()
    }

    fn run(&mut self, line: &str) {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let reply = self.execute(&words);
        let reply = String::from_utf8_lossy(&reply);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }

    /// A tick's commands.
    fn commands(&mut self) {
        for _ in 0..1 + self.rng.below(3) {
            match self.rng.below(12) {
                0 => {
                    let db = self.rng.below(2);
                    self.run(&format!("SELECT {db}"));
                }
                1 => {
                    self.run("MULTI");
                    for _ in 0..1 + self.rng.below(4) {
                        self.write();
                    }
                    self.run("EXEC");
                }
                _ => self.write(),
            }
            self.history.push(self.server.digest());
        }
        self.disk.mark(Mark::Executed(self.history.executed()));
    }

    /// A command whose effect is like no other's.
    fn write(&mut self) {
        let number = self.rng.next_u64() >> 40;
        let key = self.rng.below(6);
        let line = match self.rng.below(16) {
            0..=4 => {
                // Now and then more than a segment of the ring holds, or many blocks.
                let longest = match self.plan.setup.past_cache {
                    false => [20, 20, 20, 20, 20, 3000, 10_000],
                    true => [20, 20, 20, 3000, 10_000, 10_000, 40_000],
                };
                let longest = longest[self.rng.index(7)];
                format!("SET text:{key} {number}:{}", "x".repeat(self.rng.index(longest)))
            }
            5 => format!("APPEND text:{key} +{number}"),
            6 => format!("HSET hash:{key} f{} {number}", self.rng.below(20)),
            7 => format!("HDEL hash:{key} f{}", self.rng.below(20)),
            8 => format!("RPUSH list:{key} {number}"),
            9 => format!("LPOP list:{key}"),
            10 => format!("SADD set:{key} {number}"),
            11 => format!("ZADD zset:{key} {number} m{}", self.rng.below(20)),
            12 => format!("XADD stream:{key} * f {number}"),
            13 => format!("PEXPIREAT text:{key} {}", EXPIRY_MS + number as i64),
            14 => format!("DEL text:{key} hash:{key}"),
            _ => format!("INCRBY count:{key} {number}"),
        };
        self.run(&line);
    }

    /// The end of a tick, in the order of the loop's own.
    fn end_tick(&mut self) {
        let executed = self.history.executed();
        let Instance { server, keys } = &mut self.server.instance;
        let offset = server.log.commit();
        let awaits_increment = server.snapshots.running() == Some(Purpose::Rewrite)
            && server.snapshots.began_ms(Purpose::Rewrite).is_none();
        snapshot::switch_increment(server, keys);
        if awaits_increment && server.snapshots.began_ms(Purpose::Rewrite).is_some() {
            self.rewriting_at = Some(executed);
            self.disk.mark(Mark::Note("the increment is switched"));
        }
        if server.log.is_open() && self.unanswered.back().is_none_or(|last| last.0 < executed) {
            self.unanswered.push_back((executed, offset));
        }
        if keys.in_snapshot() && self.rng.below(2) == 0 {
            snapshot::step(server, keys, 500);
        }
        drop(keys.garbage.drain(..));
    }

    /// One operation of a thread in the background, if any waits.
    fn let_one_work(&mut self) {
        self.disk.settle();
        let waiting = self.disk.waiting();
        if waiting.is_empty() {
            return;
        }
        let thread = &waiting[self.rng.index(waiting.len())];
        let fails = self.plan.has_faults && self.rng.below(30) == 0;
        let errno = if self.rng.below(2) == 0 { 5 } else { 28 };
        self.disk.grant(thread, fails.then_some(errno));
    }

    /// All operations of the threads in the background that need nothing of the loop.
    fn work_all(&mut self) {
        for _ in 0..MOST_LEFT {
            self.disk.settle();
            let Some(thread) = self.disk.waiting().pop() else { break };
            self.disk.grant(&thread, None);
        }
    }

    /// Notes what has been promised since.
    fn look_around(&mut self) {
        self.disk.settle();
        let Instance { server, keys } = &mut self.server.instance;
        let is_sound = server.log.check();
        snapshot::check(server, keys);
        let (rewrites, saves) = (&server.snapshots.rewrites, &server.snapshots.saves);
        let (rewrites, saves) = (rewrites.completed, saves.completed);
        if rewrites > self.rewrites
            && let Some(at) = self.rewriting_at.take()
        {
            self.disk.mark(Mark::Durable(at));
        }
        if saves > self.saves
            && let Some(at) = self.saving_at.take()
        {
            self.disk.mark(Mark::Saved(at));
        }
        (self.rewrites, self.saves) = (rewrites, saves);
        self.answer();
        let log_waits = self.disk.waiting().iter().any(|thread| thread == LOG);
        if is_sound
            && !log_waits
            && let Some(at) = self.syncing.take()
        {
            self.disk.mark(Mark::Durable(at));
        }
    }

    /// Sends the replies that may be sent.
    fn answer(&mut self) {
        let log = &self.server.instance.server.log;
        let acknowledged = log.acknowledged();
        let before = self.acknowledged;
        while let Some((executed, offset)) = self.unanswered.front()
            && *offset <= acknowledged
        {
            self.acknowledged = *executed;
            self.unanswered.pop_front();
        }
        if self.acknowledged > before {
            self.disk.mark(Mark::Acknowledged(self.acknowledged));
            if self.plan.setup.fsync == AppendFsync::Always && log.is_open() {
                self.disk.mark(Mark::Durable(self.acknowledged));
            }
        }
    }

    /// The timer's second.
    fn second(&mut self) {
        let log = &mut self.server.instance.server.log;
        log.every_second();
        if log.is_open() && self.plan.setup.fsync != AppendFsync::No {
            self.answer();
            self.syncing = Some(self.acknowledged);
            self.disk.mark(Mark::Note("a second has passed"));
        }
    }

    fn begin_rewrite(&mut self) {
        let Instance { server, keys } = &mut self.server.instance;
        if server.snapshots.running().is_none() && !keys.in_snapshot() {
            if !server.log.is_open() {
                self.disk.mark(Mark::Rewritten(self.history.executed()));
            }
            // Its error is in the log.
            let _ = snapshot::begin_rewrite(server, keys);
            self.rewriting_at = None;
            self.disk.mark(Mark::Note("a rewrite begins"));
        }
    }

    fn begin_save(&mut self) {
        let Instance { server, keys } = &mut self.server.instance;
        if server.snapshots.running().is_none() && !keys.in_snapshot() {
            let _ = snapshot::begin_save(server, keys);
            self.saving_at = Some(self.history.executed());
            self.disk.mark(Mark::Note("a save begins"));
        }
    }

    /// SAVE, which gives up a save in the background.
    fn save_now(&mut self) {
        self.disk.mark(Mark::Note("SAVE"));
        let Instance { server, keys } = &mut self.server.instance;
        if server.snapshots.running() == Some(Purpose::Save) {
            // While its thread waits: how far it comes must not depend on the scheduler.
            snapshot::abort(server, keys);
        }
        self.work_all();
        self.disk.gate(false);
        let Instance { server, keys } = &mut self.server.instance;
        let saved = snapshot::save_now(server, keys);
        self.disk.settle();
        self.disk.gate(true);
        self.saving_at = None;
        let Instance { server, .. } = &mut self.server.instance;
        self.saves = server.snapshots.saves.completed;
        if self.rewrites < server.snapshots.rewrites.completed
            && let Some(at) = self.rewriting_at.take()
        {
            self.disk.mark(Mark::Durable(at));
        }
        self.rewrites = server.snapshots.rewrites.completed;
        if saved.is_ok() {
            self.disk.mark(Mark::Saved(self.history.executed()));
        }
    }

    /// CONFIG SET appendonly.
    fn turn_log(&mut self) {
        self.end_tick();
        let is_open = self.server.instance.server.log.is_open();
        if is_open {
            self.disk.mark(Mark::Note("appendonly no"));
        } else {
            self.disk.mark(Mark::Note("appendonly yes"));
        }
        self.disk.free(&[LOG, INCREMENT, SNAPSHOT]);
        let line = format!("CONFIG SET appendonly {}", if is_open { "no" } else { "yes" });
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let reply = self.execute(&words);
        // Nothing is promised of a log before it has its base.
        let Instance { server, keys } = &mut self.server.instance;
        let has_base = snapshot::finish_base(server, keys).is_ok();
        if !has_base {
            let off: Vec<Vec<u8>> =
                b"CONFIG SET appendonly no".split(|b| *b == b' ').map(<[u8]>::to_vec).collect();
            self.execute(&off);
        }
        self.disk.settle();
        self.disk.free(&[]);
        if reply == b"+OK\r\n" && has_base {
            self.acknowledged = self.history.executed();
            self.unanswered.clear();
            self.syncing = None;
            self.rewriting_at = None;
            self.disk.mark(Mark::Acknowledged(self.acknowledged));
            self.disk.mark(Mark::Durable(self.acknowledged));
        }
        let snapshots = &self.server.instance.server.snapshots;
        (self.rewrites, self.saves) = (snapshots.rewrites.completed, snapshots.saves.completed);
    }

    /// Ends as SHUTDOWN does.
    fn shut_down(&mut self) {
        self.disk.mark(Mark::Note("a shutdown"));
        let Instance { server, keys } = &mut self.server.instance;
        snapshot::abort(server, keys);
        self.work_all();
        self.disk.free(&[LOG, INCREMENT]);
        let was_open = self.server.instance.server.log.is_open();
        let done = self.server.instance.server.log.shutdown();
        self.disk.free(&[]);
        if was_open && done.is_ok() {
            self.disk.mark(Mark::Acknowledged(self.history.executed()));
            self.disk.mark(Mark::Durable(self.history.executed()));
        }
    }
}
