//! Who this server is: what INFO tells of the process as a whole, and what others know it by.

use crate::base::rng::Rng;
use std::path::PathBuf;

pub struct Identity {
    /// 40 hexadecimal digits, new with each start.
    pub run_id: String,
    /// 40 hexadecimal digits that name the history of the data, for replicas.
    pub replication_id: String,
    /// Milliseconds since 1970.
    pub started_ms: i64,
    /// The program's absolute path, if the system tells it.
    pub executable: PathBuf,
    /// Name, release and machine.
    pub system: String,
}

impl Identity {
    pub fn new(rng: &mut Rng, now_ms: i64) -> Identity {
        Identity {
            run_id: random_id(rng),
            replication_id: random_id(rng),
            started_ms: now_ms,
            executable: std::env::current_exe().unwrap_or_default(),
            system: super::process::system_name(),
        }
    }
}

/// 40 hexadecimal digits by chance.
pub fn random_id(rng: &mut Rng) -> String {
    let mut bytes = [0; 20];
    rng.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
