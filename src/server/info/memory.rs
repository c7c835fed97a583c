//! Memory: see [`Memory`] for what is counted as used.

use super::{Lines, Source, human};
use crate::server::memory::Memory;
use crate::server::process;

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let Source { server, keys } = source;
    let memory = Memory::measure(server, keys);
    let Memory { used, resident, .. } = memory;
    lines.bytes("used_memory", used);
    lines.bytes("used_memory_rss", resident);
    lines.bytes("used_memory_peak", memory.peak);
    lines.field("used_memory_peak_perc", format_args!("{:.2}%", memory.peak_percent()));
    lines.field("used_memory_overhead", memory.overhead);
    lines.field("used_memory_startup", memory.startup);
    lines.field("used_memory_dataset", memory.dataset());
    lines.field("used_memory_dataset_perc", format_args!("{:.2}%", memory.dataset_percent()));
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
    for whole in ["rss_overhead", "mem_fragmentation"] {
        lines.field(&format!("{whole}_ratio"), format_args!("{:.2}", memory.resident_ratio()));
        lines.field(&format!("{whole}_bytes"), resident - used);
    }
    lines.field("mem_not_counted_for_evict", memory.aof);
    lines.field("mem_replication_backlog", 0);
    lines.field("mem_total_replication_buffers", 0);
    lines.field("mem_clients_slaves", 0);
    lines.field("mem_clients_normal", memory.clients);
    lines.field("mem_cluster_links", 0);
    lines.field("mem_aof_buffer", memory.aof);
    lines.field("mem_allocator", process::allocator());
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

/// What waits to be freed: here until the end of the tick, then at the thread that does it.
fn pending_objects(source: Source<'_>) -> usize {
    let here = source.keys.garbage.iter().map(|garbage| garbage.count());
    here.sum::<usize>() + source.server.free.pending()
}
