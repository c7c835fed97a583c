//! Whether permissions allow a command: the command itself, its keys by the key specifications of
//! its row, its channels. Pure.

use super::selector::{READ, Selector, WRITE};
use crate::resp::Args;
use crate::server::command::{Channels, Entry, flag};
use crate::server::keys::{self, Key};
use std::cell::OnceCell;

/// What is not allowed. Where several sets of permissions refuse for different reasons, the
/// greatest counts: the one that came nearest to allowing the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    Command,
    /// The argument that is a key.
    Key(usize),
    /// The argument that is a channel, or a pattern of channels.
    Channel(usize),
}

/// A command's keys, found when they are first asked for.
struct Request<'a> {
    entry: &'a Entry,
    args: Args<'a>,
    keys: OnceCell<Vec<Key>>,
}

impl<'a> Request<'a> {
    fn new(entry: &'a Entry, args: Args<'a>) -> Request<'a> {
        Request { entry, args, keys: OnceCell::new() }
    }

    fn keys(&self) -> &[Key] {
        self.keys.get_or_init(|| keys::find_guarded(self.entry.command, self.args))
    }

    fn first_arg(&self) -> Option<&'a [u8]> {
        (self.args.len() > 1).then(|| self.args.get(1))
    }
}

pub fn check(selectors: &[Selector], entry: &Entry, args: Args<'_>) -> Result<(), Denied> {
    let request = Request::new(entry, args);
    let mut reason = Denied::Command;
    for selector in selectors {
        match allow(selector, &request) {
            Ok(()) => return Ok(()),
            Err(denied) => reason = reason.max(denied),
        }
    }
    Err(reason)
}

/// One and the same set of permissions must allow the command and the reading of all keys.
pub fn may_read_any_key(selectors: &[Selector], entry: &Entry, args: Args<'_>) -> bool {
    let request = Request::new(entry, args);
    let allows = |s: &Selector| s.allows_any_key(READ) && allow(s, &request).is_ok();
    selectors.iter().any(allows)
}

fn allow(selector: &Selector, request: &Request<'_>) -> Result<(), Denied> {
    let command = request.entry.command;
    // Logging in is allowed to everybody.
    if !command.has(flag::NO_AUTH) && !selector.allows_command(request.entry, request.first_arg()) {
        return Err(Denied::Command);
    }
    if !selector.has_all_keys() && keys::has_keys(command) {
        for key in request.keys() {
            if !selector.allows_key(request.args.get(key.index), access(key.flags)) {
                return Err(Denied::Key(key.index));
            }
        }
    }
    if !selector.has_all_channels() {
        let (last, is_pattern) = match command.channels {
            Channels::None => return Ok(()),
            Channels::First => (2, false),
            Channels::All => (usize::MAX, false),
            Channels::Patterns => (usize::MAX, true),
        };
        for index in 1..request.args.len().min(last) {
            if !selector.allows_channel(request.args.get(index), is_pattern) {
                return Err(Denied::Channel(index));
            }
        }
    }
    Ok(())
}

/// What must be allowed for what a key specification says of its keys. Some say neither: who asks
/// whether a key exists needs to be allowed anything at all about it.
fn access(flags: &[&str]) -> u8 {
    let bit = |flag: &&str| match *flag {
        "access" => READ,
        "insert" | "update" | "delete" => WRITE,
        _ => 0,
    };
    flags.iter().map(bit).fold(0, |access, bit| access | bit)
}
