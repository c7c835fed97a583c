//! Reads redis.conf: lines, one directive each, from files, standard input and the command line,
//! one after the other; a later line wins over an earlier one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::table::{Config, Support, TABLE};
use super::values::{BAD_DIRECTIVE, Input, Place, Refusal, WRONG_NUMBER};
use super::{RETIRED, cli, include, lookup, words};
use crate::base::args;

/// Files that may be read in all. Where an `include` leads back, or fans out without end, it
/// stops here.
const MAX_FILES: usize = 1000;

/// Bytes of one file: far above any configuration, and what is read before a wrong file (a
/// database, a device) is noticed.
const MAX_FILE_SIZE: u64 = 64 << 20;

const NOT_THERE_YET: &str = "goredis does not have this yet, and going on as if it had would not \
    be safe. Without this line it starts.";

/// Why a configuration cannot be used. Displays as Redis prints it, on several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The line that is wrong, if it is one line.
    line: Option<Line>,
    message: String,
}

/// A line of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    place: Place,
    /// As it may be shown: without its blanks, and without secrets.
    text: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "\n*** FATAL CONFIG FILE ERROR (goredis {}) ***", cli::GOREDIS_VERSION)?;
        if let Some(Line { place, text }) = &self.line {
            writeln!(f, "Reading {place}\n>>> '{text}'")?;
        }
        writeln!(f, "{}", self.message)
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::File { path, line } => {
                write!(f, "the configuration file {}, at line {line}", path.display())
            }
            Self::StandardInput { line } => {
                write!(f, "the configuration from standard input, at line {line}")
            }
            Self::CommandLine => f.write_str("the command line"),
            Self::Client => f.write_str("CONFIG SET"),
        }
    }
}

impl ConfigError {
    pub(super) fn general(message: impl Into<String>) -> Self {
        Self { line: None, message: message.into() }
    }

    /// What is wrong with a [`super::Declaration`], for those who know what it means. `words`
    /// are the directive and the declaration's own words.
    pub fn in_declaration(place: &Place, words: &[&[u8]], message: impl Into<String>) -> Self {
        let text = words.iter().map(|word| words::quote_if_needed(word)).collect::<Vec<_>>();
        let line = Line { place: place.clone(), text: shown(&text.join(&b' ')) };
        Self { line: Some(line), message: message.into() }
    }
}

/// A line as it may be shown: no log should have a password in it.
fn shown(line: &[u8]) -> String {
    let end = line.iter().position(|byte| byte.is_ascii_whitespace()).unwrap_or(line.len());
    let name = &line[..end];
    if end < line.len() && lookup(name).is_some_and(|row| row.traits.secret) {
        return format!("{} (not shown)", String::from_utf8_lossy(name));
    }
    String::from_utf8_lossy(line).into_owned()
}

/// Where a text comes from.
pub enum Source {
    File(Arc<PathBuf>),
    StandardInput,
    CommandLine,
}

impl Source {
    fn place(&self, line: usize) -> Place {
        match self {
            Self::File(path) => Place::File { path: path.clone(), line },
            Self::StandardInput => Place::StandardInput { line },
            Self::CommandLine => Place::CommandLine,
        }
    }
}

/// A configuration in the making.
pub struct Loader {
    config: Config,
    /// The last line of each directive that had one, by the directive's name.
    met: HashMap<&'static str, Line>,
    /// The files that are being read, each included by the one before.
    open: Vec<PathBuf>,
    files_read: usize,
}

impl Loader {
    pub fn new() -> Self {
        Self { config: Config::default(), met: HashMap::new(), open: Vec::new(), files_read: 0 }
    }

