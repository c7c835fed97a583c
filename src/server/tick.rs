//! The event loop: what happens when, and why in that order.
//!
//! One tick waits for events, serves each ready client one bounded turn, gives timers their time,
//! and then ends in a fixed order (see [`EventLoop::end_tick`]). Nothing here blocks.

mod blocked;
mod limits;
mod messages;
mod migrate;
mod turns;

use self::turns::Queue;
use super::client::{Client, Closing};
use super::command::Entry;
use super::ctx::Origin;
use super::execute::{Request, execute};
use super::listeners::FIRST_TOKEN;
use super::look_ahead::LookAhead;
use super::migrate::links;
use super::phases::Phase;
use super::{Instance, Shutdown, connections, gate, notify, snapshot};
use crate::base::prefetch;
use crate::net::conn::{Conn, Pool};
use crate::net::stream::Stream;
use crate::resp::parse::{self, Limits, Parsed, ProtocolError, Span};
use crate::resp::{Args, Reply};
use crate::store::Keyspace;
use log::{debug, info, warn};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Commands parsed ahead, so that their keys' memory can be fetched while others run.
const BATCH: usize = 32;
/// One client's turn ends after so many nanoseconds, or when what one read brought is done.
const TURN_NS: u64 = 2_000_000;
/// A client with more unsent bytes than this is not read from until it has read them.
const PAUSE_OUTPUT: usize = 64 * 1024 * 1024;
/// While output is sent, the memory of the client that comes so many later is fetched.
const SENT_AHEAD: usize = 4;
/// Periodic work is done every so many milliseconds.
const CRON_MS: u64 = 100;
/// Clients are looked at in so many parts, one each time.
const CRON_PARTS: usize = 10;
/// Time for keys that are due, in a tick that has other work too, in nanoseconds.
const EXPIRY_NS: u64 = 500_000;

const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);

/// Commands cut out of a client's input and not executed yet.
#[derive(Default)]
struct Batch {
    spans: Vec<Span>,
    commands: Vec<Cut>,
    look_ahead: LookAhead,
}

struct Cut {
    /// Its arguments are `spans[first..last]`.
    first: usize,
    last: usize,
    /// Its bytes are `input[start..end]`.
    start: usize,
    end: usize,
    canonical: bool,
    entry: Option<&'static Entry>,
}

/// Why parsing ahead stopped.
enum Stop {
    Full,
    /// Nothing is left.
    Empty,
    Incomplete(Box<parse::Partial>),
    Error(ProtocolError),
}

pub struct EventLoop {
    instance: Instance,
    poll: Poll,
    /// Clients that have something left to do although no event will say so.
    scheduled: VecDeque<usize>,
    /// Clients with output of this tick.
    with_output: Vec<usize>,
    queue: Queue,
    pool: Pool,
    batch: Batch,
    connected: usize,
    /// When periodic work is due, by the monotonic clock: it must go on when somebody sets the
    /// machine's clock back.
    next_cron_ms: u64,
    next_second_ms: u64,
    cron_count: usize,
    expiry_behind: bool,
    /// A snapshot wants to go on at once.
    snapshot_behind: bool,
    /// Messages to the client whose commands are being executed.
    own_messages: Vec<u8>,
    /// Clients whose replies wait for the append-only file.
    parked: Vec<usize>,
    signals: Signals,
    /// After a first signal a second one ends the process at once.
    insist: Arc<AtomicBool>,
    waker: Arc<Waker>,
    /// An accept failed for want of descriptors or memory; tried again at the next cron.
    accept_again: bool,
    stopping: bool,
}

