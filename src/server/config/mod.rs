//! Directives: one table ([`table`]), from which redis.conf, the command line, CONFIG and the
//! reference derive. Knows nothing of sockets, clients or commands: it says what is configured,
//! and the server makes it so.
//!
//! ```text
//!   command line ──cli──┐                        ┌── get      CONFIG GET
//!   redis.conf ───load──┴─> assign ─> Config ────┼── set      CONFIG SET
//!                            (table, values)     ├── rewrite  CONFIG REWRITE
//!                                                └── reference
//! ```
//!
//! Syntax, names, defaults and error texts are those of Redis 7.0's `redis.conf`.

mod checks;
mod cli;
mod include;
mod lists;
mod load;
mod reference;
mod rewrite;
mod runtime;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod words;

use crate::persist::rdb::Limits;
use crate::types::{hash, list, set, stream, zset};
use std::fmt;
use std::sync::LazyLock;

pub use cli::{Exit, GOREDIS_VERSION, REDIS_VERSION, Start, Stream, from_command_line};
pub use lists::{KeyspaceEvents, OutputLimit, OutputLimits, Primary, SavePoint, ShutdownOptions};
pub use load::ConfigError;
pub use reference::reference;
pub use rewrite::{RewriteOptions, replace_file};
pub use runtime::{Changed, SetContext, SetError};
pub use table::{Config, Directive, Support, TABLE, Traits};
pub use values::{
    AclPubsubDefault, Allowed, AppendFsync, ClientMemory, Declaration, DisklessLoad, EndpointType,
    Kind, LogLevel, MaxmemoryPolicy, OomScoreAdj, Place, PropagationError, SanitizeDumpPayload,
    Supervised, SyslogFacility, TlsAuthClients, Unit, read_bytes,
};

/// Directives that Redis still reads and that have no meaning any more, each with one word.
const RETIRED: [&str; 3] =
    ["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

/// The configuration of a server that is told nothing.
static DEFAULTS: LazyLock<Config> = LazyLock::new(Config::default);

/// Finds a row by its name or one of its old names, in any case of letters.
pub fn lookup(name: &[u8]) -> Option<&'static Directive> {
    TABLE.iter().find(|directive| directive.is_called(name))
}

impl Directive {
    /// The name and the old names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    fn is_called(&self, name: &[u8]) -> bool {
        self.names().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether a single word is split at its spaces.
    fn takes_words(&self) -> bool {
        matches!(self.kind, Kind::Words(_))
    }

    /// Whether it only exists as lines of a file, and not for CONFIG GET and SET.
    fn is_declaration(&self) -> bool {
        matches!(self.kind, Kind::Declaration { .. })
    }

    /// Whether the value is what it is when nobody says anything.
    fn is_default(&self, config: &Config) -> bool {
        (self.same)(config, &DEFAULTS)
    }
}

impl Config {
    /// Directives that were given another value than their default although their feature is
    /// missing so far: the server names them in its log, so that nobody trusts in them.
    pub fn unsupported_in_use(&self) -> Vec<&'static str> {
        let without_effect = TABLE.iter().filter(|row| row.traits.support == Support::NoEffect);
        without_effect.filter(|row| !row.is_default(self)).map(|row| row.name).collect()
    }
}

impl Config {
    /// What values may be and still be packed.
    pub fn value_limits(&self) -> Limits {
        let (size, depth) = (self.list_max_listpack_size, self.list_compress_depth);
        Limits {
            list: list::Limits { size, depth },
            hash: hash::Limits {
                entries: self.hash_max_listpack_entries,
                value: self.hash_max_listpack_value,
            },
            set: set::Limits {
                ints: self.set_max_intset_entries,
                entries: self.set_max_listpack_entries,
                value: self.set_max_listpack_value,
            },
            zset: zset::Limits {
                entries: self.zset_max_listpack_entries,
                value: self.zset_max_listpack_value,
            },
            stream: stream::Limits {
                bytes: self.stream_node_max_bytes,
                entries: self.stream_node_max_entries,
            },
        }
    }
}

/// What differs from the defaults, without secrets.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let shown = |row: &&Directive| !row.is_default(self) && !row.traits.secret;
        let text = |row: &Directive| {
            let value = (row.show)(self, &row.kind);
            (row.name, String::from_utf8_lossy(&value).into_owned())
        };
        f.debug_map().entries(TABLE.iter().filter(shown).map(text)).finish()
    }
}

impl fmt::Debug for Directive {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Directive").field(&self.name).finish()
    }
}
