//! HELP of a container: its subcommands, from their rows.

use super::syntax;
use crate::server::command::Command;
use crate::server::ctx::Ctx;
use crate::server::error::Error;

/// Handler of every container's HELP.
pub fn help(ctx: &mut Ctx) -> Result<(), Error> {
    let name = ctx.entry.full_name.split('|').next().unwrap_or_default();
    let Some(container) = ctx.server.commands.find_original(name.as_bytes()) else {
        return Err(Error::SYNTAX);
    };
    let lines = lines(container.command);
    ctx.out.array(lines.len());
    lines.iter().for_each(|line| ctx.out.simple(line));
    Ok(())
}

/// The error of a container's handler for arguments that do not fit its subcommand.
pub fn wrong_subcommand(ctx: &Ctx) -> Error {
    // As much as Redis shows of a name.
    const SHOWN: usize = 128;
    let (container, name) = (ctx.arg(0), ctx.arg(1));
    let parts = [
        b"ERR unknown subcommand or wrong number of arguments for '",
        &name[..name.len().min(SHOWN)],
        b"'. Try ",
        &container.to_ascii_uppercase(),
        b" HELP.",
    ];
    Error::Bytes(parts.concat())
}

/// The first line has the form Redis gives it, as programs look for it.
fn lines(container: &Command) -> Vec<String> {
    let name = container.name.to_ascii_uppercase();
    let mut lines =
        vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    if container.arity == -1 {
        lines.push("(no subcommand)".to_string());
        lines.push(format!("    {}.", container.summary));
    }
    for subcommand in container.subcommands.iter().filter(|c| c.name != "help") {
        let arguments = syntax::parse(subcommand.args, subcommand.keys.len()).unwrap_or_default();
        let line = format!("{} {}", subcommand.name.to_ascii_uppercase(), syntax::show(&arguments));
        lines.push(line.trim_end().to_string());
        lines.push(format!("    {}.", subcommand.summary));
    }
    lines.push("HELP".to_string());
    lines.push("    Print this help.".to_string());
    lines
}
