//! MULTI, EXEC and what belongs to them.

use crate::server::command::{Begin, Command, Find, Group, Keys, flag::*};
use crate::server::ctx::{Ctx, Origin, Propagation};
use crate::server::error::Error;
use crate::server::execute::{Request, execute};

/// EXEC, DISCARD and the like are executed rather than queued.
const FLAGS: u32 = NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY | IMMEDIATE;

const ROW: Command = Command {
    group: Group::Transactions,
    categories: &["transaction"],
    flags: FLAGS,
    arity: 1,
    ..Command::BASE
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "discard",
        summary: "Drops the commands queued since MULTI",
        since: "2.0.0",
        complexity: "O(N) for N queued commands",
        handler: discard,
        ..ROW
    },
    Command {
        name: "exec",
        summary: "Executes the commands queued since MULTI, with none of others in between",
        since: "1.2.0",
        complexity: "That of the commands",
        flags: NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG | IMMEDIATE | EXECUTES_QUEUED,
        handler: exec,
        ..ROW
    },
    Command {
        name: "multi",
        summary: "Begins a transaction: commands are queued until EXEC",
        since: "1.2.0",
        handler: multi,
        ..ROW
    },
    Command {
        name: "unwatch",
        summary: "Forgets which keys the connection watches",
        since: "2.2.0",
        // Queued, where it has nothing to do.
        flags: FLAGS & !IMMEDIATE,
        handler: unwatch,
        ..ROW
    },
    Command {
        name: "watch",
        summary: "Has the next EXEC do nothing if one of these keys changes until then",
        since: "2.2.0",
        complexity: "O(N) for N keys given",
        arity: -2,
        keys: &[Keys {
            flags: &["RO"],
            begin: Begin::Index(1),
            find: Find::Range { last: -1, step: 1, limit: 0 },
        }],
        args: "key...",
        handler: watch,
        ..ROW
    },
];

fn multi(ctx: &mut Ctx) -> Result<(), Error> {
    let client = ctx.client();
    if client.transaction.is_some() {
        return Err(Error::Static("ERR MULTI calls can not be nested"));
    }
    client.transaction = Some(Box::default());
    client.update_state();
    ctx.out.ok();
    Ok(())
}

fn discard(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.client().end_transaction().is_none() {
        return Err(Error::Static("ERR DISCARD without MULTI"));
    }
    forget_watch(ctx);
    ctx.out.ok();
    Ok(())
}

fn watch(ctx: &mut Ctx) -> Result<(), Error> {
    if ctx.client().transaction.is_some() {
        return Err(Error::Static("ERR WATCH inside MULTI is not allowed"));
    }
    for key in ctx.args.from(1).iter() {
        // A key whose time has come is gone before it is watched.
        ctx.keys.exists(key);
        let server = &mut *ctx.server;
        let client = &mut server.clients[ctx.client_key];
        server.watchers.add(ctx.keys, ctx.client_key, client, key);
    }
    ctx.out.ok();
    Ok(())
}

fn unwatch(ctx: &mut Ctx) -> Result<(), Error> {
    forget_watch(ctx);
    ctx.out.ok();
    Ok(())
}

/// The client watches no key any more.
pub fn forget_watch(ctx: &mut Ctx) {
    let server = &mut *ctx.server;
    server.watchers.forget(ctx.keys, ctx.client_key, &mut server.clients[ctx.client_key]);
}

fn exec(ctx: &mut Ctx) -> Result<(), Error> {
    let without = Error::Static("ERR EXEC without MULTI");
    let transaction = ctx.client().end_transaction().ok_or(without)?;
    let watch = &ctx.server.clients[ctx.client_key].watch;
    let is_broken = watch.as_ref().is_some_and(|watch| watch.is_broken(ctx.keys));
    forget_watch(ctx);
    if transaction.aborted {
        let text = "EXECABORT Transaction discarded because of previous errors.";
        return Err(Error::Static(text));
    }
    if is_broken {
        ctx.out.null_array();
        return Ok(());
    }
    let mut cut_off = None;
    ctx.out.array(transaction.commands.len());
    ctx.server.effects.begin_unit();
    for queued in &transaction.commands {
        let args = queued.args.args();
        let request = Request { args, entry: Some(queued.entry), verbatim: None };
        execute(ctx.server, ctx.keys, Origin::Exec, ctx.client_key, request, ctx.out);
        let most = ctx.most_output();
        if ctx.out.within(most).is_break() {
            // The client will not see it, but what it asked for is done as a whole.
            ctx.check_output(most);
            let len = *cut_off.get_or_insert(ctx.out.len());
            ctx.out.truncate(len);
        }
    }
    ctx.server.effects.end_unit(ctx.server.log.buffer());
    // One of them may have been CLIENT PAUSE.
    ctx.server.pause_expiry(ctx.keys);
    // Each command has told of itself.
    ctx.propagation = Propagation::Nothing;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Run;
    use crate::server::ctx::Origin;
    use std::time::{Duration, Instant};

    /// How long it takes to watch so many keys, the fastest of several times.
    fn time_of_watch(run: &mut Run, keys: usize) -> Duration {
        let words: Vec<String> = (0..keys).map(|n| format!("key:{n}")).collect();
        let words = [&["WATCH".to_string()], &words[..], &words[..1]].concat();
        let times = (0..5).map(|_| {
            let began = Instant::now();
            run.run_as(Origin::Client, &words);
            let took = began.elapsed();
            run.run("UNWATCH");
            took
        });
        times.min().unwrap()
    }

    #[test]
    fn watching_many_keys_takes_no_longer_for_each() {
        let mut run = Run::new();
        let (few, many) = (time_of_watch(&mut run, 500), time_of_watch(&mut run, 10_000));
        assert!(many < few * 100, "20 times as many: {many:?} instead of {few:?}");
        assert!(run.instance.keys.interests.is_empty());
    }
}
