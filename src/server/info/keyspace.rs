//! The databases that have keys.

use super::{Lines, Source};

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let keys = source.keys;
    for db in 0..keys.databases() {
        let records = keys.records(db);
        if records.is_empty() {
            continue;
        }
        let (count, expiring) = (records.len(), records.expiring());
        let ttl_ms = records.mean_expiry().map_or(0, |at| (at - keys.now_ms).max(0));
        lines.field(
            &format!("db{db}"),
            format_args!("keys={count},expires={expiring},avg_ttl={ttl_ms}"),
        );
    }
}
