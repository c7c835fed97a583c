//! Prefixes of key names that clients in broadcasting mode have asked for, and the keys with these
//! prefixes that changed since the last broadcast. Must not know how messages are sent.

use std::collections::{BTreeMap, BTreeSet};

/// Keys by name, each with the client that changed it last; none if it was no client.
pub type Changed = BTreeMap<Box<[u8]>, Option<usize>>;

#[derive(Default)]
struct Prefix {
    /// Clients' keys.
    clients: BTreeSet<usize>,
    changed: Changed,
}

#[derive(Default)]
pub struct Prefixes {
    prefixes: BTreeMap<Box<[u8]>, Prefix>,
    /// How many prefixes have this length. A key is looked up once for each length that there is,
    /// instead of being compared with each prefix.
    lengths: BTreeMap<usize, usize>,
    /// The prefixes that have changed keys.
    dirty: BTreeSet<Box<[u8]>>,
}

/// Whether some keys begin with both.
pub fn overlap(one: &[u8], other: &[u8]) -> bool {
    let shorter = one.len().min(other.len());
    one[..shorter] == other[..shorter]
}

impl Prefixes {
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    pub fn add(&mut self, prefix: &[u8], client_key: usize) {
        if !self.prefixes.contains_key(prefix) {
            self.prefixes.insert(prefix.into(), Prefix::default());
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        if let Some(found) = self.prefixes.get_mut(prefix) {
            found.clients.insert(client_key);
        }
    }

    pub fn remove(&mut self, prefix: &[u8], client_key: usize) {
        let Some(found) = self.prefixes.get_mut(prefix) else { return };
        found.clients.remove(&client_key);
        if !found.clients.is_empty() {
            return;
        }
        self.prefixes.remove(prefix);
        self.dirty.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// Notes that a key has changed, by which client if by any.
    pub fn note(&mut self, key: &[u8], by: Option<usize>) {
        for &len in self.lengths.keys() {
            let Some(start) = key.get(..len) else { return };
            let Some(prefix) = self.prefixes.get_mut(start) else { continue };
            if prefix.changed.is_empty() {
                self.dirty.insert(start.into());
            }
            match prefix.changed.get_mut(key) {
                Some(last) => *last = by,
                None => _ = prefix.changed.insert(key.into(), by),
            }
        }
    }

    #[inline]
    pub fn has_changes(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Hands over the changed keys of each prefix, and the clients that are to be told, in the
    /// order of the prefixes.
    pub fn take_changes(&mut self, mut visit: impl FnMut(&Changed, &BTreeSet<usize>)) {
        for name in std::mem::take(&mut self.dirty) {
            if let Some(prefix) = self.prefixes.get_mut(&name) {
                visit(&std::mem::take(&mut prefix.changed), &prefix.clients);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(prefixes: &mut Prefixes) -> Vec<(Vec<String>, Vec<usize>)> {
        let mut told = Vec::new();
        prefixes.take_changes(|changed, clients| {
            let names = changed.keys().map(|key| String::from_utf8(key.to_vec()).unwrap());
            told.push((names.collect(), clients.iter().copied().collect()));
        });
        told
    }

    #[test]
    fn each_prefix_hears_of_its_keys_once() {
        let mut prefixes = Prefixes::default();
        prefixes.add(b"user:", 1);
        prefixes.add(b"user:", 2);
        prefixes.add(b"", 3);
        prefixes.add(b"user:1", 3);
        assert_eq!(prefixes.len(), 3);
        for key in [&b"user:2"[..], b"user:1", b"user:2", b"use", b"other:key"] {
            prefixes.note(key, None);
        }
        assert!(prefixes.has_changes());
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let expected = [
            (names(&["other:key", "use", "user:1", "user:2"]), vec![3]),
            (names(&["user:1", "user:2"]), vec![1, 2]),
            (names(&["user:1"]), vec![3]),
        ];
        assert_eq!(told(&mut prefixes), expected);
        assert!(!prefixes.has_changes() && told(&mut prefixes).is_empty());
        prefixes.remove(b"user:", 1);
        prefixes.remove(b"user:1", 3);
        prefixes.remove(b"", 3);
        prefixes.note(b"user:1", None);
        assert_eq!(told(&mut prefixes), [(names(&["user:1"]), vec![2])]);
        prefixes.remove(b"user:", 2);
        prefixes.note(b"user:1", None);
        assert!(prefixes.is_empty() && !prefixes.has_changes());
    }

    #[test]
    fn the_last_one_who_changed_a_key_counts() {
        let mut prefixes = Prefixes::default();
        prefixes.add(b"k", 1);
        for by in [Some(5), None, Some(6)] {
            prefixes.note(b"k", by);
        }
        prefixes.take_changes(|changed, _| assert_eq!(changed[&b"k"[..]], Some(6)));
    }

    #[test]
    fn prefixes_overlap_if_one_begins_the_other() {
        for (one, other, expected) in
            [("FOO", "FOOBAR", true), ("FOOBAR", "FOO", true), ("", "x", true), ("ab", "ac", false)]
        {
            assert_eq!(overlap(one.as_bytes(), other.as_bytes()), expected);
        }
    }
}
