//! Who and where the server is.

use super::{Lines, Source};
use crate::base::crc64::crc64;
use crate::server::config::{GOREDIS_VERSION, REDIS_VERSION};

const POLL: &str =
    if cfg!(any(target_os = "linux", target_os = "android")) { "epoll" } else { "kqueue" };

pub fn write(lines: &mut Lines, source: Source<'_>) {
    let Source { server, keys } = source;
    let identity = &server.identity;
    let uptime_s = (keys.now_ms - identity.started_ms).max(0) / 1000;
    let config_file = server.config_file.as_deref().unwrap_or("".as_ref());
    lines.field("redis_version", REDIS_VERSION);
    lines.field("goredis_version", GOREDIS_VERSION);
    lines.field("redis_git_sha1", "00000000");
    lines.field("redis_git_dirty", 0);
    lines.field("redis_build_id", format_args!("{:016x}", crc64(0, GOREDIS_VERSION.as_bytes())));
    lines.field("redis_mode", "standalone");
    lines.field("os", &identity.system);
    lines.field("arch_bits", usize::BITS);
    lines.field("monotonic_clock", "POSIX clock_gettime");
    lines.field("multiplexing_api", POLL);
    // About Redis's compiler, and what Redis says where it was another one.
    lines.field("atomicvar_api", "rust-core");
    lines.field("gcc_version", "0.0.0");
    lines.field("process_id", std::process::id());
    lines.field("process_supervised", "no");
    lines.field("run_id", &identity.run_id);
    lines.field("tcp_port", server.listeners.port());
    lines.field("server_time_usec", server.clock.unix_us());
    lines.field("uptime_in_seconds", uptime_s);
    lines.field("uptime_in_days", uptime_s / (24 * 3600));
    lines.field("hz", server.config.hz);
    lines.field("configured_hz", server.config.hz);
    lines.field("lru_clock", source.now_s() & 0x00FF_FFFF);
    lines.field("executable", identity.executable.display());
    lines.field("config_file", config_file.display());
    lines.flag("io_threads_active", false);
    if server.shutdown.is_some() {
        // It is done at the end of the tick.
        lines.field("shutdown_in_milliseconds", 0);
    }
    write_listeners(lines, source);
}

/// `listener0:name=tcp,bind=127.0.0.1,bind=::1,port=6379`.
fn write_listeners(lines: &mut Lines, source: Source<'_>) {
    let server = source.server;
    let port = server.listeners.port();
    let mut count = 0;
    if port != 0 {
        let addresses = server.listeners.addresses().iter();
        let bind: String = addresses.map(|address| format!(",bind={address}")).collect();
        lines.field("listener0", format_args!("name=tcp{bind},port={port}"));
        count += 1;
    }
    let path = &server.config.unixsocket;
    if !path.is_empty() {
        lines.field(&format!("listener{count}"), format_args!("name=unix,bind={path}"));
    }
}
