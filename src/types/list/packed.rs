//! Elements one behind the other in a run of bytes that can be walked from both ends.
//!
//! ```text
//! separator, element, separator, element, ..., separator
//! ```
//!
//! A separator is the exclusive or of the lengths of its two neighbours; outside of the run there
//! is a neighbour of length 0. Who comes from one side knows one length, and so gets the other:
//! one number serves both directions (as addresses do in an XOR linked list), and where lengths
//! are alike it takes a byte whatever they are. Without elements there are no bytes.
//!
//! A separator itself is readable from both ends, too: its first and its last byte tell its size.
//!
//! ```text
//! 0xxxxxxx                        7 bits
//! 10xxxxxx 10xxxxxx               12 bits
//! 110xxxxx 2 bytes 110xxxxx       26 bits
//! 111xxxxx 6 bytes 111xxxxx       58 bits
//! ```
//!
//! All changes are one: the elements between two [`Gap`]s give way to one element, or to none.

/// Bytes a separator takes, judged by its first or its last byte.
#[inline]
fn size_by_mark(byte: u8) -> usize {
    match byte >> 5 {
        0..4 => 1,
        4..6 => 2,
        6 => 4,
        _ => 8,
    }
}

/// Bytes a separator takes, judged by what it says.
#[inline]
fn separator_size(number: usize) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x1000 => 2,
        0x1000..0x400_0000 => 4,
        _ => 8,
    }
}

/// Reads the separator in `bytes`, which are exactly its own.
#[inline]
fn read_separator(bytes: &[u8]) -> usize {
    let [first, middle @ .., last] = bytes else { return bytes[0] as usize };
    // The marks are 2 bits in the form of two bytes, and 3 bits in the longer ones.
    let bits = if middle.is_empty() { 6 } else { 5 };
    let mask = (1 << bits) - 1;
    let high = middle.iter().fold((first & mask) as usize, |n, &byte| n << 8 | byte as usize);
    high << bits | (last & mask) as usize
}

/// Writes a separator over `out`, which has its size.
#[inline]
fn write_separator(out: &mut [u8], number: usize) {
    let (mark, bits) = match out.len() {
        1 => {
            out[0] = number as u8;
            return;
        }
        2 => (0x80, 6),
        4 => (0xC0, 5),
        _ => (0xE0, 5),
    };
    let mask = (1 << bits) - 1;
    let last = out.len() - 1;
    out[last] = mark | (number & mask) as u8;
    let mut rest = number >> bits;
    for byte in out[1..last].iter_mut().rev() {
        *byte = rest as u8;
        rest >>= 8;
    }
    out[0] = mark | rest as u8;
}

/// Walks over elements; see [`Forward`] and [`Backward`].
#[derive(Clone, Copy)]
pub struct Forward<'a> {
    bytes: &'a [u8],
    /// Where the next separator begins.
    at: usize,
    /// How long the element before it is.
    before: usize,
}

impl<'a> Forward<'a> {
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Forward<'a> {
        Forward { bytes, at: 0, before: 0 }
    }

    /// Begins with the element with this index, of `count` elements.
    pub fn from(bytes: &'a [u8], index: usize, count: usize) -> Forward<'a> {
        let Gap { at, before, .. } = gap(bytes, index, count);
        Forward { bytes, at, before }
    }

    /// The separator ahead.
    #[inline]
    fn gap(&self) -> Gap {
        let Some(&mark) = self.bytes.get(self.at) else { return Gap::default() };
        let size = size_by_mark(mark);
        let number = match size {
            1 => mark as usize,
            _ => read_separator(&self.bytes[self.at..self.at + size]),
        };
        Gap { at: self.at, size, before: self.before, after: self.before ^ number }
    }
}

impl<'a> Iterator for Forward<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let gap = self.gap();
        let start = gap.end();
        if start == self.bytes.len() {
            return None;
        }
        self.at = start + gap.after;
        self.before = gap.after;
        Some(&self.bytes[start..self.at])
    }
}

