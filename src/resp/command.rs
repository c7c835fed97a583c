//! Writes commands: arrays of bulk strings, as clients, append-only files and replicas have them.

use crate::base::number::push_i64;

/// What a command of so many arguments, its name included, begins with.
#[inline]
pub fn begin(out: &mut Vec<u8>, args: usize) {
    out.push(b'*');
    push_i64(out, args as i64);
    out.extend_from_slice(b"\r\n");
}

/// The next argument.
#[inline]
pub fn arg(out: &mut Vec<u8>, bytes: &[u8]) {
    arg_of(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// What stands before an argument of so many bytes; a line end follows behind those.
#[inline]
pub fn arg_of(out: &mut Vec<u8>, len: usize) {
    out.push(b'$');
    push_i64(out, len as i64);
    out.extend_from_slice(b"\r\n");
}

/// A number as the next argument.
pub fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    arg(out, itoa::Buffer::new().format(number).as_bytes());
}

/// A whole command of arguments that are at hand.
pub fn whole(out: &mut Vec<u8>, args: &[&[u8]]) {
    begin(out, args.len());
    args.iter().for_each(|bytes| arg(out, bytes));
}
