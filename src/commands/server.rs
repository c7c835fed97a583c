//! Commands about the server as a whole: what it is and does, its databases, its end.

use crate::base::number::parse_i64;
use crate::server::Shutdown;
use crate::server::command::{Command, Group, flag::*};
use crate::server::config::REDIS_VERSION;
use crate::server::ctx::{Ctx, Origin};
use crate::server::error::Error;
use crate::server::info;
use crate::server::snapshot::{self, Begun, Purpose};
use log::warn;

/// Of FLUSHDB and FLUSHALL.
const FLUSH: Command = Command {
    group: Group::Server,
    flags: WRITE,
    categories: &["keyspace", "dangerous"],
    args: "flush-type:[ASYNC@4.0.0 | SYNC@6.2.0]",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    history: &[("4.0.0", "Added the `ASYNC` modifier."), ("6.2.0", "Added the `SYNC` modifier.")],
    ..Command::BASE
};

/// Of SAVE and its like.
const SAVE: Command = Command {
    group: Group::Server,
    flags: ADMIN | NOSCRIPT | NO_ASYNC_LOADING,
    arity: 1,
    ..Command::BASE
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "bgrewriteaof",
        summary: "Makes the append-only file short, in the background",
        complexity: "O(1), with O(N) for N keys in the background",
        handler: bgrewriteaof,
        ..SAVE
    },
    Command {
        name: "bgsave",
        summary: "Saves all data to a file, in the background",
        complexity: "O(1), with O(N) for N keys in the background",
        arity: -1,
        args: "[SCHEDULE]@3.2.2",
        history: &[("3.2.2", "Added the `SCHEDULE` option.")],
        handler: bgsave,
        ..SAVE
    },
    Command {
        name: "dbsize",
        summary: "Counts the keys of the database",
        group: Group::Server,
        arity: 1,
        flags: READONLY | FAST,
        categories: &["keyspace"],
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        handler: dbsize,
        ..Command::BASE
    },
    Command {
        name: "flushall",
        summary: "Removes all keys from all databases",
        complexity: "O(1), as the memory is freed in the background",
        handler: flushall,
        ..FLUSH
    },
    Command {
        name: "flushdb",
        summary: "Removes all keys from the database",
        complexity: "O(1), as the memory is freed in the background",
        handler: flushdb,
        ..FLUSH
    },
    Command {
        name: "info",
        summary: "Tells facts and statistics about the server",
        group: Group::Server,
        flags: LOADING | STALE,
        categories: &["dangerous"],
        args: "[section ...]",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        history: &[("7.0.0", "Takes several sections.")],
        handler: show_info,
        ..Command::BASE
    },
    Command {
        name: "lastsave",
        summary: "Tells when the data was saved last, in seconds since 1970",
        group: Group::Server,
        arity: 1,
        flags: LOADING | STALE | FAST,
        categories: &["admin", "dangerous"],
        tips: &["nondeterministic_output"],
        handler: lastsave,
        ..Command::BASE
    },
    Command {
        name: "lolwut",
        summary: "Draws a picture, and tells the version",
        since: "5.0.0",
        group: Group::Server,
        complexity: "",
        flags: READONLY | FAST,
        args: "[VERSION version:integer]",
        handler: lolwut,
        ..Command::BASE
    },
    Command {
        name: "save",
        summary: "Saves all data to a file, while nobody else is served",
        complexity: "O(N) for N keys",
        flags: SAVE.flags | NO_MULTI,
        handler: save,
        ..SAVE
    },
    Command {
        name: "monitor",
        summary: "Shows every command the server executes, until the connection ends or is reset",
        group: Group::Server,
        complexity: "",
        arity: 1,
        flags: ADMIN | NOSCRIPT | LOADING | STALE,
        handler: monitor,
        ..Command::BASE
    },
    Command {
        name: "shutdown",
        summary: "Makes all data durable and ends the server",
        group: Group::Server,
        complexity: "O(N) for N keys to be saved, otherwise O(1)",
        flags: ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY,
        args: "save-selector:[NOSAVE | SAVE] [NOW@7.0.0] [FORCE@7.0.0] [ABORT@7.0.0]",
        history: &[("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers.")],
        handler: shutdown,
        ..Command::BASE
    },
    Command {
        name: "swapdb",
        summary: "Exchanges two databases",
        since: "4.0.0",
        group: Group::Server,
        complexity: "O(N) for N clients that watch keys of the two databases or wait for them",
        arity: 3,
        flags: WRITE | FAST,
        categories: &["keyspace", "dangerous"],
        args: "index1:integer index2:integer",
        handler: swapdb,
        ..Command::BASE
    },
    Command {
        name: "time",
        summary: "Tells the server's time",
        since: "2.6.0",
        group: Group::Server,
        arity: 1,
        flags: LOADING | STALE | FAST,
        tips: &["nondeterministic_output"],
        handler: time,
        ..Command::BASE
    },
];

