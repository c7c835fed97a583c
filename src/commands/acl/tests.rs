//! Rules, logging in and what is refused, without a loop. What is expected is what redis-server
//! 7.0.15 answers, or follows from the sources of Redis 7.2 where that is newer: its texts about
//! what is denied, the order of rules, `sanitize-payload`.

use crate::commands::FAMILIES;
use crate::commands::testing::{Run, START_MS};
use crate::resp::parse::OwnedArgs;
use crate::server::client::Closing;
use crate::server::command::CommandTable;
use crate::server::config::{AclPubsubDefault, Config};
use crate::server::gate;
use crate::server::redact::redacted;

/// The line of ACL LIST for a user that is made by these rules, without its name.
fn described(run: &mut Run, rules: &str) -> String {
    assert_eq!(run.reply(&format!("acl setuser u reset {rules}")), "+OK", "{rules}");
    let list = run.run("acl list");
    let line = list.lines().find_map(|line| line.strip_prefix("user u ")).unwrap();
    line.to_string()
}

#[test]
fn users_are_described_by_their_rules() {
    let mut run = Run::new();
    let beginning = "off sanitize-payload resetchannels -@all";
    for (rules, expected) in [
        ("", beginning),
        ("on on off", beginning),
        (
            "ON NoPass SKIP-sanitize-payload allKEYS allCHANNELS allCOMMANDS",
            "on nopass skip-sanitize-payload ~* &* +@all",
        ),
        ("skip-sanitize-payload sanitize-payload", beginning),
        ("+@all ~* &* nocommands resetkeys resetchannels", beginning),
        ("~a ~b ~a", "off sanitize-payload ~a ~b resetchannels -@all"),
        (
            "%R~a %W~a %rw~b %W~c %wR~d %R~e",
            "off sanitize-payload ~a ~b %W~c ~d %R~e resetchannels -@all",
        ),
        ("%RW", "off sanitize-payload ~ resetchannels -@all"),
        ("%RW~*", "off sanitize-payload ~* resetchannels -@all"),
        ("%R~* ~a %W~*", "off sanitize-payload %RW~* ~a resetchannels -@all"),
        ("%R~ %W~a~b", "off sanitize-payload %R~ %W~a~b resetchannels -@all"),
        ("&a &b &a", "off sanitize-payload resetchannels &a &b -@all"),
        ("&a allchannels", "off sanitize-payload &* -@all"),
        // The order of the rules, but the last word about a command alone.
        ("+get +@string -set +get", "off sanitize-payload resetchannels -@all +@string -set +get"),
        ("+GET +@Read", "off sanitize-payload resetchannels -@all +get +@read"),
        (
            "+config|get +config|set -config +config|get",
            "off sanitize-payload resetchannels -@all -config +config|get",
        ),
        ("+config -config|set +config", "off sanitize-payload resetchannels -@all +config"),
        ("+@read -@read", "off sanitize-payload resetchannels -@all -@read"),
        ("+get +@all -del", "off sanitize-payload resetchannels +@all -del"),
        ("+@all -del -@all +get", "off sanitize-payload resetchannels -@all +get"),
        (
            "+select|0 +SELECT|1 +select|0",
            "off sanitize-payload resetchannels -@all +select|1 +select|0",
        ),
        ("+select|0 -select", "off sanitize-payload resetchannels -@all -select"),
        // Commands of Redis that are not there yet.
        (
            "+eval -cluster|nodes +script|load -script +debug|object",
            "off sanitize-payload resetchannels -@all +eval -cluster|nodes -script \
             +debug|object",
        ),
        ("()", "off sanitize-payload resetchannels -@all (resetchannels -@all)"),
        (
            "\"(~a +get &c)\" ( ~b allchannels +@all )",
            "off sanitize-payload resetchannels -@all (~a resetchannels &c -@all +get) \
             (~b &* +@all)",
        ),
        (
            "(+get) clearselectors (+set)",
            "off sanitize-payload resetchannels -@all (resetchannels -@all +set)",
        ),
        ("(+get) +@all ~* on nopass reset", beginning),
    ] {
        assert_eq!(described(&mut run, rules), expected, "{rules}");
    }
}

