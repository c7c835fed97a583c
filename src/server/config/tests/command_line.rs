//! The command line. Most cases are those of Redis's own tests of it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use super::*;

fn start(args: &[&str]) -> Result<Start, Exit> {
    from_command_line(args.iter().map(OsString::from))
}

/// The configuration that a file and options give.
fn with_file(text: &str, options: &[&str]) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let args: Vec<&str> = std::iter::once(path).chain(options.iter().copied()).collect();
    let start = start(&args).unwrap_or_else(|exit| panic!("{}", exit.text));
    assert_eq!(start.config_file.as_deref(), Some(file.path()));
    start.config
}

fn values<const N: usize>(config: &Config, names: [&str; N]) -> [String; N] {
    names.map(|name| value(config, name))
}

#[test]
fn nothing_gives_the_defaults() {
    let start = start(&[]).unwrap_or_else(|exit| panic!("{}", exit.text));
    assert!(start.config == Config::default() && start.config_file.is_none());
}

#[test]
fn options_come_after_the_file() {
    const FILE: &str = "loglevel verbose\nsave 900 1\ntimeout 3\n";
    let shown = |options: &[&str]| {
        let names = ["save", "loglevel", "maxmemory", "maxmemory-policy", "proc-title-template"];
        values(&with_file(FILE, options), names)
    };
    const TITLE: &str = "{title} {listen-addr} {server-mode}";
    const TITLE_OPTION: &str = "--my--title--template";
    for (options, expected) in [
        (&["--save", "100", "100"][..], ["900 1 100 100", "verbose", "0", "noeviction", TITLE]),
        (&["--save", ""], ["", "verbose", "0", "noeviction", TITLE]),
        (
            &["--maxmemory 700mb", "--maxmemory-policy volatile-lru"],
            ["900 1", "verbose", "734003200", "volatile-lru", TITLE],
        ),
        (
            &["loglevel", "debug", "--maxmemory '700mb'", "--maxmemory-policy 'volatile-lru'"],
            ["900 1", "debug", "734003200", "volatile-lru", TITLE],
        ),
        (
            &["--proc-title-template", TITLE_OPTION, "--loglevel", "notice"],
            ["900 1", "notice", "0", "noeviction", TITLE_OPTION],
        ),
        (
            &["--proc-title-template --my--title--template", "--loglevel notice"],
            ["900 1", "notice", "0", "noeviction", TITLE_OPTION],
        ),
        (&["--save", "--loglevel", "notice"], ["", "notice", "0", "noeviction", TITLE]),
        (&["--loglevel", "notice", "--save"], ["", "notice", "0", "noeviction", TITLE]),
        (&["--save", "", "--loglevel", "notice"], ["", "notice", "0", "noeviction", TITLE]),
        (&["--loglevel", "notice", "--SAVE", ""], ["", "notice", "0", "noeviction", TITLE]),
        (
            &["--proc-title-template", "--save", "--save", "", "--loglevel", "notice"],
            ["", "notice", "0", "noeviction", "--save"],
        ),
    ] {
        assert_eq!(shown(options), expected, "{options:?}");
    }
}

#[test]
fn an_option_takes_several_words() {
    let options =
        ["--shutdown-on-sigint", "nosave", "force", "now", "--shutdown-on-sigterm", "nosave force"];
    assert_eq!(
        values(&with_file("", &options), ["shutdown-on-sigint", "shutdown-on-sigterm"]),
        ["nosave now force", "nosave force"]
    );
    let options = ["--bind", "127.0.0.1", "::1", "--hash-max-ziplist-value", "9", "--port 7000"];
    assert_eq!(
        values(&with_file("", &options), ["bind", "hash-max-listpack-value", "port"]),
        ["127.0.0.1 ::1", "9", "7000"]
    );
}

#[test]
fn any_bytes_can_be_values() {
    let args = [b"--requirepass".to_vec(), b"\xff \"'\\".to_vec()];
    let start = from_command_line(args.into_iter().map(OsString::from_vec));
    assert_eq!(start.ok().unwrap().config.requirepass, b"\xff \"'\\");
    assert_eq!(with_file("", &["--syslog-ident", "-", "--hz", "5"]).syslog_ident, "-");
    // Behind the last option, a lone dash is standard input.
    assert_eq!(with_file("", &["--syslog-ident", "é"]).syslog_ident, "é");
}

