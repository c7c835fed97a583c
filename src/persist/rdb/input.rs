//! The bytes of a file as they come: numbers, lengths and strings, with the checksum and the
//! offset of what was read. Format: `rdb.c` in Redis. Must not know what values are.
//!
//! No length is trusted: memory is taken as bytes really come, so a file can make the reader take
//! no more than a small multiple of what is in it.

use super::bytes::Damage;
use super::lzf;
use super::{Error, Problem};
use crate::base::crc64::crc64;
use std::io::Read;

/// Bytes read from the file at once.
const BUFFER: usize = 64 << 10;
/// Strings longer than this are read in pieces that double.
const FIRST_PIECE: usize = 64 << 10;

pub struct Input<R> {
    source: R,
    buffer: Box<[u8]>,
    /// `buffer[at..end]` is read from the file and not used yet.
    at: usize,
    end: usize,
    /// What is before this place in the buffer is part of the checksum.
    summed: usize,
    checksum: u64,
    /// Where in the file `buffer[0]` is.
    offset: u64,
    /// Strings before they are decompressed.
    compressed: Vec<u8>,
}

/// A length, or which special form of a string this is.
enum Length {
    Plain(u64),
    Special(u8),
}

const INT8: u8 = 0;
const INT16: u8 = 1;
const INT32: u8 = 2;
const LZF: u8 = 3;

impl<'a> Input<&'a [u8]> {
    /// The bytes of a slice; a short one needs no large buffer.
    pub fn of_slice(bytes: &'a [u8]) -> Input<&'a [u8]> {
        Input::with_buffer(bytes, bytes.len().clamp(1, BUFFER))
    }
}

impl<R: Read> Input<R> {
    pub fn new(source: R) -> Input<R> {
        Input::with_buffer(source, BUFFER)
    }

    fn with_buffer(source: R, size: usize) -> Input<R> {
        let buffer = vec![0; size].into();
        let compressed = Vec::new();
        Input { source, buffer, at: 0, end: 0, summed: 0, checksum: 0, offset: 0, compressed }
    }

