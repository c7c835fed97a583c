//! Access control where it meets files, the process and other clients: users in redis.conf and in
//! an ACL file, `rename-command`, waiting clients, logs. Rules by themselves are tested beside
//! their code, commands and replies in tests/scripts/acl.txt.

mod support;

use std::path::Path;

use goredis::resp::read::Value;
use support::{Conn, DEADLINE, Options, Server, encode, wait_until_eq};

fn write(options: &Options, name: &str, text: &str) {
    std::fs::write(options.dir().join(name), text).unwrap();
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// A server with an ACL file.
fn with_file(text: &str) -> Server {
    let options = Options::new().args(&["--aclfile", "users.acl"]);
    write(&options, "users.acl", text);
    Server::start(options)
}

fn list(conn: &mut Conn) -> Vec<String> {
    let Value::Array(lines) = conn.command(&["ACL", "LIST"]) else { panic!("ACL LIST") };
    let text = |line: &Value| String::from_utf8_lossy(line.bytes().unwrap()).into_owned();
    lines.iter().map(text).collect()
}

#[track_caller]
fn error(conn: &mut Conn, args: &[&str]) -> String {
    match conn.command(args) {
        Value::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{args:?}: {other:?}"),
    }
}

#[track_caller]
fn ok(conn: &mut Conn, args: &[&str]) {
    assert_eq!(conn.command(args), Value::Simple(b"OK".to_vec()), "{args:?}");
}

const DEFAULT: &str = "user default on nopass sanitize-payload ~* &* +@all";
/// The SHA-256 of "secret".
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

#[test]
fn users_come_from_their_file_and_go_back_there() {
    let mut server =
        with_file("\n user alice on >secret  ~a* (%R~r* +get)\n\nuser bob off nopass +@all\r\n");
    let mut conn = server.connect();
    let alice = format!(
        "user alice on sanitize-payload #{SECRET} ~a* resetchannels -@all (%R~r* resetchannels \
         -@all +get)"
    );
    let bob = "user bob off nopass sanitize-payload resetchannels +@all".to_string();
    assert_eq!(list(&mut conn), [&alice, &bob, DEFAULT]);
    ok(&mut conn, &["ACL", "SETUSER", "carol", "+@read", "-get", "&news:*"]);
    ok(&mut conn, &["ACL", "SAVE"]);
    let carol = "user carol off sanitize-payload resetchannels &news:* -@all +@read -get";
    let path = server.dir().join("users.acl");
    assert_eq!(read(&path), format!("{alice}\n{bob}\n{carol}\n{DEFAULT}\n"));
    server.terminate();
    server.restart();
    let mut conn = server.connect();
    assert_eq!(list(&mut conn), [&alice, &bob, carol, DEFAULT]);
    // Nothing is left of the temporary file.
    let names: Vec<_> = std::fs::read_dir(server.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("users"))
        .collect();
    assert_eq!(names, ["users.acl"]);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("x"), "").unwrap();
    let text = error(&mut conn, &["ACL", "SAVE"]);
    assert!(text.starts_with("ERR There was an error trying to save the ACLs."), "{text}");
    ok(&mut conn, &["SET", "k", "v"]);
}

