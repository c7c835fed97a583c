//! What is on disk, and what is on its way there or back.

use super::{Lines, Source};
use crate::server::loading::LoadingInfo;

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let Source { server, keys } = source;
    let log = server.log.numbers();
    lines.flag("loading", server.loading.is_some());
    lines.flag("async_loading", false);
    lines.field("current_cow_peak", 0);
    lines.field("current_cow_size", 0);
    lines.field("current_cow_size_age", 0);
    lines.field("current_fork_perc", "0.00");
    lines.field("current_save_keys_processed", 0);
    lines.field("current_save_keys_total", 0);
    lines.field("rdb_changes_since_last_save", keys.dirty - server.saved_dirty);
    lines.flag("rdb_bgsave_in_progress", false);
    lines.field("rdb_last_save_time", server.saved_s);
    lines.status("rdb_last_bgsave_status", true);
    lines.field("rdb_last_bgsave_time_sec", -1);
    lines.field("rdb_current_bgsave_time_sec", -1);
    lines.field("rdb_saves", 0);
    lines.field("rdb_last_cow_size", 0);
    lines.field("rdb_last_load_keys_expired", 0);
    lines.field("rdb_last_load_keys_loaded", 0);
    lines.flag("aof_enabled", server.config.appendonly);
    lines.flag("aof_rewrite_in_progress", false);
    lines.flag("aof_rewrite_scheduled", false);
    lines.field("aof_last_rewrite_time_sec", -1);
    lines.field("aof_current_rewrite_time_sec", -1);
    lines.status("aof_last_bgrewrite_status", true);
    lines.field("aof_rewrites", 0);
    lines.field("aof_rewrites_consecutive_failures", 0);
    lines.status("aof_last_write_status", log.as_ref().is_none_or(|log| log.last_write_ok));
    lines.field("aof_last_cow_size", 0);
    lines.flag("module_fork_in_progress", false);
    lines.field("module_fork_last_cow_size", 0);
    if let Some(log) = log {
        lines.field("aof_current_size", log.current_size);
        lines.field("aof_base_size", log.base_size);
        lines.flag("aof_pending_rewrite", false);
        lines.field("aof_buffer_length", log.buffer_length);
        lines.flag("aof_pending_bio_fsync", log.pending_fsync);
        lines.field("aof_delayed_fsync", log.delayed_fsync);
    }
    if let Some(loading) = &server.loading {
        write_loading(lines, source, loading);
    }
}

fn write_loading(lines: &mut Lines, source: Source<'_>, loading: &LoadingInfo) {
    let LoadingInfo { began_ms, total, loaded } = *loading;
    let elapsed_ms = (source.keys.now_ms - began_ms).max(0) as u64;
    let remaining_s = match loaded {
        // Nobody knows yet; Redis says so.
        0 => 1,
        _ => {
            (elapsed_ms as f64 * total.saturating_sub(loaded) as f64 / loaded as f64) as u64 / 1000
        }
    };
    let percent = loaded as f64 * 100.0 / total.max(1) as f64;
    lines.field("loading_start_time", began_ms / 1000);
    lines.field("loading_total_bytes", total);
    lines.field("loading_rdb_used_mem", 0);
    lines.field("loading_loaded_bytes", loaded);
    lines.field("loading_loaded_perc", format_args!("{percent:.2}"));
    lines.field("loading_eta_seconds", remaining_s);
}
