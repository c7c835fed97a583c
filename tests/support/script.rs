//! Test scripts: reading the files of `tests/scripts`. Knows their form (see the README.md there)
//! and not how they are run.

use std::path::{Path, PathBuf};

use goredis::base::args;

use super::expect::{self, Expected};

pub struct Script {
    pub path: PathBuf,
    pub sections: Vec<Section>,
}

/// Steps that begin with an empty keyspace and new connections.
#[derive(Default)]
pub struct Section {
    pub name: String,
    /// `@since 7.2`: the Redis version the expectations are true for.
    pub since: Option<Version>,
    /// `@server --name value ...`: arguments of a server of its own.
    pub server: Option<Vec<String>>,
    /// `@no-restart`: what is there at the end need not be there after a restart.
    pub no_restart: bool,
    pub steps: Vec<Step>,
}

pub type Version = (u32, u32);

#[derive(Default)]
pub struct Step {
    pub line: usize,
    /// The connection's name; empty for the first.
    pub client: String,
    /// The command as written; none where a message is awaited.
    pub command: Option<String>,
    /// The expectation as written; `{name}` in it stands for a remembered reply.
    pub expected: Option<String>,
    /// `resp3:`: the expectation in RESP3, where it is not what the other one says it is.
    pub expected_resp3: Option<String>,
    pub notes: Notes,
}

/// What is said about a step in the lines above it.
#[derive(Clone, Default)]
pub struct Notes {
    /// `@since 7.2`
    pub since: Option<Version>,
    /// `@wait`: repeat the command until the reply is as expected.
    pub wait: bool,
    /// `@resp2`, `@resp3`: only in this protocol.
    pub only_resp3: Option<bool>,
    /// `@repeat 10`: do this so often; `{i}` counts from 1.
    pub repeat: Option<u64>,
    /// `@let name`: remember the reply's text.
    pub remember: Option<String>,
}

impl Step {
    /// The words of its command.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let command = self.command.as_deref().unwrap_or_default();
        args::split(command.as_bytes()).unwrap_or_default()
    }
}

/// Reads a script. Fails the test, with the line, where it cannot be understood.
pub fn load(path: &Path) -> Script {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = Reader { sections: Vec::new(), notes: Notes::default(), open: None };
    for (index, line) in text.lines().enumerate() {
        if let Err(what) = reader.line(index + 1, line) {
            panic!("{}:{}: {what}", path.display(), index + 1);
        }
    }
    if reader.open.is_some() {
        panic!("{}: an expectation does not end", path.display());
    }
    Script { path: path.to_path_buf(), sections: reader.sections }
}

struct Reader {
    sections: Vec<Section>,
    notes: Notes,
    /// An expectation with an open bracket, and whether it is one for RESP3.
    open: Option<(String, bool)>,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some((mut text, resp3)) = self.open.take() {
            text.push('\n');
            text.push_str(line);
            return self.expectation(text, resp3);
        }
        if line.trim().is_empty() || line.starts_with('#') && !["#t", "#f"].contains(&line.trim()) {
            return Ok(());
        }
        if let Some(header) = line.strip_prefix("==") {
            self.sections.push(section(header)?);
            return Ok(());
        }
        if line.starts_with('@') {
            return self.note(line);
        }
        if let Some((client, command)) = split_client(line, '>') {
            if args::split(command.as_bytes()).is_none_or(|words| words.is_empty()) {
                return Err("no command".to_string());
            }
            return self.step(number, client, Some(command));
        }
        if let Some((client, text)) = split_client(line, '<') {
            self.step(number, client, None)?;
            return self.expectation(text.to_string(), false);
        }
        match line.strip_prefix("resp3:") {
            Some(text) => self.expectation(text.to_string(), true),
            None => self.expectation(line.to_string(), false),
        }
    }

    fn step(&mut self, line: usize, client: &str, command: Option<&str>) -> Result<(), String> {
        let section = self.sections.last_mut().ok_or("a step before the first section")?;
        let (client, command) = (client.to_string(), command.map(String::from));
        let notes = std::mem::take(&mut self.notes);
        section.steps.push(Step { line, client, command, notes, ..Step::default() });
        Ok(())
    }

    fn expectation(&mut self, text: String, resp3: bool) -> Result<(), String> {
        // What a remembered reply will be is not known yet, but that something stands there.
        let places = regex_lite::Regex::new(r"\{[a-z]+\}").map_err(|e| e.to_string())?;
        if expect::parse(&places.replace_all(&text, "0"))?.is_none() {
            self.open = Some((text, resp3));
            return Ok(());
        }
        let section = self.sections.last_mut().ok_or("a reply before the first section")?;
        let step = section.steps.last_mut().ok_or("a reply before the first command")?;
        let place = if resp3 { &mut step.expected_resp3 } else { &mut step.expected };
        match place.replace(text) {
            Some(_) => Err("a second reply to one command".to_string()),
            None => Ok(()),
        }
    }

    fn note(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word {
                "@since" => self.notes.since = Some(version(value()?)?),
                "@wait" => self.notes.wait = true,
                "@resp2" => self.notes.only_resp3 = Some(false),
                "@resp3" => self.notes.only_resp3 = Some(true),
                "@repeat" => self.notes.repeat = Some(value()?.parse().map_err(|_| "no number")?),
                "@let" => self.notes.remember = Some(value()?.to_string()),
                _ => return Err(format!("unknown note {word}")),
            }
        }
        Ok(())
    }
}

/// `name> rest`, or with another sign; the name may be empty. `>[` begins a push message.
fn split_client(line: &str, sign: char) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(sign)?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric());
    (is_name && rest.starts_with(' ')).then(|| (name, rest.trim()))
}

fn section(header: &str) -> Result<Section, String> {
    let (name, notes) = header.split_once('@').unwrap_or((header, ""));
    let mut section = Section { name: name.trim().to_string(), ..Section::default() };
    for note in notes.split('@').map(str::trim).filter(|note| !note.is_empty()) {
        let (word, value) = note.split_once(' ').unwrap_or((note, ""));
        match word {
            "since" => section.since = Some(version(value)?),
            "no-restart" => section.no_restart = true,
            "server" => {
                let words = args::split(value.as_bytes()).ok_or("quotes")?;
                let text = |word| String::from_utf8(word).map_err(|e| e.to_string());
                section.server = Some(words.into_iter().map(text).collect::<Result<_, _>>()?);
            }
            _ => return Err(format!("unknown note @{word}")),
        }
    }
    Ok(section)
}

/// `7.2` as numbers that compare.
pub fn version(text: &str) -> Result<Version, String> {
    let mut parts = text.split('.').map(|part| part.parse::<u32>());
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(format!("no version: {text:?}")),
    }
}

/// Puts remembered replies in their places.
pub fn substitute(text: &[u8], variables: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut text = text.to_vec();
    for (name, value) in variables {
        let place = format!("{{{name}}}").into_bytes();
        let mut at = 0;
        while let Some(offset) = text[at..].windows(place.len()).position(|w| w == place) {
            at += offset;
            text.splice(at..at + place.len(), value.iter().copied());
            at += value.len();
        }
    }
    text
}

/// The expectation that holds in a protocol.
pub fn expected(step: &Step, resp3: bool, variables: &[(String, Vec<u8>)]) -> Option<Expected> {
    let text = match &step.expected_resp3 {
        Some(text) if resp3 => text,
        _ => step.expected.as_ref()?,
    };
    let text = String::from_utf8(substitute(text.as_bytes(), variables)).unwrap();
    expect::parse(&text).unwrap()
}
