//! HyperLogLogs: strings that estimate how many different elements were added to them.
//!
//! The bytes are Redis's own (`hyperloglog.c`), as clients may GET, SET and move them:
//!
//! ```text
//! "HYLL"    4 bytes
//! encoding  1 byte   0 dense, 1 sparse
//! unused    3 bytes  zero
//! card      8 bytes  the last estimate, little-endian; the top bit says that it is out of date
//! registers          see `dense` and `sparse`
//! ```
//!
//! Any string may claim to be one: nothing here trusts the bytes. Must not know keys or replies.

mod dense;
mod estimate;
mod sparse;
#[cfg(test)]
mod tests;

use super::string::{self, Str};
use super::{Object, Slot};

pub use estimate::estimate;
pub use sparse::Run;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that are looked at for the length of the run of zeros.
const RUN_BITS: u32 = 64 - INDEX_BITS;
/// What a register of six bits can hold.
const REGISTER_MAX: u8 = 63;

const MAGIC: &[u8] = b"HYLL";
const ENCODING_AT: usize = 4;
const CARD_AT: usize = 8;
const CARD_STALE: u8 = 0x80;
const HEADER: usize = 16;

/// The bytes are not those of a whole HyperLogLog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// How many registers hold each value.
pub type Histogram = [u32; REGISTER_MAX as usize + 1];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Dense,
    Sparse,
}

/// A HyperLogLog as it is read.
#[derive(Clone, Copy)]
pub struct Hll<'a> {
    encoding: Encoding,
    bytes: &'a [u8],
}

impl<'a> Hll<'a> {
    /// None if it cannot be one by its header and its length. Sparse registers may be corrupt
    /// even so.
    pub fn of(bytes: &'a [u8]) -> Option<Hll<'a>> {
        if bytes.len() < HEADER || !bytes.starts_with(MAGIC) {
            return None;
        }
        match bytes[ENCODING_AT] {
            0 if bytes.len() == HEADER + dense::SIZE => {
                Some(Hll { encoding: Encoding::Dense, bytes })
            }
            1 => Some(Hll { encoding: Encoding::Sparse, bytes }),
            _ => None,
        }
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    fn registers(&self) -> &'a [u8] {
        &self.bytes[HEADER..]
    }

    /// The last estimate, if nothing was added since.
    pub fn cached(&self) -> Option<u64> {
        let card = self.bytes[CARD_AT..HEADER].try_into().map(u64::from_le_bytes).unwrap_or(0);
        (card >> 63 == 0).then_some(card)
    }

    pub fn histogram(&self) -> Result<Histogram, Corrupt> {
        let mut histogram = [0; REGISTER_MAX as usize + 1];
        match self.encoding {
            Encoding::Dense => dense::registers(self.registers())
                .for_each(|value| histogram[usize::from(value)] += 1),
            Encoding::Sparse => {
                for run in self.runs()? {
                    histogram[usize::from(run.value)] += run.len as u32;
                }
            }
        }
        Ok(histogram)
    }

    /// Raises registers to this one's values where those are greater.
    pub fn merge_into(&self, registers: &mut [u8; REGISTERS]) -> Result<(), Corrupt> {
        match self.encoding {
            Encoding::Dense => registers
                .iter_mut()
                .zip(dense::registers(self.registers()))
                .for_each(|(register, value)| *register = (*register).max(value)),
            Encoding::Sparse => {
                let mut rest = &mut registers[..];
                for run in self.runs()? {
                    let (covered, behind) = rest.split_at_mut(run.len);
                    covered.iter_mut().for_each(|register| *register = (*register).max(run.value));
                    rest = behind;
                }
            }
        }
        Ok(())
    }

    /// The runs of equal registers of a sparse one, which cover all registers and no more.
    pub fn runs(&self) -> Result<impl Iterator<Item = Run> + use<'a>, Corrupt> {
        let runs = || sparse::runs(self.registers());
        let mut covered = 0;
        for run in runs() {
            covered += run.len;
            // Looked at each time, so that a hostile string cannot make it count for long.
            if covered > REGISTERS {
                return Err(Corrupt);
            }
        }
        if covered == REGISTERS { Ok(runs()) } else { Err(Corrupt) }
    }
}

/// The histogram of registers that are a byte each.
pub fn histogram_of(registers: &[u8; REGISTERS]) -> Histogram {
    let mut histogram = [0; REGISTER_MAX as usize + 1];
    registers.iter().for_each(|value| histogram[usize::from(value & REGISTER_MAX)] += 1);
    histogram
}