    /// Where in the file the next byte is.
    pub fn offset(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// The checksum of all that was read so far.
    pub fn checksum(&mut self) -> u64 {
        self.checksum = crc64(self.checksum, &self.buffer[self.summed..self.at]);
        self.summed = self.at;
        self.checksum
    }

    /// Ends reading: what was read from the source and not used, and the source.
    pub fn into_rest(self) -> (Vec<u8>, R) {
        (self.buffer[self.at..self.end].to_vec(), self.source)
    }

    pub fn fail<T>(&self, problem: Problem) -> Result<T, Error> {
        Err(Error { offset: self.offset(), problem })
    }

    pub fn damaged<T>(&self, what: &'static str) -> Result<T, Error> {
        self.fail(Problem::Damaged(what.into()))
    }

    /// Gives damage found in a string its place, as far as it is known: where the string ends.
    pub fn check<T>(&self, result: Result<T, Damage>) -> Result<T, Error> {
        result.or_else(|Damage(what)| self.damaged(what))
    }

    /// Has bytes in the buffer, where there are none left.
    #[cold]
    fn refill(&mut self) -> Result<(), Error> {
        self.checksum();
        self.offset += self.at as u64;
        (self.at, self.end, self.summed) = (0, 0, 0);
        loop {
            match self.source.read(&mut self.buffer) {
                Ok(0) => return self.fail(Problem::Short),
                Ok(len) => {
                    self.end = len;
                    return Ok(());
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return self.fail(Problem::Io(e.to_string())),
            }
        }
    }

    #[inline]
    pub fn u8(&mut self) -> Result<u8, Error> {
        if self.at == self.end {
            self.refill()?;
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        Ok(byte)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        if let Some(bytes) = self.buffer[self.at..self.end].first_chunk() {
            array = *bytes;
            self.at += N;
            return Ok(array);
        }
        for byte in &mut array {
            *byte = self.u8()?;
        }
        Ok(array)
    }

    /// Milliseconds since 1970, or another number of 64 bits.
    pub fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_le_bytes)
    }

    pub fn double(&mut self) -> Result<f64, Error> {
        self.array().map(f64::from_le_bytes)
    }

    /// A double as a text, as it was before version 8.
    pub fn text_double(&mut self) -> Result<f64, Error> {
        let mut text = [0; 255];
        let text = match self.u8()? {
            255 => return Ok(f64::NEG_INFINITY),
            254 => return Ok(f64::INFINITY),
            253 => return Ok(f64::NAN),
            len => &mut text[..len as usize],
        };
        for byte in text.iter_mut() {
            *byte = self.u8()?;
        }
        match crate::base::number::parse_f64(text) {
            Some(number) => Ok(number),
            None => self.damaged("a score that is no number"),
        }
    }

    #[inline]
    fn length_or_special(&mut self) -> Result<Length, Error> {
        let first = self.u8()?;
        let low = first & 0x3F;
        Ok(match first >> 6 {
            0 => Length::Plain(low.into()),
            1 => Length::Plain(u64::from(low) << 8 | u64::from(self.u8()?)),
            2 if first == 0x80 => Length::Plain(u32::from_be_bytes(self.array()?).into()),
            2 if first == 0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
            2 => return self.damaged("a length in an unknown form"),
            _ => Length::Special(low),
        })
    }

    /// A length or a count.
    #[inline]
    pub fn length(&mut self) -> Result<u64, Error> {
        match self.length_or_special()? {
            Length::Plain(len) => Ok(len),
            Length::Special(_) => self.damaged("a string in a special form where a length must be"),
        }
    }

    /// Replaces what is in `out` by a string; an integer by its text.
    pub fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(number) = self.string_or_int(out)? {
            out.clear();
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
        Ok(())
    }

    /// Replaces what is in `out` by a string, or tells the integer that is written in its place.
    #[inline]
    pub fn string_or_int(&mut self, out: &mut Vec<u8>) -> Result<Option<i64>, Error> {
        let number = match self.length_or_special()? {
            Length::Plain(len) => {
                out.clear();
                return self.append(len, out).map(|()| None);
            }
            Length::Special(INT8) => i8::from_le_bytes(self.array()?).into(),
            Length::Special(INT16) => i16::from_le_bytes(self.array()?).into(),
            Length::Special(INT32) => i32::from_le_bytes(self.array()?).into(),
            Length::Special(LZF) => return self.compressed(out).map(|()| None),
            Length::Special(_) => return self.damaged("a string in an unknown form"),
        };
        Ok(Some(number))
    }

    fn compressed(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let compressed_len = self.length()?;
        let len = self.length()?;
        let mut compressed = std::mem::take(&mut self.compressed);
        compressed.clear();
        let read = self.append(compressed_len, &mut compressed);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let done = read.is_ok() && lzf::decompress(&compressed, len, out);
        // Kept for the next one, unless that would keep a large block for small strings.
        compressed.truncate(0);
        compressed.shrink_to(FIRST_PIECE);
        self.compressed = compressed;
        read?;
        if done { Ok(()) } else { self.damaged("a compressed string that cannot be decompressed") }
    }

    /// Appends so many bytes of the file to `out`.
    #[inline]
    fn append(&mut self, len: u64, out: &mut Vec<u8>) -> Result<(), Error> {
        let buffered = &self.buffer[self.at..self.end];
        if let Some(bytes) = usize::try_from(len).ok().and_then(|len| buffered.get(..len)) {
            out.extend_from_slice(bytes);
            self.at += bytes.len();
            return Ok(());
        }
        self.append_in_pieces(len, out)
    }

    #[cold]
    fn append_in_pieces(&mut self, len: u64, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut missing = len;
        while missing > 0 {
            if self.at == self.end {
                self.refill()?;
            }
            if out.len() == out.capacity() {
                // As much again as has come, so that a length is believed by half at most.
                let more = missing.min(out.len().max(FIRST_PIECE) as u64);
                out.reserve_exact(more as usize);
            }
            let room = (out.capacity() - out.len()).max(1) as u64;
            let len = missing.min(room).min((self.end - self.at) as u64) as usize;
            out.extend_from_slice(&self.buffer[self.at..self.at + len]);
            self.at += len;
            missing -= len as u64;
        }
        Ok(())
    }

    /// Passes over a string.
    pub fn skip_string(&mut self) -> Result<(), Error> {
        let len = match self.length_or_special()? {
            Length::Plain(len) => len,
            Length::Special(kind @ (INT8 | INT16 | INT32)) => 1 << kind,
            Length::Special(LZF) => {
                let compressed = self.length()?;
                self.length()?;
                compressed
            }
            Length::Special(_) => return self.damaged("a string in an unknown form"),
        };
        let mut missing = len;
        while missing > 0 {
            if self.at == self.end {
                self.refill()?;
            }
            let len = missing.min((self.end - self.at) as u64);
            self.at += len as usize;
            missing -= len;
        }
        Ok(())
    }
}
