//! The command line: `goredis [FILE | -] [--directive value ...] [-]`.
//!
//! Redis turns its options into lines of a configuration that are read after the file, and its
//! grammar is made for that: an option takes all words up to the next one that begins with `--`,
//! but its first word may begin so, too (`--proc-title-template --x--`); `--save` may stand alone;
//! name and value may be one word (`"--maxmemory 700mb"`), and a first option may lack its dashes
//! behind a file. No declarative parser has all of this, and scripts rely on it, so the fold is
//! written by hand ([`fold`]). clap, with an argument for each row of the table, gives the
//! help, the version and the guess what a misspelt directive was meant to be.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};

use super::load::{ConfigError, Loader, Source};
use super::table::{Config, Directive, TABLE};
use super::{reference, words};
use crate::base::{args, crc64};

/// The version of Redis whose behaviour clients may expect.
pub const REDIS_VERSION: &str = "7.2.4";
/// Our own version.
pub const GOREDIS_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a server is to be started with.
#[derive(Debug)]
pub struct Start {
    pub config: Config,
    /// The absolute path of the configuration file, for CONFIG REWRITE and INFO.
    pub config_file: Option<PathBuf>,
}

/// The program ends without starting a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub text: String,
    pub stream: Stream,
    pub code: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Exit {
    fn answer(text: String) -> Self {
        Self { text, stream: Stream::Stdout, code: 0 }
    }

    fn failure(text: impl Into<String>) -> Self {
        Self { text: text.into(), stream: Stream::Stderr, code: 1 }
    }
}

impl From<ConfigError> for Exit {
    fn from(error: ConfigError) -> Self {
        Self::failure(error.to_string())
    }
}

/// Reads the command line, without the program's name, and the files it names.
pub fn from_command_line(args: impl Iterator<Item = OsString>) -> Result<Start, Exit> {
    let args: Vec<Vec<u8>> = args.map(OsString::into_vec).collect();
    answer_question(&args)?;
    let CommandLine { file, standard_input, options } = fold(&args);
    let mut loader = Loader::new();
    let config_file = file.map(absolute).transpose()?;
    if let Some(path) = &config_file {
        loader.file(path)?;
    }
    if standard_input {
        let mut text = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut text);
        read.map_err(|error| Exit::failure(format!("can't read standard input: {error}\n")))?;
        loader.text(&text, &Source::StandardInput)?;
    }
    loader.text(&options.join(&b'\n'), &Source::CommandLine)?;
    let config = loader.finish()?;
    check_log_file(&config)?;
    Ok(Start { config, config_file })
}

/// Options that ask something instead of starting a server; only in the first place, so that they
/// can be values elsewhere.
fn answer_question(args: &[Vec<u8>]) -> Result<(), Exit> {
    match args.first().map(Vec::as_slice) {
        Some(b"-v" | b"--version") => Err(Exit::answer(version())),
        Some(b"-h") => Err(Exit::answer(command().render_help().to_string())),
        Some(b"--help") => Err(Exit::answer(command().render_long_help().to_string())),
        Some(b"--test-memory") => Err(Exit::failure(
            "goredis has no memory test: memtester and memtest86+ are made for that.\n",
        )),
        Some(b"--check-system") => Err(Exit::failure(
            "goredis has no system check: as it does not fork, it needs neither memory overcommit \
             nor small pages.\n",
        )),
        _ if args.iter().any(|arg| arg == b"--sentinel") => {
            Err(Exit::failure("goredis has no Sentinel mode: redis-sentinel can watch over it.\n"))
        }
        _ => Ok(()),
    }
}

/// The line `--version` prints, in the form of Redis's.
fn version() -> String {
    let commit = option_env!("GOREDIS_COMMIT").unwrap_or("00000000");
    format!(
        "goredis v={GOREDIS_VERSION} sha={commit}:0 malloc=mimalloc bits={} build={:016x} \
         redis={REDIS_VERSION}\n",
        usize::BITS,
        crc64::crc64(0, format!("{GOREDIS_VERSION} {commit}").as_bytes()),
    )
}

