//! What can be wrong with a rule of ACL SETUSER, and how rules come out of words.

/// Why a rule is refused. The texts are Redis's, which people look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    Syntax,
    /// No such command or category.
    Unknown,
    KeysAfterAll,
    ChannelsAfterAll,
    NoSuchPassword,
    BadHash,
    FirstArgOfSubcommand,
}

impl RuleError {
    pub fn text(self) -> &'static str {
        match self {
            RuleError::Syntax => "Syntax error",
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::KeysAfterAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and \
                 does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::ChannelsAfterAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid \
                 and does not have any effect. Try 'resetchannels' to start with an empty list of \
                 channels"
            }
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase \
                 hexadecimal characters"
            }
            RuleError::FirstArgOfSubcommand => {
                "Allowing first-arg of a subcommand is not supported"
            }
        }
    }
}

/// Whether a name or pattern holds what would end it where it is read again: blanks as C has
/// them, or a zero byte.
pub fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0))
}

/// Joins the words of selectors that came in several: `(+get`, `~a)` becomes one rule.
///
/// # Errors
/// The word that opens a selector which is never closed.
pub fn join_selectors<'a>(
    words: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Vec<u8>>, &'a [u8]> {
    let mut rules = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for word in words {
        let closes = word.ends_with(b")");
        open = match open {
            Some((opening, mut rule)) => {
                rule.push(b' ');
                rule.extend_from_slice(word);
                if closes {
                    rules.push(rule);
                    None
                } else {
                    Some((opening, rule))
                }
            }
            None if word.starts_with(b"(") && !closes => Some((word, word.to_vec())),
            None => {
                rules.push(word.to_vec());
                None
            }
        };
    }
    match open {
        Some((opening, _)) => Err(opening),
        None => Ok(rules),
    }
}

/// A rule as it may stand in a log: without the password it may be about.
pub fn shown(rule: &[u8]) -> String {
    match rule {
        [sign @ (b'>' | b'<' | b'#' | b'!'), ..] => format!("{}(redacted)", *sign as char),
        _ => String::from_utf8_lossy(rule).into_owned(),
    }
}
