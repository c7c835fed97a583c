//! What of a command may be shown: its arguments without passwords and the like. For whoever
//! writes commands down for people: the slow log, MONITOR, log files. Which arguments those are
//! is in the commands' rows.

use super::command::Entry;
use crate::resp::Args;

/// Stands in the place of what must not be seen.
const REDACTED: &[u8] = b"(redacted)";

/// The arguments, with `(redacted)` in the place of secrets.
pub fn redacted<'a>(args: Args<'a>, entry: &Entry) -> impl ExactSizeIterator<Item = &'a [u8]> {
    let secrets = entry.command.secrets.map(|find| find(args)).unwrap_or_default();
    let mut secrets = secrets.into_iter().peekable();
    args.iter().enumerate().map(move |(index, arg)| match secrets.next_if_eq(&index) {
        Some(_) => REDACTED,
        None => arg,
    })
}

/// The numbers of all arguments from `first` on.
fn all_from(args: Args<'_>, first: usize) -> Vec<usize> {
    (first..args.len()).collect()
}

/// Secrets of AUTH, also where it has more arguments than it takes.
pub fn of_auth(args: Args<'_>) -> Vec<usize> {
    all_from(args, 1)
}

/// Secrets of ACL SETUSER: it is nobody's business who may do what.
pub fn of_acl_setuser(args: Args<'_>) -> Vec<usize> {
    all_from(args, 2)
}

/// Secrets of MIGRATE: what stands behind AUTH and AUTH2, up to the keys.
pub fn of_migrate(args: Args<'_>) -> Vec<usize> {
    let mut secrets = Vec::new();
    let mut index = 6;
    while index < args.len() {
        let secret = match args.get(index).to_ascii_lowercase().as_slice() {
            b"auth" => 1,
            b"auth2" => 2,
            b"keys" => break,
            _ => 0,
        };
        secrets.extend((index + 1..args.len()).take(secret));
        index += 1 + secret;
    }
    secrets
}

/// Secrets of HELLO: the two arguments behind each word AUTH, whether or not that is an option.
pub fn of_hello(args: Args<'_>) -> Vec<usize> {
    let is_auth = |index: usize| args.get(index).eq_ignore_ascii_case(b"auth");
    (2..args.len()).filter(|&index| is_auth(index - 1) || is_auth(index - 2)).collect()
}

/// Secrets of CONFIG SET: the values of directives that are secret.
pub fn of_config_set(args: Args<'_>) -> Vec<usize> {
    let is_secret = |index: &usize| {
        super::config::lookup(args.get(index - 1)).is_some_and(|row| row.traits.secret)
    };
    (3..args.len()).step_by(2).filter(is_secret).collect()
}
