//! A hierarchical timing wheel: which records are due, exactly, at the cost of a few bytes each.
//!
//! Level 0 has a slot a millisecond, level 1 a slot per 64 ms, and so on (Varghese and Lauck 1987).
//! An entry lies at the level of the highest six-bit digit in which its time differs from the
//! wheel's, so it moves down at most ten times before it is due. Each entry's owner keeps its
//! position (level and index in the slot), so taking one out is a swap with the slot's last.
//!
//! All work is done one entry at a time and can stop anywhere. Must not know what an entry is:
//! words are opaque, and the owner is told where each one went.

/// Milliseconds since 1970.
type Time = i64;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 11;
/// The pseudo-level of entries that were due before they came.
const OVERDUE: usize = LEVELS;
const LEVEL_SHIFT: u32 = 28;
const INDEX_MASK: u32 = (1 << LEVEL_SHIFT) - 1;
/// Large slots are kept in pieces, so that none is ever copied whole.
const PIECE: usize = 1024;

/// When somebody sets the clock back by less, the wheel waits for it to catch up.
const PATIENCE_MS: Time = 60_000;

/// What the wheel must know of its entries.
pub trait Timed {
    fn time(&self, word: u64) -> Time;
    fn moved(&mut self, word: u64, position: u32);
}

#[derive(Default)]
struct Slot {
    pieces: Vec<Vec<u64>>,
    len: usize,
}

impl Slot {
    fn push(&mut self, word: u64) -> usize {
        if self.len == self.pieces.len() * PIECE {
            let capacity = if self.pieces.is_empty() { 4 } else { PIECE };
            self.pieces.push(Vec::with_capacity(capacity));
        }
        self.pieces[self.len / PIECE].push(word);
        self.len += 1;
        self.len - 1
    }

    fn pop(&mut self) -> Option<u64> {
        let piece = self.pieces.last_mut()?;
        let word = piece.pop()?;
        self.len -= 1;
        if piece.is_empty() {
            self.pieces.pop();
        }
        Some(word)
    }

    fn at(&mut self, index: usize) -> Option<&mut u64> {
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }

    fn get(&self, index: usize) -> Option<u64> {
        self.pieces.get(index / PIECE)?.get(index % PIECE).copied()
    }
}

struct Level {
    occupied: u64,
    slots: Vec<Slot>,
}

/// See the module's description.
pub struct Wheel {
    levels: Vec<Level>,
    overdue: Slot,
    elapsed: Time,
    len: usize,
}

