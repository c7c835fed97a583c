//! Expected replies are those of redis-server 7.0.15, or follow from Redis 7.2's sources where
//! that is newer.

use crate::commands::testing::Run;

/// The bulk strings of a reply.
fn bulks(reply: &str) -> Vec<&str> {
    let mut lines = reply.split("\r\n");
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with('$') {
            found.extend(lines.next());
        }
    }
    found
}

#[test]
fn info_in_both_protocols() {
    let mut run = Run::new();
    assert_eq!(
        run.run("command info ping"),
        "*1\r\n*10\r\n$4\r\nping\r\n:-1\r\n*1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n*2\r\n+@fast\r\n\
         +@connection\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$29\r\n\
         response_policy:all_succeeded\r\n*0\r\n*0\r\n"
    );
    run.run("hello 3");
    assert_eq!(
        run.run("command info client|list nosuch"),
        "*2\r\n*10\r\n$11\r\nclient|list\r\n:-2\r\n~4\r\n+admin\r\n+noscript\r\n+loading\r\n\
         +stale\r\n:0\r\n:0\r\n:0\r\n~4\r\n+@admin\r\n+@slow\r\n+@dangerous\r\n+@connection\r\n\
         ~1\r\n$23\r\nnondeterministic_output\r\n~0\r\n~0\r\n_\r\n"
    );
    assert_eq!(
        run.run("command info GET"),
        "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n~3\r\n\
         +@read\r\n+@string\r\n+@fast\r\n~0\r\n~1\r\n%3\r\n$5\r\nflags\r\n~2\r\n+RO\r\n+access\r\n\
         $12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n%1\r\n$5\r\n\
         index\r\n:1\r\n$9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n%3\r\n\
         $7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n~0\r\n"
    );
}

#[test]
fn info_of_names_that_are_none() {
    let mut run = Run::new();
    for name in ["nosuch", "get|key", "client|nosuch", "client|list|x", "''", "'|'"] {
        assert_eq!(run.run(&format!("command info {name}")), "*1\r\n$-1\r\n", "{name}");
        assert_eq!(run.run(&format!("command docs {name}")), "*0\r\n", "{name}");
    }
}

#[test]
fn docs() {
    let mut run = Run::new();
    run.run("hello 3");
    let reply = run.run("command docs client|list nosuch");
    assert!(reply.starts_with("%1\r\n$11\r\nclient|list\r\n%6\r\n$7\r\nsummary\r\n"), "{reply}");
    let end = "$9\r\narguments\r\n*2\r\n\
        %6\r\n$4\r\nname\r\n$11\r\nclient-type\r\n$4\r\ntype\r\n$5\r\noneof\r\n\
        $5\r\ntoken\r\n$4\r\nTYPE\r\n$5\r\nsince\r\n$5\r\n5.0.0\r\n\
        $5\r\nflags\r\n~1\r\n+optional\r\n$9\r\narguments\r\n*4\r\n";
    assert!(reply.contains(end), "{reply}");
    let id = "%6\r\n$4\r\nname\r\n$9\r\nclient-id\r\n$4\r\ntype\r\n$7\r\ninteger\r\n\
        $12\r\ndisplay_text\r\n$9\r\nclient-id\r\n$5\r\ntoken\r\n$2\r\nID\r\n\
        $5\r\nsince\r\n$5\r\n6.2.0\r\n$5\r\nflags\r\n~2\r\n+optional\r\n+multiple\r\n";
    assert!(reply.ends_with(id), "{reply}");
    let reply = run.run("command docs quit");
    let deprecated = "$9\r\ndoc_flags\r\n~1\r\n+deprecated\r\n$16\r\ndeprecated_since\r\n\
        $5\r\n7.2.0\r\n$11\r\nreplaced_by\r\n$27\r\njust closing the connection\r\n";
    assert!(reply.ends_with(deprecated), "{reply}");
    let reply = run.run("command docs get");
    assert!(reply.contains("$14\r\nkey_spec_index\r\n:0\r\n"), "{reply}");
    let reply = run.run("command docs client");
    assert!(reply.contains("$11\r\nsubcommands\r\n%"), "{reply}");
    assert!(reply.contains("$14\r\nclient|setname\r\n%"), "{reply}");
}

#[test]
fn all_commands() {
    let mut run = Run::new();
    let count = run.instance.server.commands.len();
    assert_eq!(run.run("command count"), format!(":{count}\r\n"));
    assert!(run.run("command").starts_with(&format!("*{count}\r\n*10\r\n")));
    assert_eq!(run.run("command"), run.run("command info"));
    run.run("hello 3");
    assert!(run.run("command docs").starts_with(&format!("%{count}\r\n")));
    let all = run.instance.server.commands.with_subcommands().count();
    assert_eq!(bulks(&run.run("command list")).len(), all);
}

#[test]
fn list_filters() {
    let mut run = Run::new();
    assert_eq!(run.run("command list filterby pattern GET"), "*1\r\n$3\r\nget\r\n");
    let reply = run.run("command list filterby pattern c*|*o");
    let infos = ["client|info", "client|setinfo", "client|trackinginfo", "command|info"];
    assert_eq!(bulks(&reply), infos);
    let admin = run.run("command list filterby aclcat ADMIN");
    assert!(bulks(&admin).contains(&"client|kill"), "{admin}");
    assert!(!bulks(&admin).contains(&"client|id"), "{admin}");
    assert_eq!(run.run("command list filterby aclcat nosuch"), "*0\r\n");
    assert_eq!(run.run("command list filterby module nosuch"), "*0\r\n");
    for rest in ["x", "filterby x", "filterby x y", "filterby pattern a filterby pattern b"] {
        assert_eq!(run.run(&format!("command list {rest}")), "-ERR syntax error\r\n", "{rest}");
    }
}

#[test]
fn getkeys() {
    let mut run = Run::new();
    assert_eq!(run.run("command getkeys get key"), "*1\r\n$3\r\nkey\r\n");
    assert_eq!(
        run.run("command getkeysandflags get key"),
        "*1\r\n*2\r\n$3\r\nkey\r\n*2\r\n+RO\r\n+access\r\n"
    );
    for (line, error) in [
        ("nosuch a", "Invalid command specified"),
        ("client nosuch", "Invalid command specified"),
        ("client id", "The command has no key arguments"),
        ("ping a", "The command has no key arguments"),
        ("get", "Invalid number of arguments specified for command"),
        ("get a b", "Invalid number of arguments specified for command"),
        ("", "wrong number of arguments for 'command|getkeys' command"),
    ] {
        assert_eq!(run.run(&format!("command getkeys {line}")), format!("-ERR {error}\r\n"));
    }
    assert_eq!(
        run.run("command getkeysandflags set a b get"),
        "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update\r\n"
    );
}

#[test]
fn help_names_the_command_itself() {
    let help = Run::new().run("command help");
    assert!(help.contains(
        "+COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+(no subcommand)\r\n"
    ));
    assert!(help.contains("\r\n+GETKEYS command [arg [arg ...]]\r\n"), "{help}");
}
