//! A user: how to log in as one, and what one may do. Changed only as a whole: a change makes
//! another user, which takes the place of the former, so that clients can share what never moves.

use super::password::Hash;
use super::rule::RuleError;
use super::selector::Selector;
use super::{Denied, Rulebook, check};
use crate::base::args;
use crate::resp::Args;
use crate::server::command::Entry;

/// The user that every connection begins as.
pub const DEFAULT: &[u8] = b"default";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: Box<[u8]>,
    /// One can log in as this user. Who is logged in stays so.
    enabled: bool,
    /// Any password will do.
    no_password: bool,
    /// RESTORE takes the payloads of this user as they are.
    skips_sanitize: bool,
    passwords: Vec<Hash>,
    /// The user's own, then the others.
    selectors: Vec<Selector>,
}

impl User {
    /// A user as ACL SETUSER begins with: may do nothing, and not even log in.
    pub fn new(name: &[u8], book: Rulebook) -> User {
        User {
            name: name.into(),
            enabled: false,
            no_password: false,
            skips_sanitize: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(book.commands, book.all_channels)],
        }
    }

    /// May do everything, with any password: the default user of a server that is told nothing,
    /// and whom the server itself is.
    pub fn unlimited(name: &[u8], book: Rulebook) -> User {
        let mut user = User::new(name, book);
        for rule in ["+@all", "~*", "&*", "on", "nopass"] {
            let applied = user.apply(rule.as_bytes(), book);
            debug_assert_eq!(applied, Ok(()), "{rule}");
        }
        user
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Any password logs in.
    pub fn has_no_password(&self) -> bool {
        self.no_password
    }

    /// As the default user, does a connection need no login at all?
    pub fn is_open(&self) -> bool {
        self.no_password && self.enabled
    }

    pub fn skips_sanitize(&self) -> bool {
        self.skips_sanitize
    }

    pub fn passwords(&self) -> &[Hash] {
        &self.passwords
    }

    /// The user's own permissions.
    pub fn own(&self) -> &Selector {
        &self.selectors[0]
    }

    /// Permissions beside the user's own.
    pub fn others(&self) -> &[Selector] {
        &self.selectors[1..]
    }

    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Nothing is ever refused to this user.
    pub fn is_unlimited(&self) -> bool {
        self.selectors.iter().any(Selector::is_unlimited)
    }

    /// Whether this logs in.
    pub fn takes(&self, password: &[u8]) -> bool {
        let given = Hash::of(password);
        // All are looked at, whichever fits.
        let fits = self.passwords.iter().fold(false, |fits, known| fits | known.is(&given));
        self.enabled && (self.no_password || fits)
    }

    /// Whether a command may be executed.
    ///
    /// # Errors
    /// What stands against it.
    pub fn check(&self, entry: &Entry, args: Args<'_>) -> Result<(), Denied> {
        check::check(&self.selectors, entry, args)
    }

    /// Whether a command may be executed that reads keys which its arguments do not name.
    pub fn may_read_any_key(&self, entry: &Entry, args: Args<'_>) -> bool {
        check::may_read_any_key(&self.selectors, entry, args)
    }

    /// Changes the user by one rule. An empty one changes nothing.
    ///
    /// # Errors
    /// The rule makes no sense; nothing has changed.
    pub fn apply(&mut self, rule: &[u8], book: Rulebook) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"skip-sanitize-payload" => self.skips_sanitize = true,
            b"sanitize-payload" => self.skips_sanitize = false,
            b"nopass" => {
                self.no_password = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.no_password = false;
                self.passwords.clear();
            }
            [b'>', ..] => self.add_password(Hash::of(&rule[1..])),
            [b'#', ..] => self.add_password(Hash::parse(&rule[1..])?),
            [b'<', ..] => self.remove_password(&Hash::of(&rule[1..]))?,
            [b'!', ..] => self.remove_password(&Hash::parse(&rule[1..])?)?,
            [b'(', .., b')'] => {
                let selector = selector(&rule[1..rule.len() - 1], book)?;
                self.selectors.push(selector);
            }
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = User::new(&self.name, book),
            _ => self.selectors[0].apply(rule, book.commands)?,
        }
        Ok(())
    }

    fn add_password(&mut self, password: Hash) {
        if !self.passwords.contains(&password) {
            self.passwords.push(password);
        }
        self.no_password = false;
    }

    fn remove_password(&mut self, password: &Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known.is(password));
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// What ACL GETUSER calls flags.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let sanitize =
            if self.skips_sanitize { "skip-sanitize-payload" } else { "sanitize-payload" };
        let flags = [
            Some(if self.enabled { "on" } else { "off" }),
            self.no_password.then_some("nopass"),
            Some(sanitize),
        ];
        flags.into_iter().flatten()
    }

    /// The user as a line of ACL LIST: `NAME RULES`, by which it can be made again.
    pub fn describe(&self) -> Vec<u8> {
        let mut line = self.name.to_vec();
        let mut add = |word: &[u8]| {
            line.push(b' ');
            line.extend_from_slice(word);
        };
        self.flags().for_each(|flag| add(flag.as_bytes()));
        self.passwords.iter().for_each(|hash| add(format!("#{}", hash.hex()).as_bytes()));
        add(&self.own().describe());
        for selector in self.others() {
            add(&[b"(", selector.describe().as_slice(), b")"].concat());
        }
        line
    }
}

/// The selector whose rules, with blanks between them, these are.
fn selector(rules: &[u8], book: Rulebook) -> Result<Selector, RuleError> {
    let mut selector = Selector::new(book.commands, book.all_channels);
    for rule in args::split(rules).ok_or(RuleError::Syntax)? {
        selector.apply(&rule, book.commands)?;
    }
    Ok(selector)
}
