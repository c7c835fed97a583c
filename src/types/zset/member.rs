//! The block of memory that holds one element of a large sorted set. The member table and the tree
//! point to the same block.
//!
//! ```text
//! score  8 bytes  a double
//! length 1 byte   of the member, below 255; 255 says that a length of 6 bytes follows
//! member bytes
//! ```
#![allow(unsafe_code)]

use super::order::order;
use crate::base::prefetch;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

const LENGTH_AT: usize = 8;
const SHORT: usize = LENGTH_AT + 1;
/// The length byte of members whose length does not fit it.
const WIDE: u8 = 0xFF;
const WIDE_BYTES: usize = 6;
/// Pointers are below this on all platforms with 64 bits that this server knows.
const POINTER_LIMIT: u64 = 1 << 48;

/// A pointer to an element, without a destructor. It points to a block that [`Member::new`] made;
/// who calls [`Member::free`] promises that none of its copies is used any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Member(NonNull<u8>);

fn layout(len: usize) -> Layout {
    let header = if len < WIDE as usize { SHORT } else { SHORT + WIDE_BYTES };
    // The length of a slice that exists: below 2^47, so neither sum nor length bytes overflow.
    Layout::from_size_align(header + len, 1).expect("member size")
}

impl Member {
    pub fn new(score: f64, bytes: &[u8]) -> Member {
        let layout = layout(bytes.len());
        // SAFETY: the size is not zero, as there is always a header.
        let pointer = unsafe { alloc(layout) };
        let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(layout) };
        let member = Member(pointer);
        member.set_score(score);
        let header = layout.size() - bytes.len();
        if header == SHORT {
            member.write(LENGTH_AT, &[bytes.len() as u8]);
        } else {
            member.write(LENGTH_AT, &[WIDE]);
            member.write(SHORT, &(bytes.len() as u64).to_le_bytes()[..WIDE_BYTES]);
        }
        member.write(header, bytes);
        member
    }

    #[inline]
    pub fn word(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The member behind a word.
    ///
    /// # Safety
    /// The word must come from [`Member::word`] of a member that was not freed since.
    #[inline]
    pub unsafe fn from_word(word: u64) -> Member {
        // SAFETY: by the caller's promise the word was a live, therefore non-null, pointer.
        Member(unsafe {
            NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(word as usize))
        })
    }

    fn write(self, at: usize, bytes: &[u8]) {
        // SAFETY: callers pass ranges within the block, which lives. `bytes` is not part of it:
        // callers' bytes come from outside of any sorted set.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ptr().add(at), bytes.len());
        }
    }

    #[inline]
    pub fn score(self) -> f64 {
        // SAFETY: the block lives and begins with these eight bytes, which `new` has written.
        f64::from_bits(unsafe { self.0.as_ptr().cast::<u64>().read_unaligned() })
    }

    /// Whoever calls must see to it that the element's place in the order fits its score.
    #[inline]
    pub fn set_score(self, score: f64) {
        // SAFETY: the block lives and begins with these eight bytes, to which no reference exists.
        unsafe { self.0.as_ptr().cast::<u64>().write_unaligned(score.to_bits()) };
    }

    #[inline]
    pub fn order(self) -> u64 {
        order(self.score())
    }

    /// The member's bytes. Callers tie 'a to a borrow of what owns the block.
    #[inline]
    pub fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: the block lives, and has this byte.
        let short = unsafe { *self.0.as_ptr().add(LENGTH_AT) };
        let (at, len) =
            if short < WIDE { (SHORT, short as usize) } else { (SHORT + WIDE_BYTES, self.wide()) };
        // SAFETY: the block lives, and `new` has written so many bytes there; they never change.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), len) }
    }

    fn wide(self) -> usize {
        let mut bytes = [0; 8];
        // SAFETY: the block lives, and its length byte says that these bytes follow.
        let length = unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(SHORT), WIDE_BYTES) };
        bytes[..WIDE_BYTES].copy_from_slice(length);
        u64::from_le_bytes(bytes) as usize
    }

    /// Bytes of the block.
    pub fn size(self) -> usize {
        layout(self.bytes().len()).size()
    }

    /// Ends the member.
    ///
    /// # Safety
    /// Neither it nor a copy of it nor bytes of it may be used any more.
    pub unsafe fn free(self) {
        let layout = layout(self.bytes().len());
        // SAFETY: `new` allocated the block with this layout, and the caller promises the rest.
        unsafe { dealloc(self.0.as_ptr(), layout) };
    }
}

/// A member and 16 bits that say roughly where it is in the order.
#[derive(Clone, Copy)]
pub struct Tagged(u64);

impl Tagged {
    /// No member.
    pub const NONE: Tagged = Tagged(0);

    #[inline]
    pub fn new(member: Member, tag: u16) -> Tagged {
        debug_assert!(member.word() < POINTER_LIMIT);
        Tagged((tag as u64) << 48 | member.word())
    }

    #[inline]
    pub fn tag(self) -> u16 {
        (self.0 >> 48) as u16
    }

    #[inline]
    pub fn member(self) -> Member {
        let address = (self.0 & (POINTER_LIMIT - 1)) as usize;
        let pointer = std::ptr::with_exposed_provenance_mut(address);
        Member(NonNull::new(pointer).expect("a member"))
    }

    /// Asks the processor to fetch the member's block.
    #[inline]
    pub fn prefetch(self) {
        prefetch::address((self.0 & (POINTER_LIMIT - 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_and_lengths_come_back() {
        for len in [0, 1, 17, 254, 255, 256, 300, if cfg!(miri) { 400 } else { 70_000 }] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let member = Member::new(1.5, &bytes);
            assert_eq!((member.score(), member.bytes()), (1.5, &bytes[..]));
            member.set_score(-0.0);
            assert!(member.score().is_sign_negative());
            assert_eq!(member.bytes(), bytes);
            let tagged = Tagged::new(member, 0xABCD);
            assert!(tagged.member() == member && tagged.tag() == 0xABCD);
            // SAFETY: it was not freed, and is not used below.
            unsafe { Member::from_word(member.word()).free() };
        }
    }

    #[test]
    fn a_member_of_17_bytes_takes_26() {
        assert_eq!(layout(17).size(), 26);
        assert_eq!(layout(254).size(), 9 + 254);
        assert_eq!(layout(255).size(), 15 + 255);
    }

    #[test]
    #[should_panic(expected = "a member")]
    fn no_member_is_none() {
        Tagged::NONE.member();
    }
}