/// Walks from the end to the start.
#[derive(Clone, Copy)]
pub struct Backward<'a> {
    bytes: &'a [u8],
    /// Where the next separator ends.
    end: usize,
    /// How long the element behind it is.
    after: usize,
}

impl<'a> Backward<'a> {
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Backward<'a> {
        Backward { bytes, end: bytes.len(), after: 0 }
    }

    /// Begins with the element that has this index from the end, of `count` elements.
    pub fn from(bytes: &'a [u8], index: usize, count: usize) -> Backward<'a> {
        let gap = gap(bytes, count - index, count);
        Backward { bytes, end: gap.end(), after: gap.after }
    }

    #[inline]
    fn gap(&self) -> Gap {
        let Some(&mark) = self.bytes[..self.end].last() else { return Gap::default() };
        let size = size_by_mark(mark);
        let at = self.end - size;
        let number = match size {
            1 => mark as usize,
            _ => read_separator(&self.bytes[at..self.end]),
        };
        Gap { at, size, before: self.after ^ number, after: self.after }
    }
}

impl<'a> Iterator for Backward<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let gap = self.gap();
        if gap.at == 0 {
            return None;
        }
        let end = gap.at;
        self.end = end - gap.before;
        self.after = gap.before;
        Some(&self.bytes[self.end..end])
    }
}

/// A place between two elements, or at an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Where its separator begins.
    pub at: usize,
    /// Bytes of its separator; 0 where there is no element at all.
    pub size: usize,
    /// Lengths of its neighbours.
    before: usize,
    after: usize,
}

impl Gap {
    /// Where its separator ends.
    #[inline]
    pub fn end(&self) -> usize {
        self.at + self.size
    }
}

/// The gap before the element with this index, of `count` elements; the one at the end if the
/// index is `count`. Walks from the nearer end.
#[inline]
pub fn gap(bytes: &[u8], index: usize, count: usize) -> Gap {
    if index <= count / 2 {
        let mut walk = Forward::new(bytes);
        for _ in 0..index {
            walk.next();
        }
        walk.gap()
    } else {
        let mut walk = Backward::new(bytes);
        for _ in index..count {
            walk.next();
        }
        walk.gap()
    }
}

/// The gap behind the element that follows this one.
#[inline]
pub fn next_gap(bytes: &[u8], gap: Gap) -> Gap {
    Forward { bytes, at: gap.end() + gap.after, before: gap.after }.gap()
}

/// The element with this index, of `count` elements; it must be there.
#[inline]
pub fn get(bytes: &[u8], index: usize, count: usize) -> &[u8] {
    let gap = gap(bytes, index, count);
    &bytes[gap.end()..gap.end() + gap.after]
}

/// What is to stand between two gaps, their separators included.
#[derive(Clone, Copy)]
pub struct Patch<'a> {
    before: usize,
    after: usize,
    element: Option<&'a [u8]>,
    /// No element is left at all.
    empties: bool,
}

