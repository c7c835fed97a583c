//! What a record remembers of its accesses, in 24 bits: the second of the last one, or, under an
//! LFU policy, the minute (16 bits) and a logarithmic counter (8 bits). Redis's formulas
//! (`evict.c`), as OBJECT IDLETIME and OBJECT FREQ show them.

use crate::base::rng::Rng;

const MASK: u32 = 0x00FF_FFFF;
/// What a new key's counter begins with, so that it is not at once the least used.
const INITIAL: u32 = 5;

/// How frequencies are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lfu {
    /// The greater, the more accesses the counter takes to saturate.
    pub log_factor: u32,
    /// Minutes after which the counter goes down by one; 0 for never.
    pub decay_minutes: u32,
}

/// Makes the bits.
#[derive(Clone)]
pub struct Access {
    /// None: times are kept.
    lfu: Option<Lfu>,
    now_s: i64,
    /// The bits of an access now, as a time.
    stamp: u32,
    rng: Rng,
}

impl Access {
    pub fn new(seed: u64) -> Access {
        Access { lfu: None, now_s: 0, stamp: 0, rng: Rng::from_seed(seed) }
    }

    pub fn set_now(&mut self, now_s: i64) {
        self.now_s = now_s;
        self.stamp = now_s as u32 & MASK;
    }

    pub fn set_lfu(&mut self, lfu: Option<Lfu>) {
        self.lfu = lfu;
    }

    pub fn is_lfu(&self) -> bool {
        self.lfu.is_some()
    }

    fn minutes(&self) -> u32 {
        (self.now_s / 60) as u32 & 0xFFFF
    }

    /// The bits of a record that is made now.
    #[inline]
    pub fn fresh(&self) -> u32 {
        if self.lfu.is_some() { self.minutes() << 8 | INITIAL } else { self.stamp }
    }

    /// The bits of a record that is accessed now and had these before.
    #[inline]
    pub fn touched(&mut self, before: u32) -> u32 {
        match self.lfu {
            None => self.stamp,
            Some(lfu) => self.counted(before, lfu),
        }
    }

    fn counted(&mut self, before: u32, lfu: Lfu) -> u32 {
        let counter = self.frequency(before);
        let above = counter.saturating_sub(INITIAL);
        // One in `odds` accesses counts.
        let odds = u64::from(above) * u64::from(lfu.log_factor) + 1;
        let counts = counter < 0xFF && self.rng.below(odds) == 0;
        self.minutes() << 8 | (counter + counts as u32)
    }

    /// The counter in a record's bits, less what it has lost since its last access.
    pub fn frequency(&self, access: u32) -> u32 {
        let counter = access & 0xFF;
        match self.lfu {
            Some(Lfu { decay_minutes: minutes @ 1.., .. }) => {
                let elapsed = self.minutes().wrapping_sub(access >> 8) & 0xFFFF;
                counter.saturating_sub(elapsed / minutes)
            }
            _ => counter,
        }
    }

    /// The bits of a record that was accessed so many seconds ago, or has such a counter: as far as
    /// that is what is kept.
    pub fn restored(&self, idle_s: Option<u64>, frequency: Option<u8>) -> Option<u32> {
        match self.lfu {
            Some(_) => frequency.map(|counter| self.minutes() << 8 | u32::from(counter)),
            None => idle_s.map(|idle| self.stamp.wrapping_sub(idle.min(MASK.into()) as u32) & MASK),
        }
    }

    /// Seconds since a record with these bits was accessed.
    pub fn idle_s(&self, access: u32) -> u32 {
        // The clock in the records goes round every 194 days.
        self.stamp.wrapping_sub(access) & MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_grow_slowly_and_decay() {
        let mut access = Access::new(1);
        access.set_now(1_000_000 * 60);
        access.set_lfu(Some(Lfu { log_factor: 10, decay_minutes: 1 }));
        let mut bits = access.fresh();
        assert_eq!(access.frequency(bits), 5);
        for _ in 0..100_000 {
            bits = access.touched(bits);
        }
        // Redis's table for a factor of 10: about 140 after 100,000 hits.
        let counter = access.frequency(bits);
        assert!((120..=160).contains(&counter), "{counter}");
        access.set_now(1_000_010 * 60);
        assert_eq!(access.frequency(bits), counter - 10);
        access.set_now(1_010_000 * 60);
        assert_eq!(access.frequency(bits), 0);
    }

    #[test]
    fn idle_time_goes_round_with_its_clock() {
        let mut access = Access::new(1);
        access.set_now(0x0100_0000 - 3);
        let bits = access.fresh();
        access.set_now(0x0100_0000 + 4);
        assert_eq!(access.idle_s(bits), 7);
    }
}
