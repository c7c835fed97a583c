//! Random commands from the grammar, the same for the same seed.
//!
//! Values come from small pools, so that commands meet the same keys and members again and again,
//! with some at the limits and some that are no values at all.

use goredis::base::rng::Rng;
use twox_hash::XxHash3_64;

use super::grammar::{Check, FAMILIES};
use super::syntax::{self, Node, Syntax};

/// What a key mostly holds; its name says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Kind(&'static str),
    /// Sets and sorted sets.
    Mixed,
    /// One kind for all such keys of a command.
    Any,
    /// Sorted sets whose scores are all the same, as ranges by member want them. Nothing else is
    /// ever put there.
    Lex,
    /// HyperLogLogs that no other command can change: what becomes of a damaged one is another
    /// server's own affair.
    Hll,
}

const KINDS: &[&str] =
    &["str", "int", "hash", "list", "nums", "set", "ints", "zset", "stream", "bits", "geo"];
/// Keys of a kind.
const KEYS_OF_A_KIND: u64 = 4;

impl Holds {
    pub fn named(name: &str) -> Option<Holds> {
        match name {
            "mixed" => Some(Holds::Mixed),
            "any" => Some(Holds::Any),
            "lex" => Some(Holds::Lex),
            "hll" => Some(Holds::Hll),
            _ => KINDS.iter().find(|kind| **kind == name).map(|kind| Holds::Kind(kind)),
        }
    }
}

pub type Generator = fn(&mut Values) -> Vec<u8>;

/// The generators by name.
const GENERATORS: &[(&str, Generator)] = &[
    ("at-ms", |v| v.at(1000)),
    ("at-s", |v| v.at(1)),
    ("bit", |v| v.mostly(&["0", "1"], &["2", "-1", "x"])),
    ("bit-offset", Values::bit_offset),
    ("bit-type", Values::bit_type),
    ("block-ms", |v| v.mostly(&["1", "2"], &["-1", "x", "1.5", ""])),
    ("bound", Values::bound),
    ("consumer", |v| v.pick(&["alice", "bob", "carol"])),
    ("count", Values::count),
    ("cursor", |v| v.mostly(&["0"], &["1", "7", "-1", "x", "18446744073709551616"])),
    ("db", |v| v.mostly(&["0", "1", "2"], &["-1", "16", "x", "9223372036854775808"])),
    ("digest", |v| format!("{:016x}", XxHash3_64::oneshot(&v.pick(TINY))).into_bytes()),
    ("few", |v| v.around(-12, 13)),
    ("field", Values::field),
    ("float", Values::float),
    ("get-pattern", |v| v.pick(&["#", "k:weight:*", "k:str:0", "k:hash:*->f1", "no:*", "*->f1"])),
    ("group", |v| v.mostly(&["g1", "g1", "g2"], &["g3", ""])),
    ("group-id", |v| if v.one_in(2) { b"$".to_vec() } else { v.id() }),
    ("id", Values::id),
    ("high-id", Values::high_id),
    ("index", Values::index),
    ("int", Values::int),
    ("latitude", |v| v.degrees(80)),
    ("later-ms", |v| v.later(1000)),
    ("later-s", |v| v.later(1)),
    ("lex", Values::lex),
    ("longitude", |v| v.degrees(170)),
    ("member", Values::member),
    ("min-idle", |v| v.mostly(&["0", "3600000"], &["x", "-1", "9223372036854775807"])),
    ("ms", |v| v.after(1000)),
    ("new-id", Values::new_id),
    ("number", |v| v.rng.below(1 << 40).to_string().into_bytes()),
    ("offset", Values::offset),
    ("pattern", Values::pattern),
    ("place", |v| v.numbered("p", 12)),
    ("radius", |v| v.mostly(&["1000", "500.5", "100", "4000000"], &["0", "-1", "x", "1e300"])),
    ("range-id", Values::range_id),
    ("read-id", |v| if v.one_in(5) { b"$".to_vec() } else { v.id() }),
    ("score", Values::score),
    ("seconds", |v| v.after(1)),
    ("size", |v| v.mostly(&["1000", "3000.5", "12000", "40000"], &["0", "-1", "x"])),
    ("small", |v| v.around(-5, 30)),
    ("timeout", |v| v.mostly(&["0.001", "0.002"], &["-1", "x", "nan", "1e400"])),
    ("tiny", |v| v.pick(TINY)),
    ("type", |v| v.pick(&["string", "LIST", "set", "zset", "hash", "stream", "nosuch"])),
    ("unit", |v| v.mostly(&["m", "km", "ft", "MI"], &["x"])),
    ("value", Values::value),
    ("weight", |v| v.mostly(&["1", "2", "-1", "0.5", "0"], &["inf", "-inf", "nan", "x"])),
    // None that makes a zero of -0: whether a sorted set keeps that sign follows from how its
    // encoding came about.
    ("weight-stored", |v| v.mostly(&["1", "2", "0.5", "3.75"], &["inf", "nan", "x"])),
    ("weight-key", |v| format!("k:weight:{}", v.rng.below(30)).into_bytes()),
    ("weight-pattern", |v| v.pick(&["k:weight:*", "k:hash:*->f1", "k:weight:*->f1", "no:*"])),
];

