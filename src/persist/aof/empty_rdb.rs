//! The empty RDB file that is the base of a new AOF, and what tells one from an RDB file with
//! data. The format: magic and version, opcodes with their contents, EOF, checksum (the field's
//! own description is in the comments of Redis's rdb.h and rdb.c). Must not know what data is.

use crate::base::crc64::crc64;

const AUX: u8 = 0xfa;
const RESIZE_DB: u8 = 0xfb;
const SELECT_DB: u8 = 0xfe;
const EOF: u8 = 0xff;
/// Versions up to this are read: that of Redis 7.2 and Valkey.
const NEWEST_VERSION: u32 = 11;

pub const MAGIC: &[u8] = b"REDIS";

/// An RDB file without keys, as version 10 (Redis 7.0).
pub fn encode() -> Vec<u8> {
    let mut out = b"REDIS0010".to_vec();
    out.push(AUX);
    for text in [&b"aof-base"[..], b"1"] {
        out.push(text.len() as u8);
        out.extend_from_slice(text);
    }
    out.push(EOF);
    let checksum = crc64(0, &out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// What a file that begins with `MAGIC` turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No keys and no functions; the RDB part ends after so many bytes.
    Empty(usize),
    HasData,
    /// The bytes end before the RDB part does.
    Short,
    Damaged,
}

pub fn examine(bytes: &[u8]) -> Verdict {
    let mut at = Cursor { bytes, at: MAGIC.len() };
    at.examine().unwrap_or(Verdict::Short)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn examine(&mut self) -> Option<Verdict> {
        let version = self.take(4)?;
        let version = std::str::from_utf8(version).ok().and_then(|v| v.parse::<u32>().ok());
        let Some(version @ 1..=NEWEST_VERSION) = version else { return Some(Verdict::Damaged) };
        loop {
            match self.byte()? {
                AUX => {
                    self.string()?;
                    self.string()?;
                }
                SELECT_DB => {
                    self.length()?;
                }
                RESIZE_DB => {
                    self.length()?;
                    self.length()?;
                }
                EOF => break,
                _ => return Some(Verdict::HasData),
            }
        }
        // Versions before 5 had no checksum; 0 means that it was switched off.
        if version >= 5 {
            let computed = crc64(0, &self.bytes[..self.at]);
            let stored = u64::from_le_bytes(self.take(8)?.try_into().ok()?);
            if stored != 0 && stored != computed {
                return Some(Verdict::Damaged);
            }
        }
        Some(Verdict::Empty(self.at))
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn be(&mut self, n: usize) -> Option<u64> {
        Some(self.take(n)?.iter().fold(0, |sum, b| sum << 8 | u64::from(*b)))
    }

    /// A length, or the kind of a specially encoded string.
    fn length_or_kind(&mut self) -> Option<Result<u64, u8>> {
        let first = self.byte()?;
        Some(match (first >> 6, first & 0x3f) {
            (0, low) => Ok(low.into()),
            (1, low) => Ok(u64::from(low) << 8 | self.be(1)?),
            (2, 0) => Ok(self.be(4)?),
            (2, _) => Ok(self.be(8)?),
            (_, kind) => Err(kind),
        })
    }

    fn length(&mut self) -> Option<u64> {
        self.length_or_kind()?.ok()
    }

    /// Skips a string: plain, an integer of 1, 2 or 4 bytes, or compressed.
    fn string(&mut self) -> Option<()> {
        let len = match self.length_or_kind()? {
            Ok(len) => len,
            Err(kind @ 0..=2) => 1 << kind,
            Err(3) => {
                let compressed = self.length()?;
                self.length()?;
                compressed
            }
            Err(_) => return None,
        };
        self.take(usize::try_from(len).ok()?).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What redis-server 7.0.15 wrote as the base of a new AOF.
    const REDIS_7_0_15: &[u8] = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0\x40\
        \xfa\x05ctime\xc2\xcd\x2c\x03\x6b\xfa\x08used-mem\xc2\x68\x5f\x0d\x00\xfa\x08aof-base\
        \xc0\x01\xff\x88\xb7\x5e\x29\xb9\x7d\xd9\x92";

    #[test]
    fn ours_is_empty_and_every_damage_shows() {
        let bytes = encode();
        assert_eq!(examine(&bytes), Verdict::Empty(bytes.len()));
        let mut with_tail = bytes.clone();
        with_tail.extend_from_slice(b"*1\r\n");
        assert_eq!(examine(&with_tail), Verdict::Empty(bytes.len()));
        for end in MAGIC.len()..bytes.len() {
            assert_eq!(examine(&bytes[..end]), Verdict::Short);
        }
        for at in MAGIC.len()..bytes.len() {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 0x10;
            assert!(!matches!(examine(&spoiled), Verdict::Empty(_)), "at {at}");
        }
        assert_eq!(examine(REDIS_7_0_15), Verdict::Empty(89));
    }

    #[test]
    fn data_is_seen() {
        let mut bytes = b"REDIS0010\xfe\x00\xfb\x01\x00\x00\x01k\x01v\xff".to_vec();
        bytes.extend_from_slice(&[0; 8]);
        assert_eq!(examine(&bytes), Verdict::HasData);
        assert_eq!(examine(b"REDIS0010\xf5\x05hello"), Verdict::HasData, "functions");
        assert_eq!(examine(b"REDIS9999\xff\0\0\0\0\0\0\0\0"), Verdict::Damaged);
    }
}
