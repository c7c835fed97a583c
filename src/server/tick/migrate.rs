//! The loop's part in [`migrate`](crate::server::migrate): connections to other servers, what is
//! sent and received over them, and what a migration's end means for its client.

use super::EventLoop;
use crate::net::conn::{Conn, Input};
use crate::net::stream::Stream;
use crate::resp::Reply;
use crate::resp::read::Value;
use crate::server::client::Closing;
use crate::server::execute;
use crate::server::gate::state::PAUSED;
use crate::server::migrate::links::{self, Chance, Found};
use crate::server::migrate::talk::Next;
use crate::server::migrate::{Broken, End, Report, SLICE_NS, Target};
use crate::server::phases::Phase;
use crate::server::{Instance, Server};
use log::debug;
use mio::Token;
use mio::event::Event;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// One connection is given so many bytes a tick, about.
const SEND_MOST: usize = 4 << 20;

impl EventLoop {
    fn server(&mut self) -> &mut Server {
        &mut self.instance.server
    }

    /// Something has happened to a connection to another server.
    #[cold]
    pub(super) fn on_link_event(&mut self, token: Token, event: &Event) {
        let Some(key) = links::key_of(token) else { return };
        let Some(link) = self.server().migrations.links.get_mut(key) else { return };
        if link.conn.token() != token {
            return;
        }
        if link.connecting.is_some() {
            self.on_connected(key);
        } else if event.is_writable() {
            self.send_to_link(key);
        }
        let Some(link) = self.server().migrations.links.get_mut(key) else { return };
        let has_input = event.is_readable() || event.is_read_closed() || event.is_error();
        if has_input && link.connecting.is_none() && link.conn.token() == token {
            link.conn.readable = true;
            self.read_link(key);
        }
    }

    /// Whether migrations keep the loop from sleeping, or until when they let it, by the monotonic
    /// clock in milliseconds.
    pub(super) fn migrations_wake_ms(&self) -> Option<u64> {
        let migrations = &self.instance.server.migrations;
        if migrations.is_idle() {
            return None;
        }
        let is_paused = self.instance.server.state & PAUSED != 0;
        if migrations.has_work(!is_paused) {
            return Some(0);
        }
        migrations.next_alarm_ms()
    }

    /// Goes on with all migrations: once a tick, after whatever events there were.
    pub(super) fn go_on_with_migrations(&mut self) {
        if self.instance.server.migrations.is_idle() {
            return;
        }
        self.go_on_migrating();
        self.instance.server.end_phase(Phase::Migrate);
    }

    #[cold]
    fn go_on_migrating(&mut self) {
        // What changed must be known before anything is decided.
        if self.has_news() {
            self.tell_news(None);
        }
        let now_ms = self.monotonic_ms();
        let migrations = &mut self.instance.server.migrations;
        for id in migrations.take_begun() {
            let Some(target) = migrations.get(id).map(|one| one.order.target.clone()) else {
                continue;
            };
            let place = migrations.links.wait(&target, id, now_ms);
            if let Some(migration) = migrations.get_mut(id) {
                migration.place = Some(place);
            }
        }
        while let Some(lost) = self.server().migrations.links.take_found() {
            for id in lost {
                self.server().migrations.end(id, End::Broken(Broken::Connecting));
            }
        }
        for place in self.server().migrations.links.places_waited_for() {
            self.serve_place(place);
        }
        self.encode_for_links();
        while let Some(id) = self.server().migrations.overdue(now_ms) {
            self.time_out(id);
        }
        // While clients must not change data, nothing is removed either.
        if self.instance.server.state & PAUSED == 0 {
            for id in self.server().migrations.take_ended() {
                self.settle(id);
            }
        }
        for key in self.server().migrations.links.outdated(now_ms) {
            self.close_link(key);
        }
    }

    /// Gives those who wait for a target what can be had.
    fn serve_place(&mut self, place: usize) {
        while let Some((id, chance)) = self.server().migrations.links.chance(place) {
            match chance {
                Chance::None => return,
                Chance::Use(key) => {
                    let migrations = &mut self.server().migrations;
                    if let Some(link) = migrations.links.get_mut(key) {
                        link.migration = Some(id);
                    }
                    self.begin_talk(id, key);
                }
                Chance::Connect(addresses) => self.connect(place, id, addresses),
                Chance::LookUp(target) => self.look_up(place, target),
            }
        }
    }