pub fn find(name: &str) -> Option<Generator> {
    GENERATORS.iter().find(|(known, _)| *known == name).map(|(_, generator)| *generator)
}

/// Words that are somewhere an option: put where they do not belong.
const STRAY_WORDS: &[&str] = &[
    "NX",
    "XX",
    "GT",
    "LT",
    "CH",
    "GET",
    "WITHSCORES",
    "LIMIT",
    "COUNT",
    "MATCH",
    "BYSCORE",
    "BYLEX",
    "REV",
    "STORE",
    "ALPHA",
    "DESC",
    "KEEPTTL",
    "PERSIST",
    "0",
    "1",
    "x",
    "",
];
/// Numbers at limits, and what is none. All are safe as counts and offsets: none of them asks for
/// gigabytes.
const LIMITS: &[&str] = &[
    "0",
    "-1",
    "1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "1.5",
    "",
    "abc",
    " 1",
    "1 ",
    "+1",
    "01",
    "1e3",
    "0x10",
];

/// Values that are met again soon.
const TINY: &[&str] = &["a", "b", "7"];

/// Commands that take more arguments since 7.2: odd ones are refused by 7.0 for their number, and
/// after MULTI that makes another transaction of it.
const TAKES_MORE: &[&str] = &["zrank", "zrevrank"];

/// Where random values come from.
pub struct Values {
    pub rng: Rng,
    /// What `Holds::Any` stands for in this command.
    any: &'static str,
    /// The newest stream id's first part.
    newest: u64,
    /// What the last `+`, `*`, `keys` or `fields` counted.
    counted: usize,
}

impl Values {
    fn one_in(&mut self, n: u64) -> bool {
        self.rng.below(n) == 0
    }

    fn pick(&mut self, words: &[&str]) -> Vec<u8> {
        words[self.rng.index(words.len())].as_bytes().to_vec()
    }

    fn mostly(&mut self, good: &[&str], bad: &[&str]) -> Vec<u8> {
        let words = if self.one_in(20) { bad } else { good };
        self.pick(words)
    }

    fn numbered(&mut self, prefix: &str, count: u64) -> Vec<u8> {
        format!("{prefix}{}", self.rng.below(count)).into_bytes()
    }

    /// From `low` to below `high`.
    fn around(&mut self, low: i64, high: i64) -> Vec<u8> {
        let number = low + self.rng.below((high - low) as u64) as i64;
        number.to_string().into_bytes()
    }