#[test]
fn users_are_made_again_by_their_description() {
    let mut run = Run::new();
    for rules in [
        "on >a >b ~x %R~y &c +@all -@dangerous +keys -config|set",
        "on nopass allkeys allchannels -@all +select|1 +get (+set ~k %W~l &*) (-get)",
    ] {
        let line = described(&mut run, rules);
        assert_eq!(described(&mut run, &line), line, "{rules}");
    }
}

#[test]
fn rules_are_refused() {
    let mut run = Run::new();
    let unknown = "Unknown command or category name in ACL";
    let hash = "The password hash must be exactly 64 characters and contain only lowercase \
                hexadecimal characters";
    for (rule, expected) in [
        ("foo", "Syntax error"),
        ("-", unknown),
        ("+", unknown),
        ("+@", unknown),
        ("+@foo", unknown),
        ("-@foo", unknown),
        ("+foo", unknown),
        ("+foo|", unknown),
        ("+get|", "Syntax error"),
        ("+config|", "Syntax error"),
        ("+config|foo", unknown),
        ("-config|foo", unknown),
        ("-get|foo", unknown),
        ("+get|a|b", unknown),
        ("+config|get|a", "Allowing first-arg of a subcommand is not supported"),
        ("+script|foo", unknown),
        ("\"+get|a b\"", "Syntax error"),
        ("%", "Syntax error"),
        ("%~", "Syntax error"),
        ("%X~a", "Syntax error"),
        ("%RR~a", "Syntax error"),
        ("\"~a b\"", "Syntax error"),
        ("\"&a\\x00b\"", "Syntax error"),
        ("#abc", hash),
        ("!abc", hash),
        ("#AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", hash),
        ("<none", "The password you are trying to remove from the user does not exist"),
        (")", "Syntax error"),
        ("(foo)", "Syntax error"),
        ("(on)", "Syntax error"),
        ("(+foo)", unknown),
    ] {
        let line = format!("acl setuser bad +get {rule}");
        let shown = crate::base::args::split(rule.as_bytes()).unwrap().remove(0);
        let shown = String::from_utf8_lossy(&shown);
        let reply = format!("-ERR Error in ACL SETUSER modifier '{shown}': {expected}");
        assert_eq!(run.reply(&line), reply);
        assert_eq!(run.reply("acl getuser bad"), "$-1", "{rule}: nothing must have changed");
    }
    for (rules, expected) in [
        ("~* ~a", "patterns"),
        ("allkeys %R~a", "patterns"),
        ("&* &a", "channels"),
        ("(~* ~a)", "patterns"),
    ] {
        let reply = run.reply(&format!("acl setuser bad {rules}"));
        assert!(reply.contains("Adding a pattern after the * pattern"), "{reply}");
        assert!(reply.ends_with(&format!("start with an empty list of {expected}")), "{reply}");
    }
    run.check(&[
        ("acl setuser bad ( +get", "-ERR Unmatched parenthesis in acl selector starting at '('."),
        (
            "acl setuser bad on (~a (+get",
            "-ERR Unmatched parenthesis in acl selector starting at '(~a'.",
        ),
        ("acl setuser 'a b'", "-ERR Usernames can't contain spaces or null characters"),
        ("acl getuser bad", "$-1"),
    ]);
}

#[test]
fn new_users_may_use_channels_as_configured() {
    let all = AclPubsubDefault::Allchannels;
    let mut run = Run::with(Config { acl_pubsub_default: all, ..Config::default() });
    assert_eq!(described(&mut run, ""), "off sanitize-payload &* -@all");
    assert_eq!(described(&mut run, "()"), "off sanitize-payload &* -@all (&* -@all)");
    run.run("config set acl-pubsub-default resetchannels");
    assert_eq!(
        described(&mut run, "()"),
        "off sanitize-payload resetchannels -@all (resetchannels -@all)"
    );
}

