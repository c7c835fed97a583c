//! What of a command may be shown: its arguments without passwords. For whoever writes commands
//! down for people, such as MONITOR.

use super::command::Entry;
use crate::resp::Args;

/// Stands in the place of what must not be seen.
const REDACTED: &[u8] = b"(redacted)";

/// The arguments, with `(redacted)` in the place of secrets.
pub fn redacted<'a>(args: Args<'a>, entry: &Entry) -> impl ExactSizeIterator<Item = &'a [u8]> {
    let name = entry.command.name;
    args.iter().enumerate().map(move |(index, arg)| {
        let follows_auth =
            |by: usize| index > by && args.get(index - by).eq_ignore_ascii_case(b"auth");
        let is_secret = match name {
            "auth" => index > 0,
            "hello" => follows_auth(1) || follows_auth(2),
            _ => false,
        };
        if is_secret { REDACTED } else { arg }
    })
}