    /// Reads a file that was named outright.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = self.open_file(path).map_err(ConfigError::general)?;
        self.text(&text, &Source::File(Arc::new(path.to_owned())))?;
        self.open.pop();
        Ok(())
    }

    /// Reads a text of many lines.
    pub fn text(&mut self, text: &[u8], source: &Source) -> Result<(), ConfigError> {
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = words::trim(line);
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let place = source.place(index + 1);
            self.line(line, &place)?;
        }
        Ok(())
    }

    fn line(&mut self, text: &[u8], place: &Place) -> Result<(), ConfigError> {
        let line = || Line { place: place.clone(), text: shown(text) };
        match self.directive(text, place) {
            Ok(Some(name)) => {
                self.met.insert(name, line());
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(Stop::Here(message)) => {
                Err(ConfigError { line: Some(line()), message: message.into_owned() })
            }
            Err(Stop::Inside(error)) => Err(error),
        }
    }

    /// Takes a line in, and gives the name of its directive.
    fn directive(&mut self, text: &[u8], place: &Place) -> Result<Option<&'static str>, Stop> {
        const UNBALANCED: &str = "Unbalanced quotes in configuration line";
        if text.contains(&0) {
            return Err("a configuration line can't have a zero byte in it".into());
        }
        let line = args::split(text).ok_or(UNBALANCED)?;
        let Some((name, arguments)) = line.split_first() else { return Ok(None) };
        let Some(row) = lookup(name) else { return without_row(name, arguments) };
        let split;
        let words = match arguments {
            [word] if row.takes_words() && !word.is_empty() => {
                split = args::split(word).ok_or(UNBALANCED)?;
                &split
            }
            words => words,
        };
        if !row.takes_words() && !row.is_declaration() && words.len() != 1 {
            return Err(WRONG_NUMBER.into());
        }
        let again = self.met.contains_key(row.name);
        (row.assign)(&mut self.config, &row.kind, &Input { words, place, again })?;
        if row.name == "include" {
            self.include(&words[0])?;
        }
        Ok(Some(row.name))
    }

    fn include(&mut self, pattern: &[u8]) -> Result<(), Stop> {
        // Relative to the directory the server would be in by now.
        let path = self.config.dir.join(OsStr::from_bytes(pattern));
        if !include::is_pattern(pattern) {
            return self.included_file(&path);
        }
        for path in include::expand(&path) {
            self.included_file(&path)?;
        }
        Ok(())
    }

    fn included_file(&mut self, path: &Path) -> Result<(), Stop> {
        let text = self.open_file(path)?;
        self.text(&text, &Source::File(Arc::new(path.to_owned()))).map_err(Stop::Inside)?;
        self.open.pop();
        Ok(())
    }

    /// The content of a file, which is noted as open.
    fn open_file(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let cannot = |error: io::Error| {
            let reason = words::os_message(&error);
            format!("Fatal error, can't open config file '{}': {reason}", path.display())
        };
        let identity = path.canonicalize().map_err(cannot)?;
        if self.open.contains(&identity) {
            return Err(format!("the config file '{}' includes itself", path.display()));
        }
        self.files_read += 1;
        if self.files_read > MAX_FILES {
            return Err(format!("more than {MAX_FILES} config files are included"));
        }
        let mut text = Vec::new();
        let file = fs::File::open(path).map_err(cannot)?;
        file.take(MAX_FILE_SIZE + 1).read_to_end(&mut text).map_err(cannot)?;
        if text.len() as u64 > MAX_FILE_SIZE {
            return Err(format!("'{}' is too large for a config file", path.display()));
        }
        self.open.push(identity);
        Ok(text)
    }

    /// The configuration, if its parts go together.
    pub fn finish(self) -> Result<Config, ConfigError> {
        if self.config.cluster_enabled && self.config.replicaof.is_some() {
            return Err(ConfigError::general("replicaof directive not allowed in cluster mode"));
        }
        for row in TABLE.iter().filter(|row| row.traits.support == Support::Refused) {
            if !row.is_default(&self.config) {
                let line = self.met.get(row.name).cloned();
                let message = format!("{NOT_THERE_YET}\n{}: {}", row.name, row.doc());
                return Err(ConfigError { line, message });
            }
        }
        Ok(self.config)
    }
}

/// Why a line was not taken in.
enum Stop {
    /// Something is wrong with this line.
    Here(Refusal),
    /// Something is wrong with a line of a file it includes.
    Inside(ConfigError),
}

impl<T: Into<Refusal>> From<T> for Stop {
    fn from(message: T) -> Self {
        Self::Here(message.into())
    }
}

/// Lines that no row of the table is for.
fn without_row(name: &[u8], arguments: &[Vec<u8>]) -> Result<Option<&'static str>, Stop> {
    let name = name.to_ascii_lowercase();
    let text = String::from_utf8_lossy(&name);
    if RETIRED.contains(&&*text) {
        return if arguments.len() == 1 { Ok(None) } else { Err(BAD_DIRECTIVE.into()) };
    }
    if text == "sentinel" {
        return Err("sentinel directive while not in sentinel mode".into());
    }
    Err(match cli::similar_name(&text) {
        Some(similar) => format!("{BAD_DIRECTIVE}\nDid you mean '{similar}'?").into(),
        None => BAD_DIRECTIVE.into(),
    })
}
