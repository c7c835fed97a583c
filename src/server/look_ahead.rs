//! Has the memory fetched that commands will read which are about to be executed: that of their
//! first keys, then that of the elements they will look up in large collections.

use super::command::Entry;
use crate::base::table::Part;
use crate::resp::Args;
use crate::store::Keyspace;

/// So many elements take a step before any takes the next, so that nothing is waited for.
const GROUP: usize = 32;

/// What some commands will look up.
#[derive(Default)]
pub struct LookAhead {
    /// Of their first keys.
    hashes: Vec<u64>,
    /// What is looked up in collections: the hash of the collection's key, the number of the
    /// command and that of the argument.
    elements: Vec<(u64, usize, usize)>,
}

impl LookAhead {
    pub fn clear(&mut self) {
        self.hashes.clear();
        self.elements.clear();
    }

    /// Another command will be executed, the one of this number.
    #[inline]
    pub fn add(&mut self, keys: &Keyspace, nth: usize, entry: &Entry, args: Args<'_>) {
        if entry.first_key > 0 && entry.first_key < args.len() {
            let hash = keys.hash(args.get(entry.first_key));
            self.hashes.push(hash);
            let element = entry.command.element;
            if element > 0 && element < args.len() {
                self.elements.push((hash, nth, element));
            }
        }
    }

    /// Begins to fetch. `args` tells the arguments of a command that was added.
    #[inline]
    pub fn fetch<'a>(&mut self, keys: &Keyspace, db: usize, args: impl Fn(usize) -> Args<'a>) {
        // A pipeline is often about one key.
        self.hashes.dedup();
        keys.prefetch(db, &self.hashes);
        for group in self.elements.chunks(GROUP) {
            let mut ahead = [None; GROUP];
            for (ahead, &(hash, nth, element)) in ahead.iter_mut().zip(group) {
                *ahead = keys.element_ahead(db, hash, args(nth).get(element));
            }
            for part in Part::USUAL {
                ahead.iter().flatten().for_each(|ahead| ahead.prefetch(part));
            }
        }
    }
}
