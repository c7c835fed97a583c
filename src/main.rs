//! Arguments, configuration, server, run; or a tool that looks at files instead.

use std::ffi::OsString;

use goredis::check;
use goredis::commands::FAMILIES;
use goredis::server::command::CommandTable;
use goredis::server::config::{self, Exit, Stream};
use goredis::server::{log, start};

fn main() {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = check::run(&args) {
        std::process::exit(code.into());
    }
    let code = match config::from_command_line(args.into_iter().skip(1)) {
        Ok(start) => start::serve(start, CommandTable::new(FAMILIES), log::real_files()),
        Err(Exit { text, stream, code }) => {
            match stream {
                Stream::Stdout => print!("{text}"),
                Stream::Stderr => eprint!("{text}"),
            }
            code
        }
    };
    std::process::exit(code.into());
}
