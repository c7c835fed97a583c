//! Where the process's memory goes, for INFO and MEMORY. Used memory is what of the process's
//! memory is resident and not backed by a file: the heap as the allocator holds it, with what is
//! free inside it, and the stacks. The program itself and the append-only file's mapping are
//! resident without being used. Redis counts the bytes it has asked its allocator for; ours does
//! not count, as that costs at each allocation.

use super::client::Client;
use super::{Server, client_list, process};
use crate::store::Keyspace;

/// A database that has keys, and the bytes it takes beside them.
#[derive(Clone, Copy, Debug)]
pub struct Database {
    pub index: usize,
    pub keys: usize,
    /// The table by which keys are found.
    pub table: u64,
    /// What knows when they expire.
    pub expiries: u64,
}

/// In bytes.
#[derive(Clone, Debug)]
pub struct Memory {
    pub used: u64,
    pub resident: u64,
    pub peak: u64,
    /// Used before there was any data.
    pub startup: u64,
    pub clients: u64,
    /// What the append-only file has not been given yet.
    pub aof: u64,
    pub databases: Vec<Database>,
    /// Of the used memory, what holds no data: all of the above but `aof`, which is a file's.
    pub overhead: u64,
}

impl Memory {
    /// Asks the system, and each client: some 10 µs, and more with many clients.
    pub fn measure(server: &Server, keys: &Keyspace) -> Memory {
        let process::Memory { resident, anonymous: used } = process::memory();
        let startup = server.startup_memory.min(used);
        let clients = connected(server).map(client_list::memory).sum::<usize>() as u64;
        let aof = server.log.numbers().map_or(0, |numbers| numbers.buffer_length);
        let databases: Vec<Database> = databases(keys).collect();
        let tables: u64 = databases.iter().map(|db| db.table + db.expiries).sum();
        let overhead = (startup + clients + tables).min(used);
        let peak = server.stats.peak_memory.max(used);
        Memory { used, resident, peak, startup, clients, aof, databases, overhead }
    }

    /// What is left of the used memory: keys and values.
    pub fn dataset(&self) -> u64 {
        self.used - self.overhead
    }

    pub fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.net())
    }

    pub fn peak_percent(&self) -> f64 {
        percent(self.used, self.peak)
    }

    /// What is resident for each byte used.
    pub fn resident_ratio(&self) -> f64 {
        ratio(self.resident, self.used)
    }

    pub fn keys(&self) -> usize {
        self.databases.iter().map(|db| db.keys).sum()
    }

    pub fn bytes_per_key(&self) -> u64 {
        self.net().checked_div(self.keys() as u64).unwrap_or(0)
    }

    /// Used since there was nothing.
    fn net(&self) -> u64 {
        self.used - self.startup
    }
}

/// The server's own clients do not count.
pub fn connected(server: &Server) -> impl Iterator<Item = &Client> {
    server.clients.iter().map(|(_, client)| &**client).filter(|client| client.conn.is_some())
}

fn databases(keys: &Keyspace) -> impl Iterator<Item = Database> {
    let all = (0..keys.databases()).map(|index| (index, keys.records(index)));
    all.filter(|(_, records)| !records.is_empty()).map(|(index, records)| Database {
        index,
        keys: records.len(),
        table: records.table_memory() as u64,
        expiries: records.expiry_memory() as u64,
    })
}

/// Dividing by nothing gives nothing.
fn ratio(dividend: u64, divisor: u64) -> f64 {
    if divisor == 0 { 0.0 } else { dividend as f64 / divisor as f64 }
}

fn percent(part: u64, whole: u64) -> f64 {
    ratio(part, whole) * 100.0
}
