//! CONFIG GET and CONFIG SET.

use super::*;

const CONTEXT: SetContext = SetContext { local: true, loading: false };

fn set(
    config: &mut Config,
    pairs: &[(&str, &str)],
    context: SetContext,
) -> Result<Changed, String> {
    let pairs: Vec<(&[u8], &[u8])> =
        pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    config.set(&pairs, context).map_err(|error| error.to_string())
}

fn refusal(pairs: &[(&str, &str)]) -> String {
    let mut config = Config::default();
    let refusal = set(&mut config, pairs, CONTEXT).err().unwrap();
    assert!(config == Config::default(), "{pairs:?}");
    refusal
}

#[test]
fn get_finds_names_and_patterns_once() {
    let config = Config::default();
    let names = |patterns: &[&str]| -> Vec<String> {
        get(&config, patterns).into_iter().map(|(name, _)| name).collect()
    };
    let found = names(&["maxmemory", "maxmemory*", "bind", "*of"]);
    for name in
        ["maxmemory", "maxmemory-samples", "maxmemory-clients", "bind", "slaveof", "replicaof"]
    {
        assert_eq!(found.iter().filter(|other| *other == name).count(), 1, "{name}");
    }
    // A name is shown as it was written.
    assert_eq!(
        names(&["MAXMEMORY", "Max*-samples", "MAXmemory"]),
        ["MAXMEMORY", "maxmemory-samples"]
    );
    assert_eq!(names(&["none", "user", "include"]), [""; 0]);
    let all = names(&["*"]);
    assert!(!all.iter().any(|name| name == "key-load-delay" || name == "user"));
    assert_eq!(names(&["key-load-delay"]), ["key-load-delay"]);
}

#[test]
fn wrong_values_are_refused_in_the_words_of_redis() {
    for (pairs, expected) in [
        (
            &[("foo", "bar"), ("maxclients", "x")][..],
            "ERR Unknown option or number of arguments for CONFIG SET - 'foo'",
        ),
        (&[("user", "x")], "ERR Unknown option or number of arguments for CONFIG SET - 'user'"),
        (
            &[("maxclients", "x"), ("slave-priority", "y")],
            "ERR CONFIG SET failed (possibly related to argument 'maxclients') - \
             argument couldn't be parsed into an integer",
        ),
        (
            &[("SLAVE-priority", "y")],
            "ERR CONFIG SET failed (possibly related to argument 'slave-priority') - \
             argument couldn't be parsed into an integer",
        ),
        (
            &[("maxmemory", "1"), ("maxmemory-clients", "200%")],
            "ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - \
             percentage argument must be less or equal to 100",
        ),
        (
            &[("daemonize", "no")],
            "ERR CONFIG SET failed (possibly related to argument 'daemonize') - \
             can't set immutable config",
        ),
        (
            &[("dir", "/")],
            "ERR CONFIG SET failed (possibly related to argument 'dir') - \
             can't set protected config",
        ),
        (
            &[("maxmemory", "1"), ("maxmemory", "2")],
            "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - \
             duplicate parameter",
        ),
        (
            &[("save", "900 1 ")],
            "ERR CONFIG SET failed (possibly related to argument 'save') - \
             Invalid save parameters",
        ),
        (
            &[("client-output-buffer-limit", "normal 1 1")],
            "ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - \
             Wrong number of arguments in buffer limit configuration.",
        ),
    ] {
        assert_eq!(refusal(pairs), expected);
    }
    // Redis takes a name and its old name for two parameters.
    assert!(refusal(&[("slave-priority", "1"), ("replica-priority", "2")]).contains("duplicate"));
}

#[test]
fn set_tells_what_changed_and_can_be_taken_back() {
    let mut config = loaded("maxmemory 5\nsave 1 1\n");
    let before = config.clone();
    let pairs =
        [("maxmemory", "6"), ("timeout", "0"), ("Slave-Priority", "7"), ("tls-cert-file", "")];
    let changed = set(&mut config, &pairs, CONTEXT).ok().unwrap();
    // The certificate is to be read again.
    assert_eq!(changed.names, ["maxmemory", "replica-priority", "tls-cert-file"]);
    assert!((config.maxmemory, config.replica_priority) == (6, 7));
    assert!(*changed.previous == before);
}

#[test]
fn set_replaces_save_points_and_splits_at_spaces() {
    let mut config = loaded("save 1 1\n");
    for (name, given, shown) in [
        ("save", "3600 1 300 100", "3600 1 300 100"),
        ("save", "", ""),
        ("bind", "", ""),
        ("bind", "127.0.0.1 ::1", "127.0.0.1 ::1"),
        ("latency-tracking-info-percentiles", "", ""),
        ("shutdown-on-sigterm", "nosave now", "nosave now"),
        ("hz", "1000", "500"),
        ("oom-score-adj", "relative", "yes"),
        ("syslog-ident", "a b", ""),
    ] {
        match set(&mut config, &[(name, given)], CONTEXT) {
            Ok(_) => assert_eq!(value(&config, name), shown, "{name}"),
            Err(error) => assert!(error.contains("immutable"), "{error}"),
        }
    }
    let limits = "normal 0 0 0 slave 1048576 2097152 3 pubsub 33554432 8388608 60";
    set(&mut config, &[("client-output-buffer-limit", "slave 1mb 2mb 3")], CONTEXT).ok().unwrap();
    assert_eq!(value(&config, "client-output-buffer-limit"), limits);
}

#[test]
fn protected_directives_follow_their_own_directive() {
    let may = |allowed: &str, local: bool| {
        let mut config = loaded(&format!("enable-protected-configs {allowed}\n"));
        set(&mut config, &[("dbfilename", "x")], SetContext { local, loading: false }).is_ok()
    };
    assert_eq!([may("no", true), may("yes", false)], [false, true]);
    assert_eq!([may("local", true), may("local", false)], [true, false]);
}

#[test]
fn some_directives_cannot_be_set_while_loading() {
    let context = SetContext { local: true, loading: true };
    let mut config = loaded("enable-protected-configs yes\n");
    assert!(set(&mut config, &[("loglevel", "debug")], context).is_ok());
    let error = set(&mut config, &[("loglevel", "notice"), ("dir", "x")], context).err().unwrap();
    assert_eq!(error, "LOADING Redis is loading the dataset in memory");
    assert_eq!(config.loglevel, LogLevel::Debug);
}

#[test]
fn what_could_not_be_applied_is_told_like_what_could_not_be_set() {
    let error = SetError::not_applied("port", "Unable to listen on this port. Check server logs.");
    assert_eq!(
        error.to_string(),
        "ERR CONFIG SET failed (possibly related to argument 'port') - \
         Unable to listen on this port. Check server logs."
    );
}
