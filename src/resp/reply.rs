//! Writes replies in RESP2 or RESP3.
//!
//! One set of methods serves both: what RESP2 has no type for (maps, sets, doubles, null, ...) is
//! written the way Redis falls back. Must not know who the reply is for.

use crate::base::number;
use std::ops::ControlFlow;

/// The output of one client, and the protocol it speaks.
#[derive(Default)]
pub struct Reply {
    buf: Vec<u8>,
    resp3: bool,
}

/// Where an array began whose length is known only at its end.
#[must_use]
pub struct Open {
    at: usize,
}

impl Reply {
    pub fn new(buf: Vec<u8>, resp3: bool) -> Reply {
        Reply { buf, resp3 }
    }

    pub fn is_resp3(&self) -> bool {
        self.resp3
    }

    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    pub fn into_buf(self) -> Vec<u8> {
        self.buf
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Says to go on as long as there are not more than so many bytes.
    #[inline]
    pub fn within(&self, most: usize) -> ControlFlow<()> {
        if self.buf.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Takes back what was written after `len`.
    pub fn truncate(&mut self, len: usize) {
        self.buf.truncate(len);
    }

    /// Bytes that are in the protocol's form already.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    #[inline]
    fn header(&mut self, kind: u8, n: i64) {
        self.buf.push(kind);
        number::push_i64(&mut self.buf, n);
        self.buf.extend_from_slice(b"\r\n");
    }

    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A simple string; must not contain line ends.
    pub fn simple(&mut self, text: &str) {
        self.buf.push(b'+');
        self.buf.extend_from_slice(text.as_bytes());
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An error, with its code first. Line ends become spaces, as the form cannot hold them.
    pub fn error(&mut self, text: &[u8]) {
        self.buf.push(b'-');
        self.buf.extend(text.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.buf.extend_from_slice(b"\r\n");
    }

    #[inline]
    pub fn int(&mut self, n: i64) {
        match n {
            0 => self.raw(b":0\r\n"),
            1 => self.raw(b":1\r\n"),
            _ => self.header(b':', n),
        }
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.buf.reserve(bytes.len() + 16);
        self.header(b'$', bytes.len() as i64);
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(b"\r\n");
    }

    pub fn bulk_int(&mut self, n: i64) {
        self.bulk(itoa::Buffer::new().format(n).as_bytes());
    }

    #[inline]
    pub fn null(&mut self) {
        self.raw(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    pub fn null_array(&mut self) {
        self.raw(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// A map of `pairs` keys and values.
    pub fn map(&mut self, pairs: usize) {
        if self.resp3 {
            self.header(b'%', pairs as i64);
        } else {
            self.header(b'*', pairs as i64 * 2);
        }
    }

    pub fn set(&mut self, len: usize) {
        self.header(if self.resp3 { b'~' } else { b'*' }, len as i64);
    }

    /// Out-of-band data; an array in RESP2.
    pub fn push(&mut self, len: usize) {
        self.header(if self.resp3 { b'>' } else { b'*' }, len as i64);
    }

    /// Attributes of the reply that follows; RESP3 only, as RESP2 cannot tell them apart from it.
    pub fn attribute(&mut self, pairs: usize) {
        debug_assert!(self.resp3);
        self.header(b'|', pairs as i64);
    }

    pub fn double(&mut self, value: f64) {
        if self.resp3 {
            self.buf.push(b',');
            number::push_f64(&mut self.buf, value);
            self.buf.extend_from_slice(b"\r\n");
        } else {
            self.bulk_double(value);
        }
    }

    /// A double whose text is given.
    pub fn double_text(&mut self, text: &[u8]) {
        if self.resp3 {
            self.buf.push(b',');
            self.buf.extend_from_slice(text);
            self.buf.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// A double that is a bulk string in RESP3, too.
    pub fn bulk_double(&mut self, value: f64) {
        // The text comes first, as its length is not known before.
        let start = self.buf.len();
        number::push_f64(&mut self.buf, value);
        let end = self.buf.len();
        self.header(b'$', (end - start) as i64);
        let header = self.buf.len() - end;
        self.buf[start..].rotate_right(header);
        self.buf.extend_from_slice(b"\r\n");
    }

    pub fn bool(&mut self, value: bool) {
        match (self.resp3, value) {
            (true, true) => self.raw(b"#t\r\n"),
            (true, false) => self.raw(b"#f\r\n"),
            (false, _) => self.int(value as i64),
        }
    }

    /// A number of any size, in decimal digits.
    pub fn big_number(&mut self, digits: &str) {
        if self.resp3 {
            self.buf.push(b'(');
            self.buf.extend_from_slice(digits.as_bytes());
            self.buf.extend_from_slice(b"\r\n");
        } else {
            self.bulk(digits.as_bytes());
        }
    }

    /// Text for people; `format` has three letters (`txt`, `mkd`).
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if self.resp3 {
            self.header(b'=', text.len() as i64 + 4);
            self.buf.extend_from_slice(format.as_bytes());
            self.buf.push(b':');
            self.buf.extend_from_slice(text);
            self.buf.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// Begins an array whose length is not known yet; write its elements, then [`Reply::close`].
    pub fn open(&mut self) -> Open {
        Open { at: self.buf.len() }
    }

    pub fn close_array(&mut self, open: Open, len: usize) {
        self.insert_header(open, b'*', len);
    }

    pub fn close_map(&mut self, open: Open, pairs: usize) {
        let (kind, len) = if self.resp3 { (b'%', pairs) } else { (b'*', pairs * 2) };
        self.insert_header(open, kind, len);
    }

    pub fn close_set(&mut self, open: Open, len: usize) {
        self.insert_header(open, if self.resp3 { b'~' } else { b'*' }, len);
    }

    fn insert_header(&mut self, open: Open, kind: u8, len: usize) {
        let end = self.buf.len();
        self.header(kind, len as i64);
        let header = self.buf.len() - end;
        self.buf[open.at..].rotate_right(header);
    }
}
