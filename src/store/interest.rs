//! Keys that somebody wants to hear about when they change: clients that wait for a list to get an
//! element, clients that watch a key. Must not know who they are.
//!
//! The keyspace notes each change of such a key here, however it came about; `server` takes the
//! notes after the command.

use std::collections::HashMap;

#[derive(Default)]
struct Interest {
    /// How many want to hear.
    count: usize,
    /// The key is in the notes already.
    noted: bool,
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
            keys.insert(key.into(), Interest { count: 1, noted: false });
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
        if let Some(interest) = self.keys[db].get_mut(key)
            && !interest.noted
        {
            interest.noted = true;
            self.changed.push((db, key.into()));
        }
    }

    /// All keys of a database that satisfy `has` have changed.
    pub fn note_all(&mut self, db: usize, has: impl Fn(&[u8]) -> bool) {
        for (key, interest) in self.keys[db].iter_mut() {
            if !interest.noted && has(key) {
                interest.noted = true;
                self.changed.push((db, key.clone()));
            }
        }
    }

    #[inline]
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The keys noted since the last call, in the order of their changes, each once.
    pub fn take_changed(&mut self) -> Vec<(usize, Box<[u8]>)> {
        let changed = std::mem::take(&mut self.changed);
        for (db, key) in &changed {
            if let Some(interest) = self.keys[*db].get_mut(key) {
                interest.noted = false;
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(interests: &mut Interests) -> Vec<(usize, String)> {
        let text = |key: Box<[u8]>| String::from_utf8(key.into()).unwrap();
        interests.take_changed().into_iter().map(|(db, key)| (db, text(key))).collect()
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
}
