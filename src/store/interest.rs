//! Keys that somebody wants to hear about when they change: clients that wait for a list to get an
//! element, clients that watch a key, clients that cache what they read. Must not know who they
//! are.
//!
//! The keyspace notes each change of such a key here, however it came about; `server` takes the
//! notes after the command.

use std::collections::HashMap;

/// What changed a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Command,
    /// It, or a part of it, was due.
    Time,
}

/// Buffers larger than this are given back to the allocator instead of being kept, in bytes.
const KEPT: usize = 64 * 1024;

/// Names of one command's changed keys that are kept apart, in bytes: with more of them it is as
/// if all keys had changed.
const MOST: usize = 64 * 1024 * 1024;

/// The names of all keys that changed, whatever their database, in the order of the changes. They
/// lie one behind the other, so that noting one costs hardly more than copying it.
#[derive(Default)]
pub struct Changes {
    names: Vec<u8>,
    /// Where each name ends, and what changed its key.
    ends: Vec<(usize, Cause)>,
    /// Any key may have changed, before the changes that are listed: databases were emptied or
    /// exchanged.
    pub flushed: bool,
}

impl Changes {
    fn push(&mut self, key: &[u8], cause: Cause) {
        if self.names.len() > MOST {
            self.all_changed();
        }
        self.names.extend_from_slice(key);
        self.ends.push((self.names.len(), cause));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Cause)> {
        let mut start = 0;
        self.ends.iter().map(move |&(end, cause)| {
            let name = &self.names[std::mem::replace(&mut start, end)..end];
            (name, cause)
        })
    }

    fn all_changed(&mut self) {
        // What changed before is part of it.
        self.clear();
        self.flushed = true;
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty() && !self.flushed
    }

    fn clear(&mut self) {
        self.names.clear();
        self.names.shrink_to(KEPT);
        self.ends.clear();
        self.ends.shrink_to(KEPT / size_of::<(usize, Cause)>());
        self.flushed = false;
    }
}

/// Whom a note about a key concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerns {
    /// Those who wait for the key and those who watch it.
    All,
    /// Those who wait: what is behind the key has changed, but not the key.
    Waiting,
    /// Those who watch: somebody set out to change the key, although nothing came of it.
    Watching,
}

impl Concerns {
    pub fn waiting(self) -> bool {
        self != Concerns::Watching
    }

    pub fn watching(self) -> bool {
        self != Concerns::Waiting
    }

    fn with(self, other: Concerns) -> Concerns {
        if self == other { self } else { Concerns::All }
    }
}

#[derive(Default)]
struct Interest {
    /// How many want to hear.
    count: usize,
    /// Whom the key's place in the notes concerns, if it has one already.
    noted: Option<Concerns>,
    /// Not time alone has changed it.
    by_command: bool,
}

/// A key that was noted.
pub struct Changed {
    /// Behind its database.
    pub key: (usize, Box<[u8]>),
    pub concerns: Concerns,
    /// False if only time has changed it: it, or parts of it, were due.
    pub by_command: bool,
}

pub struct Interests {
    /// By database.
    keys: Vec<HashMap<Box<[u8]>, Interest>>,
    /// Keys in all databases, and one more if somebody wants to hear of every key: what a change
    /// costs where nobody is interested is one look at this.
    total: usize,
    changed: Vec<(usize, Box<[u8]>)>,
    /// Every key's changes are noted in `all`.
    hears_all: bool,
    all: Changes,
}

impl Interests {
    pub fn new(databases: usize) -> Interests {
        let keys = (0..databases).map(|_| HashMap::new()).collect();
        let (changed, all) = (Vec::new(), Changes::default());
        Interests { keys, total: 0, changed, hears_all: false, all }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The keys of a database that somebody wants to hear about.
    pub fn keys(&self, db: usize) -> impl Iterator<Item = Box<[u8]>> {
        self.keys[db].keys().cloned()
    }

    /// Asks for changes of a key to be noted, until [`Interests::remove`] is called as often.
    pub fn add(&mut self, db: usize, key: &[u8]) {
        let keys = &mut self.keys[db];
        if let Some(interest) = keys.get_mut(key) {
            interest.count += 1;
        } else {
            keys.insert(key.into(), Interest { count: 1, ..Interest::default() });
            self.total += 1;
        }
    }

    pub fn remove(&mut self, db: usize, key: &[u8]) {
        let Some(interest) = self.keys[db].get_mut(key) else { return };
        interest.count -= 1;
        if interest.count == 0 {
            self.keys[db].remove(key);
            self.total -= 1;
        }
    }

    /// Has every key's changes noted from now on, or no longer; then what was noted is dropped.
    pub fn hear_all(&mut self, wanted: bool) {
        self.total -= usize::from(std::mem::replace(&mut self.hears_all, wanted));
        self.total += usize::from(wanted);
        if !wanted {
            self.all = Changes::default();
        }
    }

    /// A key was created, changed, replaced or removed.
    pub fn note(&mut self, db: usize, key: &[u8], cause: Cause) {
        self.note_for(Concerns::All, db, key, cause);
    }

    pub fn note_for(&mut self, concerns: Concerns, db: usize, key: &[u8], cause: Cause) {
        if self.hears_all && concerns.watching() {
            self.all.push(key, cause);
        }
        let Some(interest) = self.keys[db].get_mut(key) else { return };
        interest.by_command |= cause == Cause::Command;
        match &mut interest.noted {
            Some(noted) => *noted = noted.with(concerns),
            None => {
                interest.noted = Some(concerns);
                self.changed.push((db, key.into()));
            }
        }
    }

    /// All keys of a database that satisfy `has` have changed.
    pub fn note_all(&mut self, db: usize, has: impl Fn(&[u8]) -> bool) {
        if self.hears_all {
            self.all.all_changed();
        }
        for (key, interest) in self.keys[db].iter_mut() {
            if has(key) {
                interest.by_command = true;
                if interest.noted.replace(Concerns::All).is_none() {
                    self.changed.push((db, key.clone()));
                }
            }
        }
    }

    #[inline]
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The keys noted since the last call, in the order of their changes, each once.
    pub fn take_changed(&mut self) -> Vec<Changed> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let taken = changed.map(|key| {
            // Nobody may want to hear of it any more.
            let mut unheard = Interest::default();
            let interest = self.keys[key.0].get_mut(&key.1).unwrap_or(&mut unheard);
            let concerns = interest.noted.take().unwrap_or(Concerns::All);
            let by_command = std::mem::take(&mut interest.by_command);
            Changed { key, concerns, by_command }
        });
        taken.collect()
    }

