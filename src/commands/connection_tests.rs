//! Expected replies are those of redis-server 7.0.15, or follow from Redis 7.2's sources where
//! that is newer.

use crate::commands::testing::Run;
use crate::server::client::Closing;
use crate::server::config::Config;

const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";

fn locked() -> Run {
    Run::with(Config { requirepass: b"sesame".to_vec(), ..Config::default() })
}

/// The value of a field in the lines of CLIENT LIST.
fn field(list: &str, name: &str) -> Vec<String> {
    let name = format!("{name}=");
    let words = list.split([' ', '\n', '\r']);
    words.filter_map(|word| word.strip_prefix(&name)).map(str::to_string).collect()
}

#[test]
fn ping_and_echo() {
    let mut run = Run::new();
    assert_eq!(run.run("ping"), "+PONG\r\n");
    assert_eq!(run.run("ping hello"), "$5\r\nhello\r\n");
    assert_eq!(run.run("ping a b"), "-ERR wrong number of arguments for 'ping' command\r\n");
    assert_eq!(run.run("echo hello"), "$5\r\nhello\r\n");
    assert_eq!(run.run("echo"), "-ERR wrong number of arguments for 'echo' command\r\n");
}

#[test]
fn auth_without_a_password_configured() {
    let mut run = Run::new();
    assert_eq!(
        run.run("auth sesame"),
        "-ERR AUTH <password> called without any password configured for the default user. Are \
         you sure your configuration is correct?\r\n"
    );
    assert_eq!(run.run("auth default anything"), "+OK\r\n");
    assert_eq!(run.run("auth someone anything"), WRONG);
    assert_eq!(run.run("auth a b c"), "-ERR syntax error\r\n");
}

#[test]
fn before_auth_only_some_commands_run() {
    let mut run = locked();
    for line in ["ping", "get k", "client list", "command", "select 0"] {
        assert_eq!(run.run(line), NOAUTH, "{line}");
    }
    assert_eq!(run.run("client foo"), "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n");
    for line in ["auth wrong", "auth sesam", "auth sesamesesame", "auth \"\"", "auth root sesame"] {
        assert_eq!(run.run(line), WRONG, "{line}");
    }
    assert_eq!(run.instance.server.acl.denied().auth, 5);
    assert_eq!(run.run("ping"), NOAUTH);
    assert_eq!(run.run("auth sesame"), "+OK\r\n");
    assert_eq!(run.run("ping"), "+PONG\r\n");
    // A failed attempt does not log out.
    assert_eq!(run.run("auth default wrong"), WRONG);
    assert_eq!(run.run("ping"), "+PONG\r\n");
    assert_eq!(run.run("reset"), "+RESET\r\n");
    assert_eq!(run.run("ping"), NOAUTH);
    assert_eq!(run.run("auth default sesame"), "+OK\r\n");
    assert_eq!(run.run("ping"), "+PONG\r\n");
}

#[test]
fn hello_says_who_is_there() {
    let mut run = Run::new();
    let reply = "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$5\r\nproto\r\n:N\
                 \r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\n\
                 master\r\n$7\r\nmodules\r\n*0\r\n";
    let resp2 = format!("*14\r\n{}", reply.replace('N', "2"));
    let resp3 = format!("%7\r\n{}", reply.replace('N', "3"));
    assert_eq!(run.run("hello"), resp2);
    assert_eq!(run.run("hello 3"), resp3);
    assert_eq!(run.run("hello"), resp3);
    assert_eq!(run.run("get nosuch"), "_\r\n");
    assert_eq!(run.run("hello 2"), resp2);
    assert_eq!(run.run("get nosuch"), "$-1\r\n");
    run.run("hello 3 setname me");
    assert_eq!(run.run("client getname"), "$2\r\nme\r\n");
    run.run("reset");
    assert_eq!(run.run("client getname"), "$-1\r\n");
    assert_eq!(run.run("hello"), resp2);
}

