//! The text of `aclfile`: a line `user NAME RULES` for each user. Comments are errors, as they
//! would be lost when the file is written again; empty lines are none.

use super::rule::{RuleError, has_spaces, join_selectors};
use super::{Rulebook, User, Users};
use std::sync::Arc;

const NOTHING_DONE: &[u8] = b"WARNING: ACL errors detected, no change to the previously active \
    ACL rules was performed";

/// The users in a text. `path` is for the errors.
///
/// # Errors
/// All that is wrong, one after the other in one line.
pub fn parse(text: &[u8], path: &str, book: Rulebook) -> Result<Users, Vec<u8>> {
    let mut users = Users::new();
    let mut errors = Vec::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = trim(line);
        if line.is_empty() {
            continue;
        }
        if let Err(error) = parse_line(line, index + 1, path, book, &mut users) {
            errors.extend_from_slice(&error);
        }
    }
    if errors.is_empty() {
        return Ok(users);
    }
    errors.extend_from_slice(NOTHING_DONE);
    Err(errors)
}

fn parse_line(
    line: &[u8],
    number: usize,
    path: &str,
    book: Rulebook,
    users: &mut Users,
) -> Result<(), Vec<u8>> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
        let text = format!(
            "{path}:{number} should start with user keyword followed by the \
            username. "
        );
        return Err(text.into_bytes());
    };
    if has_spaces(name) {
        let before = format!("'{path}:{number}: username '");
        return Err([before.as_bytes(), name, b"' contains invalid characters. "].concat());
    }
    if users.contains_key(name) {
        let behind = format!("' found on line {number}. ");
        return Err([b"WARNING: Duplicate user '", name, behind.as_bytes()].concat());
    }
    let rules = join_selectors(words).map_err(|_| {
        format!("{path}:{number}: Unmatched parenthesis in selector definition. ").into_bytes()
    })?;
    let (user, errors) = apply_all(User::new(name, book), &rules, number, path, book);
    // It counts as there, whatever is wrong with it, so that a second one is noticed.
    users.insert(name.into(), Arc::new(user));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Of the errors that may have a password in them, the first is told, without the rule.
fn apply_all(
    mut user: User,
    rules: &[Vec<u8>],
    number: usize,
    path: &str,
    book: Rulebook,
) -> (User, Vec<u8>) {
    let mut errors = Vec::new();
    let mut is_told = false;
    for rule in rules {
        let rule = trim(rule);
        match user.apply(rule, book) {
            Ok(()) => {}
            Err(error @ RuleError::Unknown) => {
                errors.extend(format!("{path}:{number}: Error in applying operation '").bytes());
                errors.extend_from_slice(rule);
                errors.extend(format!("': {}. ", error.text()).bytes());
            }
            Err(error) if !is_told => {
                is_told = true;
                errors.extend(format!("{path}:{number}: {}. ", error.text()).bytes());
            }
            Err(_) => {}
        }
    }
    (user, errors)
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}
