//! A command's arguments as a tree, which the row's `args` describes in one line. From it come
//! COMMAND DOCS' `arguments` (and with them redis-cli's hints), HELP, and checks of the rows.
//!
//! # The notation
//!
//! ```text
//! key seconds [NX | XX | GT | LT]          words, options, alternatives
//! key value [EX seconds | KEEPTTL]         a token in front of a value belongs to it
//! key [FIELDS (numfields field...)]        ... or in front of a group
//! key... [key ...]                         one or more, none or more
//! (field value)...                         the same for groups
//! key field value [field value ...]        the same, as the documentation writes it
//! [GET pattern]...  [ID client-id ...]     the token each time, the token once
//! ```
//!
//! A word is `NAME:BODY/DISPLAY#SPEC@SINCE!DEPRECATED`, all but the body optional:
//! - BODY in capitals is a token (`KEEPTTL`); tokens that are not are quoted (`'km'`, `'""'`);
//!   words without letters are tokens as they stand (`*`, `=`). Else it is the name of a value.
//! - NAME calls a token something else (`change:CH`, `auto-id:*`), which also keeps it from being
//!   taken for the token of the value behind it; by default it is its own text in lower case.
//!   `name:TYPE` says a value's type where it does not follow from its name (see [`Kind::of`]).
//! - DISPLAY is what hints show in place of the name (`addr/ip:port`).
//! - SPEC is the number of the key specification; by default the n-th key has the n-th, or the
//!   last if there are fewer.
//! - SINCE and DEPRECATED are versions.
//!
//! Groups are called by `name:(...)` or `name:[...]`. Without a name, alternatives are called
//! `nx-or-xx`, and several arguments after their first token, or all their names
//! (`longitude-latitude`). `#`, `@` and `!` may follow a group as well. Within alternatives,
//! several arguments in a row are a group of their own.

pub use super::syntax_parse::{SyntaxError, parse};

/// One argument, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub kind: Kind,
    pub token: Option<String>,
    /// What hints show, if not the name.
    pub display: Option<String>,
    /// Number of the key specification that finds it.
    pub key_spec: Option<usize>,
    pub since: Option<String>,
    pub deprecated_since: Option<String>,
    pub optional: bool,
    pub multiple: bool,
    /// Repeated with its token, not without.
    pub multiple_token: bool,
    /// The alternatives, or the arguments of a block.
    pub arguments: Vec<Argument>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Kind {
    const VALUES: [(Kind, &'static str); 6] = [
        (Kind::String, "string"),
        (Kind::Integer, "integer"),
        (Kind::Double, "double"),
        (Kind::Key, "key"),
        (Kind::Pattern, "pattern"),
        (Kind::UnixTime, "unix-time"),
    ];

    /// As COMMAND DOCS names it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
            value => Kind::VALUES.iter().find(|(kind, _)| *kind == value).map_or("", |v| v.1),
        }
    }

    pub(super) fn named(name: &str) -> Option<Kind> {
        Kind::VALUES.iter().find(|(_, own)| *own == name).map(|(kind, _)| *kind)
    }

    /// The type of a value that is called so, where nothing else is said.
    pub fn of(name: &str) -> Kind {
        match name {
            "pattern" => Kind::Pattern,
            "newkey" | "source" | "destination" => Kind::Key,
            "seconds" | "milliseconds" | "count" | "offset" | "increment" | "decrement"
            | "cursor" | "start" | "stop" | "end" | "index" | "ttl" | "numkeys" => Kind::Integer,
            _ if name.ends_with("key") => Kind::Key,
            _ if name.starts_with("unix-time") => Kind::UnixTime,
            _ => Kind::String,
        }
    }
}

impl Argument {
    pub(super) fn new(name: &str, kind: Kind) -> Argument {
        Argument {
            name: name.to_string(),
            kind,
            token: None,
            display: None,
            key_spec: None,
            since: None,
            deprecated_since: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            arguments: Vec::new(),
        }
    }

    pub fn is_group(&self) -> bool {
        matches!(self.kind, Kind::OneOf | Kind::Block)
    }

    /// The fewest words a client must send for it, and the most; none if there is no limit.
    pub fn words(&self) -> (usize, Option<usize>) {
        let token = usize::from(self.token.is_some());
        let (least, most) = match self.kind {
            Kind::PureToken => (1, Some(1)),
            Kind::Block => {
                let (least, most) = words(&self.arguments);
                (least + token, most.map(|n| n + token))
            }
            Kind::OneOf => {
                let each = self.arguments.iter().map(Argument::words);
                let least = each.clone().map(|(least, _)| least).min().unwrap_or(0);
                let most = each.map(|(_, most)| most).try_fold(0, |a, b| b.map(|b| a.max(b)));
                (least + token, most.map(|n| n + token))
            }
            _ => (1 + token, Some(1 + token)),
        };
        (if self.optional { 0 } else { least }, if self.multiple { None } else { most })
    }

    /// Writes it as the documentation does: `[EX seconds | KEEPTTL]`.
    fn show(&self, text: &mut String) {
        let once = self.once();
        let again = if self.multiple_token || self.token.is_none() {
            once.clone()
        } else {
            self.without_token()
        };
        if self.optional {
            text.push('[');
        }
        text.push_str(&once);
        if self.multiple {
            text.push_str(&format!(" [{again} ...]"));
        }
        if self.optional {
            text.push(']');
        }
    }

    fn once(&self) -> String {
        match &self.token {
            Some(token) if self.kind == Kind::PureToken => token.clone(),
            Some(token) => format!("{token} {}", self.without_token()),
            None => self.without_token(),
        }
    }

    fn without_token(&self) -> String {
        match self.kind {
            Kind::Block => show(&self.arguments),
            Kind::OneOf => {
                let all: Vec<_> =
                    self.arguments.iter().map(|a| show(std::slice::from_ref(a))).collect();
                let all = all.join(" | ");
                // Within an option's brackets there is no need for others.
                if self.optional && self.token.is_none() && !self.multiple {
                    all
                } else {
                    format!("<{all}>")
                }
            }
            _ => self.display.clone().unwrap_or_else(|| self.name.clone()),
        }
    }
}

/// Fewest and most words for all of them.
pub fn words(arguments: &[Argument]) -> (usize, Option<usize>) {
    arguments
        .iter()
        .map(Argument::words)
        .fold((0, Some(0)), |(least, most), (l, m)| (least + l, most.zip(m).map(|(a, b)| a + b)))
}

/// The arguments in the documentation's notation, for people.
pub fn show(arguments: &[Argument]) -> String {
    let mut text = String::new();
    for argument in arguments {
        if !text.is_empty() {
            text.push(' ');
        }
        argument.show(&mut text);
    }
    text
}
