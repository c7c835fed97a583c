//! Random users and random commands, on goredis and on a real redis-server side by side: both must
//! take and refuse the same rules, describe users alike, and say the same of who may do what (ACL
//! DRYRUN).
//!
//! redis-server 7.0 is looked for at `GOREDIS_REFEREE`, else at /usr/bin/redis-server; without one
//! there is nothing to compare with. `GOREDIS_FUZZ_SEED` (a number) and `GOREDIS_FUZZ_COUNT` (how
//! many questions) say what to try. A failure prints the rules that lead to it.
//!
//! 7.0 shows the commands of a user as it thinks best, 7.2 and goredis as the rules said. So the
//! descriptions are not compared as texts: what goredis says of a user is given to redis-server as
//! the rules for another, whom it then must show as it shows the first.

mod support;

#[allow(dead_code)]
mod fuzz {
    pub mod generate;
    pub mod grammar;
    pub mod syntax;
}

use std::collections::BTreeSet;
use std::path::Path;

use fuzz::generate::Fuzzer;
use goredis::base::rng::Rng;
use goredis::commands::FAMILIES;
use goredis::resp::read::Value;
use goredis::server::command::{Channels, CommandTable, Entry};
use goredis::server::introspect::categories;
use support::{Conn, Options, Server, expect};

/// Questions with one seed and one pair of servers.
const ROUND: usize = 20_000;
/// Questions about one state of a user.
const QUESTIONS: usize = 12;
/// Every so many states, all commands are asked about.
const ALL_EVERY: usize = 40;

/// What `+select|0` and the like name.
const FIRST_ARGS: &[&str] = &["0", "1", "k:str:0", "object"];

/// Where goredis may refuse what redis-server 7.0.15 allows, and why. The other way round nothing
/// is listed: what goredis allows and Redis does not must be an error by itself.
const STRICTER: &[(&str, &str)] = &[
    ("pfmerge", UNFIT),
    ("zunionstore", UNFIT),
    ("zinterstore", UNFIT),
    ("zdiffstore", UNFIT),
    ("georadius", UNFIT),
    ("georadiusbymember", UNFIT),
];
/// With one key only, PFMERGE even does something.
const UNFIT: &str = "if one key specification does not fit the arguments, Redis asks about no key \
                     at all; goredis asks about those that the others find";

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

fn referee() -> Option<String> {
    let installed = "/usr/bin/redis-server".to_string();
    support::run::referee().or_else(|| Some(installed).filter(|path| Path::new(path).exists()))
}

