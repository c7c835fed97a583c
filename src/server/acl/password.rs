//! Passwords: kept as their SHA-256, compared in a time that tells nothing of them.

use crate::server::acl::rule::RuleError;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use subtle::ConstantTimeEq;

/// A password's SHA-256.
#[derive(Clone, Copy)]
pub struct Hash([u8; 32]);

impl Hash {
    pub fn of(password: &[u8]) -> Hash {
        Hash(Sha256::digest(password).into())
    }

    /// Reads 64 hexadecimal digits, the letters small.
    pub fn parse(hex: &[u8]) -> Result<Hash, RuleError> {
        let (pairs, []) = hex.as_chunks::<2>() else { return Err(RuleError::BadHash) };
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Hash).ok_or(RuleError::BadHash)
    }

    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Takes the same time whatever is compared.
    pub fn is(&self, other: &Hash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// So that comparing users by chance does not compare in another way.
impl PartialEq for Hash {
    fn eq(&self, other: &Hash) -> bool {
        self.is(other)
    }
}

impl Eq for Hash {}

/// Not shown where a user is.
impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hash)")
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Most bits of a password that is made up.
pub const MOST_BITS: usize = 4096;

/// A password nobody can guess, as hexadecimal digits, four bits each; at most [`MOST_BITS`].
///
/// # Errors
/// The system has no random numbers for us.
pub fn generate(bits: usize) -> Result<String, getrandom::Error> {
    let mut bytes = [0; MOST_BITS / 8];
    getrandom::fill(&mut bytes)?;
    let mut text = hex(&bytes);
    text.truncate(bits.div_ceil(4));
    Ok(text)
}
