//! The payload of DUMP, which RESTORE takes: one value, the version of its form (2 bytes), and a
//! checksum of all that. Must not know keys.

use super::in_place::{self, Position};
use super::input::Input;
use super::value::Values;
use super::write::{self, Writer, first_field_time};
use super::{Error, Limits, NEWEST_VERSION, VALKEY_VERSIONS, VERSION, VERSION_WITH_FIELD_TIMES};
use crate::base::crc64::crc64;
use crate::store::NewValue;
use crate::types::Value;

/// Values whose effort to be freed is more than this are taken in parts by a [`Builder`].
const LARGE: usize = if cfg!(test) { 0 } else { 64 };
/// A large payload is in pieces of little more than so many bytes.
const PIECE: usize = 256 << 10;
const FOOTER: usize = 2 + CHECKSUM;
const CHECKSUM: usize = 8;

/// Why a payload cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is of another version, or not what it was when it was made.
    Footer,
    Format(Error),
}

/// The payload of a value.
pub fn dump(writer: &mut Writer, value: Value<'_>) -> Vec<u8> {
    let mut out = vec![writer.type_of(value)];
    writer.value(&mut out, value);
    push_version(&mut out, value);
    let sum = crc64(0, &out);
    write::checksum(&mut out, sum);
    out
}

fn push_version(out: &mut Vec<u8>, value: Value<'_>) {
    let has_times = first_field_time(value).is_some();
    let version = if has_times { VERSION_WITH_FIELD_TIMES } else { VERSION };
    out.extend_from_slice(&(version as u16).to_le_bytes());
}

/// Makes the payload of a value in steps, none of which takes long however large the value is. It
/// must stay the same from the first step to the last.
#[derive(Default)]
pub struct Builder {
    /// What is done, but for what is in `piece`; `sum` is its checksum.
    pieces: Vec<Vec<u8>>,
    piece: Vec<u8>,
    sum: u64,
    /// Where the next part begins.
    at: Position,
}

impl Builder {
    /// Goes on; true if the payload is complete. Small values are written as [`dump`] does. Large
    /// ones are not compressed: that would take the most time of all.
    pub fn step(&mut self, writer: &mut Writer, value: Value<'_>) -> bool {
        let object = match value {
            Value::Object(object) if object.free_effort() > LARGE => object,
            _ => {
                self.pieces = vec![dump(writer, value)];
                return true;
            }
        };
        if self.at == 0 {
            self.piece.push(in_place::kind(value));
        }
        match in_place::part(&mut Writer::new(false), &mut self.piece, object, self.at) {
            Some(next) => self.at = next,
            None => {
                push_version(&mut self.piece, value);
                self.end_piece();
                let mut sum = Vec::with_capacity(CHECKSUM);
                write::checksum(&mut sum, self.sum);
                self.pieces.push(sum);
                return true;
            }
        }
        if self.piece.len() >= PIECE {
            self.end_piece();
        }
        false
    }

    fn end_piece(&mut self) {
        self.sum = crc64(self.sum, &self.piece);
        self.pieces.push(std::mem::take(&mut self.piece));
    }

    /// The complete payload, in pieces.
    pub fn into_pieces(self) -> Vec<Vec<u8>> {
        self.pieces
    }
}

/// Hands the value in a payload to `take`. `checks_sum`: whether the checksum must be right.
pub fn restore<T>(
    payload: &[u8],
    limits: Limits,
    checks_sum: bool,
    take: impl FnOnce(NewValue<'_>) -> T,
) -> Result<T, Refusal> {
    let (body, is_valkey) = check_footer(payload, checks_sum)?;
    let mut input = Input::of_slice(body);
    let mut values = Values::new(limits);
    let is_something = input
        .u8()
        .and_then(|of| values.read(&mut input, of, is_valkey))
        .map_err(Refusal::Format)?;
    let problem = if !is_something {
        "a collection without elements"
    } else if input.offset() < body.len() as u64 {
        "a value that ends before its payload does"
    } else {
        return Ok(take(values.take()));
    };
    input.damaged(problem).map_err(Refusal::Format)
}

/// The type and the value in a payload, and whether its version is one of Valkey's own.
fn check_footer(payload: &[u8], checks_sum: bool) -> Result<(&[u8], bool), Refusal> {
    let footer_at = payload.len().checked_sub(FOOTER).ok_or(Refusal::Footer)?;
    let (body, footer) = payload.split_at(footer_at);
    let version = u32::from(footer[0]) | u32::from(footer[1]) << 8;
    let is_valkey = VALKEY_VERSIONS.contains(&version);
    if version > NEWEST_VERSION && !is_valkey {
        return Err(Refusal::Footer);
    }
    let (summed, sum) = payload.split_at(payload.len() - CHECKSUM);
    if checks_sum && sum != &crc64(0, summed).to_le_bytes()[..] {
        return Err(Refusal::Footer);
    }
    Ok((body, is_valkey))
}