fn command_list(conn: &mut Conn) -> BTreeSet<String> {
    let Value::Array(names) = conn.command(&["COMMAND", "LIST"]) else { panic!("COMMAND LIST") };
    names.iter().map(|name| text(name.bytes().unwrap())).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Draws rules.
struct Rules {
    rng: Rng,
    /// Commands and subcommands that both servers have.
    commands: Vec<String>,
}

impl Rules {
    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.rng.index(words.len())]
    }

    fn command(&mut self) -> String {
        if self.rng.below(30) == 0 {
            // Redis has some of these, goredis does not yet; nobody has the others.
            let odd = ["eval", "script|load", "nosuch", "config|nosuch", "get|", "", "@", "a|b|c"];
            return self.pick(&odd).to_string();
        }
        let index = self.rng.index(self.commands.len());
        self.commands[index].clone()
    }

    fn about_commands(&mut self) -> String {
        let sign = self.pick(&["+", "-"]);
        match self.rng.below(10) {
            0 => self.pick(&["+@all", "-@all", "allcommands", "NOCOMMANDS"]).to_string(),
            1..=3 => {
                let category = match self.rng.below(20) {
                    0 => "nosuch",
                    _ => categories::NAMES[self.rng.index(categories::NAMES.len())],
                };
                format!("{sign}@{category}")
            }
            4 => {
                let first = self.pick(FIRST_ARGS);
                let commands = ["select", "get", "debug", "config", "client|kill", "move"];
                format!("{sign}{}|{first}", self.pick(&commands))
            }
            // What is said of these concerns more than one.
            5 => {
                let commands = ["select", "debug", "config", "client", "acl", "object", "xgroup"];
                format!("{sign}{}", self.pick(&commands))
            }
            _ => format!("{sign}{}", self.command()),
        }
    }

    fn pattern(&mut self) -> &'static str {
        self.pick(&[
            "k:*",
            "k:str:*",
            "k:list:?",
            "k:[hz]*",
            "*:0",
            "*:1",
            "k:*:[^2]",
            "k:set:1",
            "*",
            "",
            "k:zset:*",
            "k:stream:*",
            "k:bits:*",
            "no\\*",
            "k:[a-m]*",
            "k:geo:*",
            "a b",
        ])
    }

    fn about_keys(&mut self) -> String {
        match self.rng.below(12) {
            0 => self.pick(&["allkeys", "resetkeys", "~*", "RESETKEYS"]).to_string(),
            1 => self.pick(&["%", "%~", "%R", "%WR~k:*", "%RR~x", "%x~y", "%rw~*"]).to_string(),
            _ => format!("{}{}", self.pick(&["~", "~", "%R~", "%W~", "%RW~"]), self.pattern()),
        }
    }

    fn about_channels(&mut self) -> String {
        match self.rng.below(6) {
            0 => self.pick(&["allchannels", "resetchannels", "&*"]).to_string(),
            _ => format!("&{}", self.pick(&["news", "news:*", "n?ws", "[a-n]*", "x", "*s", "a b"])),
        }
    }

    fn of_selector(&mut self) -> String {
        match self.rng.below(9) {
            0..=4 => self.about_commands(),
            5..=7 => self.about_keys(),
            _ => self.about_channels(),
        }
    }

    fn about_the_user(&mut self) -> String {
        let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let rules = [
            "on",
            "off",
            "nopass",
            "resetpass",
            "reset",
            "clearselectors",
            ">pw",
            "<pw",
            ">other",
            "#",
            "!",
            "#abc",
            "skip-sanitize-payload",
            "sanitize-payload",
            "nonsense",
            "",
        ];
        match self.pick(&rules) {
            rule @ ("#" | "!") => format!("{rule}{hash}"),
            rule => rule.to_string(),
        }
    }

    fn next(&mut self) -> String {
        match self.rng.below(12) {
            0 => self.about_the_user(),
            1 => {
                let count = self.rng.below(4);
                let rules: Vec<String> = (0..count).map(|_| self.of_selector()).collect();
                let closing = if self.rng.below(20) == 0 { "" } else { ")" };
                format!("({}{closing}", rules.join(" "))
            }
            _ => self.of_selector(),
        }
    }
}

/// A server of each kind.
struct Both {
    ours: Conn,
    theirs: Conn,
    _servers: [Server; 2],
}

impl Both {
    fn start(program: &str) -> Both {
        let args = ["--enable-debug-command", "yes", "--acllog-max-len", "0"];
        let ours = Server::start(Options::new().args(&args));
        let theirs = Server::start(Options::new().redis(program).args(&args));
        Both { ours: ours.connect(), theirs: theirs.connect(), _servers: [ours, theirs] }
    }

    fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> (Value, Value) {
        (self.ours.command(args), self.theirs.command(args))
    }
}

/// The line of ACL LIST about a user, behind its name, and without what 7.2 says in addition.
fn described(conn: &mut Conn, name: &str) -> Vec<String> {
    let Value::Array(lines) = conn.command(&["ACL", "LIST"]) else { panic!("ACL LIST") };
    let lines = lines.iter().map(|line| text(line.bytes().unwrap()));
    let before = format!("user {name} ");
    let line = lines.filter_map(|line| line.strip_prefix(&before).map(String::from)).next();
    let line = line.unwrap_or_else(|| panic!("no user {name}"));
    line.split(' ').filter(|word| *word != "sanitize-payload").map(String::from).collect()
}

