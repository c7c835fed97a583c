//! CONFIG: the configuration of the running server, and its statistics set back.

use crate::base::glob;
use crate::server::apply;
use crate::server::command::{Command, Group, flag::*};
use crate::server::config::{RewriteOptions, SetContext};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::gate::state;
use crate::server::introspect::help;
use crate::server::{login, redact};
use log::{info, warn};
use std::io;

const FLAGS: u32 = ADMIN | NOSCRIPT | LOADING | STALE;

pub const COMMANDS: &[Command] = &[Command {
    name: "config",
    summary: "Reads and changes the configuration of the running server",
    since: "2.0.0",
    group: Group::Server,
    complexity: "Depends on the subcommand",
    arity: -2,
    subcommands: &[
        Command {
            name: "get",
            summary: "Returns the values of directives",
            since: "2.0.0",
            group: Group::Server,
            complexity: "O(N) for N patterns and names given",
            arity: -3,
            flags: FLAGS,
            args: "parameter [parameter ...]",
            history: &[("7.0.0", "Takes several patterns in one call.")],
            handler: get,
            ..Command::BASE
        },
        Command {
            name: "help",
            summary: "Tells which subcommands there are",
            since: "5.0.0",
            group: Group::Server,
            arity: 2,
            flags: LOADING | STALE,
            handler: help,
            ..Command::BASE
        },
        Command {
            name: "resetstat",
            summary: "Sets the statistics back that INFO shows",
            since: "2.0.0",
            group: Group::Server,
            arity: 2,
            flags: FLAGS,
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            handler: reset_statistics,
            ..Command::BASE
        },
        Command {
            name: "rewrite",
            summary: "Writes the configuration into its file",
            since: "2.8.0",
            group: Group::Server,
            arity: 2,
            flags: FLAGS,
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            handler: rewrite,
            ..Command::BASE
        },
        Command {
            name: "set",
            summary: "Changes directives while the server runs, all of them or none",
            since: "2.0.0",
            group: Group::Server,
            complexity: "O(N) for N directives given",
            arity: -4,
            flags: FLAGS,
            args: "data:(parameter value)...",
            secrets: Some(redact::of_config_set),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            history: &[("7.0.0", "Takes several directives in one call.")],
            handler: set,
            ..Command::BASE
        },
    ],
    ..Command::BASE
}];

fn get(ctx: &mut Ctx) -> Result<(), Error> {
    let patterns: Vec<&[u8]> = ctx.args.from(2).iter().collect();
    let matches = |pattern: &[u8], name: &[u8]| glob::matches(pattern, name, true);
    let found = ctx.server.config.get(&patterns, &matches);
    ctx.out.map(found.len());
    for (name, value) in found {
        ctx.out.bulk(&name);
        ctx.out.bulk(&value);
    }
    Ok(())
}

fn set(ctx: &mut Ctx) -> Result<(), Error> {
    let arguments: Vec<&[u8]> = ctx.args.from(2).iter().collect();
    let (pairs, []) = arguments.as_chunks::<2>() else { return Err(Error::SYNTAX) };
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|&[name, value]| (name, value)).collect();
    let context = SetContext {
        local: ctx.client().is_local(),
        loading: ctx.server.state & state::LOADING != 0,
    };
    let changed = ctx.server.config.set(&pairs, context);
    let applied = changed.and_then(|changed| apply::changed(ctx.server, ctx.keys, changed));
    applied.map_err(|e| e.to_string())?;
    ctx.out.ok();
    Ok(())
}

fn rewrite(ctx: &mut Ctx) -> Result<(), Error> {
    match rewrite_file(ctx, false)? {
        Ok(()) => {
            info!("CONFIG REWRITE executed with success.");
            ctx.out.ok();
            Ok(())
        }
        Err(e) => {
            warn!("CONFIG REWRITE failed: {e}");
            Err(Error::Text(format!("ERR Rewriting config file: {}", os_message(&e))))
        }
    }
}

/// Writes the configuration file, with `force_all` every directive. The outer error is that there
/// is no such file.
pub fn rewrite_file(ctx: &Ctx, force_all: bool) -> Result<io::Result<()>, Error> {
    let Some(path) = &ctx.server.config_file else {
        return Err(Error::Static("ERR The server is running without a config file"));
    };
    let users = login::config_lines(ctx.server);
    let options = RewriteOptions { users: Some(&users), force_all };
    Ok(ctx.server.config.rewrite(path, options))
}

/// The system's own text for an error, without the number that Rust adds.
pub fn os_message(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" (os error ").unwrap_or(text.len());
    text[..end].to_owned()
}

