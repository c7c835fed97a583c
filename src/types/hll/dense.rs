//! The dense form: six bits a register, lowest bits first. Must not know the header.

use super::{REGISTER_MAX, REGISTERS};

const BITS: usize = 6;

/// Bytes of all registers.
pub const SIZE: usize = REGISTERS * BITS / 8;

/// The bytes a register begins and ends in, and the bit it begins at.
fn place(index: usize) -> (usize, usize, u32) {
    let bit = index * BITS;
    (bit / 8, (bit + BITS - 1) / 8, (bit % 8) as u32)
}

pub fn get(registers: &[u8], index: usize) -> u8 {
    let (first, last, shift) = place(index);
    let word = u16::from_le_bytes([registers[first], registers[last]]);
    (word >> shift) as u8 & REGISTER_MAX
}

pub fn set(registers: &mut [u8], index: usize, value: u8) {
    let (first, last, shift) = place(index);
    let mask = u16::from(REGISTER_MAX) << shift;
    let new = u16::from(value) << shift;
    let ([mask_low, mask_high], [low, high]) = (mask.to_le_bytes(), new.to_le_bytes());
    registers[first] = registers[first] & !mask_low | low;
    if last != first {
        registers[last] = registers[last] & !mask_high | high;
    }
}

/// All registers in their order.
pub fn registers(registers: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let (fours, _) = registers.as_chunks::<3>();
    fours.iter().flat_map(|[a, b, c]| {
        [*a, a >> 6 | b << 2, b >> 4 | c << 4, c >> 2].map(|value| value & REGISTER_MAX)
    })
}

/// Raises registers to values of a byte each where those are greater.
pub fn raise_all(bytes: &mut [u8], values: &[u8; REGISTERS]) {
    let (threes, _) = bytes.as_chunks_mut::<3>();
    for (three, values) in threes.iter_mut().zip(values.as_chunks::<4>().0) {
        let mut word = 0;
        for (index, value) in values.iter().enumerate() {
            word |= u32::from(get(three, index).max(*value)) << (index * BITS);
        }
        three.copy_from_slice(&word.to_le_bytes()[..3]);
    }
}