#[test]
fn hello_refuses() {
    let mut run = Run::new();
    let noproto = "-NOPROTO unsupported protocol version\r\n";
    assert_eq!(run.run("hello 1"), noproto);
    assert_eq!(run.run("hello 4 setname a"), noproto);
    assert_eq!(run.run("hello x"), "-ERR Protocol version is not an integer or out of range\r\n");
    assert_eq!(run.run("hello 3 foo"), "-ERR Syntax error in HELLO option 'foo'\r\n");
    assert_eq!(run.run("hello 3 auth a"), "-ERR Syntax error in HELLO option 'auth'\r\n");
    assert_eq!(
        run.run("hello 3 setname 'a b'"),
        "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
    );
    // Nothing of all this changed the protocol.
    assert_eq!(run.run("get nosuch"), "$-1\r\n");
}

#[test]
fn hello_logs_in() {
    let mut run = locked();
    let refusal = run.run("hello 3");
    assert_eq!(
        refusal,
        "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
         <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
         RESP protocol version at the same time\r\n"
    );
    assert_eq!(run.run("hello 3 auth default wrong setname me"), WRONG);
    assert_eq!(run.run("ping"), NOAUTH);
    assert!(run.run("hello 3 auth default sesame setname me").starts_with("%7\r\n"));
    assert_eq!(run.run("client getname"), "$2\r\nme\r\n");
}

#[test]
fn select_chooses_a_database() {
    let mut run = Run::new();
    run.run("set k zero");
    assert_eq!(run.run("select 15"), "+OK\r\n");
    assert_eq!(run.run("get k"), "$-1\r\n");
    for line in ["select 16", "select -1"] {
        assert_eq!(run.run(line), "-ERR DB index is out of range\r\n");
    }
    let no_number = "-ERR value is not an integer or out of range\r\n";
    assert_eq!(run.run("select x"), no_number);
    assert_eq!(
        run.run("select 3000000000"),
        "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n"
    );
    assert_eq!(field(&run.run("client info"), "db"), ["15"]);
    assert_eq!(run.run("select 0"), "+OK\r\n");
    assert_eq!(run.run("get k"), "$4\r\nzero\r\n");
    run.run("select 3");
    run.run("reset");
    assert_eq!(run.run("get k"), "$4\r\nzero\r\n");
}

#[test]
fn quit_closes_after_its_reply() {
    let mut run = Run::new();
    assert_eq!(run.run("quit now please"), "+OK\r\n");
    assert_eq!(run.closing(run.client), Closing::AfterReply);
}

#[test]
fn client_names() {
    let mut run = Run::new();
    assert_eq!(run.run("client getname"), "$-1\r\n");
    assert_eq!(run.run("client setname bob"), "+OK\r\n");
    assert_eq!(run.run("client getname"), "$3\r\nbob\r\n");
    let error = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
    for name in ["'a b'", "\"a\\n\"", "\"\\xff\"", "\"\\x00\""] {
        assert_eq!(run.run(&format!("client setname {name}")), error);
    }
    assert_eq!(run.run("client getname"), "$3\r\nbob\r\n");
    assert_eq!(run.run("client setname ''"), "+OK\r\n");
    assert_eq!(run.run("client getname"), "$-1\r\n");
}

#[test]
fn client_setinfo() {
    let mut run = Run::new();
    assert_eq!(run.run("client setinfo LIB-NAME redis-py"), "+OK\r\n");
    assert_eq!(run.run("client setinfo lib-ver 1.2.3"), "+OK\r\n");
    assert_eq!(
        run.run("client setinfo lib-name 'a b'"),
        "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n"
    );
    assert_eq!(run.run("client setinfo foo bar"), "-ERR Unrecognized option 'foo'\r\n");
    assert!(run.run("client info").ends_with(" lib-name=redis-py lib-ver=1.2.3\n\r\n"));
    // What the library is does not change with RESET.
    run.run("reset");
    assert_eq!(field(&run.run("client info"), "lib-name"), ["redis-py"]);
    assert_eq!(run.run("client setinfo lib-ver ''"), "+OK\r\n");
    assert!(run.run("client info").ends_with(" lib-name=redis-py lib-ver=\n\r\n"));
}

