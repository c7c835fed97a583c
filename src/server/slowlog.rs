//! Commands that took long, for SLOWLOG: the last of them, with their arguments cut short.

use super::client::Client;
use super::command::Entry;
use super::redact::redacted;
use crate::resp::Args;
use std::collections::VecDeque;

/// Arguments kept of a command, and bytes kept of an argument; as many as Redis keeps.
const MOST_ARGS: usize = 32;
const MOST_BYTES: usize = 128;

pub struct Slow {
    pub id: u64,
    /// Seconds since 1970.
    pub at_s: i64,
    pub took_us: u64,
    pub args: Vec<Box<[u8]>>,
    pub peer: String,
    pub client_name: Box<[u8]>,
}

/// The newest come first.
#[derive(Default)]
pub struct Slowlog {
    entries: VecDeque<Slow>,
    next_id: u64,
}

impl Slowlog {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Slow> {
        self.entries.iter()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a command; the oldest go if there are more than `most`.
    #[cold]
    pub fn add(
        &mut self,
        entry: &Entry,
        args: Args<'_>,
        took_us: u64,
        at_s: i64,
        client: &Client,
        most: u64,
    ) {
        let slow = Slow {
            id: self.next_id,
            at_s,
            took_us,
            args: shortened(redacted(args, entry)),
            peer: client.peer(),
            client_name: client.name.clone(),
        };
        self.next_id += 1;
        self.entries.push_front(slow);
        self.keep_most(most);
    }

    /// The oldest go if there are more than `most`.
    pub fn keep_most(&mut self, most: u64) {
        self.entries.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
}

fn shortened<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Box<[u8]>> {
    let given = args.len();
    let all = if given <= MOST_ARGS { given } else { MOST_ARGS - 1 };
    let mut kept: Vec<Box<[u8]>> = args.take(all).map(shortened_arg).collect();
    if all < given {
        kept.push(format!("... ({} more arguments)", given - all).into_bytes().into());
    }
    kept
}

fn shortened_arg(arg: &[u8]) -> Box<[u8]> {
    let Some((kept, left)) = arg.split_at_checked(MOST_BYTES) else { return arg.into() };
    if left.is_empty() {
        return arg.into();
    }
    [kept, format!("... ({} more bytes)", left.len()).as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::parse::OwnedArgs;
    use crate::server::acl::Acl;
    use crate::server::command::{Command, CommandTable};

    fn texts(args: &OwnedArgs) -> Vec<String> {
        let kept = shortened(args.args().iter());
        kept.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    #[test]
    fn long_commands_are_cut_short() {
        let many: OwnedArgs = (0..32).map(|n| n.to_string()).collect();
        assert_eq!(texts(&many).len(), 32);
        assert_eq!(texts(&many)[31], "31");
        let more: OwnedArgs = (0..33).map(|n| n.to_string()).collect();
        assert_eq!(texts(&more).len(), 32);
        assert_eq!(texts(&more)[30..], ["30", "... (2 more arguments)"]);
        let long: OwnedArgs = ["x".repeat(128), "y".repeat(130)].iter().collect();
        assert_eq!(texts(&long), ["x".repeat(128), "y".repeat(128) + "... (2 more bytes)"]);
    }

    #[test]
    fn the_oldest_go() {
        let mut log = Slowlog::default();
        let table = CommandTable::new(&[&[Command { name: "ping", ..Command::BASE }]]);
        let client = Client::new(1, None, 0, Acl::new(table).default_user().clone());
        let command: OwnedArgs = ["ping"].iter().collect();
        let entry = table.find(b"ping").unwrap();
        (0..5).for_each(|n| log.add(entry, command.args(), n, 0, &client, 3));
        let ids: Vec<u64> = log.iter().map(|slow| slow.id).collect();
        assert_eq!(ids, [4, 3, 2]);
        log.add(entry, command.args(), 9, 0, &client, 0);
        assert!(log.is_empty());
    }
}