#[test]
fn loading_replaces_all_users_or_none() {
    let server = with_file("user alice on nopass +@all ~*\n");
    let path = server.dir().join("users.acl");
    let mut admin = server.connect();
    let mut alice = server.connect();
    ok(&mut alice, &["AUTH", "alice", "x"]);
    ok(&mut alice, &["SET", "k", "v"]);
    std::fs::write(
        &path,
        "user alice on >hunter2 +nosuch -alsonot\n# a comment\nuser bob <hunter2 #hunter2\n\
         user bob on\nuser\nuser carol (+get\nuser \u{b}x on\nuser dave on nopass +@all\n",
    )
    .unwrap();
    let expected = "ERR users.acl:1: Error in applying operation '+nosuch': Unknown command or \
        category name in ACL. users.acl:1: Error in applying operation '-alsonot': Unknown command \
        or category name in ACL. users.acl:2 should start with user keyword followed by the \
        username. users.acl:3: The password you are trying to remove from the user does not exist. \
        WARNING: Duplicate user 'bob' found on line 4. users.acl:5 should start with user keyword \
        followed by the username. users.acl:6: Unmatched parenthesis in selector definition. \
        'users.acl:7: username '\u{b}x' contains invalid characters. WARNING: ACL errors detected, \
        no change to the previously active ACL rules was performed";
    assert_eq!(error(&mut admin, &["ACL", "LOAD"]), expected);
    assert_eq!(list(&mut admin).len(), 2);
    assert_eq!(alice.text(&["GET", "k"]), "v");

    // Who is logged in as another than the default user is closed, even if nothing changes there.
    std::fs::write(&path, "user alice on nopass +@all ~*\nuser default on nopass -get +acl ~*\n")
        .unwrap();
    ok(&mut admin, &["ACL", "LOAD"]);
    assert!(alice.is_closed_within(DEADLINE));
    let text = error(&mut admin, &["GET", "k"]);
    assert_eq!(text, "NOPERM User default has no permissions to run the 'get' command");
    // Without a default user in the file, it is as on a server that is told nothing.
    std::fs::write(&path, "").unwrap();
    ok(&mut admin, &["ACL", "LOAD"]);
    assert_eq!(list(&mut admin), [DEFAULT]);
    assert_eq!(admin.text(&["GET", "k"]), "v");
    std::fs::remove_file(&path).unwrap();
    let text = error(&mut admin, &["ACL", "LOAD"]);
    let reason = "No such file or directory";
    assert_eq!(text, format!("ERR Error loading ACLs, opening file 'users.acl': {reason}"));
    // Who loads gets the reply before the connection ends.
    std::fs::write(&path, "user alice on nopass +@all ~*\n").unwrap();
    ok(&mut admin, &["ACL", "LOAD"]);
    let mut alice = server.connect();
    ok(&mut alice, &["AUTH", "alice", "x"]);
    ok(&mut alice, &["ACL", "LOAD"]);
    assert!(alice.is_closed_within(DEADLINE));
}

#[test]
fn users_come_from_the_configuration_and_go_back_there() {
    let text = "port 0\nrequirepass secret\nuser alice on nopass ~a +get (~b\t+set)\n# mine\n\
                user default on >other ~* +@all\n";
    let options = Options::new();
    let path = options.dir().join("redis.conf");
    let options = options.args(&[path.to_str().unwrap()]);
    write(&options, "redis.conf", text);
    let mut server = Server::start(options);
    let mut conn = server.connect();
    // The line of the default user counts, not `requirepass`.
    assert!(error(&mut conn, &["AUTH", "secret"]).starts_with("WRONGPASS"));
    ok(&mut conn, &["AUTH", "other"]);
    let alice = "user alice on nopass sanitize-payload ~a resetchannels -@all +get (~b \
                 resetchannels -@all +set)";
    let default = list(&mut conn).pop().unwrap();
    assert!(default.starts_with("user default on sanitize-payload #d9298a10d1b073"), "{default}");
    assert_eq!(list(&mut conn), [alice, &default]);
    ok(&mut conn, &["ACL", "SETUSER", "bob", "~it's\"\\", "&\u{e9}"]);
    ok(&mut conn, &["CONFIG", "REWRITE"]);
    let rewritten = read(&path);
    assert!(rewritten.contains(&format!("\n{alice}\n# mine\n")), "{rewritten}");
    assert!(!rewritten.contains("other"), "{rewritten}");
    let before = list(&mut conn);
    server.terminate();
    server.restart();
    let mut conn = server.connect();
    ok(&mut conn, &["AUTH", "other"]);
    assert_eq!(list(&mut conn), before);
    assert!(before.iter().any(|line| line.contains("user bob off sanitize-payload ~it's\"\\ ")));
}

