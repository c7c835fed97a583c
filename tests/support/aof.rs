//! What tests of the append-only file share, which use the library rather than the program.

use super::encode;
use goredis::persist::aof::{Loader, Options, Step};
use goredis::resp::Args;

/// Loads a file in slices of so many bytes; gives its commands as lines. `bla` is no command.
pub fn load(options: &Options, slice: u64) -> Result<(Vec<String>, Loader), String> {
    let mut loader = Loader::open(options).map_err(|e| e.to_string())?;
    let mut commands = Vec::new();
    let mut run = |args: Args<'_>| {
        let words: Vec<_> = args.iter().map(String::from_utf8_lossy).collect();
        if words[0] == "bla" {
            return Err("Unknown command 'bla'".to_string());
        }
        commands.push(words.join(" "));
        Ok(())
    };
    while loader.step(slice, &mut run).map_err(|e| e.to_string())? == Step::More {}
    Ok((commands, loader))
}

/// A command as it is in the file.
pub fn resp(words: &str) -> Vec<u8> {
    encode(&words.split(' ').collect::<Vec<_>>())
}