impl EventLoop {
    pub fn new(instance: Instance) -> io::Result<EventLoop> {
        let poll = Poll::new()?;
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let insist = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, insist.clone())?;
        }
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(EventLoop {
            instance,
            poll,
            scheduled: VecDeque::new(),
            with_output: Vec::new(),
            queue: Queue::default(),
            pool: Pool::default(),
            batch: Batch::default(),
            connected: 0,
            next_cron_ms: 0,
            next_second_ms: 0,
            cron_count: 0,
            expiry_behind: false,
            snapshot_behind: false,
            own_messages: Vec::new(),
            parked: Vec::new(),
            signals,
            insist,
            waker,
            accept_again: false,
            stopping: false,
        })
    }

    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    pub fn instance_mut(&mut self) -> &mut Instance {
        &mut self.instance
    }

    /// Wakes the loop from another thread.
    pub fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Listens wherever the configuration says.
    ///
    /// # Errors
    /// A text for the log: the server cannot be reached as it should.
    pub fn listen(&mut self) -> Result<(), String> {
        let registry = self.poll.registry().try_clone().map_err(|e| format!("Can't poll: {e}"))?;
        let server = &mut self.instance.server;
        server.listeners.attach(registry);
        server.listeners.open(&server.config)
    }

    /// Runs until a shutdown is asked for.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.stopping {
            self.tick(&mut events, self.timeout())?;
        }
        Ok(())
    }

    /// A tick in which nobody waits: while a file is loaded, between two slices of it.
    pub fn tick_while_loading(&mut self) -> io::Result<()> {
        self.tick(&mut Events::with_capacity(128), Duration::ZERO)
    }

    fn tick(&mut self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(events, Some(timeout)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        self.instance.read_clocks();
        let server = &mut self.instance.server;
        server.phases.begin(server.last_ns, server.stats.total_commands);
        for event in events.iter() {
            self.on_event(event);
        }
        self.serve_queue();
        self.go_on();
        self.go_on_with_snapshot();
        self.on_time();
        self.end_tick();
        self.instance.end_phases();
        self.shut_down_if_asked();
        Ok(())
    }

    /// How long the poll may sleep.
    fn timeout(&self) -> Duration {
        if !self.scheduled.is_empty() || !self.with_output.is_empty() {
            return Duration::ZERO;
        }
        if self.expiry_behind || self.snapshot_behind {
            return Duration::ZERO;
        }
        if self.tracks_too_much() {
            return Duration::ZERO;
        }
        let keys = &self.instance.keys;
        let mut wait_ms = self.next_cron_ms.saturating_sub(self.monotonic_ms()).min(CRON_MS);
        let expires = keys.expiry_enabled && self.instance.server.switches.active_expire;
        if let Some(expiry_ms) = keys.next_expiry().filter(|_| expires) {
            wait_ms = wait_ms.min(expiry_ms.saturating_sub(keys.now_ms).max(0) as u64);
        }
        if let Some(deadline_ms) = self.instance.server.blocking.next_deadline_ms() {
            wait_ms = wait_ms.min(deadline_ms.saturating_sub(self.monotonic_ms()));
        }
        if let Some(ends_ms) = self.instance.server.pause.ends_ms() {
            wait_ms = wait_ms.min(ends_ms.saturating_sub(self.monotonic_ms()));
        }
        if let Some(wake_ms) = self.migrations_wake_ms() {
            wait_ms = wait_ms.min(wake_ms.saturating_sub(self.monotonic_ms()));
        }
        Duration::from_millis(wait_ms)
    }

    /// The monotonic clock as it was read last.
    fn monotonic_ms(&self) -> u64 {
        self.instance.server.last_ns / 1_000_000
    }

    fn on_event(&mut self, event: &Event) {
        match event.token() {
            WAKER => self.on_log_progress(),
            SIGNALS => self.on_signal(),
            Token(n) if n >= FIRST_TOKEN => self.accept(n - FIRST_TOKEN),
            token if links::key_of(token).is_some() => self.on_link_event(token, event),
            token => self.on_client_event(token, event),
        }
    }

    fn on_client_event(&mut self, token: Token, event: &Event) {
        let key = token.0 & 0xFFFF_FFFF;
        let Some(client) = self.instance.server.clients.get_mut(key) else { return };
        let Some(conn) = client.conn.as_mut() else { return };
        // The slot may belong to a newer connection than the one the event was for.
        if conn.token() != token {
            return;
        }
        if event.is_writable() && conn.is_blocked() {
            self.mark_output(key);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            if let Some(conn) = self.conn(key) {
                conn.readable = true;
                conn.ended |= event.is_read_closed() || event.is_error();
            }
            self.serve_soon(key);
        }
    }

    fn conn(&mut self, key: usize) -> Option<&mut Conn> {
        self.instance.server.clients.get_mut(key)?.conn.as_mut()
    }

    fn accept(&mut self, index: usize) {
        loop {
            match self.instance.server.listeners.accept(index) {
                Ok(stream) => self.welcome(stream),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return self.instance.server.end_phase(Phase::Accept);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => {
                    if !self.accept_again {
                        warn!("Accepting client connection: {e}");
                    }
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, mut stream: Stream) {
        let server = &mut self.instance.server;
        if let Some(refusal) = connections::refusal(server, &stream, self.connected) {
            server.stats.rejected_connections += 1;
            // The client is gone either way; what it could not be told is lost.
            let _ = stream.write(refusal);
            return;
        }
        let now_s = self.instance.keys.now_ms / 1000;
        let keepalive_s = server.config.tcp_keepalive as u64;
        if let Err(e) = stream.configure(keepalive_s) {
            debug!("Setting options of a client's socket: {e}");
        }
        let slot = server.clients.vacant_entry();
        let id = server.next_client_id;
        let token = Token(slot.key() | (id as u32 as usize) << 32);
        match Conn::new(stream, self.poll.registry(), token) {
            Ok(conn) => {
                let user = server.acl.default_user().clone();
                slot.insert(Box::new(Client::new(id, Some(conn), now_s, user)));
                server.next_client_id += 1;
                server.stats.connections += 1;
                self.connected += 1;
            }
            Err(e) => warn!("Error registering fd event for the new client: {e}"),
        }
    }

    /// Clients whose turn ended before their input did.
    fn go_on(&mut self) {
        for _ in 0..self.scheduled.len() {
            let Some(key) = self.scheduled.pop_front() else { break };
            if let Some(client) = self.instance.server.clients.get_mut(key) {
                client.scheduled = false;
                self.serve(key);
            }
        }
    }

    fn schedule(&mut self, key: usize) {
        let client = &mut self.instance.server.clients[key];
        if !client.scheduled {
            client.scheduled = true;
            self.scheduled.push_back(key);
        }
    }

    fn mark_output(&mut self, key: usize) {
        let client = &mut self.instance.server.clients[key];
        if !client.has_output {
            client.has_output = true;
            self.with_output.push(key);
        }
    }

    fn close(&mut self, key: usize, when: Closing) {
        self.instance.server.clients[key].close(when);
        self.mark_output(key);
    }

    /// Executes the commands at the start of `input`; returns how many bytes they had.
    fn execute_input(&mut self, key: usize, input: &mut [u8], filled: usize) -> usize {
        let client = &mut self.instance.server.clients[key];
        let Some(conn) = client.conn.as_mut() else { return filled };
        client.query_bytes = filled;
        let mut out = Reply::new(conn.take_output(&mut self.pool), client.resp3);
        let mut partial = client.partial.take();
        let mut batch = std::mem::take(&mut self.batch);
        let turn_began = self.instance.server.last_ns;
        let mut used = 0;
        loop {
            let (stop, next) =
                self.cut(key, &mut input[..filled], used, partial.take(), &mut batch);
            self.look_ahead(key, input, &mut batch);
            let done = self.execute_batch(key, input, &batch, &mut out, &mut used);
            if self.instance.server.state & gate::state::MONITORED != 0 {
                self.tell_monitors(Some((key, &mut out)));
            }
            let server = &mut self.instance.server;
            if server.clients[key].closing != Closing::No {
                used = filled;
                break;
            }
            if !done {
                break;
            }
            used = next;
            match stop {
                Stop::Full if server.last_ns - turn_began > TURN_NS => break,
                Stop::Full => {}
                Stop::Empty => break,
                Stop::Incomplete(state) => {
                    server.clients[key].partial = (used < filled).then_some(state);
                    break;
                }
                Stop::Error(error) => {
                    self.protocol_error(key, &error, &mut out);
                    used = filled;
                    break;
                }
            }
        }
        batch.commands.clear();
        batch.spans.clear();
        self.batch = batch;
        let server = &mut self.instance.server;
        server.end_phase_there(Phase::Execute);
        if server.log.commit_early() {
            server.end_phase(Phase::Aof);
        }
        if self.has_messages() {
            self.deliver_messages(Some(key));
            self.instance.server.end_phase(Phase::Deliver);
        }
        self.put_own_messages(&mut out);
        let output = out.into_buf();
        let wrote_output = !output.is_empty();
        let client = &mut self.instance.server.clients[key];
        if let Some(conn) = client.conn.as_mut() {
            conn.put_output(output, &mut self.pool);
        }
        // What it changed must be waited for, even if it wants no replies (CLIENT REPLY OFF).
        if wrote_output || client.wrote || client.closing != Closing::No {
            self.mark_output(key);
        }
        if self.has_news() {
            self.tell_news(None);
        }
        used
    }

    /// Cuts commands out of `input[start..]`, as many as may be executed without looking at the
    /// client again; returns why it stopped, and the offset of the first byte not cut.
    fn cut(
        &mut self,
        key: usize,
        input: &mut [u8],
        start: usize,
        mut partial: Option<Box<parse::Partial>>,
        batch: &mut Batch,
    ) -> (Stop, usize) {
        batch.commands.clear();
        batch.spans.clear();
        let server = &self.instance.server;
        let client = &server.clients[key];
        let authenticated = !client.needs_auth();
        let limits = Limits { max_bulk: server.config.proto_max_bulk_len, authenticated };
        // A client's first AUTH changes the limits for what follows it. One that sees what is
        // executed sees its own commands, each behind its reply.
        let most = if authenticated && !client.monitors { BATCH } else { 1 };
        let mut at = start;
        while batch.commands.len() < most {
            if at == input.len() {
                return (Stop::Empty, at);
            }
            // The words of a line are moved about in the input when it is cut, so it cannot be cut
            // again: it is the first of its batch, as that one is executed in any case.
            if !batch.commands.is_empty() && input[at] != b'*' {
                break;
            }
            let first = batch.spans.len();
            match parse::command(input, at, &mut batch.spans, partial.take(), &limits) {
                Ok(Parsed::Command { len, canonical }) => {
                    let last = batch.spans.len();
                    let (start, end) = (at, at + len);
                    let cut = Cut { first, last, start, end, canonical, entry: None };
                    batch.commands.push(cut);
                    at += len;
                }
                Ok(Parsed::Nothing { len }) => at += len,
                Ok(Parsed::Incomplete(state)) => return (Stop::Incomplete(state), at),
                Err(error) => return (Stop::Error(error), at),
            }
        }
        (Stop::Full, at)
    }

    /// Finds the commands of a batch, and has the memory of their first keys fetched, then that of
    /// the elements they will look up in large collections.
    fn look_ahead(&mut self, key: usize, input: &[u8], batch: &mut Batch) {
        let Instance { server, keys } = &self.instance;
        let Batch { spans, commands, look_ahead } = batch;
        look_ahead.clear();
        let many = commands.len() > 1;
        for (nth, cut) in commands.iter_mut().enumerate() {
            let args = Args::new(input, &spans[cut.first..cut.last]);
            cut.entry = server.commands.find(args.get(0));
            if let Some(entry) = cut.entry.filter(|_| many) {
                look_ahead.add(keys, nth, entry, args);
            }
        }
        let db = server.clients[key].db;
        let args = |nth: usize| Args::new(input, &spans[commands[nth].first..commands[nth].last]);
        look_ahead.fetch(keys, db, args);
    }

    /// Executes a batch; false if the client must not go on with it now. `used` is moved behind
    /// each command executed.
    fn execute_batch(
        &mut self,
        key: usize,
        input: &[u8],
        batch: &Batch,
        out: &mut Reply,
        used: &mut usize,
    ) -> bool {
        for cut in &batch.commands {
            let args = Args::new(input, &batch.spans[cut.first..cut.last]);
            let verbatim = cut.canonical.then(|| &input[cut.start..cut.end]);
            let request = Request { args, entry: cut.entry, verbatim };
            let Instance { server, keys } = &mut self.instance;
            execute(server, keys, Origin::Client, key, request, out);
            *used = cut.end;
            let client = &self.instance.server.clients[key];
            // Nothing of a pipeline comes after its SHUTDOWN.
            let shutdown = self.instance.server.shutdown;
            let stops = shutdown.is_some_and(|shutdown| shutdown.client_key == Some(key));
            let stops = stops || client.is_waiting();
            if client.closing != Closing::No || out.len() > PAUSE_OUTPUT || stops {
                return false;
            }
            if self.has_news() {
                self.tell_news(Some(key));
                self.put_own_messages(out);
            }
        }
        true
    }

    fn protocol_error(&mut self, key: usize, error: &ProtocolError, out: &mut Reply) {
        let server = &mut self.instance.server;
        let text = format!("ERR Protocol error: {error}");
        server.stats.count_error(text.as_bytes());
        out.error(text.as_bytes());
        server.clients[key].close(Closing::AfterReply);
        debug!("Protocol error ({error}) from client: id={}", server.clients[key].id);
    }

    fn on_signal(&mut self) {
        for signal in self.signals.pending() {
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            warn!("Received {name} scheduling shutdown...");
            self.insist.store(true, Ordering::Relaxed);
            self.instance.server.shutdown = Some(Shutdown::default());
        }
    }

    /// A running snapshot has its share of the tick, and may have come to its end.
    fn go_on_with_snapshot(&mut self) {
        let Instance { server, keys } = &mut self.instance;
        if keys.in_snapshot() {
            server.end_phase(Phase::Other);
            let clients_us = server.clock.monotonic_ns().saturating_sub(server.base_ns) / 1000;
            self.snapshot_behind = snapshot::step(server, keys, clients_us);
            server.end_phase(Phase::Snapshot);
        } else {
            self.snapshot_behind = false;
        }
        snapshot::check(server, keys);
    }

    /// The log thread has made progress, or failed: replies that waited for it may go.
    fn on_log_progress(&mut self) {
        let server = &mut self.instance.server;
        if server.log.check() {
            server.state &= !gate::state::DISK_ERROR;
        } else {
            server.state |= gate::state::DISK_ERROR;
        }
        for key in std::mem::take(&mut self.parked) {
            if self.instance.server.clients.contains(key) {
                self.mark_output(key);
            }
        }
    }

    /// What is due by the clock: keys that expire, and the periodic work.
    fn on_time(&mut self) {
        let Instance { server, keys } = &mut self.instance;
        server.end_pause_if_due(keys);
        self.expire_keys();
        let monotonic_ms = self.monotonic_ms();
        if monotonic_ms >= self.next_cron_ms {
            self.next_cron_ms = monotonic_ms + CRON_MS;
            if self.instance.server.switches.cron {
                self.cron();
            }
            self.instance.server.end_phase(Phase::Cron);
        }
        if monotonic_ms >= self.next_second_ms {
            self.next_second_ms = monotonic_ms + 1000;
            self.instance.server.log.every_second();
            self.on_log_progress();
            self.instance.server.end_phase(Phase::Cron);
        }
        self.end_overdue_waits();
        self.go_on_with_migrations();
        self.settle_tracking();
        if self.instance.server.pause.has_released() {
            self.go_on_after_pause();
        }
        if !self.instance.keys.events.list.is_empty() {
            let Instance { server, keys } = &mut self.instance;
            notify::publish(server, keys);
        }
        if self.has_news() {
            self.tell_news(None);
        }
    }

    /// Keys that are due go, as far as there is time.
    fn expire_keys(&mut self) {
        let Instance { server, keys } = &mut self.instance;
        self.expiry_behind = false;
        server.end_phase(Phase::Other);
        if keys.expiry_enabled && server.switches.active_expire {
            let gone = |keys: &Keyspace| keys.expired + keys.expired_fields;
            let (gone_before, began_ns) = (gone(keys), server.last_ns);
            let clock = &server.clock;
            let out_of_time = || clock.monotonic_ns().saturating_sub(began_ns) > EXPIRY_NS;
            self.expiry_behind = keys.expire_due(out_of_time);
            if gone(keys) != gone_before {
                server.end_phase(Phase::Expire);
            }
        }
        if !keys.expired_untold.is_empty() {
            server.tell_expired(keys);
        }
    }

    fn cron(&mut self) {
        if std::mem::take(&mut self.accept_again) {
            self.instance.server.listeners.indexes().for_each(|index| self.accept(index));
        }
        self.cron_count += 1;
        let monotonic_ms = self.monotonic_ms();
        let Instance { server, keys } = &mut self.instance;
        let now_ms = keys.now_ms;
        server.stats.sample_rates(server.phases.ticks(), monotonic_ms);
        server.monitor_disk(now_ms);
        snapshot::begin_what_is_due(server, keys);
        let memory = super::process::memory().anonymous;
        server.stats.peak_memory = server.stats.peak_memory.max(memory);
        // A tenth of the clients at a time, so that each is looked at once a second.
        let part = self.cron_count % CRON_PARTS;
        let timeout_s = i64::from(server.config.timeout);
        let looked_at: Vec<(usize, bool)> = server
            .clients
            .iter()
            .filter(|(key, client)| key % CRON_PARTS == part && client.conn.is_some())
            .map(|(key, client)| (key, connections::is_silent(client, timeout_s, now_ms)))
            .collect();
        for (key, is_silent) in looked_at {
            if is_silent {
                self.close(key, Closing::Now);
            } else if self.cut_off_if_over_limit(key) {
                self.mark_output(key);
            }
        }
    }

    /// The end of a tick, in the one right order:
    /// 1. what changed in this tick is told in one message to those who want it so, as nothing
    ///    more changes;
    /// 2. the changes of this tick become durable as far as the policy asks for, because
    /// 3. no reply may leave before the change it confirms;
    /// 4. clients that end are closed last, so that they get their replies;
    /// 5. what is no longer needed goes to the thread that frees it.
    fn end_tick(&mut self) {
        if self.instance.server.tracking.has_broadcasts() {
            self.broadcast_changes();
        }
        let server = &mut self.instance.server;
        let commits = server.log.has_uncommitted();
        let offset = server.log.commit();
        if commits {
            server.end_phase(Phase::Aof);
        }
        snapshot::switch_increment(&mut self.instance.server, &mut self.instance.keys);
        let acknowledged = self.instance.server.log.acknowledged();
        for key in std::mem::take(&mut self.instance.server.doomed) {
            if self.instance.server.clients.contains(key) {
                self.mark_output(key);
            }
        }
        let mut list = std::mem::take(&mut self.with_output);
        let writes = !list.is_empty();
        for (index, &key) in list.iter().enumerate() {
            let later =
                list.get(index + SENT_AHEAD).and_then(|&key| self.instance.server.clients.get(key));
            if let Some(client) = later {
                prefetch::whole(&**client);
            }
            let Some(client) = self.instance.server.clients.get_mut(key) else { continue };
            client.has_output = false;
            if std::mem::take(&mut client.wrote) {
                client.parked = Some(offset);
            }
            let waits = client.parked.is_some_and(|offset| offset > acknowledged);
            if waits && client.closing != Closing::Now {
                self.parked.push(key);
                continue;
            }
            client.parked = None;
            self.send(key);
        }
        list.clear();
        // Output that is too much for its client's own limit is gone by now.
        self.instance.server.evict_clients(self.instance.keys.now_ms);
        for key in std::mem::take(&mut self.instance.server.doomed) {
            self.send(key);
        }
        if writes {
            self.instance.server.end_phase(Phase::Write);
        }
        // What was marked meanwhile is for the next tick.
        if self.with_output.is_empty() {
            self.with_output = list;
        }
        for garbage in self.instance.keys.garbage.drain(..) {
            self.instance.server.free.later(garbage);
        }
    }

    /// Carries out a shutdown: replies have been sent, the listeners close, the append-only file
    /// becomes durable. If that fails, the server goes on, unless it was forced.
    fn shut_down_if_asked(&mut self) {
        let server = &mut self.instance.server;
        let Some(shutdown) = server.shutdown else {
            // One that a signal asked for may have been aborted.
            self.insist.store(false, Ordering::Relaxed);
            return;
        };
        if !server.switches.cron && shutdown.client_key.is_none() {
            return;
        }
        server.shutdown = None;
        // The disk may hang for as long as it likes, but then a signal still ends the process.
        self.insist.store(true, Ordering::Relaxed);
        warn!("User requested shutdown...");
        if !self.base_allows_end(shutdown) || !self.save_at_end(shutdown) {
            return self.call_shutdown_off(shutdown);
        }
        if self.instance.server.log.is_open() {
            info!("Calling fsync() on the AOF file.");
        }
        if let Err(reason) = self.instance.server.log.shutdown() {
            warn!("The AOF file cannot be made durable: {reason}");
            if !shutdown.force {
                return self.call_shutdown_off(shutdown);
            }
        }
        // Replies that waited for the append-only file need not wait any more.
        self.on_log_progress();
        self.end_tick();
        self.instance.server.listeners.close();
        warn!("goredis is now ready to exit, bye bye...");
        self.stopping = true;
    }

    /// An append-only file that was turned on and has no base yet is worth nothing: a signal waits
    /// for it, as nobody can answer to that.
    fn base_allows_end(&mut self, shutdown: Shutdown) -> bool {
        let Instance { server, keys } = &mut self.instance;
        if !server.snapshots.wants_base {
            return true;
        }
        if shutdown.force {
            warn!("Writing initial AOF. Exiting anyway.");
            return true;
        }
        if shutdown.client_key.is_some() {
            warn!("Writing initial AOF, can't exit");
            return false;
        }
        snapshot::finish_base(server, keys).is_ok()
    }

    /// Saves what a shutdown is to save; false if that failed and the server must go on.
    fn save_at_end(&mut self, shutdown: Shutdown) -> bool {
        let Instance { server, keys } = &mut self.instance;
        snapshot::give_up(server, keys);
        if !shutdown.save.unwrap_or(!server.config.save.is_empty()) {
            return true;
        }
        info!("Saving the final RDB snapshot before exiting.");
        match snapshot::save_now(server, keys) {
            Ok(()) => true,
            Err(reason) => {
                warn!("Error trying to save the DB, can't exit: {reason}");
                shutdown.force
            }
        }
    }

    fn call_shutdown_off(&mut self, shutdown: Shutdown) {
        warn!("Errors trying to shut down the server. Check the logs for more information.");
        self.insist.store(false, Ordering::Relaxed);
        self.report_failed_shutdown(shutdown);
    }

    fn report_failed_shutdown(&mut self, shutdown: Shutdown) {
        let Some(key) = shutdown.client_key else { return };
        if let Some(conn) = self.conn(key) {
            let mut output = conn.take_output(&mut Pool::default());
            output.extend_from_slice(b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
            conn.put_output(output, &mut Pool::default());
            self.mark_output(key);
        }
    }

    /// Writes a client's output, and closes the client if its time has come.
    fn send(&mut self, key: usize) {
        self.cut_off_if_over_limit(key);
        let now_ms = self.instance.keys.now_ms;
        let server = &mut self.instance.server;
        let client = &mut server.clients[key];
        let Some(conn) = client.conn.as_mut() else { return };
        if client.closing != Closing::Now && conn.pending() > 0 {
            match conn.flush(self.poll.registry(), &mut self.pool) {
                Ok(written) => {
                    if written > 0 {
                        client.active_s = now_ms / 1000;
                    }
                    client.bytes_out += written as u64;
                    server.stats.bytes_out += written as u64;
                    server.stats.writes += 1;
                }
                Err(e) => {
                    debug!("Error writing to client: {e}");
                    // It has gone without waiting for replies. What it sent before is executed
                    // all the same; reading comes to its end soon.
                    conn.discard_output();
                    (conn.readable, conn.ended) = (true, true);
                }
            }
        }
        let Some(conn) = client.conn.as_mut() else { return };
        let unsent = conn.pending() > 0;
        let goes_on = unsent && !conn.is_blocked();
        if (client.closing == Closing::AfterReply && !unsent) || client.closing == Closing::Now {
            conn.close(self.poll.registry());
            self.forget_keys(key);
            self.instance.server.clients.remove(key);
            self.connected -= 1;
        } else if (conn.readable || (!conn.input.is_empty() && client.partial.is_none()))
            && conn.pending() <= PAUSE_OUTPUT
            && !client.is_waiting()
        {
            // It may have been paused, and there is no event for what came before.
            self.schedule(key);
        }
        if goes_on && self.instance.server.clients.contains(key) {
            self.mark_output(key);
        }
        self.instance.server.count_memory(key);
    }
}

#[cfg(test)]
mod tests;