impl Wheel {
    /// A wheel for times from `now` on.
    pub fn new(now: Time) -> Wheel {
        Wheel { levels: Vec::new(), overdue: Slot::default(), elapsed: now.max(0), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of its slots and entries.
    pub fn memory(&self) -> usize {
        let slots = self.levels.iter().map(|level| level.slots.len()).sum::<usize>();
        slots * size_of::<Slot>() + self.len * size_of::<u64>()
    }

    fn level_of(&self, time: Time) -> usize {
        if time < self.elapsed {
            return OVERDUE;
        }
        let differing = (time ^ self.elapsed) as u64;
        (63 - (differing | 1).leading_zeros()) as usize / BITS as usize
    }

    fn slot_mut(&mut self, level: usize, time: Time) -> Option<&mut Slot> {
        if level == OVERDUE {
            return Some(&mut self.overdue);
        }
        self.levels.get_mut(level)?.slots.get_mut(digit(time, level))
    }

    /// Adds an entry and returns its position.
    pub fn insert(&mut self, time: Time, word: u64) -> u32 {
        let level = self.level_of(time);
        if level != OVERDUE {
            while self.levels.len() <= level {
                let slots = (0..SLOTS).map(|_| Slot::default()).collect();
                self.levels.push(Level { occupied: 0, slots });
            }
            self.levels[level].occupied |= 1 << digit(time, level);
        }
        self.len += 1;
        let index = self.slot_mut(level, time).map_or(0, |slot| slot.push(word));
        (level as u32) << LEVEL_SHIFT | (index as u32 & INDEX_MASK)
    }

    /// Takes an entry out; `owner` hears where the entry went that fills its place.
    pub fn remove(&mut self, time: Time, position: u32, owner: &mut impl Timed) {
        let (level, index) = ((position >> LEVEL_SHIFT) as usize, position & INDEX_MASK);
        let Some(slot) = self.slot_mut(level, time) else { return };
        let Some(last) = slot.pop() else { return };
        if let Some(place) = slot.at(index as usize) {
            *place = last;
            owner.moved(last, position);
        }
        if slot.len == 0 && level != OVERDUE {
            self.levels[level].occupied &= !(1 << digit(time, level));
        }
        self.len -= 1;
    }

    /// The entry at a position has become another word (its record moved in memory).
    pub fn replace(&mut self, time: Time, position: u32, word: u64) {
        let (level, index) = ((position >> LEVEL_SHIFT) as usize, position & INDEX_MASK);
        if let Some(place) = self.slot_mut(level, time).and_then(|s| s.at(index as usize)) {
            *place = word;
        }
    }

    /// The entry at a position, which tests compare with what its owner remembers.
    #[cfg(test)]
    pub fn at(&mut self, time: Time, position: u32) -> Option<u64> {
        let (level, index) = ((position >> LEVEL_SHIFT) as usize, position & INDEX_MASK);
        self.slot_mut(level, time)?.at(index as usize).copied()
    }

    /// The earliest time at which there is something to do, at or before the first entry is due.
    pub fn next_time(&self) -> Option<Time> {
        if self.overdue.len > 0 {
            return Some(self.elapsed);
        }
        self.first_slot().map(|(level, slot)| self.slot_start(level, slot))
    }

    /// The mean of the entries' times, from about `most` of them spread evenly over all; none if
    /// there are no entries.
    pub fn mean_time(&self, most: usize, owner: &impl Timed) -> Option<Time> {
        let stride = self.len.div_ceil(most.max(1)).max(1);
        let slots = self.levels.iter().flat_map(|level| &level.slots).chain([&self.overdue]);
        let (mut sum, mut count) = (0i128, 0);
        // How many entries of the next slots are to be passed over.
        let mut skip = 0;
        for slot in slots {
            let mut index = skip;
            while let Some(word) = slot.get(index) {
                sum += i128::from(owner.time(word));
                count += 1;
                index += stride;
            }
            skip = index - slot.len;
        }
        // The mean of 64-bit numbers is one.
        (count > 0).then(|| (sum / count) as Time)
    }

    /// The slot that comes first: one above level 0 that the time has reached and that is not
    /// empty yet, else the lowest level's first.
    fn first_slot(&self) -> Option<(usize, usize)> {
        if self.len == 0 {
            return None;
        }
        let levels = || self.levels.iter().enumerate();
        let reached = levels().skip(1).find_map(|(level, l)| {
            let slot = digit(self.elapsed, level);
            (l.occupied & (1 << slot) != 0).then_some((level, slot))
        });
        reached.or_else(|| {
            levels().find_map(|(level, l)| {
                let ahead = l.occupied & (u64::MAX << digit(self.elapsed, level));
                (ahead != 0).then(|| (level, ahead.trailing_zeros() as usize))
            })
        })
    }

    fn slot_start(&self, level: usize, slot: usize) -> Time {
        let shift = BITS * level as u32;
        let above = match shift + BITS {
            63.. => 0,
            bits => self.elapsed >> bits << bits,
        };
        (above | ((slot as Time) << shift)).max(self.elapsed)
    }

    /// Begins anew at an earlier time, as the clock was set back for good. This looks at every
    /// entry in one go, which it may, as it happens at most once a minute and hardly ever.
    fn rewind(&mut self, now: Time, owner: &mut impl Timed) {
        let old = std::mem::replace(self, Wheel::new(now));
        let slots = old.levels.into_iter().flat_map(|level| level.slots).chain([old.overdue]);
        for word in slots.flat_map(|slot| slot.pieces).flatten() {
            let position = self.insert(owner.time(word), word);
            owner.moved(word, position);
        }
    }

    /// Takes out one entry that is due at `now` or moves one closer to being due. While `now` is
    /// earlier than it was before, nothing is: what came late to the wheel's time need not be
    /// late by the clock.
    pub fn step(&mut self, now: Time, owner: &mut impl Timed) -> Step {
        if now < self.elapsed {
            if self.elapsed - now <= PATIENCE_MS {
                return Step::Idle;
            }
            self.rewind(now, owner);
        }
        if let Some(word) = self.overdue.pop() {
            self.len -= 1;
            return Step::Due(word);
        }
        let Some((level, slot)) = self.first_slot() else {
            self.elapsed = self.elapsed.max(now);
            return Step::Idle;
        };
        let start = self.slot_start(level, slot);
        if start > now {
            self.elapsed = self.elapsed.max(now);
            return Step::Idle;
        }
        self.elapsed = start;
        let entries = &mut self.levels[level];
        let word = entries.slots[slot].pop();
        if entries.slots[slot].len == 0 {
            entries.occupied &= !(1 << slot);
        }
        let Some(word) = word else { return Step::Moved };
        self.len -= 1;
        if level == 0 {
            return Step::Due(word);
        }
        let position = self.insert(owner.time(word), word);
        owner.moved(word, position);
        Step::Moved
    }
}

/// What one [`Wheel::step`] did.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// This entry is due and no longer in the wheel.
    Due(u64),
    /// An entry came closer; there may be more to do.
    Moved,
    /// Nothing is due.
    Idle,
}

fn digit(time: Time, level: usize) -> usize {
    (time >> (BITS * level as u32)) as usize & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Default)]
    struct Model(HashMap<u64, (Time, u32)>);

    impl Timed for Model {
        fn time(&self, word: u64) -> Time {
            self.0[&word].0
        }
        fn moved(&mut self, word: u64, position: u32) {
            self.0.get_mut(&word).unwrap().1 = position;
        }
    }

    fn due(wheel: &mut Wheel, model: &mut Model, now: Time) -> Vec<u64> {
        let mut words = Vec::new();
        loop {
            match wheel.step(now, model) {
                Step::Due(word) => words.push(word),
                Step::Moved => {}
                Step::Idle => return words,
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_list(
            start in 0i64..5_000_000_000_000,
            ops in proptest::collection::vec((0u8..4, 0u32..40, 0i64..1 << 40), 1..300),
        ) {
            let mut now = start;
            let mut wheel = Wheel::new(now);
            let mut model = Model::default();
            let mut next_word = 1;
            for (op, scale, value) in ops {
                match op {
                    0 | 1 => {
                        let time = now - 3 + (value >> scale);
                        let position = wheel.insert(time, next_word);
                        model.0.insert(next_word, (time, position));
                        next_word += 1;
                    }
                    2 => {
                        let word = model.0.keys().min_by_key(|w| **w ^ value as u64).copied();
                        if let Some(word) = word {
                            let (time, position) = model.0[&word];
                            wheel.remove(time, position, &mut model);
                            model.0.remove(&word);
                        }
                    }
                    _ => {
                        now += value >> scale;
                        let mut got = due(&mut wheel, &mut model, now);
                        got.sort();
                        let mut want: Vec<u64> =
                            model.0.iter().filter(|e| e.1.0 <= now).map(|e| *e.0).collect();
                        want.sort();
                        prop_assert_eq!(&got, &want);
                        model.0.retain(|w, _| !want.contains(w));
                    }
                }
                prop_assert_eq!(wheel.len(), model.0.len());
                let times = || model.0.values().map(|v| v.0);
                let mean = times().sum::<Time>().checked_div(model.0.len() as Time);
                prop_assert_eq!(wheel.mean_time(1000, &model), mean);
                let sampled = wheel.mean_time(3, &model);
                prop_assert!(sampled >= times().min() && sampled <= times().max());
                if let Some(first) = model.0.values().map(|v| v.0).min() {
                    prop_assert!(wheel.next_time().unwrap() <= first.max(now));
                }
            }
        }
    }

    proptest! {
        /// Whatever the clock does, nothing goes before its time, and all goes in the end.
        #[test]
        fn a_clock_set_back_lets_nothing_go_early(
            ops in proptest::collection::vec((0u8..3, -200_000i64..200_000), 1..100),
        ) {
            let mut now = 1_700_000_000_000;
            let mut latest = now;
            let mut wheel = Wheel::new(now);
            let mut model = Model::default();
            for (word, (op, ms)) in (1..).zip(ops) {
                if op < 2 {
                    let time = now + ms.max(-10);
                    let position = wheel.insert(time, word);
                    model.0.insert(word, (time, position));
                    continue;
                }
                now += ms;
                for word in due(&mut wheel, &mut model, now) {
                    prop_assert!(model.0.remove(&word).unwrap().0 <= now);
                }
                if now >= latest || now < latest - PATIENCE_MS {
                    prop_assert!(model.0.values().all(|(time, _)| *time > now));
                    latest = now;
                }
                for (word, (time, position)) in &model.0 {
                    prop_assert_eq!(wheel.at(*time, *position), Some(*word));
                }
            }
            prop_assert_eq!(due(&mut wheel, &mut model, i64::MAX).len(), model.0.len());
        }
    }

    #[test]
    fn the_farthest_time_is_kept() {
        let mut wheel = Wheel::new(1);
        let mut model = Model::default();
        let position = wheel.insert(i64::MAX, 7);
        model.0.insert(7, (i64::MAX, position));
        assert_eq!(wheel.step(i64::MAX - 1, &mut model), Step::Moved);
        assert_eq!(due(&mut wheel, &mut model, i64::MAX), vec![7]);
    }

    #[test]
    fn a_slot_of_many_pieces_gives_back_every_entry() {
        let mut wheel = Wheel::new(0);
        let mut model = Model::default();
        for word in 1..=5000 {
            let position = wheel.insert(1 << 30, word);
            model.0.insert(word, (1 << 30, position));
        }
        for word in (1..=5000).step_by(2) {
            let (time, position) = model.0[&word];
            wheel.remove(time, position, &mut model);
            model.0.remove(&word);
        }
        let mut got = due(&mut wheel, &mut model, 1 << 30);
        got.sort();
        assert_eq!(got, (2..=5000).step_by(2).collect::<Vec<_>>());
    }
}
