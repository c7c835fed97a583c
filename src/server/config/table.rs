//! The table of directives: one row each, and all else derives from it — the fields of
//! [`Config`], redis.conf, the command line, CONFIG GET, SET and REWRITE, and the reference.
//!
//! A row reads: doc, name, other names, `=>`, field, type, default, what values it takes
//! ([`Kind`]), and its traits: may it change at run time (`RUN`) or only be set at the start
//! (`START`), and what is special about it. The field's name is the directive's, with `_` for
//! `-`. Names, order of the words of a choice, ranges and defaults are those of Redis 7.0, of
//! 7.2 where it added something; `appendonly` is ours, and so are the `aof-ring-*`.
//!
//! A directive whose feature is not there yet carries `.no_effect()`, or `.refused()` where going
//! on without it would endanger data or open what its user meant to close: take the mark away
//! when the feature comes.

use std::path::PathBuf;

use super::checks;
use super::lists::{KeyspaceEvents, OutputLimits, Primary, SavePoint, ShutdownOptions};
use super::values::{
    AclPubsubDefault, Allowed, AppendFsync, Check, ClientMemory, Declaration, DisklessLoad,
    EndpointType, Input, Kind, LogLevel, MaxmemoryPolicy, OomScoreAdj, PropagationError, Refusal,
    SanitizeDumpPayload, Supervised, SyslogFacility, TlsAuthClients, Unit, Value,
};

/// One row.
pub struct Directive {
    pub name: &'static str,
    /// Names it had before.
    pub aliases: &'static [&'static str],
    pub group: &'static str,
    /// One paragraph for people, in Markdown.
    doc: &'static str,
    pub kind: Kind,
    pub traits: Traits,
    /// The four below reach the field.
    pub(super) assign: fn(&mut Config, &Kind, &Input) -> Result<(), Refusal>,
    pub(super) show: fn(&Config, &Kind) -> Vec<u8>,
    pub(super) lines: fn(&Config, &Kind) -> Vec<Vec<u8>>,
    pub(super) same: fn(&Config, &Config) -> bool,
}

impl Directive {
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }
}

/// What is special about a directive.
#[derive(Clone, Copy)]
pub struct Traits {
    /// CONFIG SET may change it.
    pub runtime: bool,
    /// Its value must not be logged.
    pub secret: bool,
    /// CONFIG GET shows it only when asked for by its whole name.
    pub hidden: bool,
    /// CONFIG SET may change it only as `enable-protected-configs` allows.
    pub protected: bool,
    /// CONFIG SET may not change it while the data is loaded.
    pub not_while_loading: bool,
    /// Names a file: setting it again, to the same name, means to read it again.
    pub names_file: bool,
    pub support: Support,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does what it says.
    Works,
    /// It steers something that goredis does not have and does not need. Nobody need be told.
    Moot,
    /// Its feature is missing so far; the server says so in its log when it is used.
    NoEffect,
    /// Its feature is missing so far, and going on without it would be dangerous.
    Refused,
}

const RUN: Traits = Traits {
    runtime: true,
    secret: false,
    hidden: false,
    protected: false,
    not_while_loading: false,
    names_file: false,
    support: Support::Works,
};
const START: Traits = Traits { runtime: false, ..RUN };

impl Traits {
    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
    const fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }
    const fn protected(self) -> Self {
        Self { protected: true, ..self }
    }
    const fn not_while_loading(self) -> Self {
        Self { not_while_loading: true, ..self }
    }
    const fn names_file(self) -> Self {
        Self { names_file: true, ..self }
    }
    const fn moot(self) -> Self {
        Self { support: Support::Moot, ..self }
    }
    const fn no_effect(self) -> Self {
        Self { support: Support::NoEffect, ..self }
    }
    const fn refused(self) -> Self {
        Self { support: Support::Refused, ..self }
    }
}

const INT: i128 = i32::MAX as i128;
const LONG: i128 = i64::MAX as i128;
const MB: u64 = 1 << 20;

const fn number(min: i128, max: i128) -> Kind {
    Kind::Number { min, max, unit: Unit::Plain }
}
const fn bytes(min: i128, max: i128) -> Kind {
    Kind::Number { min, max, unit: Unit::Bytes }
}
const TEXT: Kind = Kind::Text { check: None };
const fn checked(check: Check) -> Kind {
    Kind::Text { check: Some(check) }
}

fn working_directory() -> PathBuf {
    // Only when the directory is gone or may not be read; the server's file operations will say
    // what is wrong.
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
}

