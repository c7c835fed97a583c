//! How many bytes Redis's own packed form, the listpack, takes for what a node holds.
//!
//! Nothing is kept in that form here. But where one of Redis's nodes ends and the next begins is
//! seen by clients: trimming with `~` removes whole nodes only. So that streams have the same
//! length after the same commands, nodes end here where they would end there, and that depends on
//! these sizes. The format is described in `listpack.c`.

/// Header and end mark of a listpack.
pub const EMPTY: usize = 7;

/// Bytes of an element that is an integer. What is encoded as a text can be one, too.
pub fn integer(number: i64) -> usize {
    let bytes = match number {
        0..=127 => 1,
        -4096..=4095 => 2,
        -32_768..=32_767 => 3,
        -8_388_608..=8_388_607 => 4,
        -2_147_483_648..=2_147_483_647 => 5,
        _ => 9,
    };
    bytes + 1
}

/// Bytes of an element that is a text of `len` bytes, and no integer.
pub fn text(len: usize) -> usize {
    let bytes = match len {
        0..64 => 1 + len,
        64..4096 => 2 + len,
        _ => 5 + len,
    };
    // Its length stands behind it again, 7 bits a byte.
    let behind = match bytes {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    bytes + behind
}
