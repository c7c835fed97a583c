//! Random commands: those of the suite `fuzz`.

#[path = "../fuzz/generate.rs"]
pub mod generate;
#[path = "../fuzz/grammar.rs"]
pub mod grammar;
#[path = "../fuzz/syntax.rs"]
pub mod syntax;

use std::collections::BTreeSet;

use crate::support::Conn;
use goredis::resp::read::Value;

/// The commands a server has, in lower case, subcommands as `object|encoding`.
pub fn command_list(conn: &mut Conn) -> BTreeSet<String> {
    let Value::Array(names) = conn.command(&["COMMAND", "LIST"]) else { panic!("no list") };
    let text = |name: &Value| String::from_utf8_lossy(name.bytes().unwrap()).into_owned();
    names.iter().map(text).collect()
}