#[test]
fn wrong_options_are_refused_in_the_words_of_redis() {
    const COUNT: &str = "wrong number of arguments";
    const INTEGER: &str = "argument couldn't be parsed into an integer";
    const LEVELS: &str = "argument(s) must be one of the following: debug, verbose, notice, \
                          warning, nothing";
    const SHUTDOWN: &str =
        "argument(s) must be one of the following: default, save, nosave, now, force";
    for (args, shown, reason) in [
        (&["--port"][..], "port", COUNT),
        (&["--port", "6380", "--loglevel"], "loglevel", COUNT),
        (&["--port", "6379", "6380"], "port \"6379\" \"6380\"", COUNT),
        (&["--port", "--loglevel", "verbose"], "port \"--loglevel\" \"verbose\"", COUNT),
        (&["--port", "--bla", "--loglevel", "verbose"], "port \"--bla\"", INTEGER),
        (&["--logfile", "--my--log--file", "--loglevel", "--bla"], "loglevel \"--bla\"", LEVELS),
        (&["--shutdown-on-sigint"], "shutdown-on-sigint", SHUTDOWN),
        (
            &["--shutdown-on-sigint", "now force", "--shutdown-on-sigterm"],
            "shutdown-on-sigterm",
            SHUTDOWN,
        ),
        (
            &["--replicaof", "127.0.0.1", "abc"],
            "replicaof \"127.0.0.1\" \"abc\"",
            "Invalid master port",
        ),
        (
            &["--replicaof", "--127.0.0.1", "abc"],
            "replicaof \"--127.0.0.1\" \"abc\"",
            "Invalid master port",
        ),
        (&["--replicaof", "--127.0.0.1", "--abc"], "replicaof \"--127.0.0.1\"", COUNT),
        (&["-x"], "\"-x\"", "Bad directive or wrong number of arguments"),
    ] {
        let exit = start(args).err().unwrap();
        assert_eq!((exit.stream, exit.code), (Stream::Stderr, 1));
        let expected = format!("Reading the command line\n>>> '{shown}'\n{reason}\n");
        assert!(exit.text.ends_with(&expected), "{args:?}: {}", exit.text);
    }
}

#[test]
fn a_missing_file_is_named() {
    let exit = start(&["/nonexistent/redis.conf", "--port", "1"]).err().unwrap();
    assert!(
        exit.text.ends_with(
            "Fatal error, can't open config file '/nonexistent/redis.conf': \
             No such file or directory\n"
        ),
        "{}",
        exit.text
    );
}

#[test]
fn the_log_file_must_be_writable() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let exit = start(&["--dir", here, "--logfile", "none/log"]).err().unwrap();
    let expected = "***\nCan't open the log file: No such file or directory\n";
    assert!(exit.text.ends_with(expected), "{}", exit.text);
    assert!(start(&["--dir", here, "--logfile", "log"]).is_ok());
}

#[test]
fn questions_are_answered() {
    for option in ["-v", "--version"] {
        let exit = start(&[option]).err().unwrap();
        assert_eq!((exit.stream, exit.code), (Stream::Stdout, 0));
        let words: Vec<&str> = exit.text.split_whitespace().collect();
        let starts = ["goredis", "v=", "sha=00000000:0", "malloc=mimalloc", "bits=64", "build="];
        for (word, start) in words.iter().zip(starts) {
            assert!(word.starts_with(start), "{}", exit.text);
        }
        assert_eq!(words[6..], [format!("redis={REDIS_VERSION}")]);
    }
    let help = start(&["--help"]).err().unwrap();
    assert_eq!((help.stream, help.code), (Stream::Stdout, 0));
    for name in TABLE.iter().flat_map(Directive::names) {
        assert!(help.text.contains(&format!("--{name}")) || help.text.contains(name), "{name}");
    }
    let short = start(&["-h"]).err().unwrap();
    assert!(short.text.contains("Usage:") && short.text.lines().count() < 40, "{}", short.text);
    for unknown in ["--test-memory", "--check-system", "--sentinel"] {
        let exit = start(&[unknown]).err().unwrap();
        assert!(
            (exit.stream, exit.code) == (Stream::Stderr, 1) && exit.text.contains("goredis has")
        );
    }
}
