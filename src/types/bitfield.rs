//! Integers of any width at any bit of a byte string, as BITFIELD reads and writes them: highest
//! bit first. Pure functions; must not know keys or replies.

/// An integer's form: `i` and 1 to 64 bits, or `u` and 1 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    pub signed: bool,
    pub bits: u32,
}

/// What becomes of a number that does not fit its form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Its lowest bits are kept.
    #[default]
    Wrap,
    /// The nearest that fits is taken.
    Saturate,
    /// Nothing is written.
    Fail,
}

/// Bytes that an integer of 64 bits can lie in.
pub const WINDOW: usize = 9;

impl Form {
    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    fn least(self) -> i128 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    fn greatest(self) -> i128 {
        if self.signed { (1 << (self.bits - 1)) - 1 } else { (1 << self.bits) - 1 }
    }

    /// The number that the lowest bits of a word stand for.
    fn number(self, word: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed { (word << unused) as i64 >> unused } else { (word & self.mask()) as i64 }
    }

    /// Reads the integer at a bit; what is behind the end of the string is zero.
    pub fn read(self, bytes: &[u8], bit: u64) -> i64 {
        let (window, shift) = self.window(bytes, bit);
        self.number((window >> shift) as u64)
    }

    /// Writes the lowest bits of a number at a bit; what is behind the end is not written.
    pub fn write(self, bytes: &mut [u8], bit: u64, number: i64) {
        let (window, shift) = self.window(bytes, bit);
        let mask = u128::from(self.mask());
        let new = window & !(mask << shift) | (number as u128 & mask) << shift;
        let at = usize::try_from(bit >> 3).unwrap_or(usize::MAX).min(bytes.len());
        let len = bytes[at..].len().min(WINDOW);
        bytes[at..at + len].copy_from_slice(&new.to_be_bytes()[..len]);
    }

    /// The bytes from the one with this bit on, and how far right of the integer the window goes.
    fn window(self, bytes: &[u8], bit: u64) -> (u128, u32) {
        let at = usize::try_from(bit >> 3).unwrap_or(usize::MAX).min(bytes.len());
        let len = bytes[at..].len().min(WINDOW);
        let mut window = [0; 16];
        window[..len].copy_from_slice(&bytes[at..at + len]);
        (u128::from_be_bytes(window), 128 - (bit & 7) as u32 - self.bits)
    }

    /// What SET writes of a number; none if it does not fit and must not be made to.
    pub fn fit(self, number: i64, overflow: Overflow) -> Option<i64> {
        // Redis takes what is to become unsigned as such: -1 is greater than all that fits.
        let wide = if self.signed { i128::from(number) } else { i128::from(number as u64) };
        let room = self.greatest() - wide;
        let narrow = self.signed && self.bits < 64;
        if narrow && overflow == Overflow::Saturate && room > i128::from(i64::MAX) {
            // Redis calculates the room in 64 bits, so numbers near the least one have none.
            return Some(self.greatest() as i64);
        }
        self.fit_wide(wide, overflow)
    }

    /// What INCRBY writes; none if it does not fit and must not be made to.
    pub fn add(self, old: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        self.fit_wide(i128::from(old) + i128::from(increment), overflow)
    }

    fn fit_wide(self, number: i128, overflow: Overflow) -> Option<i64> {
        let fitting = number.clamp(self.least(), self.greatest());
        match overflow {
            _ if number == fitting => Some(fitting as i64),
            Overflow::Wrap => Some(self.number(number as u64)),
            Overflow::Saturate => Some(fitting as i64),
            Overflow::Fail => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::bits;
    use proptest::prelude::*;

    fn forms() -> impl Strategy<Value = Form> {
        let signed = (1u32..=64).prop_map(|bits| Form { signed: true, bits });
        prop_oneof![signed, (1u32..=63).prop_map(|bits| Form { signed: false, bits })]
    }

    /// Bit by bit.
    fn naive_read(form: Form, bytes: &[u8], bit: u64) -> i128 {
        let word = (bit..bit + u64::from(form.bits))
            .fold(0i128, |word, at| word << 1 | i128::from(bits::get(bytes, at)));
        let sign = form.signed && word >> (form.bits - 1) & 1 == 1;
        word - if sign { 1 << form.bits } else { 0 }
    }

    proptest! {
        #[test]
        fn reads_and_writes_agree_with_single_bits(
            form in forms(),
            bytes in proptest::collection::vec(any::<u8>(), 0..24),
            bit in 0u64..200,
            number in any::<i64>(),
        ) {
            prop_assert_eq!(i128::from(form.read(&bytes, bit)), naive_read(form, &bytes, bit));
            let mut written = bytes.clone();
            written.resize(bytes.len().max(((bit + u64::from(form.bits)) as usize).div_ceil(8)), 0);
            let before = written.clone();
            form.write(&mut written, bit, number);
            prop_assert_eq!(form.read(&written, bit), form.fit(number, Overflow::Wrap).unwrap());
            for at in 0..written.len() as u64 * 8 {
                if !(bit..bit + u64::from(form.bits)).contains(&at) {
                    prop_assert_eq!(bits::get(&written, at), bits::get(&before, at));
                }
            }
        }

        #[test]
        fn sums_wrap_saturate_or_fail(
            form in forms(),
            word in any::<u64>(),
            increment in prop_oneof![any::<i64>(), -5i64..5, Just(i64::MIN), Just(i64::MAX)],
        ) {
            let old = form.number(word);
            let sum = i128::from(old) + i128::from(increment);
            let (least, greatest) = (form.least(), form.greatest());
            let fits = (least..=greatest).contains(&sum);
            let wrapped = form.add(old, increment, Overflow::Wrap).unwrap();
            prop_assert!((least..=greatest).contains(&i128::from(wrapped)));
            prop_assert_eq!((i128::from(wrapped) - sum).rem_euclid(1 << form.bits), 0);
            let saturated = form.add(old, increment, Overflow::Saturate).unwrap();
            prop_assert_eq!(i128::from(saturated), sum.max(least).min(greatest));
            let exact = form.add(old, increment, Overflow::Fail);
            prop_assert_eq!(exact.map(i128::from), fits.then_some(sum));
        }
    }

    #[test]
    fn what_lies_beyond_the_string_is_zero_and_stays_unwritten() {
        let form = Form { signed: true, bits: 64 };
        assert_eq!(form.read(b"\xff", 4), 0xF << 60);
        assert_eq!(form.read(b"\xff", u64::MAX - 64), 0);
        let mut bytes = *b"\x00";
        form.write(&mut bytes, 4, -1);
        assert_eq!(bytes, *b"\x0f");
    }
}
