//! In what form a snapshot's file is: as an RDB file, or as the commands that make the data anew.

use super::commands;
use crate::persist::aof::encode;
use crate::persist::rdb::parts;
use crate::persist::rdb::write::{self, Use, Writer};
use crate::store::db::snapshot::LargeEntry;
use crate::store::record::View;
use std::sync::Arc;

/// The form of a file.
pub enum Form {
    Rdb(Rdb),
    /// Commands, as the base of an append-only file may be.
    Commands {
        /// When it was written, if that is to be told; in seconds since 1970.
        unix_s: Option<i64>,
    },
}

pub struct Rdb {
    /// What the file says of itself, before any entry: names and values.
    pub aux: Vec<(&'static str, Vec<u8>)>,
    /// See [`write::version_for`].
    pub version: u32,
    pub compress: bool,
    pub checksum: bool,
    /// Keys of each database, and how many of them expire: what a reader makes room for.
    pub sizes: Vec<(usize, usize)>,
    /// What is written of a key's use, from the record's access bits.
    pub used: Used,
}

pub type Used = Arc<dyn Fn(u32) -> Use + Send + Sync>;

impl Form {
    /// What writes entries in this form; on the loop's thread there is no time to compress.
    pub(super) fn encoder(&self, may_compress: bool) -> Encoder {
        match self {
            Form::Rdb(rdb) => {
                Encoder::Rdb(Writer::new(rdb.compress && may_compress), rdb.used.clone())
            }
            Form::Commands { .. } => Encoder::Commands(Box::default()),
        }
    }

    pub(super) fn has_checksum(&self) -> bool {
        matches!(self, Form::Rdb(Rdb { checksum: true, .. }))
    }

    /// What the file begins with.
    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        let rdb = match self {
            Form::Rdb(rdb) => rdb,
            Form::Commands { unix_s } => {
                return unix_s.iter().for_each(|unix_s| encode::timestamp(out, *unix_s));
            }
        };
        write::header(out, rdb.version);
        let mut writer = Writer::new(false);
        rdb.aux.iter().for_each(|(name, value)| writer.aux(out, name, value));
    }

    /// What entries of a database begin with.
    pub(super) fn select(&mut self, out: &mut Vec<u8>, db: usize) {
        let Form::Rdb(rdb) = self else { return encode::select(out, db) };
        write::select(out, db);
        if let Some((keys @ 1.., expiring)) = rdb.sizes.get_mut(db).map(std::mem::take) {
            write::resize(out, keys, expiring);
        }
    }

    /// What the file ends with, before its checksum.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        if let Form::Rdb(_) = self {
            write::end(out);
        }
    }

    /// The checksum of all before, or 0 for none, if there is a place for it.
    pub(super) fn checksum(&self, out: &mut Vec<u8>, checksum: u64) {
        if let Form::Rdb(_) = self {
            write::checksum(out, checksum);
        }
    }
}

/// Writes entries in one of the forms.
pub(super) enum Encoder {
    Rdb(Writer, Used),
    Commands(Box<Commands>),
}

/// Whole entries come between the parts of a large one.
#[derive(Default)]
pub(super) struct Commands {
    whole: encode::Encoder,
    large: encode::Encoder,
}

impl Encoder {
    /// A whole entry.
    pub fn entry(&mut self, out: &mut Vec<u8>, entry: View<'_>) {
        match self {
            Encoder::Rdb(writer, used) => writer.entry(out, &entry, used(entry.access())),
            Encoder::Commands(both) => both.whole.entry(out, entry),
        }
    }

    /// What stands before the first part of a large entry.
    pub fn begin(&mut self, out: &mut Vec<u8>, entry: &LargeEntry<'_>) {
        match self {
            Encoder::Rdb(writer, used) => parts::begin(writer, out, entry, used(entry.access)),
            Encoder::Commands(both) => commands::begin(&mut both.large, out, entry),
        }
    }

    /// The next part of a large entry; false if it was the last.
    pub fn part(&mut self, out: &mut Vec<u8>, entry: &mut LargeEntry<'_>) -> bool {
        match self {
            Encoder::Rdb(writer, _) => parts::part(writer, out, entry),
            Encoder::Commands(both) => commands::part(&mut both.large, out, entry),
        }
    }
}
