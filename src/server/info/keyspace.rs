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
        // Redis 7.4's count of hashes with fields that expire; readers of 7.2's line do without.
        let subexpiry = match records.with_expiring_fields() {
            0 => String::new(),
            hashes => format!(",subexpiry={hashes}"),
        };
        lines.field(
            &format!("db{db}"),
            format_args!("keys={count},expires={expiring},avg_ttl={ttl_ms}{subexpiry}"),
        );
    }
}
