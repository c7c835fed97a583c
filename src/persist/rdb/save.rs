//! Writing all of a keyspace at once: what SAVE does, and tests. Must not know files or the
//! server; a snapshot that is taken while the server goes on is made elsewhere, of the same parts.

use super::write::{self, Use, Writer};
use crate::base::crc64::crc64;
use crate::store::Keyspace;
use std::io::{Result, Write};

/// Bytes that are written at once, about.
const PIECE: usize = 1 << 20;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What `rdbcompression` says.
    pub compresses: bool,
    /// What `rdbchecksum` says.
    pub has_checksum: bool,
    /// What is to be known of the file.
    pub aux: Vec<(&'static str, Vec<u8>)>,
}

/// Writes a file of all keys, those whose time has come included; returns how many they are.
/// `used` tells what is to be written of a key's use, given its access bits.
pub fn save(
    keys: &Keyspace,
    to: &mut dyn Write,
    options: &Options,
    used: impl Fn(u32) -> Use,
) -> Result<u64> {
    let mut writer = Writer::new(options.compresses);
    let mut out = Output { to, piece: Vec::new(), checksum: options.has_checksum.then_some(0) };
    write::header(&mut out.piece, write::version_for(keys));
    for (name, value) in &options.aux {
        writer.aux(&mut out.piece, name, value);
    }
    let mut count = 0;
    for db in (0..keys.databases()).filter(|db| !keys.records(*db).is_empty()) {
        let records = keys.records(db);
        write::select(&mut out.piece, db);
        write::resize(&mut out.piece, records.len(), records.expiring());
        for view in records.iter() {
            writer.entry(&mut out.piece, &view, used(view.access()));
            count += 1;
            if out.piece.len() >= PIECE {
                out.flush()?;
            }
        }
    }
    write::end(&mut out.piece);
    out.flush()?;
    let checksum = out.checksum.unwrap_or(0);
    write::checksum(&mut out.piece, checksum);
    out.flush()?;
    Ok(count)
}

struct Output<'a> {
    to: &'a mut dyn Write,
    piece: Vec<u8>,
    checksum: Option<u64>,
}

impl Output<'_> {
    fn flush(&mut self) -> Result<()> {
        self.checksum = self.checksum.map(|sum| crc64(sum, &self.piece));
        self.to.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}
