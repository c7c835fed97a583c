//! Listpacks, Redis's packed form of small collections: writing one, and reading one that may be
//! damaged. Format: `listpack.c` in Redis. Knows elements only.
//!
//! ```text
//! header   4 bytes  of all of it      low bytes first
//!          2 bytes  elements; 65535 if there are as many or more
//! element  encoding and data, then how many bytes those are, to be read backwards
//! 0xFF
//! ```

use super::bytes::{Bytes, Damage};
use crate::types::string::{Str, integer};

const HEADER: usize = 6;
const END: u8 = 0xFF;
/// So many elements, or more, are not counted.
const UNCOUNTED: usize = 0xFFFF;

/// The largest listpack that is written, in bytes, when one element does not make it larger.
pub const MOST_BYTES: usize = 1 << 30;

/// A listpack under construction.
#[derive(Default)]
pub struct Builder {
    bytes: Vec<u8>,
    count: usize,
}

impl Builder {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; HEADER]);
        self.count = 0;
    }

    /// Bytes so far, without the end mark.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Appends an element; the text of an integer as that.
    pub fn push(&mut self, element: &[u8]) {
        match integer(element) {
            Some(number) => self.push_int(number),
            None => self.push_text(element),
        }
    }

    pub fn push_str(&mut self, element: Str<'_>) {
        match element {
            Str::Int(number) => self.push_int(number),
            Str::Bytes(bytes) => self.push(bytes),
        }
    }

    fn push_text(&mut self, text: &[u8]) {
        let start = self.bytes.len();
        match text.len() {
            len @ 0..64 => self.bytes.push(0x80 | len as u8),
            len @ 64..4096 => {
                self.bytes.extend_from_slice(&[0xE0 | (len >> 8) as u8, len as u8]);
            }
            len => {
                self.bytes.push(0xF0);
                self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
        self.end_element(start);
    }

    pub fn push_int(&mut self, number: i64) {
        let start = self.bytes.len();
        let wide = number.to_le_bytes();
        match number {
            0..=0x7F => self.bytes.push(number as u8),
            -0x1000..=0xFFF => {
                let low = number as u16 & 0x1FFF;
                self.bytes.extend_from_slice(&[0xC0 | (low >> 8) as u8, low as u8]);
            }
            -0x8000..=0x7FFF => self.push_wide(0xF1, &wide[..2]),
            -0x80_0000..=0x7F_FFFF => self.push_wide(0xF2, &wide[..3]),
            -0x8000_0000..=0x7FFF_FFFF => self.push_wide(0xF3, &wide[..4]),
            _ => self.push_wide(0xF4, &wide),
        }
        self.end_element(start);
    }

    fn push_wide(&mut self, encoding: u8, number: &[u8]) {
        self.bytes.push(encoding);
        self.bytes.extend_from_slice(number);
    }

    fn end_element(&mut self, start: usize) {
        let (back, size) = back_length(self.bytes.len() - start);
        self.bytes.extend_from_slice(&back[..size]);
        self.count += 1;
    }

    /// The listpack. The next thing to do with the builder is [`Builder::clear`].
    pub fn finish(&mut self) -> &[u8] {
        self.bytes.push(END);
        // Callers keep listpacks far below this size, but for single elements of a stream.
        let total = (self.bytes.len() as u32).to_le_bytes();
        let count = (self.count.min(UNCOUNTED) as u16).to_le_bytes();
        self.bytes[..4].copy_from_slice(&total);
        self.bytes[4..HEADER].copy_from_slice(&count);
        &self.bytes
    }
}

/// The bytes behind an element that tell its length to who comes from behind, and how many they
/// are: 7 bits each, high ones first, marked in all but the first byte.
fn back_length(len: usize) -> ([u8; 5], usize) {
    let size = match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    let mut back = [0; 5];
    for (at, byte) in back[..size].iter_mut().enumerate() {
        let bits = (len >> (7 * (size - 1 - at))) as u8 & 0x7F;
        *byte = if at == 0 { bits } else { bits | 0x80 };
    }
    (back, size)
}

/// Reads elements. Nothing in the bytes is trusted.
#[derive(Clone)]
pub struct Reader<'a> {
    bytes: Bytes<'a>,
    /// How many elements the header says there are, if it does.
    declared: Option<usize>,
    read: usize,
}