#[test]
fn the_server_does_not_start_with_users_it_cannot_have() {
    let ends = |options: Options| {
        let ended = options.run_to_exit();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let said = ended.stdout + &ended.stderr;
        assert!(!said.contains("hunter2"), "{said}");
        said
    };
    let port = ["--port", "0", "--save", ""];
    for (args, expected) in [
        (&["--user", "foo", "--user", "foo"][..], "'foo': Duplicate user found. A user can only"),
        (&["--user", "default", "--user", "default"], "'default': Duplicate user found"),
        (
            &["--user", "foo", "on", ">hunter2", "bad"],
            "Error in user declaration 'bad': Syntax error",
        ),
        (&["--user", "foo", "<hunter2"], "Error in user declaration '<(redacted)': The password"),
        (
            &["--user", "foo", "#hunter2"],
            "Error in user declaration '#(redacted)': The password hash",
        ),
        (&["--user", "foo", "(+get"], "Error in user declaration '(+get': Unmatched parenthesis"),
        (
            &["--user", "foo", ">hunter2", "+nosuch"],
            "Error loading ACL rule '+nosuch' for the user",
        ),
        (&["--aclfile", "nosuch.acl"], "opening file 'nosuch.acl': No such file or directory"),
        (&["--aclfile", "users.acl"], "users.acl:1: Syntax error. WARNING: ACL errors"),
        (&["--aclfile", "users.acl", "--user", "foo"], "either 'user' lines or 'aclfile'"),
        (&["--rename-command", "nosuch", "x"], "No such command in rename-command"),
        (&["--rename-command", "get", "set"], "Target command name already exists"),
        (
            &["--rename-command", "get", "", "--rename-command", "GET", "x"],
            "No such command in rename-command",
        ),
    ] {
        let options = Options::new().args(&port).args(args);
        write(&options, "users.acl", "user foo on >hunter2 bad");
        let dir = options.dir().to_str().unwrap().to_string();
        let said = ends(options.args(&["--dir", &dir]));
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn renamed_commands_are_written_under_their_own_names() {
    let renamed = [
        "--rename-command",
        "set",
        "put",
        "--rename-command",
        "del",
        "set",
        "--rename-command",
        "xgroup",
        "streamgroup",
        "--rename-command",
        "flushall",
        "",
        "--rename-command",
        "append",
        "a-name-longer-than-sixteen-bytes",
    ];
    let options = Options::new().args(&["--appendonly", "yes"]);
    let mut server = Server::start(options.clone().args(&renamed));
    let mut conn = server.connect();
    ok(&mut conn, &["PUT", "k", "v"]);
    ok(&mut conn, &["put", "gone", "v"]);
    assert_eq!(conn.command(&["SET", "gone"]), Value::Int(1));
    ok(&mut conn, &["STREAMGROUP", "CREATE", "s", "g", "$", "MKSTREAM"]);
    assert_eq!(conn.command(&["A-name-LONGER-than-sixteen-bytes", "k", "w"]), Value::Int(2));
    let unknown = error(&mut conn, &["a-name-longer-than-sixteen-bytez", "k", "w"]);
    assert!(unknown.starts_with("ERR unknown command"), "{unknown}");
    ok(&mut conn, &["MULTI"]);
    conn.command(&["PUT", "m", "v"]);
    conn.command(&["EXEC"]);
    assert!(error(&mut conn, &["FLUSHALL"]).starts_with("ERR unknown command"));
    assert!(error(&mut conn, &["APPEND", "k", "x"]).starts_with("ERR unknown command"));
    server.kill9();
    // Whatever the names are by now.
    for other in
        [&[][..], &renamed, &["--rename-command", "set", "", "--rename-command", "append", ""]]
    {
        let mut server = Server::start(options.clone().args(other));
        let mut conn = server.connect();
        assert_eq!(conn.text(&["GET", "k"]), "vw");
        assert_eq!(conn.text(&["GET", "m"]), "v");
        assert_eq!(conn.command(&["EXISTS", "gone"]), Value::Int(0));
        let Value::Array(groups) = conn.command(&["XINFO", "GROUPS", "s"]) else { panic!() };
        assert_eq!(groups.len(), 1);
        server.terminate();
    }
}

#[test]
fn who_waits_may_lose_the_right_to() {
    let server = Server::start(Options::new());
    let mut admin = server.connect();
    ok(&mut admin, &["ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*"]);
    let mut waiting = server.connect();
    ok(&mut waiting, &["AUTH", "u", "x"]);
    let blocked = |admin: &mut Conn, count: &str| {
        wait_until_eq(count.to_string(), || admin.info("blocked_clients"));
    };
    waiting.send(&encode(&["BLPOP", "list", "0"]));
    blocked(&mut admin, "1");
    ok(&mut admin, &["ACL", "SETUSER", "u", "-blpop"]);
    assert_eq!(admin.command(&["RPUSH", "list", "a"]), Value::Int(1));
    let reply = waiting.read();
    let text = b"NOPERM User u has no permissions to run the 'blpop' command".to_vec();
    assert_eq!(reply, Value::Error(text));
    assert_eq!(admin.command(&["LLEN", "list"]), Value::Int(1));
    // It waits no more, and can go on.
    assert_eq!(waiting.command(&["LLEN", "list"]), Value::Int(1));
    ok(&mut admin, &["ACL", "SETUSER", "u", "+blpop"]);
    waiting.send(&encode(&["BLPOP", "other", "0"]));
    blocked(&mut admin, "1");
    assert_eq!(admin.command(&["ACL", "DELUSER", "u"]), Value::Int(1));
    assert!(waiting.is_closed_within(DEADLINE));
    blocked(&mut admin, "0");
}

#[test]
fn nothing_of_a_pipeline_comes_after_its_user_is_gone() {
    let server = Server::start(Options::new());
    let mut conn = server.connect();
    ok(&mut conn, &["ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*"]);
    let mut other = server.connect();
    ok(&mut other, &["AUTH", "u", "x"]);
    let mut bytes = encode(&["SET", "before", "1"]);
    bytes.extend(encode(&["ACL", "DELUSER", "u"]));
    bytes.extend(encode(&["SET", "after", "1"]));
    other.send(&bytes);
    assert_eq!(other.read_to_end(), b"+OK\r\n:1\r\n");
    assert_eq!(conn.command(&["EXISTS", "before", "after"]), Value::Int(1));
    // A limit takes effect with the next command of a pipeline.
    ok(&mut conn, &["ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*"]);
    let mut other = server.connect();
    ok(&mut other, &["AUTH", "u", "x"]);
    let mut bytes = encode(&["ACL", "SETUSER", "u", "-set"]);
    bytes.extend(encode(&["SET", "after", "1"]));
    other.send(&bytes);
    assert_eq!(other.read(), Value::Simple(b"OK".to_vec()));
    assert!(matches!(other.read(), Value::Error(_)));
    assert_eq!(conn.command(&["EXISTS", "after"]), Value::Int(0));
}

#[test]
fn the_log_holds_no_secrets() {
    let args =
        ["--loglevel", "debug", "--requirepass", "hunter2", "--slowlog-log-slower-than", "0"];
    let server = Server::start(Options::new().args(&args));
    let mut conn = server.connect();
    error(&mut conn, &["AUTH", "hunter2x"]);
    ok(&mut conn, &["AUTH", "hunter2"]);
    ok(&mut conn, &["ACL", "SETUSER", "u", "on", ">hunter2"]);
    error(&mut conn, &["ACL", "SETUSER", "u", "<hunter2!"]);
    ok(&mut conn, &["CONFIG", "SET", "masterauth", "hunter2", "requirepass", "hunter2"]);
    error(&mut conn, &["CONFIG", "SET", "requirepass", "hunter2", "nosuch", "hunter2"]);
    conn.command(&["HELLO", "2", "AUTH", "u", "hunter2"]);
    conn.command(&["HELLO", "2", "AUTH", "default", "hunter2"]);
    let reply = conn.command(&["SLOWLOG", "GET", "-1"]);
    let shown = format!("{:?}", support::expect::show(&reply));
    assert!(shown.contains("requirepass") && shown.contains("SETUSER"), "{shown}");
    // The value of what is no directive is not known to be one.
    let shown = shown.replace("nosuch\\\" \\\"hunter2", "");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!server.log().contains("hunter2"), "{}", server.log());
}
