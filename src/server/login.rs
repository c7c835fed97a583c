//! Who clients are: logging in, being refused, and what becomes of those who are logged in when
//! users change. Between [`acl`](super::acl), which knows no clients, and the clients.

use super::Server;
use super::acl::{
    self, Acl, Context, DEFAULT, Denied, Event, Reason, Rulebook, Selector, User, is_covered,
};
use super::client::{Client, Closing};
use super::client_list::{Asking, write_line};
use super::command::{CommandTable, Entry};
use super::config::{AclPubsubDefault, Config};
use super::gate::state;
use super::pubsub::Kind;
use crate::resp::Args;
use crate::store::Keyspace;
use std::sync::Arc;

/// What rules are read against by now.
pub fn rulebook(config: &Config, commands: &'static CommandTable) -> Rulebook {
    let all_channels = config.acl_pubsub_default == AclPubsubDefault::Allchannels;
    Rulebook { commands, all_channels }
}

/// Whom the server's own clients are.
pub fn server_user(commands: &'static CommandTable) -> Arc<User> {
    Arc::new(User::unlimited(DEFAULT, Rulebook { commands, all_channels: true }))
}

/// Logs a client in as a user; false if there is no such user, or the password is wrong. `method`
/// is the command that asks for it.
pub fn authenticate(
    server: &mut Server,
    keys: &Keyspace,
    client_key: usize,
    method: &[u8],
    (name, password): (&[u8], &[u8]),
    context: Context,
) -> bool {
    let user = server.acl.get(name).filter(|user| user.takes(password)).cloned();
    let Some(user) = user else {
        let event = Event {
            reason: Reason::Auth,
            context,
            object: method.into(),
            user: name.into(),
            client: line(&server.clients[client_key], keys, 0),
        };
        record(server, keys, event);
        return false;
    };
    let client = &mut server.clients[client_key];
    client.user = user;
    client.authenticated = true;
    client.update_state();
    true
}

/// Asks whether a client's user may execute a command. What is denied is counted and goes to the
/// ACL log.
pub fn permit(
    server: &mut Server,
    keys: &Keyspace,
    client_key: usize,
    entry: &'static Entry,
    args: Args<'_>,
    context: Context,
) -> Result<(), Denied> {
    let client = &mut server.clients[client_key];
    let checked = client.user.check(entry, args);
    if let Err(denied) = checked {
        client.last_command = &entry.full_name;
        let (reason, object) = match denied {
            Denied::Command => (Reason::Command, entry.full_name.as_bytes()),
            Denied::Key(index) => (Reason::Key, args.get(index)),
            Denied::Channel(index) => (Reason::Channel, args.get(index)),
        };
        let argument_bytes = args.iter().map(<[u8]>::len).sum();
        let event = Event {
            reason,
            context,
            object: object.into(),
            user: client.user.name().into(),
            client: line(client, keys, argument_bytes),
        };
        record(server, keys, event);
    }
    checked
}

fn record(server: &mut Server, keys: &Keyspace, event: Event) {
    server.acl.record(event, keys.now_ms, server.config.acllog_max_len);
}

fn line(client: &Client, keys: &Keyspace, argument_bytes: usize) -> Box<[u8]> {
    let mut line = Vec::new();
    write_line(&mut line, client, keys.now_ms / 1000, Asking { id: client.id, argument_bytes });
    line.into()
}

/// Whether a client that executes a command may also read keys which its arguments do not name.
pub fn may_read_any_key(client: &Client, entry: &Entry, args: Args<'_>) -> bool {
    client.state & state::RESTRICTED == 0 || client.user.may_read_any_key(entry, args)
}

/// Puts a changed or a new user in place. Who is logged in as this user has its permissions from
/// now on; who listens to channels that it may not use any more is closed. `asking` is the client
/// that wants it.
pub fn put_user(server: &mut Server, user: User, asking: usize) {
    let (former, user) = server.acl.put(user);
    let Some(former) = former else { return };
    if loses_channels(&former, &user) {
        close_listeners(server, &former, &user, asking);
    }
    replace(server, &former, &user);
}

