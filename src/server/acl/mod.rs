//! Access control: who there is, what they may do, and what was refused to whom. Knows commands by
//! their rows; must not know clients or connections, whom `server/login.rs` looks after.
//!
//! ```text
//!   rules ──> User ──> Selector: a bit for each command, patterns of keys and channels
//!                          │
//!   entry, args ──check────┴──> allowed, or what is denied ──> AclLog
//! ```
//!
//! Users never change: a change makes a new one in the place of the old. Clients share them, and
//! the gate asks about a client only whose user has limits at all (`gate::state::RESTRICTED`).
//!
//! Rules, texts and the forms in which users are shown are those of Redis 7.2 (`acl.c`).

mod check;
mod file;
mod log;
mod missing;
mod password;
mod rule;
mod selector;
mod user;

pub use check::Denied;
pub use log::{AclLog, Context, Event, LogEntry, Reason};
pub use password::{MOST_BITS, generate};
pub use rule::{RuleError, has_spaces, join_selectors, shown};
pub use selector::{Selector, is_covered};
pub use user::{DEFAULT, User};

use crate::server::command::CommandTable;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What rules are read against.
#[derive(Clone, Copy)]
pub struct Rulebook {
    pub commands: &'static CommandTable,
    /// New users may use all channels (`acl-pubsub-default`).
    pub all_channels: bool,
}

/// How often something was refused since the server started.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeniedCounts {
    pub auth: u64,
    pub command: u64,
    pub key: u64,
    pub channel: u64,
}

type Users = BTreeMap<Box<[u8]>, Arc<User>>;

pub struct Acl {
    users: Users,
    /// One of them.
    default: Arc<User>,
    log: AclLog,
    denied: DeniedCounts,
}

impl Acl {
    /// There is the default user alone, who may do everything.
    pub fn new(commands: &'static CommandTable) -> Acl {
        let book = Rulebook { commands, all_channels: true };
        let default = Arc::new(User::unlimited(DEFAULT, book));
        let users = Users::from([(DEFAULT.into(), default.clone())]);
        Acl { users, default, log: AclLog::default(), denied: DeniedCounts::default() }
    }

    /// Whom every connection begins as.
    pub fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// In the order of their names.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// Takes a user in; returns the one of that name until now, and the new one.
    pub fn put(&mut self, user: User) -> (Option<Arc<User>>, Arc<User>) {
        let user = Arc::new(user);
        if user.name() == DEFAULT {
            self.default = user.clone();
        }
        (self.users.insert(user.name().into(), user.clone()), user)
    }

    /// Takes a user out, except the default user.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<User>> {
        if name == DEFAULT { None } else { self.users.remove(name) }
    }

    /// What ACL SETUSER would make of a user, who need not exist.
    ///
    /// # Errors
    /// The text for the client.
    pub fn changed<'a>(
        &self,
        name: &[u8],
        words: impl IntoIterator<Item = &'a [u8]>,
        book: Rulebook,
    ) -> Result<User, Vec<u8>> {
        let rules = join_selectors(words).map_err(|opening| {
            let before: &[u8] = b"Unmatched parenthesis in acl selector starting at '";
            [before, opening, b"'."].concat()
        })?;
        let mut user = match self.get(name) {
            Some(user) => User::clone(user),
            None => User::new(name, book),
        };
        for rule in rules {
            user.apply(&rule, book).map_err(|error| {
                let text = error.text().as_bytes();
                [b"Error in ACL SETUSER modifier '", rule.as_slice(), b"': ", text].concat()
            })?;
        }
        Ok(user)
    }

    /// Reads users from the text of a file: all of them, or none if anything is wrong in it.
    /// Without a default user in it, that one is as on a server that is told nothing. Returns the
    /// users there were.
    ///
    /// # Errors
    /// What is wrong, line by line.
    pub fn load(
        &mut self,
        text: &[u8],
        path: &str,
        book: Rulebook,
    ) -> Result<Vec<Arc<User>>, Vec<u8>> {
        let mut users = file::parse(text, path, book)?;
        let default =
            users.entry(DEFAULT.into()).or_insert_with(|| Arc::new(User::unlimited(DEFAULT, book)));
        self.default = default.clone();
        Ok(std::mem::replace(&mut self.users, users).into_values().collect())
    }

    /// The users as lines `user NAME RULES`, which [`Acl::load`] takes back.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        self.users().map(|user| [b"user ", user.describe().as_slice()].concat()).collect()
    }

    pub fn log(&self) -> &AclLog {
        &self.log
    }

    pub fn clear_log(&mut self) {
        self.log.clear();
    }

    pub fn denied(&self) -> DeniedCounts {
        self.denied
    }

    /// Counts and remembers what was refused; `most` entries are kept.
    pub fn record(&mut self, event: Event, now_ms: i64, most: u64) {
        let denied = &mut self.denied;
        let count = match event.reason {
            Reason::Auth => &mut denied.auth,
            Reason::Command => &mut denied.command,
            Reason::Key => &mut denied.key,
            Reason::Channel => &mut denied.channel,
        };
        *count += 1;
        self.log.add(event, now_ms, most);
    }
}
