//! The packed forms that Redis wrote before there were listpacks, and still reads: ziplists,
//! zipmaps, and intsets, which it still writes. Formats: the comments of `ziplist.c`, `zipmap.c`
//! and `intset.c`. Nothing in the bytes is trusted. Knows elements only.

use super::bytes::{Bytes, Damage};
use crate::types::string::Str;

const END: u8 = 0xFF;

/// ```text
/// header   4 bytes  of all of it                 low bytes first, as all numbers but one
///          4 bytes  where the last element is
///          2 bytes  elements; 65535 if there are as many or more
/// element  length of the one before: 1 byte below 254, or 254 and 4 bytes; then encoding and data
/// 0xFF
/// ```
#[derive(Clone)]
pub struct Ziplist<'a> {
    bytes: Bytes<'a>,
    last_at: usize,
    declared: Option<usize>,
    read: usize,
    /// Where the element before is, and how long it is.
    before: (usize, usize),
}

const HEADER: usize = 10;
/// Lengths from here on are in four further bytes.
const LONG: u8 = 254;

impl<'a> Ziplist<'a> {
    pub fn new(ziplist: &'a [u8]) -> Result<Ziplist<'a>, Damage> {
        let mut bytes = Bytes::new(ziplist);
        if bytes.u32()? as usize != ziplist.len() {
            return Err(Damage("a ziplist of another size than its header says"));
        }
        let last_at = bytes.u32()? as usize;
        let declared = bytes.u16()?;
        let declared = (declared != u16::MAX).then_some(declared.into());
        Ok(Ziplist { bytes, last_at, declared, read: 0, before: (HEADER, 0) })
    }

    /// The next element; none behind the last.
    pub fn next(&mut self) -> Result<Option<Str<'a>>, Damage> {
        let start = self.bytes.at();
        let len_before = match self.bytes.u8()? {
            END => return self.end(),
            LONG => self.bytes.u32()? as usize,
            len => len.into(),
        };
        if len_before != self.before.1 {
            return Err(Damage("an element of a ziplist has a wrong length before it"));
        }
        let element = self.element()?;
        self.before = (start, self.bytes.at() - start);
        self.read += 1;
        Ok(Some(element))
    }

    fn end(&self) -> Result<Option<Str<'a>>, Damage> {
        if !self.bytes.is_at_end() {
            return Err(Damage("a ziplist ends before its last byte"));
        }
        if self.declared.is_some_and(|declared| declared != self.read) {
            return Err(Damage("a ziplist has another number of elements than its header says"));
        }
        if self.before.0 != self.last_at {
            return Err(Damage("a ziplist's last element is elsewhere than its header says"));
        }
        Ok(None)
    }

    fn element(&mut self) -> Result<Str<'a>, Damage> {
        let bytes = &mut self.bytes;
        let first = bytes.u8()?;
        let len = match first {
            0..=0x3F => first as usize,
            0x40..=0x7F => (first as usize & 0x3F) << 8 | bytes.u8()? as usize,
            0x80 => bytes.u32_high_first()? as usize,
            0xC0 => return bytes.int(2).map(Str::Int),
            0xD0 => return bytes.int(4).map(Str::Int),
            0xE0 => return bytes.int(8).map(Str::Int),
            0xF0 => return bytes.int(3).map(Str::Int),
            0xFE => return bytes.int(1).map(Str::Int),
            // From 0 to 12.
            0xF1..=0xFD => return Ok(Str::Int(i64::from(first & 0xF) - 1)),
            _ => return Err(Damage("an element of a ziplist in an unknown encoding")),
        };
        bytes.take(len).map(Str::Bytes)
    }
}

/// ```text
/// header  1 byte   fields; 254 or more if there are as many or more
/// field   length: 1 byte below 254, or 254 and 4 bytes; then bytes
/// value   length, 1 byte that says how many are unused behind it, bytes, unused bytes
/// 0xFF
/// ```
#[derive(Clone)]
pub struct Zipmap<'a> {
    bytes: Bytes<'a>,
    declared: Option<usize>,
    read: usize,
}

impl<'a> Zipmap<'a> {
    pub fn new(zipmap: &'a [u8]) -> Result<Zipmap<'a>, Damage> {
        let mut bytes = Bytes::new(zipmap);
        let declared = bytes.u8()?;
        let declared = (declared < LONG).then_some(declared.into());
        Ok(Zipmap { bytes, declared, read: 0 })
    }

    /// The next field or value, by turns; none behind the last value.
    pub fn next(&mut self) -> Result<Option<Str<'a>>, Damage> {
        let is_value = self.read % 2 == 1;
        let len = match self.bytes.u8()? {
            END if !is_value => return self.end(),
            END => return Err(Damage("a zipmap with a field without value")),
            LONG => match self.bytes.u32()? as usize {
                len if len < LONG.into() => {
                    return Err(Damage("a zipmap with a length that is longer than need be"));
                }
                len => len,
            },
            len => len.into(),
        };
        let unused = if is_value { self.bytes.u8()? } else { 0 };
        let text = self.bytes.take(len)?;
        self.bytes.take(unused.into())?;
        self.read += 1;
        Ok(Some(Str::Bytes(text)))
    }

    fn end(&self) -> Result<Option<Str<'a>>, Damage> {
        if !self.bytes.is_at_end() {
            return Err(Damage("a zipmap ends before its last byte"));
        }
        if self.declared.is_some_and(|declared| declared != self.read / 2) {
            return Err(Damage("a zipmap has another number of fields than its header says"));
        }
        Ok(None)
    }
}

/// ```text
/// width    4 bytes  bytes of each number: 2, 4 or 8
/// count    4 bytes
/// numbers  in ascending order
/// ```
pub struct Intset<'a> {
    bytes: Bytes<'a>,
    width: usize,
    count: usize,
    last: Option<i64>,
}

impl<'a> Intset<'a> {
    pub fn new(intset: &'a [u8]) -> Result<Intset<'a>, Damage> {
        let mut bytes = Bytes::new(intset);
        let width = bytes.u32()? as usize;
        let count = bytes.u32()? as usize;
        if !matches!(width, 2 | 4 | 8) {
            return Err(Damage("an intset of numbers of an unknown size"));
        }
        // Both have 32 bits at most.
        if intset.len() - bytes.at() != width * count {
            return Err(Damage("an intset of another size than its header says"));
        }
        Ok(Intset { bytes, width, count, last: None })
    }

    pub fn len(&self) -> usize {
        self.count
    }
}

impl Iterator for Intset<'_> {
    type Item = Result<i64, Damage>;

    fn next(&mut self) -> Option<Result<i64, Damage>> {
        if self.bytes.is_at_end() {
            return None;
        }
        let number = self.bytes.int(self.width).and_then(|number| {
            if self.last.is_some_and(|last| last >= number) {
                return Err(Damage("an intset that is not in ascending order"));
            }
            self.last = Some(number);
            Ok(number)
        });
        Some(number)
    }
}