/// The words sorted within each selector: 7.0 lists commands in no order.
fn sorted(words: &[String]) -> Vec<Vec<&str>> {
    let mut selectors = vec![Vec::new()];
    for word in words {
        if let Some(rest) = word.strip_prefix('(') {
            selectors.push(vec![rest.trim_end_matches(')')]);
        } else {
            selectors.last_mut().unwrap().push(word.trim_end_matches(')'));
        }
    }
    selectors.iter_mut().for_each(|words| words.sort_unstable());
    selectors
}

/// ACL GETUSER's fields but for the commands, by name.
fn fields(value: &Value) -> Vec<(String, String)> {
    let Value::Array(items) = value else { return vec![("".to_string(), expect::show(value))] };
    let pairs = items.chunks(2).map(|pair| (text(pair[0].bytes().unwrap()), &pair[1]));
    let shown = pairs.filter_map(|(name, value)| match (name.as_str(), value) {
        ("commands", _) => None,
        ("selectors", Value::Array(selectors)) => {
            let all: Vec<_> =
                selectors.iter().map(|selector| format!("{:?}", fields(selector))).collect();
            Some((name, all.join(" ")))
        }
        ("flags", Value::Array(flags)) => {
            let flags = flags.iter().map(|flag| text(flag.bytes().unwrap()));
            let flags: Vec<_> = flags.filter(|flag| flag != "sanitize-payload").collect();
            Some((name, flags.join(" ")))
        }
        (_, value) => Some((name, expect::show(value))),
    });
    shown.collect()
}

/// What is wrong with two answers to ACL SETUSER, if anything.
fn differ(ours: &Value, theirs: &Value) -> bool {
    // 7.2 says where the first of several selectors opened, 7.0 where the last did.
    let unmatched = |value: &Value| expect::show(value).contains("Unmatched parenthesis");
    ours != theirs && !(unmatched(ours) && unmatched(theirs))
}

/// What ACL DRYRUN says, in 7.0's words.
fn verdict(value: &Value, name: &str) -> String {
    let text = expect::show(value).replace(&format!("\"User {name} has"), "\"This user has");
    // 7.0 shows a key up to its first zero byte.
    match (text.find("\\x00"), text.rfind('\'')) {
        (Some(zero), Some(end)) if zero < end => text[..zero].to_string() + &text[end..],
        _ => text,
    }
}

/// Commands with as many arguments as they take, for a question about the command alone.
fn plain_line(entry: &Entry) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> =
        entry.full_name.split('|').map(|word| word.as_bytes().to_vec()).collect();
    let least = entry.command.arity.unsigned_abs() as usize;
    words.resize(least.max(words.len()), b"k:str:1".to_vec());
    words
}

struct Round {
    both: Both,
    rules: Rules,
    fuzzer: Fuzzer,
    /// What both have.
    entries: Vec<&'static Entry>,
    /// What was said of each user since it was new.
    history: Vec<(String, Vec<String>)>,
    asked: usize,
    denied: usize,
}

const USERS: [&str; 3] = ["ann", "bob", "cleo"];

impl Round {
    fn start(seed: u64, program: &str) -> Round {
        let mut both = Both::start(program);
        let known = &command_list(&mut both.ours) & &command_list(&mut both.theirs);
        let entries = CommandTable::new(FAMILIES).with_subcommands();
        let entries = entries.filter(|entry| known.contains(&entry.full_name)).collect();
        let fuzzer = Fuzzer::new(seed, false, |name| known.contains(name));
        let rules = Rules { rng: Rng::from_seed(seed), commands: known.into_iter().collect() };
        Round { both, rules, fuzzer, entries, history: Vec::new(), asked: 0, denied: 0 }
    }

    fn fail(&self, name: &str, what: &str) -> ! {
        let own = self.history.iter().filter(|(other, _)| other == name);
        let lines: Vec<_> = own.map(|(_, rules)| format!("ACL SETUSER {name} {rules:?}")).collect();
        panic!("{what}\nafter\n{}", lines.join("\n"));
    }