    fn int(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 | 1 => self.pick(LIMITS),
            2 => self.rng.next_u64().cast_signed().to_string().into_bytes(),
            3 | 4 => self.around(-40_000, 40_000),
            _ => self.around(-4, 12),
        }
    }

    fn index(&mut self) -> Vec<u8> {
        if self.one_in(30) { self.pick(LIMITS) } else { self.around(-14, 14) }
    }

    fn count(&mut self) -> Vec<u8> {
        if self.one_in(15) { self.pick(LIMITS) } else { self.around(0, 14) }
    }

    fn float(&mut self) -> Vec<u8> {
        let odd = [
            "inf",
            "-inf",
            "nan",
            "1e400",
            "1e308",
            "-1e308",
            "3.0e2",
            "0x1p3",
            "1e-10",
            "-0",
            "0.1",
            "5e-324",
            "123456789012345678",
            " 1",
            "x",
            "",
            "1.",
            ".5",
            "+1.5",
        ];
        match self.rng.below(10) {
            0 => self.pick(&odd),
            1..4 => self.int(),
            _ => format!("{}", (self.rng.below(8001) as f64 - 4000.0) / 16.0).into_bytes(),
        }
    }

    /// No -0, as for `weight-stored`.
    fn score(&mut self) -> Vec<u8> {
        let odd = ["inf", "-inf", "+inf", "nan", "x", "1e308", "-1e308", "0.1", "1e-7", ""];
        match self.rng.below(20) {
            0 => self.pick(&odd),
            1..4 => format!("{}", (self.rng.below(201) as f64 - 100.0) / 8.0).into_bytes(),
            _ => self.around(-5, 15),
        }
    }

    fn bound(&mut self) -> Vec<u8> {
        match self.rng.below(10) {
            0 => b"-inf".to_vec(),
            1 => b"+inf".to_vec(),
            2 | 3 => [b"(".to_vec(), self.score()].concat(),
            _ => self.score(),
        }
    }

    fn lex(&mut self) -> Vec<u8> {
        match self.rng.below(12) {
            0 | 1 => b"-".to_vec(),
            2 | 3 => b"+".to_vec(),
            4 => self.pick(&["", "(", "[", "m1", "++", "-x"]),
            5..8 => [b"(".to_vec(), self.member()].concat(),
            _ => [b"[".to_vec(), self.member()].concat(),
        }
    }

    fn member(&mut self) -> Vec<u8> {
        match self.rng.below(30) {
            0 => Vec::new(),
            1 => self.binary(),
            2 => self.numbered("longer-than-the-threshold-of-listpacks-", 4),
            3 => format!("{:x<90}", self.rng.below(3)).into_bytes(),
            4 => self.float(),
            5 => self.pick(LIMITS),
            6..10 => self.numbered("m", 200),
            10..16 => self.around(-3, 20),
            _ => self.numbered("m", 14),
        }
    }

    fn field(&mut self) -> Vec<u8> {
        if self.one_in(8) { self.member() } else { self.numbered("f", 16) }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.rng.below(16) {
            0 => Vec::new(),
            1 => self.binary(),
            2..5 => self.int(),
            5 => self.float(),
            6 => {
                let mut bytes = vec![0; self.rng.index(600)];
                self.rng.fill(&mut bytes);
                bytes
            }
            7 => vec![b'v'; 40 + self.rng.index(10)],
            _ => {
                let len = 1 + self.rng.index(20);
                (0..len).map(|_| b"abcdef"[self.rng.index(6)]).collect()
            }
        }
    }

    /// No two begin alike up to a NUL byte: SORT ALPHA compares no further, and calls them equal.
    fn binary(&mut self) -> Vec<u8> {
        let strings: [&[u8]; 6] =
            [b"q\x00\xff", b"y\x00b", b"\xff\xfe\xfd", b"\r\n", "caf\u{e9}".as_bytes(), b"\" '\\"];
        strings[self.rng.index(strings.len())].to_vec()
    }

    fn pattern(&mut self) -> Vec<u8> {
        self.pick(&[
            "*",
            "k:*",
            "*:1",
            "?:str:*",
            "[k-m]*",
            "m[0-5]",
            "m?",
            "*1*",
            "f*",
            "",
            "[^k]*",
            "k:\\*",
            "[",
            "*[12]",
            "k:list:[0-2]",
            "\\",
        ])
    }

    fn offset(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => self.pick(&["-1", "4294967296", "9223372036854775807", "x", "", "01"]),
            1 => self.around(0, 20_000),
            _ => self.around(0, 200),
        }
    }

    fn bit_type(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => self.pick(&["u64", "i65", "u0", "i0", "x8", "u", "", "i-1", "U8", "u08"]),
            1..5 => self.pick(&["i64", "u63", "i1", "u1"]),
            _ => {
                let sign = self.pick(&["u", "i"]);
                [sign, self.around(1, 64)].concat()
            }
        }
    }

    fn bit_offset(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => self.pick(&["-1", "#-1", "#", "4294967296", "#9223372036854775807", "x"]),
            1..8 => [b"#".to_vec(), self.around(0, 12)].concat(),
            _ => self.around(0, 200),
        }
    }

    /// A time from now: far ahead, or no such thing. Any two differ by far more than a run takes,
    /// so that which is later does not depend on when the commands come.
    fn after(&mut self, unit: u64) -> Vec<u8> {
        let odd = ["0", "-1", "-9223372036854775808", "9223372036854775807", "x", "1.5", ""];
        if self.one_in(8) {
            return self.pick(&odd);
        }
        let seconds = 10_000 * (1 + self.rng.below(100_000));
        (seconds * unit).to_string().into_bytes()
    }

    /// A point of time: beyond all that `after` gives, from few, or past, or no such thing.
    fn at(&mut self, unit: u64) -> Vec<u8> {
        if self.one_in(12) { b"1".to_vec() } else { self.later(unit) }
    }

    /// As `at`, but not past: SET makes a key with a past expiry, which is there until it is found.
    fn later(&mut self, unit: u64) -> Vec<u8> {
        let odd = ["0", "-1", "9223372036854775807", "-9223372036854775808", "x"];
        if self.one_in(12) {
            return self.pick(&odd);
        }
        ((4_000_000_000 + self.rng.below(8)) * unit).to_string().into_bytes()
    }

    fn id(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => self.pick(&[
                "0",
                "0-0",
                "x",
                "-",
                "1-",
                "",
                "5-*",
                "-1",
                "18446744073709551616",
                "1-18446744073709551615",
            ]),
            1 | 2 => (1 + self.rng.below(self.newest + 2)).to_string().into_bytes(),
            _ => {
                let back = self.rng.below(25).min(self.newest);
                format!("{}-{}", self.newest - back, self.rng.below(3)).into_bytes()
            }
        }
    }

    fn new_id(&mut self) -> Vec<u8> {
        if self.one_in(12) {
            return self.id();
        }
        self.newest += self.rng.below(2);
        match self.rng.below(6) {
            0 => format!("{}-*", self.newest).into_bytes(),
            1 => format!("{}-{}", self.newest, self.rng.below(9)).into_bytes(),
            _ => {
                self.newest += 1;
                format!("{}-{}", self.newest, self.rng.below(2)).into_bytes()
            }
        }
    }

    /// Above all ids so far: since 7.2 XSETID takes none below a deleted one.
    fn high_id(&mut self) -> Vec<u8> {
        self.newest += 3;
        self.newest.to_string().into_bytes()
    }

    fn range_id(&mut self) -> Vec<u8> {
        match self.rng.below(8) {
            0 | 1 => b"-".to_vec(),
            2 if self.one_in(8) => b"18446744073709551615-18446744073709551615".to_vec(),
            2 | 3 => b"+".to_vec(),
            4 => [b"(".to_vec(), self.id()].concat(),
            _ => self.id(),
        }
    }

    fn degrees(&mut self, limit: u64) -> Vec<u8> {
        if self.one_in(60) {
            return self.pick(&["180.1", "-200", "86", "x", "nan", "inf", ""]);
        }
        let micro = self.rng.below(2 * limit * 1_000_000) as f64 - limit as f64 * 1e6;
        format!("{:.6}", micro / 1e6).into_bytes()
    }

    fn key(&mut self, holds: Holds) -> Vec<u8> {
        let kind = match holds {
            Holds::Kind(kind) => kind,
            Holds::Mixed if self.one_in(4) => "set",
            Holds::Mixed => "zset",
            Holds::Any => self.any,
            Holds::Lex => return self.numbered("k:lex:", KEYS_OF_A_KIND),
            Holds::Hll => return self.numbered("k:hll:", KEYS_OF_A_KIND),
        };
        let kind = match self.rng.below(100) {
            0..5 => KINDS[self.rng.index(KINDS.len())],
            5 => "none",
            _ => kind,
        };
        format!("k:{kind}:{}", self.rng.below(KEYS_OF_A_KIND)).into_bytes()
    }

    fn expand(&mut self, node: &Node, args: &mut Vec<Vec<u8>>) {
        match node {
            Node::Word(word) if self.one_in(12) => args.push(word.to_lowercase().into_bytes()),
            Node::Word(word) => args.push(word.as_bytes().to_vec()),
            Node::Value(generator) => args.push(generator(self)),
            Node::Key(holds) => args.push(self.key(*holds)),
            Node::Counted(node) => {
                self.counted = 1 + self.rng.index(3);
                let said =
                    if self.one_in(30) { self.int() } else { self.counted.to_string().into() };
                args.push(said);
                (0..self.counted).for_each(|_| self.expand(node, args));
            }
            Node::All(nodes) => nodes.iter().for_each(|node| self.expand(node, args)),
            Node::OneOf(nodes) => {
                let one = self.rng.index(nodes.len());
                self.expand(&nodes[one], args);
            }
            Node::Maybe(node) => {
                if self.one_in(3) {
                    self.expand(node, args);
                }
            }
            Node::Several(node, or_none) => {
                let longest = if self.one_in(20) { 20 } else { 4 };
                let count = self.rng.index(longest) + usize::from(!or_none);
                (0..count).for_each(|_| self.expand(node, args));
                self.counted = count;
            }
            Node::Again(node) => (0..self.counted).for_each(|_| self.expand(node, args)),
        }
    }
}