    /// What was noted of every key since the last call; give it back with [`Interests::reuse`].
    #[inline]
    pub fn take_all(&mut self) -> Option<Changes> {
        (!self.all.is_empty()).then(|| std::mem::take(&mut self.all))
    }

    /// Takes back the memory of notes that are done with.
    pub fn reuse(&mut self, mut changes: Changes) {
        changes.clear();
        self.all = changes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(interests: &mut Interests) -> Vec<(usize, String)> {
        let text = |key: Box<[u8]>| String::from_utf8(key.into()).unwrap();
        let changed = interests.take_changed().into_iter().map(|changed| changed.key);
        changed.map(|(db, key)| (db, text(key))).collect()
    }

    #[test]
    fn a_key_is_noted_once_for_all_who_asked_and_only_while_they_do() {
        let mut interests = Interests::new(2);
        interests.note(0, b"k", Cause::Command);
        assert!(interests.is_empty() && !interests.has_changes());
        interests.add(0, b"k");
        interests.add(0, b"k");
        interests.note(0, b"k", Cause::Command);
        interests.note(0, b"k", Cause::Command);
        interests.note(1, b"k", Cause::Command);
        interests.note(0, b"other", Cause::Command);
        assert!(interests.has_changes());
        assert_eq!(taken(&mut interests), [(0, "k".into())]);
        interests.remove(0, b"k");
        interests.note_all(0, |key| key != b"k");
        assert!(!interests.has_changes());
        interests.note_all(0, |key| key == b"k");
        assert_eq!(taken(&mut interests), [(0, "k".into())]);
        interests.remove(0, b"k");
        interests.note(0, b"k", Cause::Command);
        assert!(interests.is_empty() && taken(&mut interests).is_empty());
    }

    #[test]
    fn every_change_is_noted_while_somebody_wants_to_hear_of_all() {
        let text = |changes: &Changes| {
            let name = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
            changes.iter().map(|(key, cause)| (name(key), cause)).collect::<Vec<_>>()
        };
        let mut interests = Interests::new(2);
        interests.note(0, b"before", Cause::Command);
        interests.hear_all(true);
        interests.hear_all(true);
        assert!(!interests.is_empty() && interests.take_all().is_none());
        interests.note(0, b"a", Cause::Command);
        interests.note(1, b"", Cause::Time);
        interests.note(1, b"a", Cause::Time);
        let changes = interests.take_all().unwrap();
        let expected = [("a", Cause::Command), ("", Cause::Time), ("a", Cause::Time)];
        assert_eq!(text(&changes), expected.map(|(key, cause)| (key.to_string(), cause)));
        assert!(!changes.flushed);
        interests.reuse(changes);
        assert!(interests.take_all().is_none());
        interests.note(0, b"lost in the flush", Cause::Command);
        interests.note_all(0, |_| false);
        interests.note(0, b"b", Cause::Command);
        let changes = interests.take_all().unwrap();
        assert!(changes.flushed);
        assert_eq!(text(&changes), [("b".to_string(), Cause::Command)]);
        interests.reuse(changes);
        let long = vec![b'k'; MOST / 2];
        for _ in 0..4 {
            interests.note(0, &long, Cause::Command);
        }
        let changes = interests.take_all().unwrap();
        assert!(changes.flushed);
        assert_eq!(changes.iter().count(), 1);
        interests.note(0, b"nobody asks for it", Cause::Command);
        interests.hear_all(false);
        interests.note(0, b"after", Cause::Command);
        assert!(interests.is_empty() && interests.take_all().is_none());
    }

    #[test]
    fn a_note_concerns_all_whom_any_of_its_reasons_concerns() {
        use Concerns::*;
        let mut interests = Interests::new(1);
        interests.add(0, b"k");
        let cases: [(&[Concerns], Concerns); 5] = [
            (&[Waiting, Waiting], Waiting),
            (&[Watching], Watching),
            (&[Watching, Waiting], All),
            (&[All, Waiting], All),
            (&[Watching, All], All),
        ];
        for (reasons, expected) in cases {
            reasons.iter().for_each(|&reason| interests.note_for(reason, 0, b"k", Cause::Command));
            let taken = interests.take_changed();
            assert_eq!(taken.len(), 1);
            assert_eq!(taken[0].concerns, expected, "{reasons:?}");
        }
        assert!(Waiting.waiting() && !Waiting.watching() && All.waiting() && All.watching());
        assert!(Watching.watching() && !Watching.waiting());
    }
}
