//! The loop's part in [`blocking`](crate::server::blocking) and [`pause`](crate::server::pause):
//! executes the commands of clients that wait again, and sends away those whose time is up.

use super::EventLoop;
use crate::resp::Reply;
use crate::server::Instance;
use crate::server::blocking::Release;
use crate::server::client::Closing;
use crate::server::ctx::Origin;
use crate::server::execute::{self, Request, execute};
use crate::server::gate::state::PAUSED;
use crate::server::phases::Phase;
use crate::server::tracking;

impl EventLoop {
    /// Whether somebody else has to hear of what a command did.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        let Instance { server, keys } = &self.instance;
        keys.interests.has_changes() || server.blocking.has_released() || self.has_messages()
    }

    /// Serves clients that wait for keys which have changed, in the order in which they came, and
    /// those who listen to channels. Right after the command that made the change, so that who
    /// waits comes before who asks next. `busy` is the client whose commands are being executed.
    #[cold]
    pub(super) fn tell_news(&mut self, busy: Option<usize>) {
        self.instance.server.end_phase_there(Phase::Execute);
        while self.has_news() {
            self.deliver_messages(busy);
            for (key, release) in self.instance.server.blocking.take_released() {
                self.release(key, release);
            }
            for changed in self.instance.keys.interests.take_changed() {
                let server = &mut self.instance.server;
                server.migrations.tell(&changed);
                if changed.concerns.watching() {
                    server.watchers.tell(&mut server.clients, &changed.key);
                }
                if changed.concerns.waiting() {
                    self.serve_waiting(&changed.key);
                }
            }
            self.settle_tracking();
        }
        self.instance.server.end_phase(Phase::Deliver);
    }

    fn serve_waiting(&mut self, changed: &(usize, Box<[u8]>)) {
        let mut ticket = 0;
        let mut held_back = false;
        loop {
            let Instance { server, keys } = &mut self.instance;
            keys.select(changed.0);
            // It is another one after each client that took something.
            let kind = keys.peek(&changed.1).map(|view| view.value().kind());
            let next = server.blocking.next_waiting(&server.clients, changed, ticket, kind);
            let Some((found, client_key)) = next else { break };
            ticket = found + 1;
            let blocked = &server.clients[client_key].blocked;
            if blocked.as_ref().is_some_and(|b| b.entry.refused & server.state & PAUSED != 0) {
                held_back = true;
                continue;
            }
            self.try_again(client_key);
        }
        if held_back {
            self.instance.server.pause.hold_change(changed);
        }
    }

    /// Executes the command that a client waits with.
    fn try_again(&mut self, key: usize) {
        let Instance { server, keys } = &mut self.instance;
        let client = &mut server.clients[key];
        if client.closing != Closing::No {
            return;
        }
        let (Some(blocked), Some(conn)) = (&mut client.blocked, &mut client.conn) else { return };
        let (command, entry) = (blocked.take_command(), blocked.entry);
        let mut out = Reply::new(conn.take_output(&mut self.pool), client.resp3);
        let request = Request { args: command.args(), entry: Some(entry), verbatim: None };
        execute(server, keys, Origin::Client, key, request, &mut out);
        let blocked = server.clients[key].blocked.as_mut();
        let goes_on = blocked.is_some_and(|blocked| blocked.goes_on(command));
        self.put_output(key, out);
        if !goes_on {
            self.end_wait(key);
        }
    }

    /// After a pause: executes what was postponed, in the order in which it came. Commands may be
    /// postponed again.
    #[cold]
    pub(super) fn go_on_after_pause(&mut self) {
        let resumed = self.instance.server.pause.take_released();
        for key in resumed.client_keys {
            self.execute_postponed(key);
            if self.has_news() {
                self.tell_news(None);
            }
        }
        for changed in resumed.changed {
            self.serve_waiting(&changed);
        }
    }

    fn execute_postponed(&mut self, key: usize) {
        let Instance { server, keys } = &mut self.instance;
        let client = &mut server.clients[key];
        let Some(postponed) = client.postponed.take() else { return };
        let Some(conn) = client.conn.as_mut() else { return };
        if client.closing != Closing::No {
            return;
        }
        let mut out = Reply::new(conn.take_output(&mut self.pool), client.resp3);
        let request = Request { args: postponed.command.args(), entry: None, verbatim: None };
        execute(server, keys, Origin::Client, key, request, &mut out);
        self.put_output(key, out);
        self.tell_monitors(None);
        if !self.instance.server.clients[key].is_waiting() {
            self.schedule(key);
        }
    }

    pub(super) fn put_output(&mut self, key: usize, out: Reply) {
        if let Some(conn) = self.instance.server.clients[key].conn.as_mut() {
            conn.put_output(out.into_buf(), &mut self.pool);
        }
        self.mark_output(key);
    }

    /// The client waits no more, and goes on with what it sent meanwhile.
    fn end_wait(&mut self, key: usize) {
        self.forget_wait(key);
        self.schedule(key);
    }

    /// A client is about to end: it waits for nothing, watches nothing, listens to nothing, and
    /// its cache is gone.
    pub(super) fn forget_keys(&mut self, key: usize) {
        self.forget_wait(key);
        let Instance { server, keys } = &mut self.instance;
        server.watchers.forget(keys, key, &mut server.clients[key]);
        server.pubsub.forget_client(key, &mut server.clients[key]);
        tracking::stop(server, keys, key);
        server.set_monitoring(key, false);
        server.forget_memory(key);
    }

    fn forget_wait(&mut self, key: usize) {
        let Instance { server, keys } = &mut self.instance;
        let client = &mut server.clients[key];
        if let Some(blocked) = client.blocked.take() {
            server.blocking.remove(keys, key, &blocked);
        }
        if let Some(postponed) = client.postponed.take() {
            server.pause.forget(&postponed);
        }
        if let Some(migration) = client.migration.take() {
            server.migrations.forget_client(migration);
        }
    }

    /// Ends a client's waiting without its having been served.
    fn release(&mut self, key: usize, release: Release) {
        let server = &mut self.instance.server;
        let Some(client) = server.clients.get_mut(key) else { return };
        let (Some(_), Some(conn)) = (&client.blocked, &mut client.conn) else { return };
        let mut out = Reply::new(conn.take_output(&mut self.pool), client.resp3);
        execute::release(server, key, release, &mut out);
        self.put_output(key, out);
        self.end_wait(key);
    }

    /// Sends away those whose time is up.
    pub(super) fn end_overdue_waits(&mut self) {
        let monotonic_ms = self.monotonic_ms();
        while let Some(key) = self.instance.server.blocking.overdue(monotonic_ms) {
            self.release(key, Release::TimedOut);
        }
    }
}