macro_rules! directives {
    ($( group $group:literal; $(
        $(#[doc = $doc:literal])+
        $name:literal $(| $alias:literal)* => $field:ident: $type:ty = $default:expr,
            $kind:expr, $traits:expr;
    )+ )+) => {
        /// The configuration: a field for each directive, named as it is, with `_` for `-`.
        ///
        /// An empty text or list stands for "not set".
        #[derive(Clone, PartialEq)]
        pub struct Config { $($( $(#[doc = $doc])+ pub $field: $type, )+)+ }

        impl Default for Config {
            fn default() -> Self {
                Self { $($( $field: $default, )+)+ }
            }
        }

        /// Every directive, in the order of the reference.
        pub static TABLE: &[Directive] = &[ $($( Directive {
            name: $name,
            aliases: &[$($alias),*],
            group: $group,
            doc: concat!($($doc),+),
            kind: $kind,
            traits: $traits,
            assign: |config, kind, input| config.$field.assign(kind, input),
            show: |config, kind| config.$field.show(kind),
            lines: |config, kind| config.$field.lines(kind),
            same: |one, other| one.$field == other.$field,
        }, )+)+ ];
    };
}

directives! {
group "Network";
    /// Addresses to listen on, by default all. One that starts with `-` may be missing on this
    /// machine; `*` stands for all of IPv4, `-::*` for all of IPv6; `""` for none.
    "bind" => bind: Vec<String> = vec!["*".into(), "-::*".into()],
        Kind::Words("address [address ...]"), RUN;
    /// Port to listen on for TCP connections; 0 for none.
    "port" => port: u16 = 6379, number(0, 65535), RUN;
    /// Turns connections from other machines away while there is neither a password nor a `bind`
    /// address chosen.
    "protected-mode" => protected_mode: bool = true, Kind::YesNo, RUN;
    /// Path of a Unix socket to listen on; empty for none.
    "unixsocket" => unixsocket: String = String::new(), TEXT, START;
    /// Permissions of the Unix socket, in octal; 0 leaves them to the umask.
    "unixsocketperm" => unixsocketperm: u32 = 0,
        Kind::Number { min: 0, max: 0o777, unit: Unit::Octal }, START;
    /// Connections the kernel may hold back for us until they are accepted.
    "tcp-backlog" => tcp_backlog: u32 = 511, number(0, INT), START;
    /// Seconds without traffic after which the kernel probes whether a client is still there; 0
    /// for never.
    "tcp-keepalive" => tcp_keepalive: u32 = 300, number(0, INT), RUN;
    /// Seconds after which an idle client is disconnected; 0 for never.
    "timeout" => timeout: u32 = 0, number(0, INT), RUN;
    /// Clients that may be connected at once; further ones are turned away with an error.
    "maxclients" => maxclients: u32 = 10_000, number(1, u32::MAX as i128), RUN;
    /// Address our own connections (to a primary, to other nodes) come from.
    "bind-source-addr" => bind_source_addr: String = String::new(), TEXT, RUN.no_effect();
    /// Mark put on listening sockets for the packet filter (`SO_MARK`); 0 for none.
    "socket-mark-id" => socket_mark_id: u32 = 0, number(0, u32::MAX as i128), START.no_effect();
    /// Threads for socket traffic. goredis has one thread for that.
    "io-threads" => io_threads: u32 = 1, number(1, 128), START.moot();
    /// Whether those threads read, too.
    "io-threads-do-reads" => io_threads_do_reads: bool = false, Kind::YesNo, START.moot();

group "Clients";
    /// Longest bulk string a client may send.
    "proto-max-bulk-len" => proto_max_bulk_len: u64 = 512 * MB, bytes(MB as i128, LONG), RUN;
    /// Bytes of one unfinished command that are kept for a client; one that sends more is cut
    /// off.
    "client-query-buffer-limit" => client_query_buffer_limit: u64 = 1024 * MB,
        bytes(MB as i128, LONG), RUN;
    /// Output that may wait for a client of each class: it is cut off at the hard limit at once,
    /// and when it has been above the soft limit for so many seconds. 0 is no limit.
    "client-output-buffer-limit" => client_output_buffer_limit: OutputLimits =
        OutputLimits::DEFAULT,
        Kind::Words("normal|replica|pubsub hard soft soft-seconds [...]"), RUN;
    /// Memory all clients together may take, in bytes or as a share of `maxmemory`; above it
    /// those that take most are cut off. 0 is no limit.
    "maxmemory-clients" => maxmemory_clients: ClientMemory = ClientMemory::Bytes(0),
        Kind::Number { min: 0, max: LONG, unit: Unit::BytesOrPercent }, RUN;
    /// Keys remembered for clients that asked to be told of changes; 0 is no limit.
    "tracking-table-max-keys" => tracking_table_max_keys: usize = 1_000_000, number(0, LONG),
        RUN;

group "General";
    /// Number of databases, for SELECT.
    "databases" => databases: u32 = 16, number(1, INT), START;
    /// Directory of the data files, and what all relative paths start from.
    "dir" => dir: PathBuf = working_directory(), Kind::Directory,
        RUN.protected().not_while_loading();
    /// The least important messages that are logged.
    "loglevel" => loglevel: LogLevel = LogLevel::Notice, Kind::Choice(LogLevel::NAMES), RUN;
    /// File to log to; empty for standard output.
    "logfile" => logfile: String = String::new(), TEXT, START;
    /// File to write the process id to, removed at exit; empty for none.
    "pidfile" => pidfile: String = String::new(), TEXT, START;
    /// Go to the background at the start. goredis stays in the foreground: leave that to systemd,
    /// a container, or `setsid goredis ... &`.
    "daemonize" => daemonize: bool = false, Kind::YesNo, START.refused();
    /// Who is told that the server has started.
    "supervised" => supervised: Supervised = Supervised::No, Kind::Choice(Supervised::NAMES),
        START.no_effect();
    /// Log to syslog, too.
    "syslog-enabled" => syslog_enabled: bool = false, Kind::YesNo, START.no_effect();
    /// Name in syslog.
    "syslog-ident" => syslog_ident: String = "redis".into(), TEXT, START.no_effect();
    /// Facility in syslog.
    "syslog-facility" => syslog_facility: SyslogFacility = SyslogFacility::Local0,
        Kind::Choice(SyslogFacility::NAMES), START.no_effect();
    /// Show the banner at the start, even where the log is not a terminal's.
    "always-show-logo" => always_show_logo: bool = false, Kind::YesNo, START.no_effect();
    /// Show what the server does in the list of processes.
    "set-proc-title" => set_proc_title: bool = true, Kind::YesNo, START.moot();
    /// The text shown there, with `{title}`, `{listen-addr}`, `{server-mode}`, `{port}`,
    /// `{tls-port}`, `{unixsocket}` and `{config-file}` filled in.
    "proc-title-template" => proc_title_template: String =
        "{title} {listen-addr} {server-mode}".into(), checked(checks::proc_title), RUN.no_effect();
    /// Locale for comparing strings (`SORT ... ALPHA`); empty for that of the environment.
    "locale-collate" => locale_collate: String = String::new(), TEXT, RUN.no_effect();
    /// How often a second the server looks after timeouts and the like, 1 to 500. What has a
    /// deadline of its own (expiry, blocked clients) does not wait for it.
    "hz" => hz: u32 = 10, Kind::Number { min: 0, max: INT, unit: Unit::Hertz }, RUN;
    /// Raise `hz` when many clients are connected. goredis spreads that work evenly.
    "dynamic-hz" => dynamic_hz: bool = true, Kind::YesNo, RUN.moot();
    /// Finish a resize of the table in idle time. goredis's table never resizes as a whole.
    "activerehashing" => activerehashing: bool = true, Kind::YesNo, RUN.moot();
    /// Seconds to wait for replicas at a shutdown.
    "shutdown-timeout" => shutdown_timeout: u32 = 10, number(0, INT), RUN.no_effect();
    /// What SIGINT does: `default` saves if save points are set.
    "shutdown-on-sigint" => shutdown_on_sigint: ShutdownOptions = ShutdownOptions::default(),
        Kind::Words("default | save|nosave|now|force ..."), RUN.no_effect();
    /// What SIGTERM does: `default` saves if save points are set.
    "shutdown-on-sigterm" => shutdown_on_sigterm: ShutdownOptions = ShutdownOptions::default(),
        Kind::Words("default | save|nosave|now|force ..."), RUN.no_effect();
    /// Log registers and a stack trace at a crash.
    "crash-log-enabled" => crash_log_enabled: bool = true, Kind::YesNo, RUN.no_effect();
    /// Test the memory at a crash.
    "crash-memcheck-enabled" => crash_memcheck_enabled: bool = true, Kind::YesNo, RUN.moot();
    /// After a panic, exit instead of aborting.
    "use-exit-on-panic" => use_exit_on_panic: bool = false, Kind::YesNo, RUN.hidden().no_effect();
    /// Keep the kernel from backing memory with huge pages: clearing one takes longer than a client
    /// should wait.
    "disable-thp" => disable_thp: bool = true, Kind::YesNo, START;
    /// Milliseconds the event loop may hang before a stack trace is logged; 0 for never.
    "watchdog-period" => watchdog_period: u32 = 0, number(0, INT), RUN.hidden().no_effect();
    /// Names of start-up checks whose warnings are not to stop the server.
    "ignore-warnings" => ignore_warnings: String = String::new(), TEXT, RUN.moot();
    /// Processors for the main thread, such as `0-2,4`; empty for all.
    "server_cpulist" => server_cpulist: String = String::new(), TEXT, START.no_effect();
    /// Processors for background threads.
    "bio_cpulist" => bio_cpulist: String = String::new(), TEXT, START.no_effect();
    /// Processors for rewriting the append-only file.
    "aof_rewrite_cpulist" => aof_rewrite_cpulist: String = String::new(), TEXT, START.no_effect();
    /// Processors for saving.
    "bgsave_cpulist" => bgsave_cpulist: String = String::new(), TEXT, START.no_effect();
    /// Whether to tell the kernel which processes to kill first when memory runs out, and
    /// whether the values are added to the score the process began with.
    "oom-score-adj" => oom_score_adj: OomScoreAdj = OomScoreAdj::No,
        Kind::Choice(OomScoreAdj::NAMES), RUN;
    /// The scores for a primary, a replica, and a process that saves.
    "oom-score-adj-values" => oom_score_adj_values: [i32; 3] = [0, 200, 800],
        Kind::Words("primary replica background"), RUN;
    /// Reads further directives from a file, here; a pattern with `*`, `?` or `[]` reads all
    /// files that match, in order of their names.
    "include" => include: Vec<Declaration> = Vec::new(),
        Kind::Declaration { syntax: "path", min: 1, max: 1 }, START;

group "Security";
    /// Password clients must give with AUTH; empty for none.
    "requirepass" => requirepass: Vec<u8> = Vec::new(), Kind::Secret, RUN.secret();
    /// A user and what they may do, in the words of ACL SETUSER.
    "user" => user: Vec<Declaration> = Vec::new(),
        Kind::Declaration { syntax: "name [rule ...]", min: 1, max: usize::MAX },
        START.secret();
    /// File with the users, instead of `user` lines.
    "aclfile" => aclfile: String = String::new(), TEXT, START;
    /// Refused commands and logins that ACL LOG remembers.
    "acllog-max-len" => acllog_max_len: u64 = 128, number(0, LONG), RUN;
    /// Whether a new user may use all channels or none.
    "acl-pubsub-default" => acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::Resetchannels,
        Kind::Choice(AclPubsubDefault::NAMES), RUN;
    /// Who may use DEBUG.
    "enable-debug-command" => enable_debug_command: Allowed = Allowed::No,
        Kind::Choice(Allowed::NAMES), START;
    /// Who may use MODULE.
    "enable-module-command" => enable_module_command: Allowed = Allowed::No,
        Kind::Choice(Allowed::NAMES), START.no_effect();
    /// Who may change the directives that decide where files are written: `dir`, `dbfilename`.
    "enable-protected-configs" => enable_protected_configs: Allowed = Allowed::No,
        Kind::Choice(Allowed::NAMES), START;
    /// Gives a command another name; `""` takes it away.
    "rename-command" => rename_command: Vec<Declaration> = Vec::new(),
        Kind::Declaration { syntax: "command name", min: 2, max: 2 }, START;
    /// Whose serialized values RESTORE and loading check through and through: here it is always
    /// everybody's.
    "sanitize-dump-payload" => sanitize_dump_payload: SanitizeDumpPayload =
        SanitizeDumpPayload::No, Kind::Choice(SanitizeDumpPayload::NAMES), RUN.moot();

group "Append-only file";
    /// Log every write, so that a restart finds it. On by default, which Redis has off.
    "appendonly" => appendonly: bool = true, Kind::YesNo, RUN.not_while_loading();
    /// When the log is brought to disk: once a second, before each write is answered, or when the
    /// kernel pleases.
    "appendfsync" => appendfsync: AppendFsync = AppendFsync::Everysec,
        Kind::Choice(AppendFsync::NAMES), RUN;
    /// What the names of the log's files begin with.
    "appendfilename" => appendfilename: String = "appendonly.aof".into(),
        checked(checks::append_filename), START;
    /// Directory of the log's files, inside `dir`.
    "appenddirname" => appenddirname: String = "appendonlydir".into(),
        checked(checks::append_dirname), START;
    /// Start although the log's last entry is cut short, as a power loss leaves it; with `no`,
    /// refuse.
    "aof-load-truncated" => aof_load_truncated: bool = true, Kind::YesNo, RUN;
    /// Write the base of the log in RDB format, which loads faster than commands.
    "aof-use-rdb-preamble" => aof_use_rdb_preamble: bool = true, Kind::YesNo, RUN;
    /// Note the time in the log, so that it can be cut back to a moment.
    "aof-timestamp-enabled" => aof_timestamp_enabled: bool = false, Kind::YesNo, RUN;
    /// Growth since the last rewrite, in percent, at which the log is rewritten; 0 for never.
    "auto-aof-rewrite-percentage" => auto_aof_rewrite_percentage: u32 = 100, number(0, INT),
        RUN;
    /// Size below which the log is not rewritten by itself.
    "auto-aof-rewrite-min-size" => auto_aof_rewrite_min_size: u64 = 64 * MB, bytes(0, LONG),
        RUN;
    /// Do without fsync while the log is rewritten. goredis need not choose between the two.
    "no-appendfsync-on-rewrite" => no_appendfsync_on_rewrite: bool = false, Kind::YesNo,
        RUN.moot();
    /// Bring a rewrite to disk bit by bit. goredis always does.
    "aof-rewrite-incremental-fsync" => aof_rewrite_incremental_fsync: bool = true, Kind::YesNo,
        RUN.moot();
    /// Leave the log's old files where they are.
    "aof-disable-auto-gc" => aof_disable_auto_gc: bool = false, Kind::YesNo, RUN;
    /// Size of the memory-mapped buffer in front of the log: writes in it survive the end of the
    /// process.
    "aof-ring-size" => aof_ring_size: u64 = 32 * MB, bytes(MB as i128, LONG), START.hidden();
    /// Directory of that buffer, such as one in memory; empty for that of the log.
    "aof-ring-dir" => aof_ring_dir: String = String::new(), TEXT, START.hidden();

group "Snapshots";
    /// Save when there were so many changes within so many seconds; several pairs or lines add
    /// up, `""` is for never.
    "save" => save: Vec<SavePoint> = vec![
            SavePoint { seconds: 3600, changes: 1 },
            SavePoint { seconds: 300, changes: 100 },
            SavePoint { seconds: 60, changes: 10_000 },
        ], Kind::Words("seconds changes [...]"), RUN;
    /// Name of the snapshot's file, inside `dir`.
    "dbfilename" => dbfilename: String = "dump.rdb".into(), checked(checks::db_filename),
        RUN.protected();
    /// Compress strings in snapshots.
    "rdbcompression" => rdbcompression: bool = true, Kind::YesNo, RUN;
    /// End snapshots with a checksum, and test it at loading.
    "rdbchecksum" => rdbchecksum: bool = true, Kind::YesNo, START;
    /// Bytes of a snapshot that may wait for the disk; the snapshot waits when there are more.
    "snapshot-queue-size" => snapshot_queue_size: u64 = 8 * MB, bytes(MB as i128, LONG),
        RUN;
    /// Turn writes away while the last background save has failed.
    "stop-writes-on-bgsave-error" => stop_writes_on_bgsave_error: bool = true, Kind::YesNo,
        RUN;
    /// Delete the snapshots that replication needs, where persistence is off.
    "rdb-del-sync-files" => rdb_del_sync_files: bool = false, Kind::YesNo, RUN.no_effect();
    /// Bring a snapshot to disk bit by bit. goredis always does.
    "rdb-save-incremental-fsync" => rdb_save_incremental_fsync: bool = true, Kind::YesNo,
        RUN.moot();
    /// Microseconds to wait after each key saved, for tests; a negative number -n waits one
    /// microsecond every n keys.
    "rdb-key-save-delay" => rdb_key_save_delay: i32 = 0, number(i32::MIN as i128, INT),
        RUN.hidden();
    /// Microseconds to wait after each key loaded, for tests; a negative number -n waits one
    /// microsecond every n keys.
    "key-load-delay" => key_load_delay: i32 = 0, number(i32::MIN as i128, INT),
        RUN.hidden();
    /// Bytes loaded between two looks at the clients, at most.
    "loading-process-events-interval-bytes" => loading_process_events_interval_bytes: u64 = 2 * MB,
        number(1024, INT), RUN.hidden();

group "Memory";
    /// Memory the data may take; 0 is no limit.
    "maxmemory" => maxmemory: u64 = 0, bytes(0, u64::MAX as i128), RUN.no_effect();
    /// Which keys go when that is reached: the least recently used (`lru`), the least often used
    /// (`lfu`), any, or those that expire soonest (`ttl`), out of all keys or of those that
    /// expire; or none, and writes fail.
    "maxmemory-policy" => maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::Noeviction,
        Kind::Choice(MaxmemoryPolicy::NAMES), RUN.no_effect();
    /// Keys looked at to find one to evict.
    "maxmemory-samples" => maxmemory_samples: u32 = 5, number(1, INT), RUN.no_effect();
    /// How much time eviction may take, 0 to 100.
    "maxmemory-eviction-tenacity" => maxmemory_eviction_tenacity: u32 = 10, number(0, 100),
        RUN.no_effect();
    /// How many accesses the counter of `lfu` takes to saturate; more with a greater number.
    "lfu-log-factor" => lfu_log_factor: u32 = 10, number(0, INT), RUN;
    /// Minutes after which the counter of `lfu` goes down by one; 0 for never.
    "lfu-decay-time" => lfu_decay_time: u32 = 1, number(0, INT), RUN;
    /// Let the primary alone evict.
    "replica-ignore-maxmemory" | "slave-ignore-maxmemory" => replica_ignore_maxmemory: bool = true,
        Kind::YesNo, RUN.no_effect();
    /// Effort put into finding expired keys, 1 to 10. goredis knows when each is due.
    "active-expire-effort" => active_expire_effort: u32 = 1, number(1, 10), RUN.moot();
    /// Free evicted values in the background. goredis never lets a client wait for that.
    "lazyfree-lazy-eviction" => lazyfree_lazy_eviction: bool = false, Kind::YesNo, RUN.moot();
    /// Free expired values in the background. goredis never lets a client wait for that.
    "lazyfree-lazy-expire" => lazyfree_lazy_expire: bool = false, Kind::YesNo, RUN.moot();
    /// Free overwritten values in the background. goredis never lets a client wait for that.
    "lazyfree-lazy-server-del" => lazyfree_lazy_server_del: bool = false, Kind::YesNo, RUN.moot();
    /// Have DEL free in the background. goredis never lets a client wait for that.
    "lazyfree-lazy-user-del" => lazyfree_lazy_user_del: bool = false, Kind::YesNo, RUN.moot();
    /// Have FLUSHALL, FLUSHDB and the like free in the background unless told SYNC.
    "lazyfree-lazy-user-flush" => lazyfree_lazy_user_flush: bool = false, Kind::YesNo, RUN.moot();
    /// Move values together in memory when it is fragmented.
    "activedefrag" => activedefrag: bool = false, Kind::YesNo, RUN.no_effect();
    /// Fragmented bytes below which nothing is moved.
    "active-defrag-ignore-bytes" => active_defrag_ignore_bytes: u64 = 100 * MB, bytes(1, LONG),
        RUN.no_effect();
    /// Percentage of fragmentation at which moving begins.
    "active-defrag-threshold-lower" => active_defrag_threshold_lower: u32 = 10, number(0, 1000),
        RUN.no_effect();
    /// Percentage of fragmentation from which on the greatest effort is made.
    "active-defrag-threshold-upper" => active_defrag_threshold_upper: u32 = 100, number(0, 1000),
        RUN.no_effect();
    /// The least effort, as a percentage of processor time.
    "active-defrag-cycle-min" => active_defrag_cycle_min: u32 = 1, number(1, 99), RUN.no_effect();
    /// The greatest effort, as a percentage of processor time.
    "active-defrag-cycle-max" => active_defrag_cycle_max: u32 = 25, number(1, 99), RUN.no_effect();
    /// Elements of one value that are moved at once.
    "active-defrag-max-scan-fields" => active_defrag_max_scan_fields: u64 = 1000, number(1, LONG),
        RUN.no_effect();
    /// Let jemalloc free memory in a thread. goredis has another allocator.
    "jemalloc-bg-thread" => jemalloc_bg_thread: bool = true, Kind::YesNo, RUN.moot();

group "Data types";
    /// Fields up to which a hash is kept in its compact form.
    "hash-max-listpack-entries" | "hash-max-ziplist-entries" => hash_max_listpack_entries: usize =
        512, number(0, LONG), RUN;
    /// Longest field or value in a compact hash.
    "hash-max-listpack-value" | "hash-max-ziplist-value" => hash_max_listpack_value: usize = 64,
        bytes(0, LONG), RUN;
    /// Size of a list's nodes: so many elements, or from -1 to -5 so many bytes (4, 8, 16, 32,
    /// 64 kb).
    "list-max-listpack-size" | "list-max-ziplist-size" => list_max_listpack_size: i32 = -2,
        number(i32::MIN as i128, INT), RUN;
    /// Nodes at each end of a list that are not compressed; 0 compresses none.
    "list-compress-depth" => list_compress_depth: u32 = 0, number(0, INT), RUN;
    /// Elements up to which a set of integers is kept as an array.
    "set-max-intset-entries" => set_max_intset_entries: usize = 512, number(0, LONG), RUN;
    /// Members up to which another set is kept in its compact form.
    "set-max-listpack-entries" => set_max_listpack_entries: usize = 128, number(0, LONG), RUN;
    /// Longest member in a compact set.
    "set-max-listpack-value" => set_max_listpack_value: usize = 64, number(0, LONG), RUN;
    /// Members up to which a sorted set is kept in its compact form.
    "zset-max-listpack-entries" | "zset-max-ziplist-entries" => zset_max_listpack_entries: usize =
        128, number(0, LONG), RUN;
    /// Longest member in a compact sorted set.
    "zset-max-listpack-value" | "zset-max-ziplist-value" => zset_max_listpack_value: usize = 64,
        bytes(0, LONG), RUN;
    /// Size up to which a HyperLogLog is kept in its sparse form.
    "hll-sparse-max-bytes" => hll_sparse_max_bytes: usize = 3000, bytes(0, LONG), RUN;
    /// Size of a stream's nodes; 0 is no limit.
    "stream-node-max-bytes" => stream_node_max_bytes: usize = 4096, bytes(0, LONG), RUN;
    /// Entries in a stream's node; 0 is no limit.
    "stream-node-max-entries" => stream_node_max_entries: u64 = 100, number(0, LONG), RUN;

group "Events, statistics and scripts";
    /// Changes of keys that are published: `K` and `E` say to which channels, the others of
    /// `Ag$lshzxetdmn` which kinds; empty for none.
    "notify-keyspace-events" => notify_keyspace_events: KeyspaceEvents = KeyspaceEvents::NONE,
        Kind::Letters("KEAg$lshzxetdmn"), RUN;
    /// Microseconds from which on a command is remembered in the slow log; -1 for none, 0 for
    /// all.
    "slowlog-log-slower-than" => slowlog_log_slower_than: i64 = 10_000, number(-1, LONG),
        RUN;
    /// Entries of the slow log.
    "slowlog-max-len" => slowlog_max_len: u64 = 128, number(0, LONG), RUN;
    /// Milliseconds from which on an event is remembered for LATENCY; 0 for none.
    "latency-monitor-threshold" => latency_monitor_threshold: u64 = 0, number(0, LONG),
        RUN;
    /// Measure each command's latency for INFO and LATENCY HISTOGRAM.
    "latency-tracking" => latency_tracking: bool = true, Kind::YesNo, RUN;
    /// Percentiles that INFO shows.
    "latency-tracking-info-percentiles" => latency_tracking_info_percentiles: Vec<f64> =
        vec![50.0, 99.0, 99.9], Kind::Words("percentile [percentile ...]"), RUN;
    /// Milliseconds after which a running script lets others know that the server is busy; 0 for
    /// never.
    "busy-reply-threshold" | "lua-time-limit" => busy_reply_threshold: u64 = 5000,
        number(0, LONG), RUN.no_effect();
    /// Loads a module of native code.
    "loadmodule" => loadmodule: Vec<Declaration> = Vec::new(),
        Kind::Declaration { syntax: "path [argument ...]", min: 1, max: usize::MAX },
        START.refused();

group "Replication";
    /// Makes this server a replica of another; `no one` does not.
    "replicaof" | "slaveof" => replicaof: Option<Primary> = None, Kind::Words("host port"),
        START.refused();
    /// Password to give to the primary.
    "masterauth" => masterauth: Vec<u8> = Vec::new(), Kind::Secret, RUN.secret().no_effect();
    /// User name to give to the primary.
    "masteruser" => masteruser: String = String::new(), TEXT, RUN.secret().no_effect();
    /// Answer reads while the primary is out of reach.
    "replica-serve-stale-data" | "slave-serve-stale-data" => replica_serve_stale_data: bool = true,
        Kind::YesNo, RUN.no_effect();
    /// Turn writes of clients away.
    "replica-read-only" | "slave-read-only" => replica_read_only: bool = true, Kind::YesNo,
        RUN.no_effect();
    /// Free the old data in the background at a full synchronisation.
    "replica-lazy-flush" | "slave-lazy-flush" => replica_lazy_flush: bool = false, Kind::YesNo,
        RUN.moot();
    /// Rank for becoming primary, the lowest first; 0 for never.
    "replica-priority" | "slave-priority" => replica_priority: u32 = 100, number(0, INT),
        RUN.no_effect();
    /// Whether Sentinel may tell clients of this replica.
    "replica-announced" => replica_announced: bool = true, Kind::YesNo, RUN.no_effect();
    /// Address to tell the primary, where it is not the one the connection comes from.
    "replica-announce-ip" | "slave-announce-ip" => replica_announce_ip: String = String::new(),
        TEXT, RUN.no_effect();
    /// Port to tell the primary; 0 for `port`.
    "replica-announce-port" | "slave-announce-port" => replica_announce_port: u16 = 0,
        number(0, 65535), RUN.no_effect();
    /// Go on when a write of the primary cannot be logged here.
    "replica-ignore-disk-write-errors" => replica_ignore_disk_write_errors: bool = false,
        Kind::YesNo, RUN.no_effect();
    /// What to do when a command of the primary, or of the log, fails.
    "propagation-error-behavior" => propagation_error_behavior: PropagationError =
        PropagationError::Ignore, Kind::Choice(PropagationError::NAMES), RUN.no_effect();
    /// Replicas that must be connected for a write to be taken; 0 for none.
    "min-replicas-to-write" | "min-slaves-to-write" => min_replicas_to_write: u32 = 0,
        number(0, INT), RUN.no_effect();
    /// Seconds since its last word after which a replica does not count for that.
    "min-replicas-max-lag" | "min-slaves-max-lag" => min_replicas_max_lag: u32 = 10,
        number(0, INT), RUN.no_effect();
    /// Seconds of silence after which the other side is given up.
    "repl-timeout" => repl_timeout: u32 = 60, number(1, INT), RUN.no_effect();
    /// Seconds between two signs of life to replicas.
    "repl-ping-replica-period" | "repl-ping-slave-period" => repl_ping_replica_period: u32 = 10,
        number(1, INT), RUN.no_effect();
    /// Last part of the stream of writes that is kept for replicas that come back.
    "repl-backlog-size" => repl_backlog_size: u64 = MB, bytes(1, LONG), RUN.no_effect();
    /// Seconds without replicas after which that is dropped; 0 for never.
    "repl-backlog-ttl" => repl_backlog_ttl: u64 = 3600, number(0, LONG), RUN.no_effect();
    /// Collect small packets for replicas, at the price of delay.
    "repl-disable-tcp-nodelay" => repl_disable_tcp_nodelay: bool = false, Kind::YesNo,
        RUN.no_effect();
    /// Send a full synchronisation to replicas without writing a file.
    "repl-diskless-sync" => repl_diskless_sync: bool = true, Kind::YesNo, RUN.no_effect();
    /// Seconds to wait for more replicas before that begins.
    "repl-diskless-sync-delay" => repl_diskless_sync_delay: u32 = 5, number(0, INT),
        RUN.no_effect();
    /// Replicas at which it begins at once; 0 for never.
    "repl-diskless-sync-max-replicas" => repl_diskless_sync_max_replicas: u32 = 0, number(0, INT),
        RUN.no_effect();
    /// When a full synchronisation is taken in without writing a file: never, when there is no
    /// data, or beside the old data.
    "repl-diskless-load" => repl_diskless_load: DisklessLoad = DisklessLoad::Disabled,
        Kind::Choice(DisklessLoad::NAMES), RUN.not_while_loading().no_effect();

group "Cluster";
    /// Be a node of a cluster.
    "cluster-enabled" => cluster_enabled: bool = false, Kind::YesNo, START.refused();
    /// File in which the node keeps what it knows of the cluster.
    "cluster-config-file" => cluster_config_file: String = "nodes.conf".into(), TEXT,
        START.no_effect();
    /// Milliseconds out of reach after which a node is held to have failed.
    "cluster-node-timeout" => cluster_node_timeout: u64 = 15_000, number(0, LONG),
        RUN.no_effect();
    /// Port of the bus between nodes; 0 for `port` + 10000.
    "cluster-port" => cluster_port: u16 = 0, number(0, 65535), START.no_effect();
    /// Take no query while a slot has no node.
    "cluster-require-full-coverage" => cluster_require_full_coverage: bool = true, Kind::YesNo,
        RUN.no_effect();
    /// How old a replica's data may be to stand for election, in node timeouts; 0 for any age.
    "cluster-replica-validity-factor" | "cluster-slave-validity-factor" =>
        cluster_replica_validity_factor: u32 = 10, number(0, INT), RUN.no_effect();
    /// Never take over from a failed primary.
    "cluster-replica-no-failover" | "cluster-slave-no-failover" =>
        cluster_replica_no_failover: bool = false, Kind::YesNo, RUN.no_effect();
    /// Replicas a primary must keep when one moves to another that has none.
    "cluster-migration-barrier" => cluster_migration_barrier: u32 = 1, number(0, INT),
        RUN.no_effect();
    /// Let replicas move to a primary that has none.
    "cluster-allow-replica-migration" => cluster_allow_replica_migration: bool = true, Kind::YesNo,
        RUN.no_effect();
    /// Answer reads while the cluster is down.
    "cluster-allow-reads-when-down" => cluster_allow_reads_when_down: bool = false, Kind::YesNo,
        RUN.no_effect();
    /// Serve sharded channels while the cluster is down.
    "cluster-allow-pubsubshard-when-down" => cluster_allow_pubsubshard_when_down: bool = true,
        Kind::YesNo, RUN.no_effect();
    /// Memory for what waits to be sent to one node; 0 is no limit.
    "cluster-link-sendbuf-limit" => cluster_link_sendbuf_limit: u64 = 0,
        bytes(0, u64::MAX as i128), RUN.no_effect();
    /// Address to tell the other nodes.
    "cluster-announce-ip" => cluster_announce_ip: String = String::new(), TEXT, RUN.no_effect();
    /// Host name to tell the other nodes.
    "cluster-announce-hostname" => cluster_announce_hostname: String = String::new(),
        checked(checks::hostname), RUN.no_effect();
    /// Name for people, shown in the nodes' logs.
    "cluster-announce-human-nodename" => cluster_announce_human_nodename: String = String::new(),
        checked(checks::node_name), RUN.no_effect();
    /// Port to tell the other nodes; 0 for `port`.
    "cluster-announce-port" => cluster_announce_port: u16 = 0, number(0, 65535), RUN.no_effect();
    /// TLS port to tell the other nodes; 0 for `tls-port`.
    "cluster-announce-tls-port" => cluster_announce_tls_port: u16 = 0, number(0, 65535),
        RUN.no_effect();
    /// Port of the bus to tell the other nodes; 0 for `cluster-port`.
    "cluster-announce-bus-port" => cluster_announce_bus_port: u16 = 0, number(0, 65535),
        RUN.no_effect();
    /// What clients are told to connect to: addresses, host names, or what they came by.
    "cluster-preferred-endpoint-type" => cluster_preferred_endpoint_type: EndpointType =
        EndpointType::Ip, Kind::Choice(EndpointType::NAMES), RUN.no_effect();

group "TLS";
    /// Port to listen on for TLS connections; 0 for none.
    "tls-port" => tls_port: u16 = 0, number(0, 65535), RUN.no_effect();
    /// Certificate of the server, in PEM.
    "tls-cert-file" => tls_cert_file: String = String::new(), TEXT, RUN.names_file().no_effect();
    /// Its private key, in PEM.
    "tls-key-file" => tls_key_file: String = String::new(), TEXT, RUN.names_file().no_effect();
    /// Password of the private key.
    "tls-key-file-pass" => tls_key_file_pass: Vec<u8> = Vec::new(), Kind::Secret,
        RUN.secret().no_effect();
    /// Certificate for our own connections; empty for the server's.
    "tls-client-cert-file" => tls_client_cert_file: String = String::new(), TEXT,
        RUN.names_file().no_effect();
    /// Its private key.
    "tls-client-key-file" => tls_client_key_file: String = String::new(), TEXT,
        RUN.names_file().no_effect();
    /// Password of that key.
    "tls-client-key-file-pass" => tls_client_key_file_pass: Vec<u8> = Vec::new(), Kind::Secret,
        RUN.secret().no_effect();
    /// Parameters for Diffie-Hellman, for old OpenSSL.
    "tls-dh-params-file" => tls_dh_params_file: String = String::new(), TEXT,
        RUN.names_file().no_effect();
    /// Certificates of those who may sign certificates, in one file.
    "tls-ca-cert-file" => tls_ca_cert_file: String = String::new(), TEXT,
        RUN.names_file().no_effect();
    /// Certificates of those who may sign certificates, in a directory.
    "tls-ca-cert-dir" => tls_ca_cert_dir: String = String::new(), TEXT,
        RUN.names_file().no_effect();
    /// Whether clients must show a certificate.
    "tls-auth-clients" => tls_auth_clients: TlsAuthClients = TlsAuthClients::Yes,
        Kind::Choice(TlsAuthClients::NAMES), RUN.no_effect();
    /// Reach the primary by TLS.
    "tls-replication" => tls_replication: bool = false, Kind::YesNo, RUN.no_effect();
    /// Use TLS between the nodes of a cluster.
    "tls-cluster" => tls_cluster: bool = false, Kind::YesNo, RUN.no_effect();
    /// Versions of TLS to use, such as `"TLSv1.2 TLSv1.3"`; empty for both.
    "tls-protocols" => tls_protocols: String = String::new(), TEXT, RUN.no_effect();
    /// Ciphers up to TLS 1.2, in OpenSSL's syntax; empty for its default.
    "tls-ciphers" => tls_ciphers: String = String::new(), TEXT, RUN.no_effect();
    /// Ciphers of TLS 1.3, in OpenSSL's syntax; empty for its default.
    "tls-ciphersuites" => tls_ciphersuites: String = String::new(), TEXT, RUN.no_effect();
    /// Choose the cipher by the server's preference, not the client's.
    "tls-prefer-server-ciphers" => tls_prefer_server_ciphers: bool = false, Kind::YesNo,
        RUN.no_effect();
    /// Let clients resume sessions.
    "tls-session-caching" => tls_session_caching: bool = true, Kind::YesNo, RUN.no_effect();
    /// Sessions that are remembered; 0 is no limit.
    "tls-session-cache-size" => tls_session_cache_size: u32 = 20 * 1024, number(0, INT),
        RUN.no_effect();
    /// Seconds a session is remembered.
    "tls-session-cache-timeout" => tls_session_cache_timeout: u32 = 300, number(0, INT),
        RUN.no_effect();
}
