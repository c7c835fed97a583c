//! What is in an RDB file, or in the part of an AOF that is one. The reader is the server's, so
//! what passes here can be loaded; that keys come once is looked at here, as the server does it
//! where it puts them in.

use super::output::{Output, plural};
use crate::persist::files::{FileHandle, FileReader, Files, Open, RealFiles, reason};
use crate::persist::rdb::{Entry, Error, Item, Limits, Problem, Reader, type_name};
use crate::types::Type;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use twox_hash::XxHash3_64;

/// Checks a file; false if it is not valid, an error if it cannot be looked at.
pub fn check(path: &Path, output: &mut Output) -> Result<bool, String> {
    let name = path.display();
    let cannot_open = |e| format!("Cannot open file {name}: {}", reason(&e));
    let file: Arc<dyn FileHandle> = RealFiles.open(path, Open::Read).map_err(cannot_open)?.into();
    let len = file.len().map_err(cannot_open)?;
    let end = check_part(file, len, &name.to_string(), output);
    if let Some(end) = end
        && end < len
    {
        output.line(&format!("[info] {} bytes behind the end of the data", len - end));
    }
    Ok(end.is_some())
}

/// Checks what a file begins with, and says where that ends; `None` if it is not valid.
pub fn check_part(
    file: Arc<dyn FileHandle>,
    len: u64,
    name: &str,
    output: &mut Output,
) -> Option<u64> {
    output.line(&format!("[offset 0] Checking RDB file {name}"));
    let mut contents = Contents::default();
    let mut reader = match Reader::new(FileReader::new(file), Limits::default(), true) {
        Ok(reader) => reader,
        Err(e) => {
            tell_error(&e, None, output);
            return None;
        }
    };
    output.line(&format!("[info] RDB version {}", reader.version()));
    let result = contents.read(&mut reader, len, output);
    if let Err(e) = &result {
        tell_error(e, reader.broken_value(), output);
        contents.tell(output);
        return None;
    }
    let end = reader.offset();
    match reader.stored_sum() {
        None => {}
        Some(0) => output.line(&format!(
            "[offset {end}] RDB file was saved with checksum disabled: no check performed."
        )),
        Some(_) => output.line(&format!("[offset {end}] Checksum OK")),
    }
    output.line(&format!("[offset {end}] \\o/ RDB looks OK! \\o/"));
    contents.tell(output);
    Some(end)
}

fn tell_error(e: &Error, broken: Option<(&[u8], u8)>, output: &mut Output) {
    output.line("--- RDB ERROR DETECTED ---");
    let problem = match &e.problem {
        Problem::Short => "Unexpected EOF reading RDB file".to_string(),
        Problem::Io(why) => format!("cannot be read: {why}"),
        Problem::Damaged(what) => what.to_string(),
        Problem::Unsupported(what) | Problem::Refused(what) => what.clone(),
    };
    output.line(&format!("[offset {}] {problem}", e.offset));
    if let Some((key, kind)) = broken {
        output.line(&format!("[additional info] Reading key '{}'", key.escape_ascii()));
        output.line(&format!("[additional info] Reading type {kind} ({})", type_name(kind)));
    }
}

/// What was found.
#[derive(Default)]
struct Contents {
    keys: u64,
    expiring: u64,
    expired: u64,
    /// In the order of [`Type::ALL`].
    of_type: [u64; Type::ALL.len()],
    databases: BTreeMap<u64, u64>,
    empty: u64,
    functions: u64,
    /// Hashes of the keys, to find one that comes twice: in 64 bits, so that two of a hundred
    /// million keys have the same by chance in one of four thousand files.
    seen: HashSet<u64>,
}

impl Contents {
    fn read(
        &mut self,
        reader: &mut Reader<FileReader>,
        len: u64,
        output: &mut Output,
    ) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = now.as_millis() as i64;
        let mut db = None;
        loop {
            let offset = reader.offset();
            match reader.next()? {
                Item::Entry(entry) => {
                    if db != Some(entry.db) {
                        db = Some(entry.db);
                        output.line(&format!("[offset {offset}] Selecting DB ID {}", entry.db));
                    }
                    if let Err(problem) = self.note(&entry, now_ms) {
                        drop(entry);
                        return Err(reader.error(problem));
                    }
                    if self.keys.is_multiple_of(1024) {
                        output.progress(offset, len);
                    }
                }
                Item::EmptyKey(key) => {
                    self.empty += 1;
                    let key = key.escape_ascii();
                    output.line(&format!("[offset {offset}] Empty key '{key}', not loaded"));
                }
                Item::Aux { name, value } => output.line(&format!(
                    "[offset {offset}] AUX FIELD {} = '{}'",
                    name.escape_ascii(),
                    value.escape_ascii()
                )),
                Item::Size { .. } => {}
                Item::Function(_) => self.functions += 1,
                Item::ModuleAux(name) => {
                    output.line(&format!("[offset {offset}] MODULE AUX for: {name}"));
                }
                Item::End => return Ok(()),
            }
        }
    }

    fn note(&mut self, entry: &Entry<'_>, now_ms: i64) -> Result<(), Problem> {
        if !self.seen.insert(XxHash3_64::oneshot_with_seed(entry.db, entry.key)) {
            let (key, db) = (entry.key.escape_ascii(), entry.db);
            return Err(Problem::Refused(format!("the key '{key}' comes twice in database {db}")));
        }
        self.keys += 1;
        self.expiring += u64::from(entry.expire_at.is_some());
        self.expired += u64::from(entry.expire_at.is_some_and(|at| at < now_ms));
        self.of_type[entry.value.kind() as usize] += 1;
        *self.databases.entry(entry.db).or_default() += 1;
        Ok(())
    }

    fn tell(&self, output: &mut Output) {
        output.line(&format!("[info] {} keys read", self.keys));
        output.line(&format!("[info] {} expires", self.expiring));
        output.line(&format!("[info] {} already expired", self.expired));
        for (of, count) in Type::ALL.iter().zip(self.of_type).filter(|(_, count)| *count > 0) {
            output.line(&format!("[info] {count} of type {}", of.name()));
        }
        for (db, count) in &self.databases {
            output.line(&format!("[info] {count} key{} in database {db}", plural(*count)));
        }
        if self.empty > 0 {
            let (count, s) = (self.empty, plural(self.empty));
            output.line(&format!("[info] {count} key{s} without elements"));
        }
        if self.functions > 0 {
            output.line(&format!("[info] {} of functions' libraries", self.functions));
        }
    }
}
