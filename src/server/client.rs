//! One client: its session (who it is, which database, which protocol) and its connection.

use super::acl::User;
use super::blocking::Blocked;
use super::gate::state;
use super::pause::Postponed;
use super::pubsub::Subscriptions;
use super::tracking::Mode;
use super::transactions::{Transaction, Watch};
use crate::net::conn::Conn;
use crate::resp::parse::Partial;
use std::sync::Arc;

/// What CLIENT REPLY chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    /// The next command's reply is not sent.
    SkipNext,
    /// This command's reply is not sent: how `SkipNext` looks from within that command.
    Skip,
}

/// Whether, and when, the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closing {
    No,
    /// When its replies are sent.
    AfterReply,
    /// At the end of the tick, whatever is unsent.
    Now,
}

pub struct Client {
    /// Unique as long as the server runs.
    pub id: u64,
    /// None for the server's own clients, such as the one that loads a file.
    pub conn: Option<Conn>,
    /// Progress within the incomplete command at the start of the connection's input.
    pub partial: Option<Box<Partial>>,
    pub db: usize,
    pub resp3: bool,
    /// Whose permissions it has: the default user's until it logs in as somebody.
    pub user: Arc<User>,
    /// It has logged in, or came when there was no need to; see [`Client::needs_auth`].
    pub authenticated: bool,
    pub reply: ReplyMode,
    pub closing: Closing,
    /// What of `gate::state` holds for this client; see [`Client::update_state`].
    pub state: u32,
    /// CLIENT NO-EVICT and NO-TOUCH.
    pub no_evict: bool,
    pub no_touch: bool,
    pub name: Box<[u8]>,
    pub lib_name: Box<[u8]>,
    pub lib_version: Box<[u8]>,
    /// Seconds since 1970.
    pub created_s: i64,
    pub active_s: i64,
    /// The full name of the last command, for CLIENT LIST.
    pub last_command: &'static str,
    /// Bytes received and sent, and commands processed.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub commands: u64,
    /// Arguments' bytes of the command being executed, for CLIENT LIST.
    pub argument_bytes: usize,
    /// Bytes of input this client's batch began with, for CLIENT LIST from within it.
    pub query_bytes: usize,
    /// Milliseconds since 1970 at which the output passed its soft limit.
    pub over_soft_limit_since: Option<i64>,
    /// Bytes it was counted as for `maxmemory-clients`.
    pub counted_memory: usize,
    /// It changed data in this tick, so its replies depend on the append-only file.
    pub wrote: bool,
    /// Its replies wait until the append-only file is acknowledged up to here.
    pub parked: Option<u64>,
    /// What it waits for; no further command of it is executed meanwhile.
    pub blocked: Option<Box<Blocked>>,
    /// Its command that waits for the end of a pause.
    pub postponed: Option<Box<Postponed>>,
    /// The migration whose end it waits for.
    pub migration: Option<usize>,
    /// It asked for MONITOR.
    pub monitors: bool,
    /// The commands since MULTI.
    pub transaction: Option<Box<Transaction>>,
    pub watch: Option<Box<Watch>>,
    /// What it listens to; none if nothing.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// What CLIENT TRACKING turned on; none if off.
    pub tracking: Option<Box<Mode>>,
    /// It is in the loop's list of clients to go on with.
    pub scheduled: bool,
    /// It is in the loop's list of clients whose output is to be sent.
    pub has_output: bool,
}

impl Client {
    /// `user` is whom connections begin as.
    pub fn new(id: u64, conn: Option<Conn>, now_s: i64, user: Arc<User>) -> Client {
        let authenticated = user.is_open();
        let mut client = Client {
            id,
            conn,
            partial: None,
            db: 0,
            resp3: false,
            user,
            authenticated,
            reply: ReplyMode::On,
            closing: Closing::No,
            state: 0,
            no_evict: false,
            no_touch: false,
            name: Box::default(),
            lib_name: Box::default(),
            lib_version: Box::default(),
            created_s: now_s,
            active_s: now_s,
            last_command: "NULL",
            bytes_in: 0,
            bytes_out: 0,
            commands: 0,
            argument_bytes: 0,
            query_bytes: 0,
            over_soft_limit_since: None,
            counted_memory: 0,
            wrote: false,
            parked: None,
            blocked: None,
            postponed: None,
            migration: None,
            monitors: false,
            transaction: None,
            watch: None,
            subscriptions: None,
            tracking: None,
            scheduled: false,
            has_output: false,
        };
        client.update_state();
        client
    }

    /// Tells the gate, which looks at these bits alone, what has changed: to be called wherever
    /// one of these fields is set.
    pub fn update_state(&mut self) {
        self.state = self.current_state();
    }

    pub fn current_state(&self) -> u32 {
        let when = |holds: bool, bit: u32| if holds { bit } else { 0 };
        when(self.needs_auth(), state::UNAUTHENTICATED)
            | when(!self.user.is_unlimited(), state::RESTRICTED)
            | when(self.transaction.is_some(), state::IN_TRANSACTION)
            | when(self.subscriptions.is_some() && !self.resp3, state::SUBSCRIBED)
            | when(self.tracking.as_ref().is_some_and(|mode| !mode.broadcast), state::TRACKED)
            | when(self.monitors, state::MONITORS)
    }

    /// Whether it must log in before it may do anything: who has not is the default user, who may
    /// have become one that need not.
    #[inline]
    pub fn needs_auth(&self) -> bool {
        !self.authenticated && !self.user.is_open()
    }

    /// Whether it has a command that waits, for whatever: it is not read from.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.blocked.is_some() || self.postponed.is_some() || self.migration.is_some()
    }

    /// `ip:port` of the other side. Asked of the system each time, as it is seldom wanted and
    /// would cost each client memory.
    pub fn peer(&self) -> String {
        self.conn.as_ref().map(|conn| conn.stream().peer()).unwrap_or_default()
    }

    /// `ip:port` of this side.
    pub fn local(&self) -> String {
        self.conn.as_ref().map(|conn| conn.stream().local()).unwrap_or_default()
    }

    /// Whether it is on this machine, or the server's own.
    pub fn is_local(&self) -> bool {
        self.conn.as_ref().is_none_or(|conn| conn.stream().is_local())
    }

    /// Ends the connection, not later than asked for before.
    pub fn close(&mut self, when: Closing) {
        self.closing = self.closing.max(when);
    }

    pub fn end_transaction(&mut self) -> Option<Box<Transaction>> {
        let transaction = self.transaction.take();
        self.update_state();
        transaction
    }

    /// The session as a new connection has it, beginning as `user`: what RESET does.
    pub fn reset(&mut self, user: Arc<User>) {
        self.db = 0;
        self.resp3 = false;
        self.authenticated = user.is_open();
        self.user = user;
        if self.reply != ReplyMode::Skip {
            self.reply = ReplyMode::On;
        }
        self.no_evict = false;
        self.no_touch = false;
        self.transaction = None;
        self.name = Box::default();
        self.update_state();
    }
}
