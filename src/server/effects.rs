//! What follows from a change: the bytes for the append-only file. Encoded once, in the order the
//! changes happened.

use super::ctx::Propagation;
use crate::persist::aof::encode;
use crate::resp::{Args, command};
use crate::store::Keyspace;
use crate::store::db::Expired;

/// Writes changes as commands.
#[derive(Default)]
pub struct Effects {
    /// The database the file's reader is in after the last command written.
    selected: Option<usize>,
    unit: Unit,
    /// `aof-timestamp-enabled`: the time noted last, in seconds since 1970; 0 if none is.
    noted_s: Option<i64>,
}

/// Changes that a reader makes all or none of, between MULTI and EXEC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unit {
    #[default]
    None,
    /// One begins with the next change, if there is any.
    Due,
    Begun,
}

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

impl Effects {
    /// The next command is preceded by a SELECT: a new file begins.
    pub fn forget_selection(&mut self) {
        self.selected = None;
        self.noted_s = self.noted_s.map(|_| 0);
    }

    /// Whether the time is noted in front of the changes of each second.
    pub fn note_time(&mut self, wanted: bool) {
        self.noted_s = wanted.then_some(self.noted_s.unwrap_or(0));
    }

    /// What is recorded from now on belongs together.
    pub fn begin_unit(&mut self) {
        self.unit = Unit::Due;
    }

    /// The unit is complete; `log` is where it was recorded, if anywhere.
    pub fn end_unit(&mut self, log: Option<&mut Vec<u8>>) {
        if std::mem::take(&mut self.unit) == Unit::Begun
            && let Some(log) = log
        {
            log.extend_from_slice(EXEC);
        }
    }

    /// Writes what a command changed: keys that expired on its way, then the command itself.
    /// `verbatim` is the command's bytes as received, if they are in the canonical form.
    #[inline(always)]
    pub fn record(
        &mut self,
        log: &mut Vec<u8>,
        keys: &mut Keyspace,
        db: usize,
        args: Args<'_>,
        verbatim: Option<&[u8]>,
        propagation: &Propagation,
    ) {
        let is_alone = keys.expired_untold.is_empty() && !self.needs_introduction(db);
        match (propagation, verbatim) {
            (Propagation::Verbatim, Some(bytes)) if is_alone => log.extend_from_slice(bytes),
            _ => self.record_all(log, keys, db, args, propagation),
        }
    }

    fn record_all(
        &mut self,
        log: &mut Vec<u8>,
        keys: &mut Keyspace,
        db: usize,
        args: Args<'_>,
        propagation: &Propagation,
    ) {
        self.record_expired(log, keys);
        let now_ms = keys.now_ms;
        match propagation {
            Propagation::Nothing => {}
            Propagation::Verbatim => {
                self.begin(log, db, now_ms);
                write_command(log, args);
            }
            Propagation::Rewritten(commands) => {
                // Several commands that belong together are one unit, too.
                let is_unit = commands.len() > 1 && self.unit == Unit::None;
                if is_unit {
                    self.begin_unit();
                }
                self.begin(log, db, now_ms);
                commands.iter().for_each(|command| write_command(log, command.args()));
                if is_unit {
                    self.end_unit(Some(log));
                }
            }
        }
    }

    /// Writes a DEL for each key that expired since the last call, and an HDEL for fields.
    pub fn record_expired(&mut self, log: &mut Vec<u8>, keys: &mut Keyspace) {
        let now_ms = keys.now_ms;
        for Expired { db, key, fields } in keys.expired_untold.drain(..) {
            self.begin(log, db, now_ms);
            command::begin(log, 2 + fields.len());
            command::arg(log, if fields.is_empty() { b"DEL" } else { b"HDEL" });
            command::arg(log, &key);
            fields.iter().for_each(|field| command::arg(log, field));
        }
    }

    /// What is written next is a change in a database.
    fn begin(&mut self, log: &mut Vec<u8>, db: usize, now_ms: i64) {
        if self.needs_introduction(db) {
            self.introduce(log, db, now_ms);
        }
    }

    /// Whether a change in this database might need something said before it.
    fn needs_introduction(&self, db: usize) -> bool {
        self.selected != Some(db) || self.unit == Unit::Due || self.noted_s.is_some()
    }

    /// Writes what the change's reader has to know before it, as far as it does not yet.
    #[cold]
    fn introduce(&mut self, log: &mut Vec<u8>, db: usize, now_ms: i64) {
        if let Some(noted_s) = self.noted_s {
            self.annotate(log, noted_s, now_ms / 1000);
        }
        if self.selected != Some(db) {
            self.selected = Some(db);
            encode::select(log, db);
        }
        if self.unit == Unit::Due {
            self.unit = Unit::Begun;
            log.extend_from_slice(MULTI);
        }
    }

