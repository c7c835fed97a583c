//! MEMORY: what keys cost, and the server as a whole.

mod doctor;

use crate::base::number::parse_i64;
use crate::resp::Reply;
use crate::server::command::{Begin, Command, Group, Keys, READ_KEY, flag::*};
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::introspect::help;
use crate::server::memory::Memory;
use crate::server::process;
use crate::store::View;
use crate::types::{Value, allocated};

const ROW: Command = Command {
    group: Group::Server,
    since: "4.0.0",
    arity: 2,
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    ..Command::BASE
};

pub const COMMANDS: &[Command] = &[Command {
    name: "memory",
    summary: "A container for commands about memory",
    complexity: "Depends on the subcommand",
    arity: -2,
    tips: &[],
    subcommands: &[
        Command {
            name: "doctor",
            summary: "Tells what is wrong with the memory, if anything is",
            complexity: "O(N) for N clients",
            handler: doctor::doctor,
            ..ROW
        },
        Command {
            name: "help",
            summary: "Explains the subcommands",
            flags: LOADING | STALE,
            tips: &[],
            handler: help,
            ..ROW
        },
        Command {
            name: "malloc-stats",
            summary: "Shows what the allocator tells of itself",
            handler: malloc_stats,
            ..ROW
        },
        Command {
            name: "purge",
            summary: "Gives memory that was freed back to the system",
            complexity: "Depends on how much memory there is; most of it is done in the background",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            handler: purge,
            ..ROW
        },
        Command {
            name: "stats",
            summary: "Tells what the server's memory is used for",
            complexity: "O(N) for N clients",
            handler: stats,
            ..ROW
        },
        Command {
            name: "usage",
            summary: "Estimates the bytes of memory a key and its value take",
            complexity: "O(N) with N the samples",
            arity: -3,
            flags: READONLY,
            keys: &[READ_KEY_OF_SUBCOMMAND],
            args: "key [SAMPLES count]",
            tips: &[],
            handler: usage,
            ..ROW
        },
    ],
    ..ROW
}];

const READ_KEY_OF_SUBCOMMAND: Keys = Keys { flags: &["RO"], begin: Begin::Index(2), ..READ_KEY };

/// Elements looked at unless SAMPLES says otherwise.
const SAMPLES: usize = 5;
/// A key's share of its database's table: a word, and what is free beside it.
const SHARE_OF_TABLE: usize = 10;

fn usage(ctx: &mut Ctx) -> Result<(), Error> {
    let mut samples = SAMPLES;
    let mut at = 3;
    while at < ctx.args.len() {
        if !ctx.is_word(at, "samples") || at + 1 == ctx.args.len() {
            return Err(Error::SYNTAX);
        }
        let count = parse_i64(ctx.arg(at + 1)).ok_or(Error::NOT_AN_INTEGER)?;
        samples = usize::try_from(count).map_err(|_| Error::SYNTAX)?;
        at += 2;
    }
    match ctx.keys.peek(ctx.args.get(2)) {
        Some(view) => ctx.out.int(bytes_of(&view, samples) as i64),
        None => ctx.out.null(),
    }
    Ok(())
}

fn bytes_of(view: &View<'_>, samples: usize) -> usize {
    let object = match view.value() {
        Value::Inline(..) => 0,
        Value::Object(object) => object.memory(samples),
    };
    allocated(view.size()) + SHARE_OF_TABLE + object
}

/// As Redis 7.2 has it. What our allocator does not count is told as if nothing were lost in it.
fn stats(ctx: &mut Ctx) -> Result<(), Error> {
    let memory = Memory::measure(ctx.server, ctx.keys);
    let above = memory.resident - memory.used;
    let mut fields = Fields { out: ctx.out, count: 0 };
    let open = fields.out.open();
    fields.bytes("peak.allocated", memory.peak);
    fields.bytes("total.allocated", memory.used);
    fields.bytes("startup.allocated", memory.startup);
    fields.bytes("replication.backlog", 0);
    fields.bytes("clients.slaves", 0);
    fields.bytes("clients.normal", memory.clients);
    fields.bytes("cluster.links", 0);
    fields.bytes("aof.buffer", memory.aof);
    fields.bytes("lua.caches", 0);
    fields.bytes("functions.caches", 0);
    for database in &memory.databases {
        fields.name(&format!("db.{}", database.index));
        fields.out.map(3);
        let overheads = [
            ("overhead.hashtable.main", database.table),
            ("overhead.hashtable.expires", database.expiries),
            ("overhead.hashtable.slot-to-keys", 0),
        ];
        for (name, bytes) in overheads {
            fields.out.bulk(name.as_bytes());
            fields.out.int(bytes as i64);
        }
    }
    fields.bytes("overhead.total", memory.overhead);
    fields.bytes("keys.count", memory.keys() as u64);
    fields.bytes("keys.bytes-per-key", memory.bytes_per_key());
    fields.bytes("dataset.bytes", memory.dataset());
    fields.ratio("dataset.percentage", memory.dataset_percent());
    fields.ratio("peak.percentage", memory.peak_percent());
    fields.bytes("allocator.allocated", memory.used);
    fields.bytes("allocator.active", memory.used);
    fields.bytes("allocator.resident", memory.used);
    fields.ratio("allocator-fragmentation.ratio", 1.0);
    fields.bytes("allocator-fragmentation.bytes", 0);
    fields.ratio("allocator-rss.ratio", 1.0);
    fields.bytes("allocator-rss.bytes", 0);
    fields.ratio("rss-overhead.ratio", memory.resident_ratio());
    fields.bytes("rss-overhead.bytes", above);
    fields.ratio("fragmentation", memory.resident_ratio());
    fields.bytes("fragmentation.bytes", above);
    let count = fields.count;
    ctx.out.close_map(open, count);
    Ok(())
}

struct Fields<'a> {
    out: &'a mut Reply,
    count: usize,
}

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        self.out.bulk(name.as_bytes());
        self.count += 1;
    }

    fn bytes(&mut self, name: &str, bytes: u64) {
        self.name(name);
        self.out.int(bytes as i64);
    }

    fn ratio(&mut self, name: &str, ratio: f64) {
        self.name(name);
        self.out.double(ratio);
    }
}

fn malloc_stats(ctx: &mut Ctx) -> Result<(), Error> {
    let text = format!("{}\n{}", process::allocator(), process::allocator_statistics());
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The thread that frees values does it: nobody waits.
fn purge(ctx: &mut Ctx) -> Result<(), Error> {
    ctx.server.free.give_back();
    ctx.out.ok();
    Ok(())
}
