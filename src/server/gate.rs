//! May this command run now? One place for every origin; the common case is one test of a bit mask.

use super::acl::{Denied, User};
use super::command::{Entry, flag};
use super::error::Error;
use crate::resp::Args;

/// States of the server or of a client in which some commands are refused. A command's row is
/// turned into a mask of these once ([`refused_in`]).
pub mod state {
    /// The client has not authenticated.
    pub const UNAUTHENTICATED: u32 = 1 << 0;
    /// The data set is being loaded.
    pub const LOADING: u32 = 1 << 1;
    /// The append-only file cannot be written.
    pub const DISK_ERROR: u32 = 1 << 2;
    /// The client is between MULTI and EXEC: most commands are queued.
    pub const IN_TRANSACTION: u32 = 1 << 3;
    /// The client listens to channels in RESP2, where replies could not be told from messages.
    pub const SUBSCRIBED: u32 = 1 << 4;
    /// The client's user may not do everything: its permissions must be asked.
    pub const RESTRICTED: u32 = 1 << 5;
    /// The last background save has failed.
    pub const SAVE_ERROR: u32 = 1 << 11;
    /// Of a client: what it reads is remembered, as its cache may hold it. Of the server: some
    /// client tracks. Refuses nothing.
    pub const TRACKED: u32 = 1 << 9;
    /// CLIENT PAUSE: commands that may change data, or reach replicas, are postponed.
    pub const PAUSED_WRITES: u32 = 1 << 6;
    /// CLIENT PAUSE: all commands are.
    pub const PAUSED_ALL: u32 = 1 << 7;
    pub const PAUSED: u32 = PAUSED_WRITES | PAUSED_ALL;
    /// Of the server: some client has asked for MONITOR. Refuses nothing.
    pub const MONITORED: u32 = 1 << 8;
    /// Keys are on their way to another server: commands that would change one are postponed.
    pub const KEYS_HELD: u32 = 1 << 16;
    /// The client has asked for MONITOR: it may not look at data, and is not paused.
    pub const MONITORS: u32 = 1 << 10;
}

/// The states in which a command with these flags is refused.
pub fn refused_in(flags: u32) -> u32 {
    let mut refused = state::PAUSED_ALL;
    if flags & flag::NO_AUTH == 0 {
        refused |= state::UNAUTHENTICATED | state::RESTRICTED;
    }
    if flags & flag::LOADING == 0 {
        refused |= state::LOADING;
    }
    if flags & (flag::WRITE | flag::MAY_REPLICATE) != 0 {
        refused |= state::DISK_ERROR | state::SAVE_ERROR | state::PAUSED_WRITES;
    }
    if flags & flag::WRITE != 0 && flags & flag::NEVER_HELD == 0 {
        refused |= state::KEYS_HELD;
    }
    if flags & (flag::WRITE | flag::MAY_REPLICATE | flag::READONLY) != 0 {
        refused |= state::MONITORS;
    }
    if flags & flag::IMMEDIATE == 0 {
        refused |= state::IN_TRANSACTION;
    }
    if flags & flag::WHILE_SUBSCRIBED == 0 {
        refused |= state::SUBSCRIBED;
    }
    refused
}

/// Why a command is refused in a state that its mask matched.
pub fn refusal(states: u32, entry: &Entry, disk_error: Option<&str>) -> Error {
    if states & state::UNAUTHENTICATED != 0 {
        Error::Static("NOAUTH Authentication required.")
    } else if states & state::LOADING != 0 {
        Error::Static("LOADING goredis is loading the dataset in memory")
    } else if states & state::SUBSCRIBED != 0 {
        Error::Text(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context",
            entry.full_name
        ))
    } else if states == state::IN_TRANSACTION {
        Error::Static("ERR Command not allowed inside a transaction")
    } else if states & state::MONITORS != 0 && states & (state::DISK_ERROR | state::SAVE_ERROR) == 0
    {
        // Redis takes it for a kind of replica.
        Error::Static("ERR Replica can't interact with the keyspace")
    } else if states & state::SAVE_ERROR != 0 {
        Error::Static(
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to \
             persist to disk. Commands that may modify the data set are disabled, because this \
             instance is configured to report errors during writes if RDB snapshotting fails \
             (stop-writes-on-bgsave-error option). Please check the Redis logs for details about \
             the RDB error.",
        )
    } else {
        let reason = disk_error.unwrap_or("unknown error");
        Error::Text(format!("MISCONF Errors writing to the AOF file: {reason}"))
    }
}

/// The error for what a user may not do.
pub fn no_permission(user: &User, entry: &Entry, denied: Denied) -> Error {
    match denied {
        Denied::Command => Error::Bytes(
            [
                b"NOPERM User ",
                user.name(),
                b" has no permissions to run the '",
                entry.full_name.as_bytes(),
                b"' command",
            ]
            .concat(),
        ),
        Denied::Key(_) => Error::Static("NOPERM No permissions to access a key"),
        Denied::Channel(_) => Error::Static("NOPERM No permissions to access a channel"),
    }
}

/// The error for what a user may not do any more when EXEC comes.
pub fn no_permission_now(denied: Denied) -> Error {
    let reason = match denied {
        Denied::Command => "no permission to execute the command or subcommand",
        Denied::Key(_) => "no permission to touch the specified keys",
        Denied::Channel(_) => "no permission to access one of the channels used as arguments",
    };
    Error::Text(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC \
         call. This command is no longer allowed for the following reason: {reason}"
    ))
}

/// Redis shows at most this much of what a client sent in an error.
const SHOWN: usize = 128;

/// The error for a name that is no command.
pub fn unknown_command(args: Args<'_>) -> Error {
    let clip = |bytes: &[u8], limit: usize| bytes[..bytes.len().min(limit)].to_vec();
    let mut text = b"ERR unknown command '".to_vec();
    text.extend(clip(args.get(0), SHOWN));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut shown = 0;
    for arg in args.from(1).iter() {
        if shown >= SHOWN {
            break;
        }
        let part = clip(arg, SHOWN - shown);
        text.push(b'\'');
        text.extend_from_slice(&part);
        text.extend_from_slice(b"' ");
        shown += part.len() + 3;
    }
    Error::Bytes(text)
}

/// The error for the second word of a container that is none of its subcommands.
fn unknown_subcommand(args: Args<'_>) -> Error {
    let name = args.get(1);
    let shown = &name[..name.len().min(SHOWN)];
    // The container may have been given another name.
    let container = args.get(0).to_ascii_uppercase();
    Error::Bytes([b"ERR unknown subcommand '", shown, b"'. Try ", &container, b" HELP."].concat())
}

/// The command that `args` call: a container's subcommand, if they name one at all. None if the
/// container has no such subcommand.
#[inline]
pub fn subcommand(entry: &'static Entry, args: Args<'_>) -> Option<&'static Entry> {
    if entry.is_container() && args.len() > 1 {
        return entry.subcommand(args.get(1));
    }
    Some(entry)
}

/// Finds the subcommand if the command has any; checks the number of arguments.
#[inline]
pub fn resolve(entry: &'static Entry, args: Args<'_>) -> Result<&'static Entry, Error> {
    let found = subcommand(entry, args);
    let entry = found.ok_or_else(|| unknown_subcommand(args))?;
    if !entry.command.takes(args.len()) {
        return Err(Error::arity(&entry.full_name));
    }
    Ok(entry)
}