fn show_info(ctx: &mut Ctx) -> Result<(), Error> {
    let sections: Vec<&[u8]> = ctx.args.from(1).iter().collect();
    let text = info::text(ctx.server, ctx.keys, &sections);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn dbsize(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.out.int(ctx.keys.len() as i64);
    Ok(())
}

fn flushdb(ctx: &mut Ctx) -> Result<(), Error> {
    check_flush_mode(ctx)?;
    let database = ctx.keys.current();
    flush(ctx, database..database + 1);
    Ok(())
}

fn flushall(ctx: &mut Ctx) -> Result<(), Error> {
    check_flush_mode(ctx)?;
    let databases = ctx.keys.databases();
    flush(ctx, 0..databases);
    if ctx.origin != Origin::File {
        snapshot::save_emptied(ctx.server, ctx.keys);
    }
    Ok(())
}

/// Both modes are the same here: the memory is always freed off the loop.
fn check_flush_mode(ctx: &Ctx) -> Result<(), Error> {
    match ctx.args.len() {
        1 => Ok(()),
        2 if ctx.is_word(1, "sync") || ctx.is_word(1, "async") => Ok(()),
        _ => Err(Error::SYNTAX),
    }
}

fn flush(ctx: &mut Ctx, databases: std::ops::Range<usize>) {
    let removed: usize = databases.map(|database| ctx.keys.flush(database)).sum();
    if removed == 0 {
        // A reader of the file, or a replica, may have keys here that have expired for us.
        ctx.keys.mark_changed();
    }
    ctx.out.ok();
}

fn swapdb(ctx: &mut Ctx) -> Result<(), Error> {
    let first = database_arg(ctx, 1, "ERR invalid first DB index")?;
    let second = database_arg(ctx, 2, "ERR invalid second DB index")?;
    let in_range = |index: i32| usize::try_from(index).ok().filter(|&i| i < ctx.keys.databases());
    let (Some(first), Some(second)) = (in_range(first), in_range(second)) else {
        return Err(Error::Static("ERR DB index is out of range"));
    };
    ctx.keys.swap(first, second);
    ctx.out.ok();
    Ok(())
}

fn database_arg(ctx: &Ctx, index: usize, error: &'static str) -> Result<i32, Error> {
    let number = parse_i64(ctx.arg(index)).and_then(|number| i32::try_from(number).ok());
    number.ok_or(Error::Static(error))
}

fn time(ctx: &mut Ctx) -> Result<(), Error> {
    let now_us = ctx.server.clock.unix_us();
    ctx.out.array(2);
    ctx.out.bulk_int(now_us.div_euclid(1_000_000));
    ctx.out.bulk_int(now_us.rem_euclid(1_000_000));
    Ok(())
}

fn lastsave(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.out.int(ctx.server.saved_s);
    Ok(())
}

fn save(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.server.snapshots.running() == Some(Purpose::Save) {
        return Err(Error::Static("ERR Background save already in progress"));
    }
    snapshot::save_now(ctx.server, ctx.keys).map_err(|reason| {
        warn!("Error saving DB on disk: {reason}");
        Error::Static("ERR")
    })?;
    ctx.out.ok();
    Ok(())
}

fn bgsave(ctx: &mut Ctx) -> Result<(), Error> {
    let schedules = ctx.args.len() == 2 && ctx.is_word(1, "SCHEDULE");
    if ctx.args.len() > 1 && !schedules {
        return Err(Error::SYNTAX);
    }
    match ctx.server.snapshots.running() {
        Some(Purpose::Save) => {
            return Err(Error::Static("ERR Background save already in progress"));
        }
        Some(Purpose::Rewrite) if !schedules => {
            return Err(Error::Static(
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE \
                 SCHEDULE in order to schedule a BGSAVE whenever possible.",
            ));
        }
        _ => {}
    }
    // Between MULTI and EXEC it would be of half a transaction.
    let begun = match ctx.origin {
        Origin::Exec => Ok(snapshot::schedule_save(ctx.server)),
        _ => snapshot::begin_save(ctx.server, ctx.keys),
    };
    match begun {
        Ok(Begun::Now) => ctx.out.simple("Background saving started"),
        Ok(Begun::Later) => ctx.out.simple("Background saving scheduled"),
        Err(_) => return Err(Error::Static("ERR")),
    }
    Ok(())
}

fn bgrewriteaof(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.server.snapshots.running() == Some(Purpose::Rewrite) {
        let text = "ERR Background append only file rewriting already in progress";
        return Err(Error::Static(text));
    }
    // As with BGSAVE.
    let begun = match ctx.origin {
        Origin::Exec => Ok(snapshot::schedule_rewrite(ctx.server)),
        _ => snapshot::begin_rewrite(ctx.server, ctx.keys),
    };
    match begun {
        Ok(Begun::Now) => ctx.out.simple("Background append only file rewriting started"),
        Ok(Begun::Later) => ctx.out.simple("Background append only file rewriting scheduled"),
        Err(_) => {
            let text = "ERR Can't execute an AOF background rewriting. Please check the server \
                        logs for more information.";
            return Err(Error::Static(text));
        }
    }
    Ok(())
}

fn monitor(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.origin == Origin::Exec {
        return Err(Error::Static("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    // Redis does not answer one that monitors already.
    if !ctx.client().monitors {
        ctx.server.set_monitoring(ctx.client_key, true);
        ctx.out.ok();
    }
    Ok(())
}

/// The loop carries it out at the end of the tick: then there is no reply, unless it fails.
fn shutdown(ctx: &mut Ctx) -> Result<(), Error> {
    let mut asked = Shutdown { client_key: Some(ctx.client_key), ..Shutdown::default() };
    let (mut save, mut nosave, mut now, mut abort) = (false, false, false, false);
    for word in ctx.args.from(1).iter() {
        match word.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"force" => asked.force = true,
            // There is nobody to wait for.
            b"now" => now = true,
            b"abort" => abort = true,
            _ => return Err(Error::SYNTAX),
        }
    }
    if (save && nosave) || (abort && (save || nosave || now || asked.force)) {
        return Err(Error::SYNTAX);
    }
    if abort {
        if ctx.server.shutdown.take().is_none() {
            return Err(Error::Static("ERR No shutdown in progress."));
        }
        warn!("Shutdown manually aborted.");
        ctx.out.ok();
        return Ok(());
    }
    asked.save = (save || nosave).then_some(save);
    ctx.server.shutdown = Some(asked);
    Ok(())
}

/// Rows and columns of the picture. A character shows two rows of dots.
const ROWS: usize = 16;
const COLUMNS: usize = 64;

/// The version that is asked for makes no difference: we have one picture, though it is another
/// one each time.
fn lolwut(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.args.len() >= 3 && ctx.is_word(1, "version") {
        ctx.int_arg(2)?;
    }
    let mut text = picture(ctx.server.rng.next_u64());
    text.push_str("\nRedis ver. ");
    text.push_str(REDIS_VERSION);
    text.push('\n');
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// What grows from one row of dots when each new dot only looks at the three above it: an
/// elementary cellular automaton (Wolfram 1983), of a rule that makes a pattern.
fn picture(chance: u64) -> String {
    const RULES: [u8; 8] = [18, 22, 30, 73, 90, 105, 110, 150];
    let rule = RULES[(chance % 8) as usize];
    let mut dots: Vec<bool> = (0..COLUMNS).map(|x| chance.rotate_left(x as u32) & 9 == 9).collect();
    let mut text = String::new();
    for _ in 0..ROWS {
        let upper = dots;
        let lower = next_row(&upper, rule);
        text.extend(upper.iter().zip(&lower).map(|pair| match pair {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
        dots = next_row(&lower, rule);
    }
    text
}

fn next_row(dots: &[bool], rule: u8) -> Vec<bool> {
    let at = |x: usize| u8::from(dots[x % COLUMNS]);
    let above = |x: usize| at(x + COLUMNS - 1) << 2 | at(x) << 1 | at(x + 1);
    (0..COLUMNS).map(|x| rule >> above(x) & 1 == 1).collect()
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Run;
    use crate::server::Shutdown;

    #[test]
    fn flushing_empties_one_database_or_all() {
        let mut run = Run::new();
        run.run("set a 1");
        run.instance.server.clients[run.client].db = 1;
        run.run("set b 1");
        run.run("set c 1");
        assert_eq!(run.run("dbsize"), ":2\r\n");
        assert_eq!(run.run("flushdb sync x"), "-ERR syntax error\r\n");
        assert_eq!(run.run("flushdb later"), "-ERR syntax error\r\n");
        assert_eq!(run.run("flushdb ASYNC"), "+OK\r\n");
        assert_eq!(run.run("dbsize"), ":0\r\n");
        run.instance.server.clients[run.client].db = 0;
        assert_eq!(run.run("dbsize"), ":1\r\n");
        assert_eq!(run.run("flushall sync"), "+OK\r\n");
        assert_eq!(run.run("dbsize"), ":0\r\n");
    }

    #[test]
    fn flushing_counts_as_a_change_for_each_key_and_when_there_is_none() {
        let mut run = Run::new();
        run.run("set a 1");
        run.run("set b 1");
        for wanted in [2, 1] {
            let before = run.instance.keys.dirty;
            run.run("flushall");
            assert_eq!(run.instance.keys.dirty - before, wanted);
        }
    }

    #[test]
    fn databases_are_exchanged() {
        let mut run = Run::new();
        run.run("set a 1");
        assert_eq!(run.run("swapdb 0 15"), "+OK\r\n");
        assert_eq!(run.run("dbsize"), ":0\r\n");
        assert_eq!(run.run("swapdb 15 0"), "+OK\r\n");
        assert_eq!(run.run("dbsize"), ":1\r\n");
        let before = run.instance.keys.dirty;
        assert_eq!(run.run("swapdb 2 2"), "+OK\r\n");
        assert_eq!(run.instance.keys.dirty, before + 1);
        for (line, error) in [
            ("swapdb a 1", "invalid first DB index"),
            ("swapdb 1 a", "invalid second DB index"),
            ("swapdb 1 99999999999", "invalid second DB index"),
            ("swapdb 1 16", "DB index is out of range"),
            ("swapdb -1 1", "DB index is out of range"),
        ] {
            assert_eq!(run.run(line), format!("-ERR {error}\r\n"));
        }
    }

    #[test]
    fn time_is_in_seconds_and_microseconds() {
        let mut run = Run::new();
        run.clock.advance_us(1_000_042);
        assert_eq!(run.run("time"), "*2\r\n$10\r\n1700000001\r\n$2\r\n42\r\n");
        assert_eq!(run.run("lastsave"), ":1700000000\r\n");
    }

    #[test]
    fn a_shutdown_is_left_to_the_loop() {
        let mut run = Run::new();
        let client_key = Some(run.client);
        for (line, force, save) in [
            ("shutdown", false, None),
            ("shutdown nosave", false, Some(false)),
            ("SHUTDOWN SAVE NOW FORCE", true, Some(true)),
        ] {
            assert_eq!(run.run(line), "");
            let wanted = Some(Shutdown { force, save, client_key });
            assert_eq!(run.instance.server.shutdown.take(), wanted);
        }
        for line in ["shutdown x", "shutdown save nosave", "shutdown abort now"] {
            assert_eq!(run.run(line), "-ERR syntax error\r\n");
            assert_eq!(run.instance.server.shutdown, None);
        }
    }

    #[test]
    fn a_shutdown_can_be_aborted() {
        let mut run = Run::new();
        assert_eq!(run.run("shutdown abort"), "-ERR No shutdown in progress.\r\n");
        run.instance.server.shutdown = Some(Shutdown::default());
        assert_eq!(run.run("shutdown abort"), "+OK\r\n");
        assert_eq!(run.instance.server.shutdown, None);
    }

    #[test]
    fn the_picture_ends_with_the_version() {
        let mut run = Run::new();
        let first = run.run("lolwut");
        assert!(first.ends_with("\nRedis ver. 7.2.4\n\r\n"), "{first}");
        assert_ne!(run.run("LOLWUT VERSION 5 30 4"), first);
        assert_eq!(run.run("lolwut version x"), "-ERR value is not an integer or out of range\r\n");
        run.set_resp3(true);
        assert!(run.run("lolwut version 6").starts_with("="));
    }

    #[test]
    fn rule_90_makes_pascal_s_triangle() {
        let mut dots = vec![false; super::COLUMNS];
        dots[32] = true;
        for binomials in [vec![31, 33], vec![30, 34], vec![29, 31, 33, 35]] {
            dots = super::next_row(&dots, 90);
            let set: Vec<usize> = (0..super::COLUMNS).filter(|&x| dots[x]).collect();
            assert_eq!(set, binomials);
        }
    }
}
