//! What was refused, for ACL LOG: the newest first, the same again and again as one entry.

use std::collections::VecDeque;

/// Entries more than so many milliseconds apart are not the same, and so many are compared.
const SAME_WITHIN_MS: i64 = 60_000;
const COMPARED: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Command,
    Key,
    Channel,
    Auth,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

/// Where the command came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    Toplevel,
    Multi,
}

impl Context {
    pub fn name(self) -> &'static str {
        match self {
            Context::Toplevel => "toplevel",
            Context::Multi => "multi",
        }
    }
}

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub reason: Reason,
    pub context: Context,
    /// The command, key or channel.
    pub object: Box<[u8]>,
    pub user: Box<[u8]>,
    /// A line of CLIENT LIST.
    pub client: Box<[u8]>,
}

pub struct LogEntry {
    /// The last of those that are counted here.
    pub event: Event,
    pub count: u64,
    pub id: u64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    pub updated_ms: i64,
}

#[derive(Default)]
pub struct AclLog {
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

impl AclLog {
    /// Takes an event in, and forgets the oldest if there are more than `most` entries.
    pub fn add(&mut self, event: Event, now_ms: i64, most: u64) {
        let is_same = |entry: &LogEntry| {
            let known = &entry.event;
            (known.reason, known.context) == (event.reason, event.context)
                && (now_ms - entry.updated_ms).abs() <= SAME_WITHIN_MS
                && (&known.object, &known.user) == (&event.object, &event.user)
        };
        let same = self.entries.iter().take(COMPARED).position(is_same);
        let entry = match same.and_then(|index| self.entries.remove(index)) {
            Some(known) => LogEntry { event, count: known.count + 1, updated_ms: now_ms, ..known },
            None => {
                let id = self.next_id;
                self.next_id += 1;
                LogEntry { event, count: 1, id, created_ms: now_ms, updated_ms: now_ms }
            }
        };
        self.entries.push_front(entry);
        self.entries.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &LogEntry> {
        self.entries.iter()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(object: &str) -> Event {
        Event {
            reason: Reason::Key,
            context: Context::Toplevel,
            object: object.as_bytes().into(),
            user: b"u".as_slice().into(),
            client: Box::default(),
        }
    }

    /// Object, count, id, created, updated.
    fn entries(log: &AclLog) -> Vec<(String, u64, u64, i64, i64)> {
        let entry = |e: &LogEntry| {
            let object = String::from_utf8_lossy(&e.event.object).into_owned();
            (object, e.count, e.id, e.created_ms, e.updated_ms)
        };
        log.iter().map(entry).collect()
    }

    #[test]
    fn the_same_again_is_one_entry() {
        let mut log = AclLog::default();
        let entry = |object: &str, count, id, created, updated| {
            (object.to_string(), count, id, created, updated)
        };
        log.add(event("a"), 0, 128);
        log.add(event("b"), 1, 128);
        log.add(event("a"), 60_000, 128);
        assert_eq!(entries(&log), [entry("a", 2, 0, 0, 60_000), entry("b", 1, 1, 1, 1)]);
        // A minute since it was last seen, not since the first time.
        log.add(event("a"), 120_000, 128);
        log.add(event("b"), 120_000, 128);
        assert_eq!(
            entries(&log),
            [
                entry("b", 1, 2, 120_000, 120_000),
                entry("a", 3, 0, 0, 120_000),
                entry("b", 1, 1, 1, 1)
            ]
        );
        let other = Event { user: b"v".as_slice().into(), ..event("a") };
        log.add(other, 120_000, 128);
        let other = Event { context: Context::Multi, ..event("a") };
        log.add(other, 120_000, 128);
        let other = Event { reason: Reason::Channel, ..event("a") };
        log.add(other, 120_000, 128);
        assert_eq!(log.iter().len(), 6);
    }

    #[test]
    fn only_the_newest_are_compared_and_kept() {
        let mut log = AclLog::default();
        (0..11).for_each(|n| log.add(event(&n.to_string()), 0, 128));
        log.add(event("0"), 0, 128);
        assert_eq!(log.iter().len(), 12);
        log.add(event("2"), 0, 5);
        let objects: Vec<String> = entries(&log).into_iter().map(|entry| entry.0).collect();
        assert_eq!(objects, ["2", "0", "10", "9", "8"]);
        log.add(event("x"), 0, 0);
        assert_eq!(log.iter().len(), 0);
    }
}