#[test]
fn client_info_has_the_fields_of_redis_in_their_order() {
    let mut run = Run::new();
    let info = run.run("client info");
    let (header, line) = info.split_once("\r\n").unwrap();
    assert_eq!(header, format!("${}", line.len() - 2));
    let names: Vec<&str> = line.split_whitespace().map(|w| w.split('=').next().unwrap()).collect();
    let expected = "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free \
                    argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp \
                    lib-name lib-ver";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    assert!(info.contains(" flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf="), "{info}");
    assert!(info.contains(" argv-mem=10 multi-mem=0 "), "{info}");
    assert!(info.contains(" obl=0 oll=0 omem=0 "), "{info}");
    assert!(info.contains(" events=r cmd=client|info user=default redir=-1 resp=2 "), "{info}");
    let addresses = [field(&info, "addr"), field(&info, "laddr")].concat();
    assert!(addresses.iter().all(|a| a.starts_with("127.0.0.1:")), "{info}");
    run.run("client no-evict on");
    run.run("client no-touch ON");
    assert_eq!(field(&run.run("client info"), "flags"), ["eT"]);
    assert_eq!(run.run("client no-evict maybe"), "-ERR syntax error\r\n");
    run.run("hello 3");
    let info = run.run("client info");
    assert!(info.starts_with('='), "{info}");
    assert!(info.contains("\r\ntxt:id=1 "), "{info}");
    assert_eq!(field(&info, "resp"), ["3"]);
    run.run("reset");
    assert_eq!(field(&run.run("client info"), "flags"), ["N"]);
}

#[test]
fn client_list_filters() {
    let mut run = Run::new();
    run.connect();
    run.connect();
    assert_eq!(run.run("client id"), ":1\r\n");
    assert_eq!(field(&run.run("client list"), "id"), ["1", "2", "3"]);
    assert_eq!(field(&run.run("client list id 3 99 1 -5"), "id"), ["3", "1"]);
    assert_eq!(field(&run.run("client list type NORMAL"), "id"), ["1", "2", "3"]);
    assert_eq!(run.run("client list type pubsub"), "$0\r\n\r\n");
    assert_eq!(run.run("client list type master"), "$0\r\n\r\n");
    assert_eq!(run.run("client list type x"), "-ERR Unknown client type 'x'\r\n");
    assert_eq!(run.run("client list id x"), "-ERR Invalid client ID\r\n");
    for line in ["client list id", "client list x", "client list type normal pubsub"] {
        assert_eq!(run.run(line), "-ERR syntax error\r\n", "{line}");
    }
}

#[test]
fn client_kill_by_filters() {
    let mut run = Run::new();
    let others = [run.connect(), run.connect(), run.connect()];
    assert_eq!(run.run("client kill id 2"), ":1\r\n");
    assert_eq!(run.closing(others[0]), Closing::Now);
    assert_eq!(run.instance.server.doomed, [others[0]]);
    // It is gone for everybody, although the loop has not closed it yet.
    assert_eq!(run.run("client kill id 2"), ":0\r\n");
    assert_eq!(field(&run.run("client list"), "id"), ["1", "3", "4"]);
    let address = run.instance.server.clients[others[1]].peer();
    assert_eq!(run.run(&format!("client kill addr {address} id 4")), ":0\r\n");
    assert_eq!(run.run(&format!("client kill addr {address} id 3 user default")), ":1\r\n");
    assert_eq!(run.run("client kill maxage 100"), ":0\r\n");
    run.instance.server.clients[others[2]].created_s -= 100;
    assert_eq!(run.run("client kill maxage 100 type normal"), ":1\r\n");
    assert_eq!(run.closing(others[2]), Closing::Now);
    // Oneself only when asked for, and after the reply.
    assert_eq!(run.run("client kill type normal"), ":0\r\n");
    assert_eq!(run.closing(run.client), Closing::No);
    assert_eq!(run.run("client kill skipme no"), ":1\r\n");
    assert_eq!(run.closing(run.client), Closing::AfterReply);
}

#[test]
fn client_kill_by_local_address_kills_all_of_a_listener() {
    let mut run = Run::new();
    run.connect();
    let local = run.instance.server.clients[run.client].local();
    assert_eq!(run.run("client kill laddr 127.0.0.1:1"), ":0\r\n");
    assert_eq!(run.run(&format!("client kill laddr {local} skipme YES")), ":1\r\n");
}

