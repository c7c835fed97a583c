//! Memory. `used_memory` is what of the process's memory is resident and not backed by a file:
//! the heap as the allocator holds it, with what is free inside it, and the stacks. The program
//! itself and the append-only file's mapping are in `used_memory_rss` alone. Redis counts the
//! bytes it has asked its allocator for; ours does not count, as that costs at each allocation.

use super::{Lines, Source, clients, human, ratio};
use crate::server::{client_list, process};

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let Source { server, keys } = source;
    let process::Memory { resident, anonymous: used } = process::memory();
    let peak = server.stats.peak_memory.max(used);
    let startup = server.startup_memory.min(used);
    let of_clients = clients::connected(source).map(client_list::memory).sum::<usize>() as u64;
    let log = server.log.numbers().map_or(0, |numbers| numbers.buffer_length);
    let tables: usize = (0..keys.databases()).map(|db| keys.records(db).capacity() * 8).sum();
    let overhead = (startup + of_clients + tables as u64).min(used);
    let data = used - overhead;
    lines.bytes("used_memory", used);
    lines.bytes("used_memory_rss", resident);
    lines.bytes("used_memory_peak", peak);
    lines.field("used_memory_peak_perc", percent(used, peak));
    lines.field("used_memory_overhead", overhead);
    lines.field("used_memory_startup", startup);
    lines.field("used_memory_dataset", data);
    lines.field("used_memory_dataset_perc", percent(data, used - startup));
    lines.field("allocator_allocated", used);
    lines.field("allocator_active", used);
    lines.field("allocator_resident", used);
    lines.bytes("total_system_memory", process::total_memory());
    write_scripts(lines);
    lines.field("maxmemory", server.config.maxmemory);
    lines.field("maxmemory_human", human(server.config.maxmemory));
    lines.field("maxmemory_policy", server.config.maxmemory_policy.name());
    lines.field("allocator_frag_ratio", "1.00");
    lines.field("allocator_frag_bytes", 0);
    lines.field("allocator_rss_ratio", "1.00");
    lines.field("allocator_rss_bytes", 0);
    lines.field("rss_overhead_ratio", ratio(resident, used));
    lines.field("rss_overhead_bytes", resident - used);
    lines.field("mem_fragmentation_ratio", ratio(resident, used));
    lines.field("mem_fragmentation_bytes", resident - used);
    lines.field("mem_not_counted_for_evict", log);
    lines.field("mem_replication_backlog", 0);
    lines.field("mem_total_replication_buffers", 0);
    lines.field("mem_clients_slaves", 0);
    lines.field("mem_clients_normal", of_clients);
    lines.field("mem_cluster_links", 0);
    lines.field("mem_aof_buffer", log);
    lines.field("mem_allocator", "mimalloc");
    lines.field("active_defrag_running", 0);
    lines.field("lazyfree_pending_objects", pending_objects(source));
    lines.field("lazyfreed_objects", server.free.freed());
}

fn write_scripts(lines: &mut Lines) {
    lines.field("used_memory_lua", 0);
    lines.field("used_memory_vm_eval", 0);
    lines.field("used_memory_lua_human", human(0));
    lines.field("used_memory_scripts_eval", 0);
    lines.field("number_of_cached_scripts", 0);
    lines.field("number_of_functions", 0);
    lines.field("number_of_libraries", 0);
    lines.field("used_memory_vm_functions", 0);
    lines.field("used_memory_vm_total", 0);
    lines.field("used_memory_vm_total_human", human(0));
    lines.field("used_memory_functions", 0);
    lines.bytes("used_memory_scripts", 0);
}

fn percent(part: u64, whole: u64) -> String {
    let value = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    format!("{value:.2}%")
}

/// What waits to be freed: here until the end of the tick, then at the thread that does it.
fn pending_objects(source: Source<'_>) -> usize {
    let here = source.keys.garbage.iter().map(|garbage| garbage.count());
    here.sum::<usize>() + source.server.free.pending()
}