#[test]
fn passwords_log_in() {
    let mut run = Run::new();
    // The SHA-256 of "foo" and of "bar".
    let foo = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let bar = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    run.check(&[
        ("acl setuser u >foo >foo", "+OK"),
        // Not enabled.
        ("auth u foo", wrong),
        (&format!("acl setuser u on #{bar}"), "+OK"),
        ("auth u foo", "+OK"),
        ("acl whoami", "-NOPERM User u has no permissions to run the 'acl|whoami' command"),
        ("auth u bar", "+OK"),
        ("auth u fo", wrong),
        ("auth u \"\"", wrong),
        ("auth U foo", wrong),
        ("auth default any", "+OK"),
        ("acl whoami", "$7 default"),
    ]);
    let list = run.run("acl list");
    assert!(list.contains(&format!("user u on sanitize-payload #{foo} #{bar} resetch")), "{list}");
    run.check(&[
        ("acl setuser u <foo", "+OK"),
        ("auth u foo", wrong),
        (&format!("acl setuser u !{bar}"), "+OK"),
        ("auth u bar", wrong),
        ("acl setuser u nopass", "+OK"),
        ("auth u whatever", "+OK"),
        ("auth default any", "+OK"),
        // A password ends that.
        ("acl setuser u >x", "+OK"),
        ("auth u whatever", wrong),
        ("acl setuser u resetpass", "+OK"),
        ("auth u x", wrong),
        ("acl setuser default off", "+OK"),
        ("auth default any", wrong),
        ("acl whoami", "$7 default"),
    ]);
}

#[test]
fn without_login_one_is_the_default_user() {
    let mut run = Run::new();
    run.check(&[
        ("acl setuser default off", "+OK"),
        ("acl setuser admin on nopass +@all", "+OK"),
        ("ping", "+PONG"),
    ]);
    let admin = run.client;
    run.client = run.connect();
    run.check(&[
        ("ping", "-NOAUTH Authentication required."),
        ("auth admin x", "+OK"),
        ("ping", "+PONG"),
        ("reset", "+RESET"),
        ("ping", "-NOAUTH Authentication required."),
    ]);
    let other = std::mem::replace(&mut run.client, admin);
    run.check(&[("acl setuser default on >secret -ping", "+OK")]);
    run.client = other;
    run.check(&[
        ("ping", "-NOAUTH Authentication required."),
        ("auth secret", "+OK"),
        ("ping", "-NOPERM User default has no permissions to run the 'ping' command"),
        ("echo a", "$1 a"),
    ]);
    run.client = admin;
    run.check(&[
        ("acl setuser default nopass +@all", "+OK"),
        ("reset", "+RESET"),
        ("ping", "+PONG"),
        ("config set requirepass new", "+OK"),
        ("ping", "+PONG"),
        ("reset", "+RESET"),
        ("ping", "-NOAUTH Authentication required."),
        ("auth new", "+OK"),
        ("ping", "+PONG"),
    ]);
    assert!(
        run.run("acl list").contains("user default on sanitize-payload #11507a0e2f5e69d5dfa40")
    );
    run.check(&[("config set requirepass \"\"", "+OK"), ("reset", "+RESET"), ("ping", "+PONG")]);
}

#[test]
fn a_change_takes_effect_at_once() {
    let mut run = Run::new();
    run.check(&[("acl setuser u on nopass +@all ~* &*", "+OK")]);
    let me = run.client;
    let other = run.connect();
    run.client = other;
    run.check(&[
        ("auth u x", "+OK"),
        ("set k v", "+OK"),
        ("multi", "+OK"),
        ("set k w", "+QUEUED"),
        ("get k", "+QUEUED"),
    ]);
    run.client = me;
    run.check(&[("acl setuser u -set", "+OK")]);
    run.client = other;
    let refused = "-NOPERM User u has no permissions to run the 'set' command";
    let now = "-NOPERM ACLs rules changed between the moment the transaction was accumulated and \
               the EXEC call. This command is no longer allowed for the following reason: no \
               permission to execute the command or subcommand";
    run.check(&[("exec", &format!("*2 {now} $1 v")), ("set k x", refused), ("get k", "$1 v")]);
    // What is refused when it is queued ends the transaction.
    run.check(&[
        ("multi", "+OK"),
        ("set k x", refused),
        ("get k", "+QUEUED"),
        ("exec", "-EXECABORT Transaction discarded because of previous errors."),
    ]);
    run.client = me;
    run.check(&[("acl setuser u -exec", "+OK")]);
    run.client = other;
    let exec = "User u has no permissions to run the 'exec' command";
    run.check(&[
        ("multi", "+OK"),
        ("get k", "+QUEUED"),
        ("exec", &format!("-EXECABORT Transaction discarded because of: NOPERM {exec}")),
        ("get k", "$1 v"),
    ]);
    run.client = me;
    let log = run.run("acl log");
    assert_eq!(log.matches("\r\nexec\r\n").count(), 1, "{log}");
    let client = "cmd=exec user=u ";
    assert!(log.contains(client), "{log}");
}