fn replace(server: &mut Server, former: &Arc<User>, user: &Arc<User>) {
    for (_, client) in &mut server.clients {
        if Arc::ptr_eq(&client.user, former) {
            client.user = user.clone();
            client.update_state();
        }
    }
}

/// Whether a user may have been allowed channels that it is not any more.
fn loses_channels(former: &User, user: &User) -> bool {
    if user.selectors().iter().any(Selector::has_all_channels) {
        return false;
    }
    let keeps =
        |channel: &[u8]| user.selectors().iter().any(|s| s.channels().any(|c| c == channel));
    let loses = |s: &Selector| s.has_all_channels() || !s.channels().all(keeps);
    former.selectors().iter().any(loses)
}

/// It does not matter here which of the selectors allows a channel.
fn close_listeners(server: &mut Server, former: &Arc<User>, user: &User, asking: usize) {
    let is_allowed = |name: &[u8], kind: Kind| {
        let mut known = user.selectors().iter().flat_map(Selector::channels);
        known.any(|channel| is_covered(channel, name, kind == Kind::Pattern))
    };
    let listens = |client: &Client| {
        let kinds = [Kind::Channel, Kind::Pattern, Kind::Shard];
        client.subscriptions.as_ref().is_some_and(|own| {
            kinds.iter().any(|&kind| own.names(kind).any(|name| !is_allowed(name, kind)))
        })
    };
    close_clients(server, asking, |client| Arc::ptr_eq(&client.user, former) && listens(client));
}

/// Closes clients; the one that asks for it is to have its reply first.
fn close_clients(server: &mut Server, asking: usize, ends: impl Fn(&Client) -> bool) {
    for (key, client) in &mut server.clients {
        if client.conn.is_none() || !ends(client) {
            continue;
        }
        if key == asking {
            client.close(Closing::AfterReply);
        } else {
            client.close(Closing::Now);
            server.doomed.push(key);
        }
    }
}

/// Takes a user out and closes whoever is logged in as that; false if there is none.
pub fn remove_user(server: &mut Server, name: &[u8], asking: usize) -> bool {
    let Some(user) = server.acl.remove(name) else { return false };
    // Until they are closed they keep the permissions that they had.
    close_clients(server, asking, |client| Arc::ptr_eq(&client.user, &user));
    true
}

/// Replaces all users by those of a file's text. Clients of the default user go on as what that is
/// now; all others are closed, whether or not their user is still there.
///
/// # Errors
/// What is wrong in the text; nothing has changed.
pub fn load_users(server: &mut Server, text: &[u8], asking: usize) -> Result<(), Vec<u8>> {
    let book = rulebook(&server.config, server.commands);
    let former = server.acl.load(text, &server.config.aclfile, book)?;
    let user = server.acl.default_user().clone();
    for former in former {
        if former.name() == DEFAULT {
            replace(server, &former, &user);
        } else {
            close_clients(server, asking, |client| Arc::ptr_eq(&client.user, &former));
        }
    }
    Ok(())
}

/// Makes `requirepass` the default user's password; none if it is empty.
pub fn set_default_password(acl: &mut Acl, password: &[u8], commands: &'static CommandTable) {
    let mut user = User::clone(acl.default_user());
    let book = Rulebook { commands, all_channels: true };
    let rule = if password.is_empty() { b"nopass".to_vec() } else { [b">", password].concat() };
    for rule in [b"resetpass".as_slice(), &rule] {
        let applied = user.apply(rule, book);
        debug_assert_eq!(applied, Ok(()), "{}", acl::shown(rule));
    }
    acl.put(user);
}

/// The same while the server runs.
pub fn change_default_password(server: &mut Server) {
    let former = server.acl.default_user().clone();
    set_default_password(&mut server.acl, &server.config.requirepass, server.commands);
    let user = server.acl.default_user().clone();
    replace(server, &former, &user);
}

/// The users as lines of redis.conf, without the word `user`: none where they have a file of
/// their own.
pub fn config_lines(server: &Server) -> Vec<Vec<u8>> {
    if !server.config.aclfile.is_empty() {
        return Vec::new();
    }
    server.acl.users().map(|user| user.describe()).collect()
}