    /// Has a name looked up, which may take long, by a thread.
    fn look_up(&mut self, place: usize, target: Target) {
        let (finder, waker) = (self.server().migrations.links.finder(), self.waker.clone());
        let failed = Found { place, target: target.clone(), addresses: Vec::new() };
        let spare = finder.clone();
        let work = move || {
            let found = (&*target.host, target.port).to_socket_addrs();
            let addresses = found.map(Iterator::collect).unwrap_or_default();
            // Who asked may be gone with the whole server.
            let _ = finder.send(Found { place, target, addresses });
            let _ = waker.wake();
        };
        if std::thread::Builder::new().name("lookup".to_string()).spawn(work).is_err() {
            let _ = spare.send(failed);
        }
    }

    fn connect(&mut self, place: usize, id: usize, addresses: Vec<SocketAddr>) {
        let mut rest = addresses;
        while !rest.is_empty() {
            let address = rest.remove(0);
            let token = self.server().migrations.links.next_token();
            match self.open(address, token) {
                Ok(conn) => {
                    let migrations = &mut self.server().migrations;
                    let key = migrations.links.add(conn, place, rest, id);
                    if let Some(migration) = migrations.get_mut(id) {
                        migration.link = Some(key);
                    }
                    return;
                }
                Err(e) => debug!("Connecting to {address} for MIGRATE: {e}"),
            }
        }
        self.server().migrations.links.forget_addresses(place);
        self.detach(id);
        self.server().migrations.end(id, End::Broken(Broken::Connecting));
    }

    fn open(&mut self, address: SocketAddr, token: Token) -> io::Result<Conn> {
        let stream = Stream::connect(address)?;
        stream.configure(0)?;
        Conn::connecting(stream, self.poll.registry(), token)
    }

    /// A connection was made, or was not: then another address is tried.
    fn on_connected(&mut self, key: usize) {
        let Some(link) = self.server().migrations.links.get_mut(key) else { return };
        match link.conn.stream().is_connected() {
            Ok(false) => {}
            Ok(true) => {
                link.connecting = None;
                let migration = link.migration;
                match migration {
                    Some(id) => self.begin_talk(id, key),
                    None => self.close_link(key),
                }
            }
            Err(e) => {
                debug!("Connecting for MIGRATE: {e}");
                self.connect_elsewhere(key);
            }
        }
    }

    fn connect_elsewhere(&mut self, key: usize) {
        loop {
            let links = &mut self.server().migrations.links;
            let Some(link) = links.get_mut(key) else { return };
            let Some(rest) = link.connecting.as_mut().filter(|rest| !rest.is_empty()) else {
                let (place, migration) = (link.place, link.migration);
                links.forget_addresses(place);
                self.close_link(key);
                if let Some(id) = migration {
                    self.detach(id);
                    // Redis notices a refused connection when it writes to it, and says so.
                    self.server().migrations.end(id, End::Broken(Broken::Writing));
                }
                return;
            };
            let address = rest.remove(0);
            let token = links.another_token(key);
            if let Ok(conn) = self.open(address, token)
                && let Some(link) = self.server().migrations.links.get_mut(key)
            {
                // The one before ends as it is dropped.
                link.conn = conn;
                return;
            }
        }
    }

    /// A migration has a connection now.
    fn begin_talk(&mut self, id: usize, key: usize) {
        let now_ms = self.monotonic_ms();
        let migrations = &mut self.instance.server.migrations;
        let Some(link) = migrations.links.get_mut(key) else { return };
        let (db, place) = (link.db, link.place);
        let Some(migration) = migrations.get_mut(id) else { return };
        migration.link = Some(key);
        migration.progress_ms = now_ms;
        if migration.talk.begin(&migration.order, db) {
            migrations.ready.push(id);
        }
        migrations.links.note_progress(place, now_ms);
        self.send_to_link(key);
    }

