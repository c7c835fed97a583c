//! redis.conf.

use std::fs;
use std::path::Path;

use super::*;

/// What Redis says about a line, after it has shown where it is.
fn refusal(line: &str) -> String {
    let Err(error) = load(line.as_bytes()) else { panic!("{line} is taken") };
    let expected_start = format!(
        "\n*** FATAL CONFIG FILE ERROR (goredis {GOREDIS_VERSION}) ***\n\
         Reading the configuration file test.conf, at line 1\n>>> '{line}'\n"
    );
    let reason = error.strip_prefix(&expected_start).unwrap_or_else(|| panic!("{error}"));
    reason.strip_suffix('\n').unwrap().to_owned()
}

const BAD: &str = "Bad directive or wrong number of arguments";
const COUNT: &str = "wrong number of arguments";
const INTEGER: &str = "argument couldn't be parsed into an integer";
const MEMORY: &str = "argument must be a memory value";
const QUOTES: &str = "Unbalanced quotes in configuration line";
const SHUTDOWN: &str =
    "argument(s) must be one of the following: default, save, nosave, now, force";
const SAVE: &str = "Invalid save parameters";
const LIMIT: &str = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
const PERCENTILES: &str = "Invalid latency-tracking-info-percentiles parameters";
const TITLE: &str = "template format is invalid or contains unknown variables";