/// A command to send, and how its reply is compared.
#[derive(Clone, Debug)]
pub struct Command {
    /// The row it is from; empty if from none.
    pub row: &'static str,
    pub args: Vec<Vec<u8>>,
    pub check: Check,
}

impl Command {
    pub fn new(args: &[&str], check: Check) -> Command {
        let args = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        Command { row: "", args, check }
    }
}

/// A row that can be drawn.
struct Drawn {
    weight: u64,
    syntax: Syntax,
    check: Check,
}

/// Draws commands.
pub struct Fuzzer {
    values: Values,
    families: Vec<Vec<Drawn>>,
    /// The families drawn from at present, by index.
    focus: Vec<usize>,
    /// Commands that must follow, the next one last.
    pending: Vec<Command>,
    has_multi: bool,
}

impl Fuzzer {
    /// `knows` tells whether a command is there; `alone` whether there is no other server.
    pub fn new(seed: u64, alone: bool, knows: impl Fn(&str) -> bool) -> Fuzzer {
        let drawn = |rows: &[_]| -> Vec<Drawn> {
            let parsed = rows.iter().map(|&(weight, text, check)| Drawn {
                weight: u64::from(weight),
                syntax: syntax::parse(text),
                check,
            });
            parsed
                .filter(|row| knows(&row.syntax.name) && (alone || row.check != Check::Alone))
                .collect()
        };
        let mut families: Vec<Vec<Drawn>> = FAMILIES.iter().map(|(_, rows)| drawn(rows)).collect();
        families.retain(|rows| !rows.is_empty());
        let values = Values { rng: Rng::from_seed(seed), any: "str", newest: 0, counted: 0 };
        let has_multi = knows("multi");
        let focus = (0..families.len()).collect();
        Fuzzer { values, families, focus, pending: Vec::new(), has_multi }
    }

