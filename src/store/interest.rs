//! Keys that somebody wants to hear about when they change: clients that wait for a list to get an
//! element, clients that watch a key. Must not know who they are.
//!
//! The keyspace notes each change of such a key here, however it came about; `server` takes the
//! notes after the command.

use std::collections::HashMap;

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
}

/// A key that was noted.
pub struct Changed {
    /// Behind its database.
    pub key: (usize, Box<[u8]>),
    pub concerns: Concerns,
}

pub struct Interests {
    /// By database.
    keys: Vec<HashMap<Box<[u8]>, Interest>>,
    /// Keys in all databases: what a change costs where nobody is interested is one look at this.
    total: usize,
    changed: Vec<(usize, Box<[u8]>)>,
}

impl Interests {
    pub fn new(databases: usize) -> Interests {
        let keys = (0..databases).map(|_| HashMap::new()).collect();
        Interests { keys, total: 0, changed: Vec::new() }
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
            keys.insert(key.into(), Interest { count: 1, noted: None });
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

    /// A key was created, changed, replaced or removed.
    pub fn note(&mut self, db: usize, key: &[u8]) {
        self.note_for(Concerns::All, db, key);
    }

    pub fn note_for(&mut self, concerns: Concerns, db: usize, key: &[u8]) {
        let Some(interest) = self.keys[db].get_mut(key) else { return };
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
        for (key, interest) in self.keys[db].iter_mut() {
            if has(key) && interest.noted.replace(Concerns::All).is_none() {
                self.changed.push((db, key.clone()));
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
            let interest = self.keys[key.0].get_mut(&key.1);
            let noted = interest.and_then(|interest| interest.noted.take());
            Changed { key, concerns: noted.unwrap_or(Concerns::All) }
        });
        taken.collect()
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
        interests.note(0, b"k");
        assert!(interests.is_empty() && !interests.has_changes());
        interests.add(0, b"k");
        interests.add(0, b"k");
        interests.note(0, b"k");
        interests.note(0, b"k");
        interests.note(1, b"k");
        interests.note(0, b"other");
        assert!(interests.has_changes());
        assert_eq!(taken(&mut interests), [(0, "k".into())]);
        interests.remove(0, b"k");
        interests.note_all(0, |key| key != b"k");
        assert!(!interests.has_changes());
        interests.note_all(0, |key| key == b"k");
        assert_eq!(taken(&mut interests), [(0, "k".into())]);
        interests.remove(0, b"k");
        interests.note(0, b"k");
        assert!(interests.is_empty() && taken(&mut interests).is_empty());
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
            reasons.iter().for_each(|&reason| interests.note_for(reason, 0, b"k"));
            let taken = interests.take_changed();
            assert_eq!(taken.len(), 1);
            assert_eq!(taken[0].concerns, expected, "{reasons:?}");
        }
        assert!(Waiting.waiting() && !Waiting.watching() && All.waiting() && All.watching());
        assert!(Watching.watching() && !Watching.waiting());
    }
}