impl<'a> Reader<'a> {
    pub fn new(listpack: &'a [u8]) -> Result<Reader<'a>, Damage> {
        let mut bytes = Bytes::new(listpack);
        if bytes.u32()? as usize != listpack.len() {
            return Err(Damage("a listpack of another size than its header says"));
        }
        let declared = bytes.u16()? as usize;
        let declared = (declared < UNCOUNTED).then_some(declared);
        Ok(Reader { bytes, declared, read: 0 })
    }

    /// The next element; none behind the last.
    pub fn next(&mut self) -> Result<Option<Str<'a>>, Damage> {
        let start = self.bytes.at();
        let first = self.bytes.u8()?;
        if first == END {
            return self.end();
        }
        let element = self.element(first)?;
        let (back, size) = back_length(self.bytes.at() - start);
        if self.bytes.take(size)? != &back[..size] {
            return Err(Damage("an element of a listpack has a wrong length behind it"));
        }
        self.read += 1;
        Ok(Some(element))
    }

    fn end(&self) -> Result<Option<Str<'a>>, Damage> {
        if !self.bytes.is_at_end() {
            return Err(Damage("a listpack ends before its last byte"));
        }
        if self.declared.is_some_and(|declared| declared != self.read) {
            return Err(Damage("a listpack has another number of elements than its header says"));
        }
        Ok(None)
    }

    fn element(&mut self, first: u8) -> Result<Str<'a>, Damage> {
        let bytes = &mut self.bytes;
        let len = match first {
            0..=0x7F => return Ok(Str::Int(first.into())),
            0x80..=0xBF => first as usize & 0x3F,
            0xC0..=0xDF => {
                let number = (i64::from(first) & 0x1F) << 8 | i64::from(bytes.u8()?);
                // The sign is the highest of 13 bits.
                return Ok(Str::Int(number << 51 >> 51));
            }
            0xE0..=0xEF => (first as usize & 0xF) << 8 | bytes.u8()? as usize,
            0xF0 => bytes.u32()? as usize,
            0xF1 => return bytes.int(2).map(Str::Int),
            0xF2 => return bytes.int(3).map(Str::Int),
            0xF3 => return bytes.int(4).map(Str::Int),
            0xF4 => return bytes.int(8).map(Str::Int),
            _ => return Err(Damage("an element of a listpack in an unknown encoding")),
        };
        bytes.take(len).map(Str::Bytes)
    }

    /// The next element, which must be there.
    pub fn expect(&mut self) -> Result<Str<'a>, Damage> {
        self.next()?.ok_or(Damage("a listpack with too few elements"))
    }

    /// The next element, which must be there and an integer.
    pub fn expect_int(&mut self) -> Result<i64, Damage> {
        let element = self.expect()?;
        element.as_integer().ok_or(Damage("a listpack with a text where a number must be"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut builder = Builder::default();
        builder.clear();
        elements.iter().for_each(|element| builder.push(element));
        builder.finish().to_vec()
    }

    fn unpack(listpack: &[u8]) -> Result<Vec<Vec<u8>>, Damage> {
        let mut reader = Reader::new(listpack)?;
        let mut elements = Vec::new();
        while let Some(element) = reader.next()? {
            elements.push(element.to_vec());
        }
        Ok(elements)
    }

    #[test]
    fn the_layout_is_redis_s() {
        // What `DUMP` of redis-server 7.0.15 has for `RPUSH l a 1 1000 -5 hello`.
        assert_eq!(
            pack(&["a", "1", "1000", "-5", "hello"].map(|text| text.as_bytes().to_vec())),
            b"\x19\0\0\0\x05\0\x81a\x02\x01\x01\xc3\xe8\x02\xdf\xfb\x02\x85hello\x06\xff"
        );
    }

    #[test]
    fn elements_of_all_sizes_come_back() {
        let lens = [0, 1, 63, 64, 125, 126, 127, 4095, 4096, 16_380, 16_383, 2_097_151];
        let texts: Vec<Vec<u8>> = lens.iter().map(|len| vec![b'x'; *len]).collect();
        assert!(unpack(&pack(&texts)).unwrap() == texts);
        let mut numbers = Vec::new();
        for bits in 0..64 {
            for near in [-1, 0, 1] {
                for sign in [-1, 1] {
                    let number = (1i128 << bits) * sign + near;
                    numbers.push(number.to_string().into_bytes());
                }
            }
        }
        assert_eq!(unpack(&pack(&numbers)).unwrap(), numbers);
        let many: Vec<Vec<u8>> = (0..70_000).map(|n: u32| n.to_string().into_bytes()).collect();
        assert!(unpack(&pack(&many)).unwrap() == many);
    }

    proptest! {
        #[test]
        fn damage_is_noticed_or_harmless(
            elements: Vec<Vec<u8>>,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut: prop::sample::Index,
        ) {
            let mut bytes = pack(&elements);
            prop_assert_eq!(&unpack(&bytes).unwrap(), &elements);
            prop_assert!(unpack(&bytes[..cut.index(bytes.len())]).is_err());
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            _ = unpack(&bytes);
        }
    }
}