    /// Not within a unit: a log that is cut back to the annotation must hold none by halves.
    fn annotate(&mut self, log: &mut Vec<u8>, noted_s: i64, now_s: i64) {
        if now_s > noted_s && self.unit != Unit::Begun {
            self.noted_s = Some(now_s);
            encode::timestamp(log, now_s);
        }
    }
}

fn write_command(log: &mut Vec<u8>, args: Args<'_>) {
    command::begin(log, args.len());
    args.iter().for_each(|arg| command::arg(log, arg));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::parse::OwnedArgs;

    /// Records commands as the parts of a transaction, and gives what was written.
    fn unit(effects: &mut Effects, commands: &[(usize, &[&str])]) -> String {
        let mut keys = Keyspace::new(16, 1, 0);
        let mut log = Vec::new();
        effects.begin_unit();
        for (db, words) in commands {
            let command: OwnedArgs = words.iter().collect();
            let propagation = Propagation::Verbatim;
            effects.record(&mut log, &mut keys, *db, command.args(), None, &propagation);
        }
        effects.end_unit(Some(&mut log));
        let text = String::from_utf8(log).unwrap();
        let words = text.split("\r\n").filter(|w| !w.is_empty() && !w.starts_with(['*', '$']));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_transaction_is_one_unit_if_it_changed_anything() {
        let mut effects = Effects::default();
        assert_eq!(unit(&mut effects, &[]), "");
        assert_eq!(unit(&mut effects, &[(0, &["set", "k", "v"])]), "SELECT 0 MULTI set k v EXEC");
        assert_eq!(
            unit(&mut effects, &[(0, &["del", "k"]), (3, &["del", "k"])]),
            "MULTI del k SELECT 3 del k EXEC"
        );
        assert_eq!(unit(&mut effects, &[(3, &["del", "k"])]), "MULTI del k EXEC");
    }

    #[test]
    fn what_stands_for_a_command_within_a_transaction_is_part_of_its_unit() {
        let mut effects = Effects::default();
        let mut keys = Keyspace::new(16, 1, 0);
        let mut log = Vec::new();
        let two = ["a", "b"].map(|word| [word].iter().collect::<OwnedArgs>());
        let propagation = Propagation::Rewritten(two.to_vec());
        effects.begin_unit();
        for _ in 0..2 {
            let args = OwnedArgs::default();
            effects.record(&mut log, &mut keys, 0, args.args(), None, &propagation);
        }
        effects.end_unit(Some(&mut log));
        let text = String::from_utf8(log).unwrap();
        assert_eq!((text.matches("MULTI").count(), text.matches("EXEC").count()), (1, 1));
        assert!(text.ends_with("EXEC\r\n"));
    }

    #[test]
    fn the_time_is_noted_once_a_second_and_not_within_a_unit() {
        let mut effects = Effects::default();
        let mut keys = Keyspace::new(16, 1, 0);
        let mut log = Vec::new();
        let command: OwnedArgs = ["flushdb"].iter().collect();
        let mut record = |effects: &mut Effects, now_ms: i64| {
            keys.set_now(now_ms);
            log.clear();
            let args = command.args();
            effects.record(&mut log, &mut keys, 0, args, None, &Propagation::Verbatim);
            let text = String::from_utf8(log.clone()).unwrap();
            text.split("\r\n").filter(|w| !w.starts_with(['*', '$'])).collect::<String>()
        };
        assert_eq!(record(&mut effects, 1_000), "SELECT0flushdb");
        effects.note_time(true);
        assert_eq!(record(&mut effects, 5_999), "#TS:5flushdb");
        assert_eq!(record(&mut effects, 5_999), "flushdb");
        effects.note_time(true);
        assert_eq!(record(&mut effects, 5_000), "flushdb");
        assert_eq!(record(&mut effects, 6_000), "#TS:6flushdb");
        effects.begin_unit();
        assert_eq!(record(&mut effects, 7_000), "#TS:7MULTIflushdb");
        assert_eq!(record(&mut effects, 8_000), "flushdb");
        effects.end_unit(Some(&mut Vec::new()));
        assert_eq!(record(&mut effects, 8_000), "#TS:8flushdb");
        effects.forget_selection();
        assert_eq!(record(&mut effects, 8_000), "#TS:8SELECT0flushdb");
        effects.note_time(false);
        assert_eq!(record(&mut effects, 9_000), "flushdb");
    }
}