/// Lines, and why they are refused.
const WRONG_LINES: &[(&str, &str)] = &[
    ("xyzzy bar", BAD),
    ("\"\" x", BAD),
    ("user", BAD),
    ("include", BAD),
    ("include a b", BAD),
    ("rename-command a", BAD),
    ("loadmodule", BAD),
    ("list-max-ziplist-entries 1 2", BAD),
    ("sentinel x y", "sentinel directive while not in sentinel mode"),
    ("port", COUNT),
    ("port 1 2", COUNT),
    ("replicaof", COUNT),
    ("notify-keyspace-events", COUNT),
    ("oom-score-adj-values 1 2", COUNT),
    ("port \"a", QUOTES),
    ("timeout 'x", QUOTES),
    ("timeout 'x'y", QUOTES),
    ("maxclients x", INTEGER),
    ("port 07", INTEGER),
    ("port +7", INTEGER),
    ("port \" 7\"", INTEGER),
    ("port 7.0", INTEGER),
    ("latency-monitor-threshold 9223372036854775808", INTEGER),
    ("appendonly maybe", "argument must be 'yes' or 'no'"),
    ("unixsocketperm 888", "argument couldn't be parsed as an octal number"),
    ("unixsocketperm 1000", "argument must be between 0 and 777 inclusive"),
    ("maxclients 0", "argument must be between 1 and 4294967295 inclusive"),
    ("port 65536", "argument must be between 0 and 65535 inclusive"),
    ("tcp-backlog -1", "argument must be between 0 and 2147483647 inclusive"),
    ("slowlog-log-slower-than -2", "argument must be between -1 and 9223372036854775807 inclusive"),
    ("proto-max-bulk-len 1", "argument must be between 1048576 and 9223372036854775807 inclusive"),
    (
        "list-max-ziplist-size -2147483649",
        "argument must be between -2147483648 and 2147483647 inclusive",
    ),
    ("hll-sparse-max-bytes -1", MEMORY),
    ("maxmemory 1t", MEMORY),
    ("maxmemory 1kbx", MEMORY),
    // Redis takes these, as 0 and as 0.
    ("maxmemory kb", MEMORY),
    ("maxmemory 18446744073709551616", MEMORY),
    ("maxmemory 17179869184gb", MEMORY),
    ("maxmemory-clients x", "argument must be a memory or percent value"),
    ("maxmemory-clients -1%", "argument must be a memory or percent value"),
    ("maxmemory-clients 101%", "percentage argument must be less or equal to 100"),
    ("maxmemory-clients 300%", "percentage argument must be less or equal to 100"),
    (
        "maxmemory-policy foo",
        "argument(s) must be one of the following: volatile-lru, volatile-lfu, \
         volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
    ),
    ("appendfsync x", "argument(s) must be one of the following: everysec, always, no"),
    ("oom-score-adj x", "argument(s) must be one of the following: no, yes, relative, absolute"),
    ("shutdown-on-sigint", SHUTDOWN),
    ("shutdown-on-sigint x", SHUTDOWN),
    (
        "shutdown-on-sigint \"save nosave\"",
        "shutdown options SAVE and NOSAVE can't be used simultaneously",
    ),
    ("dir /nonexistent", "No such file or directory"),
    ("dir /etc/passwd", "Not a directory"),
    ("save 1", SAVE),
    ("save a b", SAVE),
    ("save 0 1", SAVE),
    ("save 1 -1", SAVE),
    (
        "client-output-buffer-limit normal 1",
        "Wrong number of arguments in buffer limit configuration.",
    ),
    (
        "client-output-buffer-limit master 1 1 1",
        "Invalid client class specified in buffer limit configuration.",
    ),
    ("client-output-buffer-limit normal 1x 1 1", LIMIT),
    ("client-output-buffer-limit normal 1 1 -1", LIMIT),
    (
        "oom-score-adj-values 1 2 3000",
        "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
    ),
    ("notify-keyspace-events ABC", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
    ("latency-tracking-info-percentiles a", PERCENTILES),
    ("latency-tracking-info-percentiles nan", PERCENTILES),
    (
        "latency-tracking-info-percentiles 101",
        "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
    ),
    ("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "Too many bind addresses specified."),
    ("appendfilename \"\"", "appendfilename can't be empty"),
    ("appendfilename a/b", "appendfilename can't be a path, just a filename"),
    ("appenddirname \"\"", "appenddirname can't be empty"),
    ("appenddirname a/b", "appenddirname can't be a path, just a dirname"),
    ("dbfilename a/b", "dbfilename can't be a path, just a filename"),
    (
        "cluster-announce-hostname a_b",
        "Hostnames may only contain alphanumeric characters, hyphens or dots",
    ),
    ("proc-title-template {x}", TITLE),
    ("proc-title-template {", TITLE),
    ("proc-title-template {title}", TITLE),
    ("proc-title-template \"\"", TITLE),
    ("replicaof a b", "Invalid master port"),
    ("replicaof a 70000", "Invalid master port"),
    // Ours.
    ("bind 'a b' c", "Invalid bind address."),
    ("unixsocket \"a\\x00b\"", "argument must not contain a zero byte"),
    ("unixsocket \"\\xff\"", "argument must be valid UTF-8"),
];

#[test]
fn wrong_lines_are_refused_in_the_words_of_redis() {
    for (line, reason) in WRONG_LINES {
        assert_eq!(refusal(line), *reason, "{line}");
    }
}

#[test]
fn an_error_tells_the_line_without_its_blanks() {
    let error = load(b"# one\n\n  port\t1 2 \r\n").err().unwrap();
    assert!(error.contains("test.conf, at line 3\n>>> 'port\t1 2'\nwrong number"), "{error}");
}

#[test]
fn a_misspelt_directive_is_guessed() {
    assert_eq!(
        refusal("maxclient 5"),
        "Bad directive or wrong number of arguments\nDid you mean 'maxclients'?"
    );
}

#[test]
fn passwords_are_not_shown() {
    for line in ["requirepass \"hunter2", "masterauth hunter2 x", "user a >hunter2 \""] {
        let error = load(line.as_bytes()).err().unwrap();
        assert!(!error.contains("hunter2") && error.contains("(not shown)"), "{error}");
    }
}

#[test]
fn values_are_read_as_redis_reads_them() {
    for (line, shown) in [
        ("maxmemory 1k", "1000"),
        ("maxmemory 1KB", "1024"),
        ("maxmemory 3mb", "3145728"),
        ("maxmemory 3M", "3000000"),
        ("maxmemory 2gB", "2147483648"),
        ("maxmemory 2g", "2000000000"),
        ("maxmemory 5b", "5"),
        ("maxmemory \"\"", "0"),
        ("maxmemory-clients 5%", "5%"),
        ("maxmemory-clients 0%", "0"),
        ("maxmemory-clients 5mb", "5242880"),
        ("unixsocketperm 0700", "700"),
        ("hz 0", "1"),
        ("hz 1000", "500"),
        ("oom-score-adj relative", "yes"),
        ("notify-keyspace-events AKE", "AKE"),
        ("notify-keyspace-events Kg$x", "g$xK"),
        ("notify-keyspace-events KEnm", "nKEm"),
        ("latency-tracking-info-percentiles 50.0 99.99 100.0", "50 99.99 100"),
        ("latency-tracking-info-percentiles \"\"", ""),
        ("latency-tracking-info-percentiles \"1 2 3.25\"", "1 2 3.25"),
        ("shutdown-on-sigterm now nosave", "nosave now"),
        ("shutdown-on-sigterm \"force save\"", "save force"),
        ("oom-score-adj-values 1 -2 3", "1 -2 3"),
        ("syslog-ident 'it\\'s'", "it's"),
        ("syslog-ident \"a\\x41\\n\\\"b\"", "aA\n\"b"),
        ("bind 127.0.0.1 -::1", "127.0.0.1 -::1"),
        ("bind \"127.0.0.1 -::1\"", "127.0.0.1 -::1"),
        ("bind \"\"", ""),
        ("loglevel VERBOSE", "verbose"),
        ("LogLevel verbose", "verbose"),
        ("dir /usr/share/../lib", "/usr/lib"),
        ("proc-title-template \"x {{ {port}\"", "x {{ {port}"),
        (
            "client-output-buffer-limit replica 1mb 2mb 3",
            "normal 0 0 0 slave 1048576 2097152 3 pubsub 33554432 8388608 60",
        ),
        (
            "client-output-buffer-limit normal 1 2 3 pubsub 4 5 6",
            "normal 1 2 3 slave 268435456 67108864 60 pubsub 4 5 6",
        ),
    ] {
        let name = line.split(' ').next().unwrap();
        assert_eq!(value(&loaded(line), name), shown, "{line}");
    }
}

#[test]
fn values_come_out_typed() {
    let config = loaded(
        "port 7000\nrequirepass \"\\xff\\x00\"\nappendfsync always\nmaxmemory-clients 5%\n\
         save 60 1\nenable-debug-command local\n",
    );
    assert_eq!(config.port, 7000);
    assert_eq!(config.requirepass, [0xff, 0]);
    assert_eq!(config.appendfsync, AppendFsync::Always);
    assert_eq!(config.maxmemory_clients, ClientMemory::Percent(5));
    assert_eq!(config.save, [SavePoint { seconds: 60, changes: 1 }]);
    assert_eq!(config.enable_debug_command, Allowed::Local);
    let events = loaded("notify-keyspace-events KA").notify_keyspace_events;
    assert!(events.contains(KeyspaceEvents::STREAM) && events.contains(KeyspaceEvents::KEYSPACE));
    assert!(!events.intersects(KeyspaceEvents::KEYEVENT));
    assert_eq!(loaded("notify-keyspace-events An").notify_keyspace_events, {
        loaded("notify-keyspace-events nA").notify_keyspace_events
    });
}

/// CONFIG GET of Redis 7.0 loses the `n` beside an `A`.
#[test]
fn new_key_events_are_shown_beside_all_others() {
    assert_eq!(value(&loaded("notify-keyspace-events AnK"), "notify-keyspace-events"), "AnK");
}

#[test]
fn later_lines_win_under_any_name() {
    let both = "slave-priority 7\nreplica-priority 8\n";
    assert_eq!(loaded(both).replica_priority, 8);
    let both = "replica-priority 8\nslave-priority 7\n";
    assert_eq!(loaded(both).replica_priority, 7);
    let limits = loaded(
        "client-output-buffer-limit slave 1gb 0 0\nclient-output-buffer-limit normal 1 2 3\n",
    );
    assert_eq!(limits.client_output_buffer_limit.replica.hard, 1 << 30);
    assert_eq!(limits.client_output_buffer_limit.normal.soft_seconds, 3);
}

#[test]
fn save_points_add_up_from_the_first_line_on() {
    for (text, shown) in [
        ("port 1", "3600 1 300 100 60 10000"),
        ("save 900 1", "900 1"),
        ("save 900 1\nsave 10 2", "900 1 10 2"),
        ("save \"900 1 5 5\"", "900 1 5 5"),
        ("save", ""),
        ("save ''", ""),
        ("save 900 1\nsave", "900 1"),
        ("save 900 1\nsave \"\"\nsave 5 5", "5 5"),
    ] {
        assert_eq!(value(&loaded(text), "save"), shown, "{text}");
    }
}

#[test]
fn retired_directives_are_read_over() {
    let text = "list-max-ziplist-entries 5\nlist-max-ziplist-value 6\nlua-replicate-commands yes\n";
    assert!(loaded(text) == Config::default());
}

#[test]
fn declarations_keep_their_words_and_places() {
    let mut loader = Loader::new();
    let source = Source::File(Arc::new("test.conf".into()));
    loader.text(b"user a on\n\nuser b >'x'\nrename-command c \"\"\n", &source).unwrap();
    let config = loader.finish().unwrap();
    let place = |line| Place::File { path: Arc::new("test.conf".into()), line };
    assert_eq!(config.user.len(), 2);
    assert_eq!(config.user[1].words, [b"b".as_slice(), b">x"]);
    assert_eq!(config.user[1].place, place(3));
    let words = [b"user".as_slice(), b"b", b">x"];
    let error = ConfigError::in_declaration(&place(3), &words, "Syntax error").to_string();
    assert!(error.contains("test.conf, at line 3\n>>> 'user (not shown)'"), "{error}");
    let words = [b"rename-command".as_slice(), b"c", b""];
    let error = ConfigError::in_declaration(&place(4), &words, "No such command in rename-command");
    assert!(error.to_string().ends_with(
        "test.conf, at line 4\n>>> 'rename-command c \"\"'\nNo such command in rename-command\n"
    ));
}

#[test]
fn what_would_be_unsafe_to_ignore_is_refused() {
    for line in ["daemonize yes", "cluster-enabled yes", "replicaof h 1"] {
        let error = load(line.as_bytes()).err().unwrap();
        assert!(
            error.contains("test.conf, at line 1\n") && error.contains("not be safe"),
            "{error}"
        );
    }
    // As Debian starts Redis: the file says yes, the command line says no.
    loaded("daemonize yes\ndaemonize no\n");
    loaded("replicaof h 1\nreplicaof no one\n");
    let error = load(b"replicaof a 1\ncluster-enabled yes\n").err().unwrap();
    assert!(error.ends_with("***\nreplicaof directive not allowed in cluster mode\n"), "{error}");
}

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn files_are_included_where_they_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let inner = write(&path("inner"), "hz 33\n");
    let b = write(&path("b.conf"), &format!("timeout 12\ninclude {inner}\n"));
    write(&path("a.conf"), "timeout 11\nhz 1\n");
    write(&path(".hidden.conf"), "timeout 13\n");
    fs::create_dir(path("directory.conf")).unwrap();
    let show = |text: &str| {
        let config = loaded(text);
        (config.timeout, config.hz)
    };
    let here = directory.path().to_str().unwrap();
    assert_eq!(show(&format!("timeout 1\ninclude {b}\n")), (12, 33));
    assert_eq!(show(&format!("include {b}\ntimeout 1\n")), (1, 33));
    assert_eq!(show(&format!("include {here}/*.conf\n")), (12, 33), "in order of names");
    assert_eq!(show(&format!("include '{here}/[a].conf'\n")), (11, 1));
    assert_eq!(show(&format!("include {here}/?.conf\n")), (12, 33));
    assert_eq!(show(&format!("include {here}/.*.conf\n")), (13, 10));
    assert_eq!(show(&format!("include {here}/none/*.conf\n")), (0, 10), "no match is no error");
    assert_eq!(show(&format!("dir {here}\ninclude a.conf\n")), (11, 1), "relative to dir");
}

#[test]
fn errors_of_included_files_name_them() {
    let directory = tempfile::tempdir().unwrap();
    let inner = write(&directory.path().join("inner"), "port 1\n\nport x\n");
    let error = load(format!("include {inner}\n").as_bytes()).err().unwrap();
    assert!(error.contains(&format!("{inner}, at line 3\n>>> 'port x'\n")), "{error}");
    let error = load(b"include /nonexistent/x\n").err().unwrap();
    assert!(
        error.ends_with(
            "at line 1\n>>> 'include /nonexistent/x'\n\
             Fatal error, can't open config file '/nonexistent/x': No such file or directory\n"
        ),
        "{error}"
    );
}

#[test]
fn includes_come_to_an_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let here = directory.path().to_str().unwrap();
    let a = write(&path("a"), &format!("include {here}/b\n"));
    write(&path("b"), &format!("include {here}/*\n"));
    let error = load(format!("include {a}\n").as_bytes()).err().unwrap();
    assert!(error.contains("includes itself"), "{error}");
    // Each file reads the next one twice: without a limit that is 2^40 files.
    for level in 0..40 {
        let next = format!("include {here}/level{}\n", level + 1).repeat(2);
        write(&path(&format!("level{level}")), &next);
    }
    write(&path("level40"), "");
    let error = load(format!("include {here}/level0\n").as_bytes()).err().unwrap();
    assert!(error.contains("more than 1000 config files"), "{error}");
}

#[test]
fn a_huge_file_is_refused() {
    let error = load(b"include /dev/zero\n").err().unwrap();
    assert!(error.contains("too large for a config file"), "{error}");
    let error = load(b"port 1\0\n").err().unwrap();
    assert!(error.contains("zero byte"), "{error}");
}