    /// How many rows can be drawn.
    pub fn rows(&self) -> usize {
        self.families.iter().map(Vec::len).sum()
    }

    /// Draws from now on from few families, which so meet each other's keys more often, or from
    /// all. The store is to be empty.
    pub fn refocus(&mut self) {
        let count = self.families.len();
        self.values.newest = 0;
        self.focus = if self.values.one_in(4) {
            (0..count).collect()
        } else {
            (0..3).map(|_| self.values.rng.index(count)).collect()
        };
    }

    pub fn next(&mut self) -> Command {
        if let Some(command) = self.pending.pop() {
            return command;
        }
        match self.values.rng.below(300) {
            0 if self.has_multi => self.transaction(),
            1 => self.elsewhere(),
            2 if self.values.one_in(10) => Command::new(&["FLUSHDB"], Check::Exact),
            _ => {
                let command = self.single();
                self.put_off(command);
                self.pending.pop().expect("what was just put there")
            }
        }
    }

    /// Puts a command before those that wait, with what it needs before it.
    fn put_off(&mut self, command: Command) {
        let mut before = consumers(&command.args);
        if command.args[0].to_ascii_lowercase().starts_with(b"sort") {
            // Redis takes every number in SORT for too large as long as errno says so of one that
            // an earlier command had. Reading a score sets it back.
            before.push(Command::new(&["ZADD", "no-such-key", "XX", "1", "a"], Check::Exact));
        }
        self.pending.push(command);
        self.pending.extend(before);
    }