    /// Changes a user by a few rules.
    fn change(&mut self) -> &'static str {
        let name = self.rules.pick(&USERS);
        let count = 1 + self.rules.rng.below(4);
        let mut rules: Vec<String> = (0..count).map(|_| self.rules.next()).collect();
        if self.history.iter().all(|(other, _)| other != name) || self.rules.rng.below(12) == 0 {
            self.history.retain(|(other, _)| other != name);
            rules.insert(0, "reset".to_string());
        }
        // Of several rules the first that makes no sense refuses all.
        let is_first = self.history.iter().all(|(other, _)| other != name);
        let mut words = vec!["ACL".to_string(), "SETUSER".to_string(), name.to_string()];
        words.extend(rules.iter().cloned());
        let (ours, theirs) = self.both.ask(&words);
        self.history.push((name.to_string(), rules));
        if differ(&ours, &theirs) {
            self.fail(name, &format!("{} but {}", expect::show(&ours), expect::show(&theirs)));
        }
        if matches!(ours, Value::Error(_)) {
            self.history.pop();
            if is_first {
                self.both.ask(&["ACL", "SETUSER", name, "reset"]);
                self.history.push((name.to_string(), vec!["reset".to_string()]));
            }
        }
        name
    }

    /// Both describe a user alike.
    fn compare(&mut self, name: &str) {
        let (ours, theirs) = self.both.ask(&["ACL", "GETUSER", name]);
        let (ours, theirs) = (fields(&ours), fields(&theirs));
        // Behind `~*` Redis takes no other pattern, and yet writes it so.
        let ours: Vec<_> =
            ours.into_iter().map(|(field, text)| (field, text.replace("%RW~*", "~*"))).collect();
        if ours != theirs {
            self.fail(name, &format!("ACL GETUSER: {ours:?} but {theirs:?}"));
        }
        let own = described(&mut self.both.ours, name);
        let mut words = vec!["ACL", "SETUSER", "copy", "reset"];
        words.extend(own.iter().map(String::as_str));
        let shown = described(&mut self.both.theirs, name);
        self.copy("redis-server", name, &words, &shown);
        self.copy("goredis", name, &words, &own);
    }

    /// What one of them makes of a description.
    fn copy(&mut self, what: &str, name: &str, words: &[&str], expected: &[String]) {
        let Both { ours, theirs, .. } = &mut self.both;
        let conn = if what == "goredis" { ours } else { theirs };
        let reply = conn.command(words);
        if reply != Value::Simple(b"OK".to_vec()) {
            let reply = expect::show(&reply);
            self.fail(name, &format!("{what} does not take {words:?}: {reply}"));
        }
        let copied = described(conn, "copy");
        if sorted(&copied) != sorted(expected) {
            self.fail(name, &format!("{what} made {copied:?} of {words:?}, not {expected:?}"));
        }
    }

    /// Both say the same of who may execute a command.
    fn question(&mut self, name: &str, line: &[Vec<u8>]) {
        let dryrun = ["ACL", "DRYRUN", name].map(|word| word.as_bytes().to_vec());
        let words = [&dryrun, line].concat();
        let (ours, theirs) = self.both.ask(&words);
        let (ours, theirs) = (verdict(&ours, name), verdict(&theirs, name));
        self.asked += 1;
        self.denied += usize::from(ours.contains("no permissions"));
        // Some commands take more, or fewer, since 7.2.
        let is_about_number = |reply: &str| reply.starts_with("-ERR wrong number of arguments");
        if ours == theirs || is_about_number(&ours) || is_about_number(&theirs) {
            return;
        }
        if self.is_explained(line, &ours, &theirs) {
            return;
        }
        let shown: Vec<_> = line.iter().map(|word| text(word)).collect();
        self.fail(name, &format!("{shown:?}: {ours} but {theirs}"));
    }

    fn is_explained(&mut self, line: &[Vec<u8>], ours: &str, theirs: &str) -> bool {
        let is_about_key = |reply: &str| reply.contains("no permissions to access");
        if ours == "+OK" && is_about_key(theirs) {
            // Redis takes `01` for a number when it looks for keys, and for none when it executes
            // the command. What fails by itself needs no permission.
            return matches!(self.both.ours.command(line), Value::Error(_));
        }
        let command = text(&line[0]).to_ascii_lowercase();
        if STRICTER.iter().all(|(known, _)| *known != command) || !is_about_key(ours) {
            return false;
        }
        // It may also be another of the keys that is named.
        let keys = [&[b"COMMAND".to_vec(), b"GETKEYS".to_vec()], line].concat();
        is_about_key(theirs) || matches!(self.both.theirs.command(&keys), Value::Error(_))
    }

    /// Commands that the last rules about a user speak of, a container's subcommands among them.
    fn spoken_of(&self, name: &str) -> Vec<&'static Entry> {
        let last = self.history.iter().rfind(|(other, _)| other == name);
        let words = last.iter().flat_map(|(_, rules)| rules).flat_map(|rule| rule.split(' '));
        let commands: BTreeSet<String> = words
            .filter_map(|word| word.trim_matches(['(', ')']).strip_prefix(['+', '-']))
            .filter_map(|word| word.split('|').next().map(str::to_ascii_lowercase))
            .collect();
        let is_among = |entry: &&'static Entry| {
            entry.full_name.split('|').next().is_some_and(|name| commands.contains(name))
        };
        self.entries.iter().copied().filter(is_among).collect()
    }

    /// About whatever the fuzzer sends, or about channels.
    fn line(&mut self) -> Vec<Vec<u8>> {
        if self.rules.rng.below(8) > 0 {
            return self.fuzzer.next().args;
        }
        let with_channels: Vec<&Entry> =
            self.entries.iter().copied().filter(|e| e.command.channels != Channels::None).collect();
        let entry = with_channels[self.rules.rng.index(with_channels.len())];
        let count = 1 + self.rules.rng.below(2);
        let mut words = vec![entry.command.name.as_bytes().to_vec()];
        for _ in 0..count.max(u64::from(entry.command.arity > 0) * 2) {
            let channel = self.rules.pick(&["news", "news:1", "news:*", "x", "y", "nows", "*"]);
            words.push(channel.as_bytes().to_vec());
        }
        words
    }

    fn run(&mut self, count: usize) {
        for state in 0.. {
            if self.asked >= count {
                break;
            }
            let name = self.change();
            self.compare(name);
            for entry in self.spoken_of(name) {
                let mut line = plain_line(entry);
                self.question(name, &line);
                if !entry.full_name.contains('|') && line.len() > 1 {
                    line[1] = self.rules.pick(FIRST_ARGS).as_bytes().to_vec();
                    self.question(name, &line);
                }
            }
            for _ in 0..QUESTIONS {
                let line = self.line();
                self.question(name, &line);
            }
            if state % ALL_EVERY == 0 {
                for entry in self.entries.clone() {
                    self.question(name, &plain_line(entry));
                }
                self.fuzzer.refocus();
            }
        }
    }
}

#[test]
fn random_users_may_do_as_in_redis() {
    let seed = number("GOREDIS_FUZZ_SEED", 3) as u64;
    let count = number("GOREDIS_FUZZ_COUNT", ROUND / 2);
    let Some(program) = referee() else {
        println!("no redis-server is installed: nothing to compare with");
        return;
    };
    for number in 0..count.div_ceil(ROUND) {
        let seed = seed + number as u64;
        let mut round = Round::start(seed, &program);
        println!("seed {seed}");
        round.run(ROUND.min(count - number * ROUND));
        let Round { asked, denied, .. } = round;
        println!("seed {seed}: {asked} questions, {denied} times no");
        // Neither answer is rare, or little would be tested.
        assert!(asked < 1000 || (denied * 10 > asked && denied * 10 < asked * 9));
    }
}