fn reset_statistics(ctx: &mut Ctx) -> Result<(), Error> {
    let server = &mut *ctx.server;
    server.stats.reset(&server.config);
    server.phases.reset();
    server.log.forget_delays();
    server.free.forget_freed();
    (ctx.keys.hits, ctx.keys.misses) = (0, 0);
    (ctx.keys.expired, ctx.keys.expired_fields) = (0, 0);
    ctx.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Run;
    use crate::server::config::Config;
    use std::net::TcpListener;

    #[test]
    fn get_answers_with_a_map() {
        let mut run = Run::new();
        assert_eq!(
            run.run("config get MAXMEMORY-s* tcp-backlog nosuch tcp-backlog"),
            "*4\r\n$17\r\nmaxmemory-samples\r\n$1\r\n5\r\n$11\r\ntcp-backlog\r\n$3\r\n511\r\n"
        );
        run.set_resp3(true);
        assert_eq!(run.run("config get Timeout"), "%1\r\n$7\r\nTimeout\r\n$1\r\n0\r\n");
        assert_eq!(run.run("config get nosuch"), "%0\r\n");
    }

    #[test]
    fn set_takes_all_or_nothing() {
        let mut run = Run::new();
        assert_eq!(run.run("config set timeout 7 maxmemory 1mb"), "+OK\r\n");
        assert_eq!(
            run.run("config set timeout 8 maxmemory x"),
            "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - \
             argument must be a memory value\r\n"
        );
        assert_eq!(run.run("config set timeout 8 maxmemory"), "-ERR syntax error\r\n");
        assert_eq!(
            run.run("config set nosuch 8"),
            "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'\r\n"
        );
        assert_eq!(
            run.run("config set timeout"),
            "-ERR wrong number of arguments for 'config|set' command\r\n"
        );
        let config = &run.instance.server.config;
        assert_eq!((config.timeout, config.maxmemory), (7, 1 << 20));
    }

    #[test]
    fn what_cannot_be_applied_is_put_back() {
        let used = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = used.local_addr().unwrap().port();
        let bind = vec!["127.0.0.1".to_string()];
        let mut run = Run::with(Config { bind, port: 0, ..Config::default() });
        let server = &mut run.instance.server;
        server.listeners.open(&server.config).unwrap();
        let before = server.listeners.port();
        server.config.port = before;
        let reply = run.run(&format!("config set timeout 9 appendfsync no port {port} hz 50"));
        assert_eq!(
            reply,
            "-ERR CONFIG SET failed (possibly related to argument 'port') - \
             Unable to listen on this port. Check server logs.\r\n"
        );
        let server = &run.instance.server;
        assert_eq!((server.config.timeout, server.config.hz), (0, 10));
        assert_eq!(server.config.port, before);
        assert_eq!(server.listeners.port(), before);
        assert!(std::net::TcpStream::connect(("127.0.0.1", before)).is_ok());
        assert_eq!(
            run.run("config set bind 192.0.2.1"),
            "-ERR CONFIG SET failed (possibly related to argument 'bind') - \
             Failed to bind to specified addresses.\r\n"
        );
        assert!(std::net::TcpStream::connect(("127.0.0.1", before)).is_ok());
    }

    #[test]
    fn without_a_password_everybody_is_let_in() {
        let mut run = Run::new();
        assert_eq!(run.run("config set requirepass secret"), "+OK\r\n");
        assert_eq!(run.run("ping"), "+PONG\r\n");
        let me = run.client;
        let other = run.connect();
        run.client = other;
        assert_eq!(run.run("ping"), "-NOAUTH Authentication required.\r\n");
        run.client = me;
        assert_eq!(run.run("config set requirepass \"\""), "+OK\r\n");
        run.client = other;
        assert_eq!(run.run("ping"), "+PONG\r\n");
        assert!(run.run("hello").contains("server"));
    }

    #[test]
    fn the_file_is_rewritten_if_there_is_one() {
        let mut run = Run::new();
        assert_eq!(
            run.run("config rewrite"),
            "-ERR The server is running without a config file\r\n"
        );
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("redis.conf");
        std::fs::write(&path, "# mine\ntimeout 1\n").unwrap();
        run.instance.server.config_file = Some(path.clone());
        run.run("config set timeout 77");
        assert_eq!(run.run("config rewrite"), "+OK\r\n");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\ntimeout 77\n"), "{text}");
        run.instance.server.config_file = Some(directory.path().join("missing/redis.conf"));
        assert_eq!(
            run.run("config rewrite"),
            "-ERR Rewriting config file: No such file or directory\r\n"
        );
    }

    #[test]
    fn help_has_redis_s_form() {
        let mut run = Run::new();
        let text = run.run("config help");
        assert!(text.starts_with(
            "*11\r\n+CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+GET "
        ));
        assert!(text.ends_with("\r\n+HELP\r\n+    Print this help.\r\n"));
        assert_eq!(text.matches("\r\n").count(), 12);
        assert_eq!(run.run("config foo"), "-ERR unknown subcommand 'foo'. Try CONFIG HELP.\r\n");
    }
}
