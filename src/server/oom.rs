//! `oom-score-adj`: tells the kernel which processes to end first when memory runs out, by
//! `/proc/self/oom_score_adj` (man 5 proc).

use super::config::{Config, OomScoreAdj};
use log::warn;
use std::fs;
use std::io::{Error, ErrorKind};

const PATH: &str = "/proc/self/oom_score_adj";

#[derive(Default)]
pub struct OomScore {
    /// What the score was before we changed it; none if we have not.
    before: Option<i32>,
}

impl OomScore {
    /// Makes the score what the configuration says, or what it was before if that says nothing.
    ///
    /// # Errors
    /// A text for whoever has changed the configuration; the log has the reason.
    pub fn apply(&mut self, config: &Config) -> Result<(), String> {
        self.set(config).map_err(|e| {
            warn!("Unable to change {PATH}: {e}");
            "Failed to set current oom_score_adj. Check server logs.".to_string()
        })
    }

    fn set(&mut self, config: &Config) -> Result<(), Error> {
        let before = match (config.oom_score_adj, self.before) {
            (OomScoreAdj::No, None) => return Ok(()),
            (_, Some(before)) => before,
            (_, None) => read()?,
        };
        // The first value is that of a primary, the last that of a process that saves, of which
        // there is none: a replica's will be wanted when there are replicas.
        let [of_primary, ..] = config.oom_score_adj_values;
        let score = match config.oom_score_adj {
            OomScoreAdj::No => before,
            OomScoreAdj::Relative => before.saturating_add(of_primary),
            OomScoreAdj::Absolute => of_primary,
        };
        fs::write(PATH, format!("{}\n", score.clamp(-1000, 1000)))?;
        self.before = (config.oom_score_adj != OomScoreAdj::No).then_some(before);
        Ok(())
    }
}

fn read() -> Result<i32, Error> {
    let text = fs::read_to_string(PATH)?;
    text.trim().parse().map_err(|e| Error::new(ErrorKind::InvalidData, e))
}
