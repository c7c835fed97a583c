//! A run of bytes read from its front, for the packed forms within a file. Nothing is trusted.

/// What is wrong with bytes that were to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage(pub &'static str);

#[derive(Clone)]
pub struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or(Damage("something reaches beyond its end"))?;
        self.at += len;
        Ok(taken)
    }

    pub fn u8(&mut self) -> Result<u8, Damage> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A number of at most eight bytes, the low ones first.
    fn unsigned(&mut self, size: usize) -> Result<u64, Damage> {
        let bytes = self.take(size)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub fn u16(&mut self) -> Result<u16, Damage> {
        self.unsigned(2).map(|number| number as u16)
    }

    pub fn u32(&mut self) -> Result<u32, Damage> {
        self.unsigned(4).map(|number| number as u32)
    }

    /// A number of `size` bytes in two's complement, the low ones first.
    pub fn int(&mut self, size: usize) -> Result<i64, Damage> {
        let unused = 64 - 8 * size as u32;
        self.unsigned(size).map(|number| (number << unused) as i64 >> unused)
    }

    /// A number of four bytes, the high ones first.
    pub fn u32_high_first(&mut self) -> Result<u32, Damage> {
        self.u32().map(u32::swap_bytes)
    }
}
