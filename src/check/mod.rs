//! The tools that look at files no server has open: `goredis check-aof` and `goredis check-rdb`,
//! which are also there under the names redis-check-aof and redis-check-rdb. What they print is
//! what Redis's tools print, where programs may look for it, and more. Must not know the server.

mod aof;
mod output;
mod rdb;

use output::Output;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The exit code when the file is not valid, or cannot be looked at.
const FAILED: u8 = 1;

const AOF_USAGE: &str = "\
Usage: redis-check-aof [--fix|--truncate-to-timestamp $timestamp] [--ring-dir DIR]
                       <file.manifest|file.aof>

Says what is in an append-only file, and where it breaks. Without an option it changes nothing.

  --fix              cuts the last file where its last whole command ends, after a question. What
                     no crash explains is kept in another file.
  --truncate-to-timestamp $timestamp
                     cuts the last file where a time behind this one, in seconds since 1970, is
                     noted ('aof-timestamp-enabled yes').
  --ring-dir DIR     what the server's 'aof-ring-dir' says: what a crash has left there is put into
                     the files before one is cut.
";

const RDB_USAGE: &str = "\
Usage: redis-check-rdb <rdb-file-name>

Says what is in an RDB file, and where it breaks. Changes nothing.
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Aof,
    Rdb,
}

impl Tool {
    fn named(name: &OsStr) -> Option<Tool> {
        match name.to_str()? {
            "check-aof" => Some(Tool::Aof),
            "check-rdb" => Some(Tool::Rdb),
            _ => None,
        }
    }

    /// Which one is meant, and its arguments. By the name the program was started under, or else by
    /// its first argument.
    fn of(args: &[OsString]) -> Option<(Tool, &[OsString])> {
        let (program, rest) = args.split_first()?;
        let program = Path::new(program).file_name()?.to_str()?;
        if let Some(tool) = program.strip_prefix("redis-").and_then(|n| Tool::named(n.as_ref())) {
            return Some((tool, rest));
        }
        let (first, rest) = rest.split_first()?;
        Tool::named(first).map(|tool| (tool, rest))
    }

    fn usage(self) -> &'static str {
        match self {
            Tool::Aof => AOF_USAGE,
            Tool::Rdb => RDB_USAGE,
        }
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    Aof(aof::Request),
    Rdb(PathBuf),
    Help,
    Version,
}

/// Does what a command line asks for, if it asks for one of the tools. `args` begins with the name
/// of the program. Returns the exit code.
pub fn run(args: &[OsString]) -> Option<u8> {
    let (tool, args) = Tool::of(args)?;
    output::print_log();
    let mut output = Output::new();
    let order = match understand(tool, args) {
        Ok(order) => order,
        Err(why) => {
            output.complain(&format!("{why}\n{}", tool.usage().trim_end()));
            return Some(FAILED);
        }
    };
    let is_valid = match order {
        Order::Aof(request) => aof::check(&request, &mut output),
        Order::Rdb(path) => rdb::check(&path, &mut output),
        Order::Help => {
            output.line(tool.usage().trim_end());
            Ok(true)
        }
        Order::Version => {
            let name = if tool == Tool::Aof { "check-aof" } else { "check-rdb" };
            output.line(&format!("goredis {name} {}", env!("CARGO_PKG_VERSION")));
            Ok(true)
        }
    };
    let code = match is_valid {
        Ok(true) => 0,
        Ok(false) => FAILED,
        Err(why) => {
            output.line(&why);
            FAILED
        }
    };
    Some(code)
}

fn understand(tool: Tool, args: &[OsString]) -> Result<Order, String> {
    let (mut action, mut ring_dir, mut file) = (aof::Action::Look, None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{} lacks a value.", arg.display()));
        let sets_action = match arg.to_str() {
            Some("-h" | "--help") => return Ok(Order::Help),
            Some("-v" | "--version") => return Ok(Order::Version),
            Some("--fix") if tool == Tool::Aof => Some(aof::Action::Fix),
            Some("--truncate-to-timestamp") if tool == Tool::Aof => {
                let time = value()?.to_str().and_then(|text| text.parse().ok());
                let time = time.filter(|seconds| *seconds > 0);
                Some(aof::Action::CutTo(time.ok_or("Invalid timestamp, aborting...")?))
            }
            Some("--ring-dir") if tool == Tool::Aof => {
                ring_dir = Some(PathBuf::from(value()?));
                None
            }
            Some(option) if option.starts_with('-') => {
                return Err(format!("There is no option {option}."));
            }
            _ if file.is_some() => return Err("One file at a time.".to_string()),
            _ => {
                file = Some(PathBuf::from(arg));
                None
            }
        };
        if let Some(wanted) = sets_action {
            if action != aof::Action::Look {
                return Err("Only one of --fix and --truncate-to-timestamp.".to_string());
            }
            action = wanted;
        }
    }
    let path = file.ok_or("Which file?")?;
    Ok(match tool {
        Tool::Aof => Order::Aof(aof::Request { path, action, ring_dir }),
        Tool::Rdb => Order::Rdb(path),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(line: &str) -> Option<Result<Order, String>> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Tool::of(&args).map(|(tool, args)| understand(tool, args))
    }

    fn look(path: &str) -> Order {
        let path = path.into();
        Order::Aof(aof::Request { path, action: aof::Action::Look, ring_dir: None })
    }

    #[test]
    fn the_tools_have_two_names_each() {
        assert_eq!(order("goredis check-aof x"), Some(Ok(look("x"))));
        assert_eq!(order("/bin/redis-check-aof x"), Some(Ok(look("x"))));
        assert_eq!(order("goredis check-rdb x"), Some(Ok(Order::Rdb("x".into()))));
        assert_eq!(order("./redis-check-rdb x"), Some(Ok(Order::Rdb("x".into()))));
        assert_eq!(order("redis-server x.conf"), None);
        assert_eq!(order("goredis"), None);
        assert_eq!(order("check-aof x"), None);
    }

    #[test]
    fn options_are_understood_or_refused() {
        let path = PathBuf::from("x");
        let request = |action, ring_dir: Option<&str>| {
            let ring_dir = ring_dir.map(PathBuf::from);
            Some(Ok(Order::Aof(aof::Request { path: path.clone(), action, ring_dir })))
        };
        assert_eq!(order("goredis check-aof --fix x"), request(aof::Action::Fix, None));
        let all = "goredis check-aof x --ring-dir r --truncate-to-timestamp 7";
        assert_eq!(order(all), request(aof::Action::CutTo(7), Some("r")));
        for wrong in [
            "goredis check-aof",
            "goredis check-aof --fix",
            "goredis check-aof x y",
            "goredis check-aof --fixx x",
            "goredis check-aof --truncate-to-timestamp x",
            "goredis check-aof --truncate-to-timestamp 0 x",
            "goredis check-aof x --truncate-to-timestamp",
            "goredis check-aof --fix --truncate-to-timestamp 7 x",
            "goredis check-rdb --fix x",
            "goredis check-rdb",
        ] {
            assert!(order(wrong).unwrap().is_err(), "{wrong}");
        }
        assert_eq!(order("goredis check-rdb -v"), Some(Ok(Order::Version)));
        assert_eq!(order("redis-check-aof --help"), Some(Ok(Order::Help)));
    }
}