/// A sparse HyperLogLog without elements. What it estimates is known: 0.
pub fn empty() -> [u8; HEADER + 2] {
    let mut bytes = [0; HEADER + 2];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING_AT] = 1;
    bytes[HEADER..].copy_from_slice(&sparse::ALL_ZERO);
    bytes
}

/// The register an element belongs to, and the value it asks for there.
pub fn place_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element, 0xadc8_3b19);
    let index = hash as usize & (REGISTERS - 1);
    // A bit behind the last makes the run end.
    let run = (hash >> INDEX_BITS | 1 << RUN_BITS).trailing_zeros() + 1;
    (index, run as u8)
}

/// MurmurHash2 for 64-bit machines, by Austin Appleby, as it reads on little-endian ones.
fn murmur64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(M);
        hash = (hash ^ (word ^ word >> R).wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(M);
    }
    hash = (hash ^ hash >> R).wrapping_mul(M);
    hash ^ hash >> R
}

/// The HyperLogLog in a slot, which the caller knows to hold one.
fn of_slot(slot: &impl Slot) -> Result<Hll<'_>, Corrupt> {
    match Str::of(slot.value()) {
        Some(Str::Bytes(bytes)) => Hll::of(bytes).ok_or(Corrupt),
        _ => Err(Corrupt),
    }
}

/// Raises a register of the HyperLogLog in a slot; false, and nothing changes, if it holds as
/// much already. A sparse one that would become longer than `sparse_max` bytes becomes dense.
pub fn raise(
    slot: &mut impl Slot,
    (index, value): (usize, u8),
    sparse_max: usize,
) -> Result<bool, Corrupt> {
    let hll = of_slot(slot)?;
    match hll.encoding {
        Encoding::Dense => {
            let raises = dense::get(hll.registers(), index) < value;
            if raises {
                let bytes = string::bytes_mut(slot);
                dense::set(&mut bytes[HEADER..], index, value);
                mark_stale(bytes);
            }
            Ok(raises)
        }
        Encoding::Sparse => match sparse::change(hll.registers(), index, value)? {
            sparse::Change::None => Ok(false),
            sparse::Change::Splice(splice)
                if hll.bytes.len() + splice.growth <= sparse_max || splice.growth == 0 =>
            {
                string::splice(slot, HEADER + splice.at, splice.remove, splice.with());
                mark_stale(string::bytes_mut(slot));
                Ok(true)
            }
            _ => {
                make_dense(slot)?;
                raise(slot, (index, value), sparse_max)
            }
        },
    }
}

/// Raises all registers of the HyperLogLog in a slot to these, one after the other: what the
/// sparse form looks like depends on the order. The caller marks it stale.
pub fn raise_all(
    slot: &mut impl Slot,
    registers: &[u8; REGISTERS],
    sparse_max: usize,
) -> Result<(), Corrupt> {
    for (index, value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
        if of_slot(slot)?.encoding == Encoding::Dense {
            // It stays so: the rest need not look at the slot for each register.
            dense::raise_all(&mut string::bytes_mut(slot)[HEADER..], registers);
            return Ok(());
        }
        raise(slot, (index, *value), sparse_max)?;
    }
    Ok(())
}

/// Makes the HyperLogLog in a slot dense; false, and nothing changes, if it is.
pub fn make_dense(slot: &mut impl Slot) -> Result<bool, Corrupt> {
    let hll = of_slot(slot)?;
    if hll.encoding == Encoding::Dense {
        return Ok(false);
    }
    let mut bytes = vec![0; HEADER + dense::SIZE];
    bytes[..HEADER].copy_from_slice(&hll.bytes[..HEADER]);
    bytes[ENCODING_AT] = 0;
    let mut index = 0;
    for run in hll.runs()? {
        if run.value > 0 {
            (index..index + run.len)
                .for_each(|index| dense::set(&mut bytes[HEADER..], index, run.value));
        }
        index += run.len;
    }
    slot.set_object(Object::String(bytes));
    Ok(true)
}

/// The estimate kept in these bytes of a HyperLogLog is out of date.
pub fn mark_stale(bytes: &mut [u8]) {
    bytes[HEADER - 1] |= CARD_STALE;
}

/// Keeps an estimate in the bytes of a HyperLogLog.
pub fn set_cached(bytes: &mut [u8], card: u64) {
    bytes[CARD_AT..HEADER].copy_from_slice(&card.to_le_bytes());
}
