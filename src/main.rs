//! Arguments, configuration, server, run.

use goredis::commands::FAMILIES;
use goredis::server::command::CommandTable;
use goredis::server::config::{self, Exit, Stream};
use goredis::server::{log, start};

fn main() {
    let code = match config::from_command_line(std::env::args_os().skip(1)) {
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
