//! A hint to the processor that memory will be read soon.
#![allow(unsafe_code)]

/// Bytes fetched at once.
pub const LINE: usize = 64;

/// Starts fetching the cache line of `value`; does nothing where the target has no such hint.
#[inline(always)]
pub fn read<T>(value: &T) {
    address(value as *const T as usize);
}

/// Starts fetching all cache lines of `value`: for one of some hundred bytes of which several will
/// be read, so that they come together.
#[inline(always)]
pub fn whole<T>(value: &T) {
    let start = value as *const T as usize;
    (start..start + size_of::<T>()).step_by(LINE).for_each(address);
}

/// The same for an address that may be anything: a prefetch never faults.
#[inline(always)]
pub fn address(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: PREFETCHT0 is a hint and does not access memory as far as the program can tell.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch(address as *const i8, _MM_HINT_T0);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
