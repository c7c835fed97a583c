//! Runs the scripts of `tests/scripts` in several ways, and sees that they speak of every command.
//!
//! Scripts in `planned/` are of commands that goredis does not have yet. Only the referee runs
//! them; when the commands come, a test asks for the scripts to move.
//!
//! With `GOREDIS_REFEREE=redis-server` in the environment they are run against that program
//! instead of goredis: what it does not confirm is wrong in the scripts, not in goredis. With
//! `GOREDIS_FILL=1` as well, its replies are written into the scripts wherever a command stands
//! without one; read them before you keep them.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use goredis::commands::FAMILIES;
use goredis::resp::read::Value;
use goredis::server::command::CommandTable;
use support::expect;
use support::run::{Report, Way, referee, run};
use support::script::{Script, Step, load};

/// Commands that no script can speak of, and where they are tested instead.
const EXCUSED: &[(&str, &str)] = &[
    ("shutdown", "ends the server: tests/server.rs"),
    ("acl|load", "succeeds only with a file of users: tests/acl.rs"),
    ("acl|save", "succeeds only with a file of users: tests/acl.rs"),
    ("config|rewrite", "succeeds only with a configuration file: tests/server.rs"),
];

/// The scripts to run, or those of them whose path contains `GOREDIS_SCRIPT`.
fn scripts() -> Vec<Script> {
    let wanted = std::env::var("GOREDIS_SCRIPT").unwrap_or_default();
    let mut scripts = load_all("tests/scripts");
    if referee().is_some() {
        scripts.extend(load_all("tests/scripts/planned"));
    }
    scripts.retain(|script| script.path.to_str().unwrap().contains(&wanted));
    assert!(!scripts.is_empty(), "no script has {wanted:?} in its path");
    scripts
}

fn load_all(dir: &str) -> Vec<Script> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut paths: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "txt"));
    paths.sort();
    paths.iter().map(|path| load(path)).collect()
}

fn run_all(way: Way) {
    let mut all = Report::default();
    for script in scripts() {
        let report = run(&script, &way);
        all.commands += report.commands;
        all.failures.extend(report.failures);
    }
    assert!(all.commands > 0, "no command was run");
    let count = all.failures.len();
    assert!(
        count == 0,
        "\n{}\n{count} of {} commands failed",
        all.failures.join("\n"),
        all.commands
    );
}

#[test]
fn scripts_in_resp2() {
    run_all(Way { resp3: false, restart: false });
}

#[test]
fn scripts_in_resp3() {
    run_all(Way { resp3: true, restart: false });
}

#[test]
fn scripts_with_restarts_from_the_append_only_file() {
    run_all(Way { resp3: false, restart: true });
}

/// Writes the referee's replies into the scripts, where they have none. Does nothing otherwise.
#[test]
fn fill() {
    if referee().is_none() || std::env::var("GOREDIS_FILL").is_err() {
        return;
    }
    for script in scripts() {
        let replies = |resp3| -> BTreeMap<usize, Value> {
            run(&script, &Way { resp3, restart: false }).replies.into_iter().collect()
        };
        let (resp2, resp3) = (replies(false), replies(true));
        let text = std::fs::read_to_string(&script.path).unwrap();
        let mut filled = String::new();
        for (index, line) in text.lines().enumerate() {
            writeln!(filled, "{line}").unwrap();
            let line = index + 1;
            if resp2.contains_key(&line) || resp3.contains_key(&line) {
                filled.push_str(&expectation(resp2.get(&line), resp3.get(&line)));
            }
        }
        std::fs::write(&script.path, filled).unwrap();
    }
}

/// One expectation for both protocols if there is one, else one for each.
fn expectation(resp2: Option<&Value>, resp3: Option<&Value>) -> String {
    let matches = |text: &str, value: Option<&Value>, resp3| {
        let expected = expect::parse(text).unwrap().unwrap();
        value.is_none_or(|value| expected.matches(value, resp3))
    };
    let shown2 = resp2.or(resp3).map(expect::show).unwrap();
    let shown3 = resp3.or(resp2).map(expect::show).unwrap();
    if matches(&shown3, resp2, false) {
        format!("{shown3}\n")
    } else if matches(&shown2, resp3, true) {
        format!("{shown2}\n")
    } else {
        format!("{shown2}\nresp3: {shown3}\n")
    }
}

/// The name of a step's command as the table has it: `get`, `config|set`; none if it has not.
fn full_name(step: &Step, table: &CommandTable) -> Option<String> {
    let words = step.words();
    let entry = table.find(words.first()?)?;
    if !entry.is_container() {
        return Some(entry.full_name.clone());
    }
    Some(entry.subcommand(words.get(1)?)?.full_name.clone())
}

#[test]
fn every_command_is_in_a_script() {
    let table = CommandTable::new(FAMILIES);
    let scripts = load_all("tests/scripts");
    let steps = scripts.iter().flat_map(|script| &script.sections).flat_map(|s| &s.steps);
    // A command that only fails in the scripts is not tested by them.
    let said: BTreeSet<String> = steps
        .filter(|step| !step.expected.as_ref().is_some_and(|text| text.starts_with("-ERR")))
        .filter_map(|step| full_name(step, table))
        .collect();
    let mut complaints = String::new();
    for entry in table.with_subcommands().filter(|entry| !entry.is_container()) {
        let name = &entry.full_name;
        let is_excused = EXCUSED.iter().any(|(excused, _)| excused == name);
        match (said.contains(name), is_excused) {
            (false, false) => writeln!(complaints, "{name}: in no script, and not excused"),
            (true, true) => writeln!(complaints, "{name}: excused, but in a script"),
            _ => Ok(()),
        }
        .unwrap();
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

#[test]
fn what_is_planned_is_not_there_yet() {
    let table = CommandTable::new(FAMILIES);
    for script in load_all("tests/scripts/planned") {
        for section in &script.sections {
            assert!(
                section.steps.iter().any(|step| full_name(step, table).is_none()),
                "{}: goredis has all of \"{}\" now: move it one folder up",
                script.path.display(),
                section.name
            );
        }
    }
}