/// A command line in its parts.
#[derive(Debug, Default, PartialEq, Eq)]
struct CommandLine<'a> {
    file: Option<&'a [u8]>,
    standard_input: bool,
    /// Lines of a configuration.
    options: Vec<Vec<u8>>,
}

fn fold(args: &[Vec<u8>]) -> CommandLine<'_> {
    let mut line = CommandLine::default();
    let mut first = 0;
    if let Some(path) = args.first().filter(|arg| arg.first() != Some(&b'-')) {
        line.file = Some(path);
        first = 1;
    }
    // Whether the last option has its value, so that `--` begins another option.
    let mut complete = true;
    for (index, arg) in args.iter().enumerate().skip(first) {
        let last = index == args.len() - 1;
        if arg == b"-" && (index == 0 || last) {
            line.standard_input = true;
        } else if let Some(option) = arg.strip_prefix(b"--").filter(|_| complete) {
            let mut option = option.to_vec();
            // `"--maxmemory 700mb"` has it.
            complete = args::split(arg).is_none_or(|words| words.len() != 1);
            let next_is_option = args.get(index + 1).is_some_and(|next| next.starts_with(b"--"));
            if arg.eq_ignore_ascii_case(b"--save") && (last || next_is_option) {
                option.extend(b" \"\"");
                complete = true;
            }
            line.options.push(option);
        } else {
            let quoted = args::quote(arg);
            match line.options.last_mut() {
                Some(option) => {
                    option.push(b' ');
                    option.extend(quoted);
                }
                None => line.options.push(quoted),
            }
            complete = true;
        }
    }
    line
}

fn absolute(path: &[u8]) -> Result<PathBuf, Exit> {
    std::path::absolute(Path::new(OsStr::from_bytes(path))).map_err(|error| {
        let path = String::from_utf8_lossy(path);
        let reason = words::os_message(&error);
        Exit::failure(format!("Fatal error, can't open config file '{path}': {reason}\n"))
    })
}

/// The log cannot tell later that it could not be opened.
fn check_log_file(config: &Config) -> Result<(), Exit> {
    if config.logfile.is_empty() {
        return Ok(());
    }
    let path = config.dir.join(&config.logfile);
    match OpenOptions::new().append(true).create(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(ConfigError::general(format!(
            "Can't open the log file: {}",
            words::os_message(&error)
        ))
        .into()),
    }
}

/// The command line as clap sees it: an argument a row.
fn command() -> Command {
    Command::new("goredis")
        .about("A Redis-compatible server.")
        .override_usage("goredis [FILE | -] [--DIRECTIVE VALUE ...] [-]")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(
            Arg::new("FILE")
                .help("Configuration in the syntax of redis.conf; - reads it from standard input"),
        )
        .arg(flag("help", 'h').help("Print the usage (-h), or all directives (--help)"))
        .arg(flag("version", 'v').help("Print the version"))
        .args(TABLE.iter().map(argument))
        .after_help(
            "Options are read as lines of a configuration file behind the file's own lines: \
             a later one wins.\n\n\
             Examples:\n  \
             goredis\n  \
             goredis --port 7777 --appendfsync always\n  \
             goredis /etc/redis/redis.conf --loglevel verbose\n  \
             echo 'maxmemory 128mb' | goredis -",
        )
}

fn flag(name: &'static str, short: char) -> Arg {
    Arg::new(name).long(name).short(short).action(ArgAction::SetTrue)
}

fn argument(row: &'static Directive) -> Arg {
    let argument = Arg::new(row.name)
        .long(row.name)
        .visible_aliases(row.aliases)
        .help(reference::help(row))
        .help_heading(row.group)
        .value_name(reference::syntax(&row.kind))
        .hide_short_help(true);
    let default = reference::default(row);
    if default.is_empty() { argument } else { argument.default_value(default) }
}

/// The directive that a misspelt name was probably meant to be.
pub(super) fn similar_name(name: &str) -> Option<String> {
    // In so few letters, anything can be found.
    if name.len() < 3 {
        return None;
    }
    let error = command().try_get_matches_from(["goredis", &format!("--{name}")]).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(option) => Some(option.trim_start_matches('-').to_owned()),
        _ => None,
    }
}