impl<'a> Patch<'a> {
    /// For the bytes from the start of `first` to the end of `last`, of `total` bytes.
    #[inline]
    pub fn new(first: Gap, last: Gap, element: Option<&'a [u8]>, total: usize) -> Patch<'a> {
        let empties = element.is_none() && first.at == 0 && last.end() == total;
        Patch { before: first.before, after: last.after, element, empties }
    }

    /// Bytes it takes.
    #[inline]
    pub fn size(&self) -> usize {
        match self.element {
            Some(element) => {
                let len = element.len();
                separator_size(self.before ^ len) + len + separator_size(len ^ self.after)
            }
            None if self.empties => 0,
            None => separator_size(self.before ^ self.after),
        }
    }

    /// Writes it over `out`, which has its size.
    #[inline]
    pub fn write(&self, out: &mut [u8]) {
        let Some(element) = self.element else {
            if !self.empties {
                write_separator(out, self.before ^ self.after);
            }
            return;
        };
        let len = element.len();
        let (first, rest) = out.split_at_mut(separator_size(self.before ^ len));
        write_separator(first, self.before ^ len);
        let (middle, last) = rest.split_at_mut(len);
        middle.copy_from_slice(element);
        write_separator(last, len ^ self.after);
    }
}

/// Bytes that one element takes by itself.
#[inline]
pub fn size_alone(element: &[u8]) -> usize {
    separator_size(element.len()) * 2 + element.len()
}

/// Packs elements.
pub fn pack<'a>(elements: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut before = 0;
    let separate = |bytes: &mut Vec<u8>, number| {
        let at = bytes.len();
        bytes.resize(at + separator_size(number), 0);
        write_separator(&mut bytes[at..], number);
    };
    let mut any = false;
    for element in elements {
        separate(&mut bytes, before ^ element.len());
        bytes.extend_from_slice(element);
        before = element.len();
        any = true;
    }
    if any {
        separate(&mut bytes, before);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_layout_is_as_described() {
        let elements: [&[u8]; 4] = [b"ab", b"", b"c", b"de"];
        assert_eq!(pack(elements.into_iter()), b"\x02ab\x02\x01c\x03de\x02");
        assert_eq!(pack([&b""[..]].into_iter()), b"\x00\x00");
        assert_eq!(pack(std::iter::empty()), b"");
        // 200 = 0b11_001000, with six bits in each byte.
        let long = [b'x'; 200];
        let bytes = pack([&long[..], &long[..]].into_iter());
        assert_eq!(bytes.len(), 2 + 200 + 1 + 200 + 2);
        assert_eq!((&bytes[..2], bytes[202]), (&[0x83, 0x88][..], 0));
    }

    #[test]
    fn separators_of_all_sizes_read_from_both_ends() {
        for bits in 0..58 {
            for number in [(1usize << bits) - 1, 1 << bits, (1 << bits) | 1] {
                let mut bytes = vec![0; separator_size(number)];
                write_separator(&mut bytes, number);
                assert_eq!(size_by_mark(bytes[0]), bytes.len(), "{number}");
                assert_eq!(size_by_mark(bytes[bytes.len() - 1]), bytes.len(), "{number}");
                assert_eq!(read_separator(&bytes), number);
            }
        }
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        let len = prop_oneof![6 => 0usize..40, 2 => 120usize..140, 1 => 4090usize..4100];
        (len, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
    }

    fn check(bytes: &[u8], model: &[Vec<u8>]) {
        assert!(Forward::new(bytes).eq(model.iter().map(Vec::as_slice)));
        assert!(Backward::new(bytes).eq(model.iter().rev().map(Vec::as_slice)));
        for (index, element) in model.iter().enumerate() {
            assert_eq!(get(bytes, index, model.len()), element);
        }
    }

    proptest! {
        #[test]
        fn patches_do_what_splicing_a_vector_does(
            start in prop::collection::vec(element(), 0..20),
            steps in prop::collection::vec(
                (any::<usize>(), 0usize..4, prop::option::of(element())), 0..30),
        ) {
            let mut model = start;
            let mut bytes = pack(model.iter().map(Vec::as_slice));
            check(&bytes, &model);
            for (at, remove, element) in steps {
                let at = at % (model.len() + 1);
                let remove = remove.min(model.len() - at);
                let first = gap(&bytes, at, model.len());
                let mut last = first;
                for _ in 0..remove {
                    last = next_gap(&bytes, last);
                }
                prop_assert_eq!(last, gap(&bytes, at + remove, model.len()));
                let patch = Patch::new(first, last, element.as_deref(), bytes.len());
                let mut new = vec![0; patch.size()];
                patch.write(&mut new);
                bytes.splice(first.at..last.end(), new);
                model.splice(at..at + remove, element);
                check(&bytes, &model);
            }
        }
    }
}
