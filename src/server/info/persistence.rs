//! What is on disk, and what is on its way there or back.

use super::{Lines, Source};
use crate::server::loading::LoadingInfo;
use crate::server::snapshot::Purpose;

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let Source { server, keys } = source;
    let (log, snapshots) = (server.log.numbers(), &server.snapshots);
    lines.flag("loading", server.loading.is_some());
    lines.flag("async_loading", false);
    let copied = snapshots.copied();
    let (processed, total) = snapshots.progress().unwrap_or_default();
    let percent = processed as f64 * 100.0 / total.max(1) as f64;
    // It only grows, and is known at any time.
    lines.field("current_cow_peak", copied);
    lines.field("current_cow_size", copied);
    lines.field("current_cow_size_age", 0);
    lines.field("current_fork_perc", format_args!("{percent:.2}"));
    lines.field("current_save_keys_processed", processed);
    lines.field("current_save_keys_total", total);
    lines.field("rdb_changes_since_last_save", keys.dirty - server.saved_dirty);
    let in_progress = |purpose| snapshots.running() == Some(purpose);
    let took_s = |purpose| match snapshots.began_ms(purpose) {
        Some(began_ms) => (keys.now_ms - began_ms) / 1000,
        None => -1,
    };
    lines.flag("rdb_bgsave_in_progress", in_progress(Purpose::Save));
    lines.field("rdb_last_save_time", server.saved_s);
    lines.status("rdb_last_bgsave_status", snapshots.saves.last_ok);
    lines.field("rdb_last_bgsave_time_sec", snapshots.saves.last_took_s);
    lines.field("rdb_current_bgsave_time_sec", took_s(Purpose::Save));
    lines.field("rdb_saves", snapshots.saves.completed);
    lines.field("rdb_last_cow_size", snapshots.saves.last_copied);
    lines.field("rdb_last_load_keys_expired", snapshots.last_load.expired);
    lines.field("rdb_last_load_keys_loaded", snapshots.last_load.keys);
    lines.flag("aof_enabled", server.config.appendonly);
    let scheduled = snapshots.is_scheduled(Purpose::Rewrite);
    lines.flag("aof_rewrite_in_progress", in_progress(Purpose::Rewrite));
    lines.flag("aof_rewrite_scheduled", scheduled);
    lines.field("aof_last_rewrite_time_sec", snapshots.rewrites.last_took_s);
    lines.field("aof_current_rewrite_time_sec", took_s(Purpose::Rewrite));
    lines.status("aof_last_bgrewrite_status", snapshots.rewrites.last_ok);
    lines.field("aof_rewrites", snapshots.rewrites.completed);
    lines.field("aof_rewrites_consecutive_failures", snapshots.rewrites.failures);
    lines.status("aof_last_write_status", log.as_ref().is_none_or(|log| log.last_write_ok));
    lines.field("aof_last_cow_size", snapshots.rewrites.last_copied);
    lines.flag("module_fork_in_progress", false);
    lines.field("module_fork_last_cow_size", 0);
    if let Some(log) = log {
        lines.field("aof_current_size", log.current_size);
        lines.field("aof_base_size", log.base_size);
        lines.flag("aof_pending_rewrite", scheduled);
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
