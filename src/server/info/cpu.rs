//! Processor time.

use super::{Lines, Source};
use crate::server::process::{self, CpuTime};

pub fn write(lines: &mut Lines, _: Source<'_>) {
    write_times(lines, "", process::cpu_time());
    write_times(lines, "_children", process::cpu_time_of_children());
    if let Some(time) = process::cpu_time_of_thread() {
        write_times(lines, "_main_thread", time);
    }
}

fn write_times(lines: &mut Lines, of: &str, time: CpuTime) {
    for (kind, time) in [("sys", time.system), ("user", time.user)] {
        let (seconds, micros) = (time.as_secs(), time.subsec_micros());
        lines.field(&format!("used_cpu_{kind}{of}"), format_args!("{seconds}.{micros:06}"));
    }
}
