//! MEMORY DOCTOR: what is wrong with the memory, in words, and what may help.

use crate::server::Server;
use crate::server::ctx::Ctx;
use crate::server::error::Error;
use crate::server::memory::{Memory, connected};
use crate::server::process;

/// With less used there is nothing to say, in bytes.
const LITTLE: u64 = 5 << 20;
/// A client needs more than this for large requests or replies alone, in bytes.
const LARGE_CLIENT: u64 = 200 << 10;
/// Values that wait to be freed: more are more than one command's.
const MANY_PENDING: usize = 100_000;

pub fn doctor(ctx: &mut Ctx) -> Result<(), Error> {
    let memory = Memory::measure(ctx.server, ctx.keys);
    let machine = Machine { total: process::total_memory(), swapped: process::swapped_memory() };
    let clients = connected(ctx.server).count() as u64;
    let text = report(ctx.server, &memory, machine, clients);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// In bytes.
#[derive(Clone, Copy)]
struct Machine {
    total: u64,
    /// Of this process's memory.
    swapped: u64,
}

fn report(server: &Server, memory: &Memory, machine: Machine, clients: u64) -> String {
    if memory.used < LITTLE {
        return "There is too little data to tell anything from.\n".to_string();
    }
    let findings = findings(server, memory, machine, clients);
    if findings.is_empty() {
        return "All is well: there is nothing wrong with the memory that can be seen from here.\n"
            .to_string();
    }
    let list: String = findings.iter().map(|finding| format!("- {finding}\n")).collect();
    format!("What should be looked at:\n\n{list}")
}

fn findings(server: &Server, memory: &Memory, machine: Machine, clients: u64) -> Vec<String> {
    let mb = |bytes: u64| bytes >> 20;
    let mut findings = Vec::new();
    if machine.swapped > memory.used / 100 {
        findings.push(format!(
            "The system has swapped out {} MB of this process. Whoever asks for what was there \
             waits for a disk. Give the machine more memory, or the server a 'maxmemory'.",
            mb(machine.swapped)
        ));
    }
    if machine.total > 0 && memory.used > machine.total / 10 * 9 {
        findings.push(format!(
            "Of the machine's {} MB, {} are used here. Files, other programs and the kernel need \
             memory, too; without any the kernel kills who has most.",
            mb(machine.total),
            mb(memory.used)
        ));
    }
    if memory.peak > memory.used / 2 * 3 {
        findings.push(format!(
            "Once {} MB were used, and {} are now: the rest has been given back to the system. \
             Should it be needed again, it must be there.",
            mb(memory.peak),
            mb(memory.used)
        ));
    }
    let each = memory.clients / clients.max(1);
    if each > LARGE_CLIENT {
        findings.push(format!(
            "Clients take {} KB each: large requests (qbuf in CLIENT LIST), or replies and \
             messages that they do not read (omem). 'client-output-buffer-limit' ends those who \
             never will.",
            each >> 10
        ));
    }
    if server.free.pending() > MANY_PENDING {
        findings.push(format!(
            "{} values that were removed still wait to be freed in the background: used memory is \
             about to fall.",
            server.free.pending()
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::Run;

    const MB: u64 = 1 << 20;

    fn memory() -> Memory {
        Memory {
            used: 100 * MB,
            resident: 140 * MB,
            peak: 120 * MB,
            startup: 4 * MB,
            clients: 10 * 1000,
            aof: 0,
            databases: Vec::new(),
            overhead: 5 * MB,
        }
    }

    fn report_on(memory: &Memory, machine: Machine, clients: u64) -> String {
        report(&Run::new().instance.server, memory, machine, clients)
    }

    #[test]
    fn what_is_well_is_well() {
        let machine = Machine { total: 1000 * MB, swapped: 0 };
        assert!(report_on(&memory(), machine, 10).starts_with("All is well"));
        let little = Memory { used: 4 * MB, overhead: 4 * MB, ..memory() };
        assert!(report_on(&little, machine, 10).starts_with("There is too little"));
    }

    #[test]
    fn each_trouble_is_told() {
        let machine = Machine { total: 1000 * MB, swapped: 0 };
        let swapped = Machine { swapped: 2 * MB, ..machine };
        let full = Machine { total: 110 * MB, ..machine };
        let peak = Memory { peak: 151 * MB, ..memory() };
        let clients = Memory { clients: 3 * MB, ..memory() };
        for (memory, machine, word) in [
            (memory(), swapped, "swapped out 2 MB"),
            (memory(), full, "machine's 110 MB, 100 are"),
            (peak, machine, "Once 151 MB"),
            (clients, machine, "take 307 KB each"),
        ] {
            let text = report_on(&memory, machine, 10);
            assert!(text.contains(word) && text.matches("\n- ").count() == 1, "{text}");
        }
    }
}