    /// MULTI, and what belongs to it.
    fn transaction(&mut self) -> Command {
        if self.values.one_in(4) {
            let end = if self.values.one_in(2) { &["UNWATCH"][..] } else { &["DBSIZE"] };
            self.pending.push(Command::new(end, Check::Exact));
        }
        let end = if self.values.one_in(8) { "DISCARD" } else { "EXEC" };
        self.pending.push(Command::new(&[end], Check::Exact));
        for _ in 0..self.values.rng.below(8) {
            let command = self.single();
            // What SPOP took is known too late here.
            if command.check != Check::Spop {
                self.put_off(command);
            }
        }
        self.pending.push(Command::new(&["MULTI"], Check::Exact));
        let watched = self.values.key(Holds::Any);
        Command { row: "", args: vec![b"WATCH".to_vec(), watched], check: Check::Exact }
    }

    /// A few commands in another database.
    fn elsewhere(&mut self) -> Command {
        self.pending.push(Command::new(&["SELECT", "0"], Check::Exact));
        for _ in 0..self.values.rng.below(6) {
            let command = self.single();
            self.put_off(command);
        }
        let db = self.values.pick(&["1", "2"]);
        Command { row: "", args: vec![b"SELECT".to_vec(), db], check: Check::Exact }
    }

    fn single(&mut self) -> Command {
        let Fuzzer { values, families, focus, .. } = self;
        // Keys come and go in every focus.
        let family = match values.rng.below(12) {
            0 => values.rng.index(families.len()),
            _ => focus[values.rng.index(focus.len())],
        };
        let rows = &families[family];
        let mut left = values.rng.below(rows.iter().map(|row| row.weight).sum());
        let row = rows.iter().find(|row| {
            let found = left < row.weight;
            left = left.saturating_sub(row.weight);
            found
        });
        let row = row.expect("weights that sum up");
        values.any = if values.one_in(12) { "hll" } else { KINDS[values.rng.index(KINDS.len())] };
        let mut args: Vec<Vec<u8>> =
            row.syntax.words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let own = args.len();
        values.expand(&row.syntax.arguments, &mut args);
        if values.one_in(30) && !TAKES_MORE.contains(&&row.syntax.name[..]) {
            mutate(values, &mut args, own, row.syntax.is_delicate);
        }
        Command { row: row.syntax.text, args, check: row.check }
    }
}

/// Commands that make the consumers this one is for. Since 7.2 it makes them itself also where it
/// has nothing for them to read or claim, and 7.0 does not.
fn consumers(args: &[Vec<u8>]) -> Vec<Command> {
    let is = |arg: &Vec<u8>, word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    let is_claim = is(&args[0], "xclaim") || is(&args[0], "xautoclaim");
    let (keys, owner) = match args {
        [_, key, group, consumer, ..] if is_claim => (std::slice::from_ref(key), [group, consumer]),
        [name, _, group, consumer, rest @ ..] if is(name, "xreadgroup") => {
            let streams = rest.iter().position(|arg| is(arg, "streams"));
            let streams = streams.map_or(&[][..], |at| &rest[at + 1..]);
            (&streams[..streams.len() / 2], [group, consumer])
        }
        _ => return Vec::new(),
    };
    let making = |key: &Vec<u8>| {
        let mut args = ["XGROUP", "CREATECONSUMER"].map(|word| word.as_bytes().to_vec()).to_vec();
        args.push(key.clone());
        args.extend(owner.map(Vec::clone));
        Command { row: "", args, check: Check::Exact }
    };
    keys.iter().map(making).collect()
}

/// Makes a command an odd one, likely wrong. `own` words are the command's own.
fn mutate(values: &mut Values, args: &mut Vec<Vec<u8>>, own: usize, is_delicate: bool) {
    if args.len() == own || values.one_in(4) {
        args.push(values.pick(STRAY_WORDS));
        return;
    }
    let at = own + values.rng.index(args.len() - own);
    let other = own + values.rng.index(args.len() - own);
    match values.rng.below(if is_delicate { 1 } else { 5 }) {
        0 => drop(args.remove(at)),
        1 => args.insert(at, args[other].clone()),
        2 => args.swap(at, other),
        3 => args[at] = values.pick(LIMITS),
        _ => args.insert(at, values.pick(STRAY_WORDS)),
    }
}