#[test]
fn client_kill_in_the_old_form() {
    let mut run = Run::new();
    let other = run.connect();
    assert_eq!(run.run("client kill 127.0.0.1:1"), "-ERR No such client\r\n");
    let address = run.instance.server.clients[other].peer();
    assert_eq!(run.run(&format!("client kill {address}")), "+OK\r\n");
    assert_eq!(run.closing(other), Closing::Now);
    let own = run.instance.server.clients[run.client].peer();
    assert_eq!(run.run(&format!("client kill {own}")), "+OK\r\n");
    assert_eq!(run.closing(run.client), Closing::AfterReply);
}

#[test]
fn client_kill_refuses() {
    let mut run = Run::new();
    run.connect();
    for (arguments, error) in [
        ("id 0", "client-id should be greater than 0"),
        ("id -1", "client-id should be greater than 0"),
        ("id str", "client-id should be greater than 0"),
        ("type x", "Unknown client type 'x'"),
        ("user x", "No such user 'x'"),
        ("skipme perhaps", "syntax error"),
        ("foo x", "syntax error"),
        ("skipme no id", "syntax error"),
        ("maxage x", "maxage is not an integer or out of range"),
        ("maxage 0", "maxage should be greater than 0"),
    ] {
        let line = format!("client kill {arguments}");
        assert_eq!(run.run(&line), format!("-ERR {error}\r\n"), "{line}");
    }
    assert_eq!(
        run.run("client kill"),
        "-ERR wrong number of arguments for 'client|kill' command\r\n"
    );
    assert!(run.instance.server.doomed.is_empty());
}

#[test]
fn client_reply() {
    let mut run = Run::new();
    assert_eq!(run.run("client reply maybe"), "-ERR syntax error\r\n");
    for line in ["client reply off", "ping", "nonsense", "client reply skip", "client reply x"] {
        assert_eq!(run.run(line), "", "{line}");
    }
    assert_eq!(run.run("client reply on"), "+OK\r\n");
    assert_eq!(run.run("ping"), "+PONG\r\n");

    assert_eq!(run.run("client reply skip"), "");
    assert_eq!(run.run("ping"), "");
    assert_eq!(run.run("ping"), "+PONG\r\n");
    // One skip follows the other, an error is skipped too, and ON takes it back.
    for line in ["client reply skip", "client reply skip", "get"] {
        assert_eq!(run.run(line), "", "{line}");
    }
    assert_eq!(run.run("ping"), "+PONG\r\n");
    assert_eq!(run.run("client reply skip"), "");
    assert_eq!(run.run("client reply on"), "+OK\r\n");
    assert_eq!(run.run("ping"), "+PONG\r\n");
    // RESET turns replies on, and answers unless it is the one that is skipped.
    run.run("client reply off");
    assert_eq!(run.run("reset"), "+RESET\r\n");
    run.run("client reply skip");
    assert_eq!(run.run("reset"), "");
    assert_eq!(run.run("ping"), "+PONG\r\n");
}

#[test]
fn containers() {
    let mut run = Run::new();
    assert_eq!(run.run("client"), "-ERR wrong number of arguments for 'client' command\r\n");
    assert_eq!(
        run.run("client id x"),
        "-ERR wrong number of arguments for 'client|id' command\r\n"
    );
    assert_eq!(
        run.run("client \"a\\r\\nb\\xff\""),
        "-ERR unknown subcommand 'a  b\u{fffd}'. Try CLIENT HELP.\r\n"
    );
    let long = "x".repeat(200);
    assert_eq!(
        run.run(&format!("client {long}")),
        format!("-ERR unknown subcommand '{}'. Try CLIENT HELP.\r\n", &long[..128])
    );
    let help = run.run("client help");
    let lines: Vec<&str> = help.split("\r\n").collect();
    assert_eq!(lines[0], format!("*{}", lines.len() - 2));
    assert_eq!(lines[1], "+CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    assert!(lines.contains(&"+REPLY <ON | OFF | SKIP>"), "{help}");
    assert_eq!(&lines[lines.len() - 3..], ["+HELP", "+    Print this help.", ""]);
}