    /// Encodes values for those connections that can take more, one step for each in turn.
    fn encode_for_links(&mut self) {
        let Instance { server, keys } = &mut self.instance;
        let compresses = server.config.rdbcompression;
        let began_ns = server.clock.monotonic_ns();
        let now_ms = began_ns / 1_000_000;
        let mut ready = std::mem::take(&mut server.migrations.ready);
        let mut encoded = ready.clone();
        while !ready.is_empty() {
            ready.retain(|&id| server.migrations.encode(id, keys, compresses));
            if server.clock.monotonic_ns().saturating_sub(began_ns) > SLICE_NS {
                break;
            }
        }
        server.migrations.ready = ready;
        encoded.sort_unstable();
        encoded.dedup();
        for id in encoded {
            let server = self.server();
            let Some(migration) = server.migrations.get_mut(id) else { continue };
            let Some(link) = migration.link else { continue };
            migration.progress_ms = now_ms;
            let is_encoded = migration.talk.has_encoded(&migration.items);
            if is_encoded && migration.order.copies {
                // What is copied may change again.
                let Instance { server, keys } = &mut self.instance;
                server.release_keys(keys, id);
            }
            self.send_to_link(link);
            self.end_if_done(id);
        }
    }

    /// Sends what there is to be sent, as far as the socket takes it.
    fn send_to_link(&mut self, key: usize) {
        let now_ms = self.monotonic_ms();
        let mut sent = 0;
        loop {
            let migrations = &mut self.instance.server.migrations;
            let Some(link) = migrations.links.get_mut(key) else { return };
            let (id, place) = (link.migration, link.place);
            if link.connecting.is_some() {
                return;
            }
            if link.conn.pending() == 0 {
                let Some(migration) = id.and_then(|id| migrations.get_mut(id)) else { return };
                let Some(piece) = migration.talk.take_output() else { break };
                let Some(link) = migrations.links.get_mut(key) else { return };
                link.conn.put_output(piece, &mut self.pool);
            }
            let Some(link) = migrations.links.get_mut(key) else { return };
            match link.conn.flush(self.poll.registry(), &mut self.pool) {
                Ok(written) => sent += written,
                Err(e) => {
                    debug!("Writing for MIGRATE: {e}");
                    return self.fail_link(key, Broken::Writing);
                }
            }
            let is_blocked = link.conn.is_blocked();
            if sent > 0 {
                migrations.links.note_progress(place, now_ms);
                if let Some(migration) = id.and_then(|id| migrations.get_mut(id)) {
                    migration.progress_ms = now_ms;
                }
            }
            if is_blocked || sent > SEND_MOST {
                break;
            }
        }
        let migrations = &mut self.instance.server.migrations;
        let Some(link) = migrations.links.get_mut(key) else { return };
        let (goes_on, id) = (!link.conn.is_blocked() && link.conn.pending() > 0, link.migration);
        let Some(migration) = id.and_then(|id| migrations.get(id)) else { return };
        let goes_on = goes_on || (sent > SEND_MOST && migration.talk.has_output());
        if (goes_on || migration.talk.can_encode(&migration.items))
            && let Some(id) = id
            && !migrations.ready.contains(&id)
        {
            migrations.ready.push(id);
        }
    }

    /// Reads replies, and does what follows from them.
    fn read_link(&mut self, key: usize) {
        let mut input = self.queue.take_buffer();
        while let Some(link) = self.server().migrations.links.get_mut(key) {
            if !link.conn.readable {
                break;
            }
            match link.conn.read(&mut input, 0) {
                Ok(Input::Bytes { len, .. }) => {
                    if !self.take_replies(key, &input[..len]) {
                        self.fail_link(key, Broken::Reading);
                    }
                }
                Ok(Input::Nothing) => break,
                Ok(Input::Closed) => self.fail_link(key, Broken::Reading),
                Err(e) => {
                    debug!("Reading for MIGRATE: {e}");
                    self.fail_link(key, Broken::Reading);
                }
            }
        }
        self.queue.give_buffer(input);
    }

    /// False if these are no replies to anything.
    fn take_replies(&mut self, key: usize, bytes: &[u8]) -> bool {
        let now_ms = self.monotonic_ms();
        let mut rest = bytes;
        while !rest.is_empty() {
            let migrations = &mut self.server().migrations;
            let Some(link) = migrations.links.get_mut(key) else { return true };
            let Some(id) = link.migration else { return false };
            let Ok((used, value)) = link.decoder.feed(rest) else { return false };
            rest = &rest[used..];
            link.received = if value.is_some() { 0 } else { link.received + used };
            let (is_flooded, place) = (link.is_flooded(), link.place);
            if is_flooded {
                return false;
            }
            let Some(value) = value else { continue };
            let error = match &value {
                Value::Error(text) => Some(&text[..]),
                _ => None,
            };
            migrations.links.note_progress(place, now_ms);
            if let Some(migration) = migrations.get_mut(id) {
                migration.progress_ms = now_ms;
            }
            match migrations.on_reply(id, error) {
                Next::Unexpected => return false,
                Next::NotLoggedIn => {
                    self.detach(id);
                    self.close_link(key);
                    self.server().migrations.end(id, End::Answered);
                }
                Next::Encode => migrations.ready.push(id),
                Next::Done => self.end_if_done(id),
                Next::Wait => {}
            }
        }
        true
    }

