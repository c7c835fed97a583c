//! What tests of the append-only file share, which use the library rather than the program.

use super::encode;
use goredis::persist::aof::{Loader, Options, Step};
use goredis::resp::Args;
use goredis::store::Keyspace;

/// Loads a file in slices of so many bytes; gives its commands as lines. `bla` is no command.
pub fn load(options: &Options, slice: u64) -> Result<(Vec<String>, Loader), String> {
    load_with_keys(options, slice).map(|(commands, loader, _)| (commands, loader))
}

/// The same, with what was loaded from a base in RDB format.
pub fn load_with_keys(
    options: &Options,
    slice: u64,
) -> Result<(Vec<String>, Loader, Keyspace), String> {
    let mut loader = Loader::open(options).map_err(|e| e.to_string())?;
    let mut commands = Vec::new();
    let mut keys = Keyspace::new(16, 1, 0);
    let mut run = |_: &mut Keyspace, args: Args<'_>| {
        let words: Vec<_> = args.iter().map(String::from_utf8_lossy).collect();
        if words[0] == "bla" {
            return Err("Unknown command 'bla'".to_string());
        }
        commands.push(words.join(" "));
        Ok(())
    };
    while loader.step(slice, &mut keys, &mut run).map_err(|e| e.to_string())? == Step::More {}
    Ok((commands, loader, keys))
}

/// A command as it is in the file.
pub fn resp(words: &str) -> Vec<u8> {
    encode(&words.split(' ').collect::<Vec<_>>())
}