#[test]
fn who_loses_channels_is_closed() {
    let mut run = Run::new();
    let me = run.client;
    let listen = |run: &mut Run, line: &str| {
        let key = run.connect();
        run.client = key;
        run.check(&[("auth u x", "+OK")]);
        assert!(run.run(line).contains("subscribe"), "{line}");
        run.client = me;
        key
    };
    run.check(&[("acl setuser u on nopass +@all &a &b:* (+ssubscribe &c)", "+OK")]);
    let a = listen(&mut run, "subscribe a b:1");
    let pattern = listen(&mut run, "psubscribe b:*");
    let shard = listen(&mut run, "ssubscribe c");
    let none = run.connect();
    run.client = none;
    run.check(&[
        ("auth u x", "+OK"),
        ("psubscribe b:1", "-NOPERM No permissions to access a channel"),
    ]);
    run.client = me;
    let closing = |run: &Run| [a, pattern, shard, none].map(|key| run.closing(key) != Closing::No);
    run.check(&[("acl setuser u &d", "+OK")]);
    assert_eq!(closing(&run), [false; 4]);
    // Which selector has it does not matter.
    run.check(&[("acl setuser u clearselectors &c", "+OK")]);
    assert_eq!(closing(&run), [false; 4]);
    run.check(&[("acl setuser u resetchannels &a &b:1 &c", "+OK")]);
    assert_eq!(closing(&run), [false, true, false, false]);
    run.check(&[("acl setuser u resetchannels &a &b:1", "+OK")]);
    assert_eq!(closing(&run), [false, true, true, false]);
    run.check(&[("acl setuser u allchannels", "+OK"), ("acl setuser u resetchannels", "+OK")]);
    assert_eq!(closing(&run), [true, true, true, false]);
}

#[test]
fn deleted_users_are_closed() {
    let mut run = Run::new();
    run.check(&[("acl setuser u on nopass +@all ~*", "+OK"), ("acl setuser v on nopass", "+OK")]);
    let me = run.client;
    let (other, third) = (run.connect(), run.connect());
    run.client = third;
    run.check(&[("auth v x", "+OK")]);
    run.client = other;
    run.check(&[("auth u x", "+OK"), ("acl deluser u nosuch", ":1")]);
    assert_eq!(run.closing(other), Closing::AfterReply);
    run.client = me;
    run.check(&[
        ("acl users", "*2 $7 default $1 v"),
        ("acl deluser v default", "-ERR The 'default' user cannot be removed"),
        ("acl users", "*2 $7 default $1 v"),
        ("acl deluser v", ":1"),
    ]);
    assert_eq!((run.closing(third), run.closing(me)), (Closing::Now, Closing::No));
}

