//! Makes so what the configuration says: what CONFIG SET has changed, and what must fit the
//! machine at the start. Directives that are looked at wherever they matter need nothing here.

use super::config::{Changed, Config, MaxmemoryPolicy, SetError, Support, TABLE};
use super::{Server, logging, login, notify, process, snapshot};
use crate::store::Keyspace;
use crate::store::access::Lfu;
use log::{info, warn};

/// Descriptors kept for files, listeners and the like, beside one a client.
const RESERVED_FILES: u64 = 32;

/// Applies what a CONFIG SET changed. If something cannot be applied, the former configuration is
/// put back, and what was applied of the new one is undone.
pub fn changed(server: &mut Server, keys: &mut Keyspace, changed: Changed) -> Result<(), SetError> {
    let Changed { names, previous } = changed;
    let Err((index, reason)) = apply_all(server, keys, &names) else {
        warn_of_missing_features(&names);
        return Ok(());
    };
    let name = names[index];
    warn!(
        "Failed applying new configuration. Possibly related to new {name} setting. \
         Restoring previous settings."
    );
    server.config = *previous;
    if let Err((index, reason)) = apply_all(server, keys, &names[..index]) {
        warn!("The former value of {} cannot be restored: {reason}", names[index]);
    }
    Err(SetError::not_applied(name, reason))
}

/// Applies the values that these directives have now. In case of an error, says at which of them
/// it happened.
fn apply_all(
    server: &mut Server,
    keys: &mut Keyspace,
    names: &[&'static str],
) -> Result<(), (usize, String)> {
    for (index, name) in names.iter().enumerate() {
        apply(server, keys, name).map_err(|reason| (index, reason))?;
    }
    Ok(())
}

fn apply(server: &mut Server, keys: &mut Keyspace, name: &str) -> Result<(), String> {
    match name {
        "loglevel" => logging::set_level(server.config.loglevel),
        "requirepass" => login::change_default_password(server),
        "maxclients" => return raise_limit_for_clients(&server.config),
        "port" => {
            let listened = server.listeners.change(&server.config);
            listened.map_err(|_| "Unable to listen on this port. Check server logs.")?;
        }
        "bind" => {
            let listened = server.listeners.change(&server.config);
            listened.map_err(|_| "Failed to bind to specified addresses.")?;
        }
        "dir" => std::env::set_current_dir(&server.config.dir).map_err(|e| e.to_string())?,
        "maxmemory-policy" | "lfu-log-factor" | "lfu-decay-time" => {
            keys.access.set_lfu(lfu(&server.config));
        }
        "maxmemory-clients" | "maxmemory" => server.limit_client_memory(),
        "notify-keyspace-events" => {
            notify::listen(server.config.notify_keyspace_events, keys);
        }
        "latency-tracking" | "latency-monitor-threshold" | "slowlog-log-slower-than" => {
            server.stats.configure(&server.config);
        }
        "slowlog-max-len" => server.slowlog.keep_most(server.config.slowlog_max_len),
        "oom-score-adj" | "oom-score-adj-values" => {
            return server.oom_score.apply(&server.config);
        }
        "appendonly" => return turn_log_on_or_off(server, keys),
        "save" | "stop-writes-on-bgsave-error" => snapshot::update_gate(server),
        "aof-timestamp-enabled" => server.effects.note_time(server.config.aof_timestamp_enabled),
        "appendfsync" => server.log.set_fsync(server.config.appendfsync),
        _ => {}
    }
    Ok(())
}

/// How access frequencies are counted, if the policy wants them rather than times.
pub fn lfu(config: &Config) -> Option<Lfu> {
    let is_lfu = matches!(
        config.maxmemory_policy,
        MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu
    );
    let (log_factor, decay_minutes) = (config.lfu_log_factor, config.lfu_decay_time);
    is_lfu.then_some(Lfu { log_factor, decay_minutes })
}

fn turn_log_on_or_off(server: &mut Server, keys: &mut Keyspace) -> Result<(), String> {
    if server.log_options.is_none() {
        // The server has not started yet.
        return Ok(());
    }
    let is_on = server.log.is_open() || server.snapshots.wants_base;
    match server.config.appendonly {
        true if is_on => Ok(()),
        true => snapshot::turn_log_on(server, keys),
        false => snapshot::turn_log_off(server, keys),
    }
}

fn files_for(clients: u32) -> u64 {
    u64::from(clients) + RESERVED_FILES
}

fn raise_limit_for_clients(config: &Config) -> Result<(), String> {
    let limit = process::raise_file_limit(files_for(config.maxclients));
    let limit = limit.map_err(|e| format!("the limit of open files is not known: {e}"))?;
    if limit.now >= files_for(config.maxclients) {
        return Ok(());
    }
    let possible = limit.now.saturating_sub(RESERVED_FILES);
    Err(format!(
        "The operating system is not able to handle the specified number of clients, \
         try with {possible}"
    ))
}

/// At the start: raises the limit of open files to what `maxclients` needs, or lowers
/// `maxclients` to what the limit allows.
///
/// # Errors
/// A text for the log, when not even one client could be served.
pub fn fit_max_clients(config: &mut Config) -> Result<(), String> {
    let wanted = files_for(config.maxclients);
    let limit = match process::raise_file_limit(wanted) {
        Ok(limit) => limit,
        Err(e) => {
            config.maxclients = config.maxclients.min(1024 - RESERVED_FILES as u32);
            let clients = config.maxclients;
            warn!("The limit of open files is not known ({e}): maxclients is {clients} now.");
            return Ok(());
        }
    };
    if limit.now >= wanted {
        if limit.before < wanted {
            let before = limit.before;
            info!("Increased maximum number of open files to {wanted} (it was {before}).");
        }
        return Ok(());
    }
    if limit.now <= RESERVED_FILES {
        return Err(format!(
            "The limit of {} open files ('ulimit -n') is not enough to start: {wanted} are needed.",
            limit.now
        ));
    }
    let asked = config.maxclients;
    // Less than `wanted`, which came from a u32.
    config.maxclients = (limit.now - RESERVED_FILES) as u32;
    let reason = limit.error.map_or_else(String::new, |e| format!(" ({e})"));
    warn!(
        "maxclients {asked} needs {wanted} open files, but the system allows {}{reason}: \
         maxclients has been reduced to {}. Raise 'ulimit -n' if you need more.",
        limit.now, config.maxclients
    );
    Ok(())
}

/// Nobody should trust in a directive that does nothing.
fn warn_of_missing_features(names: &[&'static str]) {
    for row in TABLE.iter().filter(|row| names.contains(&row.name)) {
        if row.traits.support == Support::NoEffect {
            info!("The directive '{}' is set, but has no effect yet.", row.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_clients_as_there_may_be_files() {
        let mut config = Config { maxclients: 1, ..Config::default() };
        fit_max_clients(&mut config).unwrap();
        assert_eq!(config.maxclients, 1);
        // More than any kernel allows a process.
        config.maxclients = u32::MAX;
        fit_max_clients(&mut config).unwrap();
        assert!(config.maxclients < u32::MAX && config.maxclients > 100);
        let possible = config.maxclients;
        assert!(raise_limit_for_clients(&config).is_ok());
        config.maxclients = u32::MAX;
        let text = raise_limit_for_clients(&config).unwrap_err();
        assert!(text.ends_with(&format!("try with {possible}")), "{text}");
    }
}