    /// Ends a migration that has nothing left to do, and keeps its connection for the next one.
    fn end_if_done(&mut self, id: usize) {
        let now_ms = self.monotonic_ms();
        let migrations = &mut self.server().migrations;
        let Some(migration) = migrations.get_mut(id) else { return };
        let is_done = migration.talk.is_done(&migration.items) || migration.talk.not_selected;
        let Some(key) = migration.link.filter(|_| is_done) else { return };
        let db = (!migration.talk.not_selected).then_some(migration.order.target_db);
        self.detach(id);
        let migrations = &mut self.server().migrations;
        migrations.end(id, End::Answered);
        if let Some(link) = migrations.links.get_mut(key) {
            link.db = db;
            migrations.links.keep(key, now_ms);
        }
    }

    /// A migration has neither a connection any more, nor waits for one.
    fn detach(&mut self, id: usize) {
        let migrations = &mut self.server().migrations;
        let Some(migration) = migrations.get_mut(id) else { return };
        migration.link = None;
        if let Some(place) = migration.place.take() {
            migrations.links.wait_no_more(place, id);
        }
    }

    /// A connection has come to its end. If it was one from before, and the target has not said
    /// anything since, it had probably ended long ago: then another one is tried.
    fn fail_link(&mut self, key: usize, broken: Broken) {
        let migrations = &mut self.server().migrations;
        let Some(link) = migrations.links.get_mut(key) else { return };
        let (is_new, place, id) = (link.is_new, link.place, link.migration);
        let unsent = link.conn.pending() > 0;
        if !is_new {
            // The others are not any better.
            for idle in migrations.links.idle_of(place) {
                self.close_link(idle);
            }
        }
        let migrations = &mut self.server().migrations;
        let Some(migration) = id.and_then(|id| migrations.get_mut(id)) else {
            return self.close_link(key);
        };
        let Some(id) = id else { return };
        let again = !is_new && !migration.talk.heard;
        let unsent = unsent || migration.talk.has_output();
        if again {
            migration.begin_again();
            let target = migration.order.target.clone();
            let now_ms = self.monotonic_ms();
            let migrations = &mut self.server().migrations;
            let place = migrations.links.wait(&target, id, now_ms);
            if let Some(migration) = migrations.get_mut(id) {
                migration.place = Some(place);
            }
            self.close_link(key);
            return self.serve_place(place);
        }
        self.close_link(key);
        self.detach(id);
        let broken = if unsent { Broken::Writing } else { broken };
        self.server().migrations.end(id, End::Broken(broken));
    }

    fn close_link(&mut self, key: usize) {
        if let Some(mut link) = self.instance.server.migrations.links.remove(key) {
            link.conn.close(self.poll.registry());
        }
    }

    /// Takes a migration's connection away from it.
    fn cut_off(&mut self, id: usize) {
        let link = self.server().migrations.get(id).and_then(|migration| migration.link);
        self.detach(id);
        if let Some(key) = link {
            self.close_link(key);
        }
    }

    fn time_out(&mut self, id: usize) {
        let broken = self.server().migrations.broken_now(id);
        self.cut_off(id);
        self.server().migrations.end(id, End::Broken(broken));
    }

    /// Carries out a migration's end: keys are removed, and the client has its reply.
    fn settle(&mut self, id: usize) {
        self.cut_off(id);
        let Instance { server, keys } = &mut self.instance;
        let Some(report) = server.settle_migration(keys, id) else { return };
        let Report { client_key: Some(key), entry, result } = report else { return };
        let Some(client) = server.clients.get_mut(key) else { return };
        let Some(conn) = client.conn.as_mut().filter(|_| client.closing == Closing::No) else {
            return;
        };
        let mut out = Reply::new(conn.take_output(&mut self.pool), client.resp3);
        execute::finish(server, key, entry, result, &mut out);
        self.put_output(key, out);
        self.schedule(key);
    }
}