#[test]
fn the_log_tells_who_tried_what() {
    let mut run = Run::new();
    run.check(&[
        ("acl setuser u on >pw +get +publish +multi +exec +mget ~a &b", "+OK"),
        ("auth u wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("auth u pw", "+OK"),
        ("get other", "-NOPERM No permissions to access a key"),
        ("set a 1", "-NOPERM User u has no permissions to run the 'set' command"),
        ("publish c x", "-NOPERM No permissions to access a channel"),
        ("multi", "+OK"),
        ("mget a other", "-NOPERM No permissions to access a key"),
    ]);
    run.run("exec");
    run.check(&[("auth default x", "+OK"), ("acl log 0", "*0"), ("acl log -5", "*0")]);
    run.advance(1500);
    let log = run.run("acl log 3");
    assert!(log.starts_with("*3\r\n*20\r\n"), "{log}");
    let entry = "$5\r\ncount\r\n:1\r\n$6\r\nreason\r\n$3\r\nkey\r\n$7\r\ncontext\r\n$5\r\nmulti\r\n\
         $6\r\nobject\r\n$5\r\nother\r\n$8\r\nusername\r\n$1\r\nu\r\n\
         $11\r\nage-seconds\r\n$3\r\n1.5\r\n$11\r\nclient-info\r\n$";
    assert!(log.contains(entry), "{log}");
    let times = format!(
        "$8\r\nentry-id\r\n:4\r\n$17\r\ntimestamp-created\r\n:{START_MS}\r\n\
         $22\r\ntimestamp-last-updated\r\n:{START_MS}\r\n"
    );
    assert!(log.contains(&times), "{log}");
    let info = run.run("info stats");
    for field in ["auth:1", "cmd:1", "key:2", "channel:1"] {
        assert!(info.contains(&format!("acl_access_denied_{field}\r\n")), "{field}");
    }
    assert!(run.run("info errorstats").contains("errorstat_NOPERM:count=4\r\n"));
    assert!(
        run.run("info commandstats")
            .contains("cmdstat_mget:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1")
    );
    run.check(&[
        ("acl log reset", "+OK"),
        ("acl log", "*0"),
        ("acl log x", "-ERR value is not an integer or out of range"),
    ]);
}

#[test]
fn made_up_passwords_have_so_many_bits() {
    let mut run = Run::new();
    for (line, digits) in [
        ("acl genpass", 64),
        ("acl genpass 1", 1),
        ("acl genpass 5", 2),
        ("acl genpass 4096", 1024),
    ] {
        let (one, two) = (run.reply(line), run.reply(line));
        let (_, password) = one.split_once(' ').unwrap();
        assert_eq!(password.len(), digits, "{line}");
        assert!(
            password.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
            "{one}"
        );
        assert!(digits < 64 || one != two, "{line}");
    }
    for line in ["acl genpass 0", "acl genpass -1", "acl genpass 4097"] {
        assert!(
            run.reply(line).starts_with("-ERR ACL GENPASS argument must be the number of bits")
        );
    }
}

#[test]
fn secrets_are_not_shown() {
    let table = CommandTable::new(FAMILIES);
    for (line, expected) in [
        ("SET auth secret", "SET auth secret"),
        ("AUTH a", "AUTH (redacted)"),
        ("auth a b c", "auth (redacted) (redacted) (redacted)"),
        ("HELLO", "HELLO"),
        ("HELLO 3 AUTH u p", "HELLO 3 AUTH (redacted) (redacted)"),
        ("HELLO 3 auth u p SETNAME n", "HELLO 3 auth (redacted) (redacted) SETNAME n"),
        // Rather too much than too little.
        ("HELLO x AUTH u", "HELLO x AUTH (redacted)"),
        ("HELLO 3 AUTH AUTH p q", "HELLO 3 AUTH (redacted) (redacted) (redacted)"),
        ("HELLO 3 SETNAME AUTH AUTH u p", "HELLO 3 SETNAME AUTH (redacted) (redacted) (redacted)"),
        ("ACL SETUSER u on >p", "ACL SETUSER (redacted) (redacted) (redacted)"),
        ("ACL GETUSER u", "ACL GETUSER u"),
        ("ACL LOG", "ACL LOG"),
        ("CONFIG SET requirepass p", "CONFIG SET requirepass (redacted)"),
        ("CONFIG GET requirepass", "CONFIG GET requirepass"),
        (
            "CONFIG SET port 1 MASTERAUTH p nosuch q masteruser u",
            "CONFIG SET port 1 MASTERAUTH (redacted) nosuch q masteruser (redacted)",
        ),
        // What has no value is the name of none.
        ("CONFIG SET port 1 requirepass", "CONFIG SET port 1 requirepass"),
    ] {
        let words: OwnedArgs = line.split(' ').collect();
        let args = words.args();
        let entry = gate::subcommand(table.find(args.get(0)).unwrap(), args).unwrap();
        let shown: Vec<String> =
            redacted(args, entry).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        assert_eq!(shown.join(" "), expected, "{line}");
    }
}
