//! What is in an append-only file: a manifest with the files it names, or a single file. What can
//! be mended is where a start of the server mends it, and nothing is lost that such a start would
//! have kept: what a crash has left in the ring comes into the files before one is cut, and what
//! is cut off without a crash to explain it is kept beside the file.

use super::output::{Output, plural};
use super::rdb;
use crate::persist::aof::manifest::{Entry, Kind, ReadError, with_suffix};
use crate::persist::aof::{End, Fault, Found, Manifest, Options, Scan, begins_in_rdb_format};
use crate::persist::files::{FileHandle, Files, Open, RealFiles, reason};
use crate::resp::Args;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files are copied in pieces of this size. Bytes.
const PIECE: usize = 1 << 20;
/// So many names of commands are told apart, and so many told.
const NAMES_COUNTED: usize = 1000;
const NAMES_TOLD: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Look,
    /// Cuts off what is behind the last whole command.
    Fix,
    /// Cuts off what is behind this time, in seconds since 1970.
    CutTo(i64),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub path: PathBuf,
    pub action: Action,
    /// `aof-ring-dir`, if there is one.
    pub ring_dir: Option<PathBuf>,
}

/// Checks a file, or all that a manifest names. False if one is not valid, an error if it cannot be
/// looked at, or is not to be changed.
pub fn check(request: &Request, output: &mut Output) -> Result<bool, String> {
    let path = &request.path;
    let cannot_open = |e| format!("Cannot open file {}: {}", path.display(), reason(&e));
    let file = RealFiles.open(path, Open::Read).map_err(cannot_open)?;
    if is_manifest(path, &*file).map_err(cannot_open)? {
        return check_manifest(request, output);
    }
    output.line("Start checking Old-Style AOF");
    if request.action != Action::Look {
        refuse_beside_ring(path)?;
    }
    let name = path.display().to_string();
    let mut part = Part { path, name: &name, is_last: true, request, rings: &[], options: None };
    let verdict = part.check(output)?;
    tell_verdict(verdict, "AOF", &part, output);
    Ok(verdict != Verdict::Invalid)
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Valid,
    Empty,
    Invalid,
    Fixed,
    CutTo(i64),
}

fn tell_verdict(verdict: Verdict, style: &str, part: &Part<'_>, output: &mut Output) {
    let name = part.name;
    output.line(&match verdict {
        Verdict::Valid => format!("{style} {name} is valid"),
        Verdict::Empty => format!("{style} {name} is empty"),
        Verdict::Invalid => {
            format!("AOF {name} is not valid. Use the --fix option to try fixing it.")
        }
        Verdict::Fixed => format!("Successfully truncated AOF {name}"),
        Verdict::CutTo(time) => format!("Successfully truncated AOF {name} to timestamp {time}"),
    });
}

/// A manifest's lines begin with `file`; commands do not, nor does RDB format.
fn is_manifest(path: &Path, file: &dyn FileHandle) -> io::Result<bool> {
    if path.extension().is_some_and(|extension| extension == "manifest") {
        return Ok(true);
    }
    let mut head = [0; 64 << 10];
    let n = file.read_full_at(&mut head, 0)?;
    let mut lines = head[..n].split(|b| *b == b'\n').filter(|line| line.first() != Some(&b'#'));
    Ok(lines.next().is_some_and(|line| line.starts_with(b"file ")))
}

fn check_manifest(request: &Request, output: &mut Output) -> Result<bool, String> {
    output.line("Start checking Multi Part AOF");
    let path = std::path::absolute(&request.path)
        .map_err(|e| format!("{}: {}", request.path.display(), reason(&e)))?;
    let manifest = read_manifest(&path)?;
    let options = options(&path, request.ring_dir.as_deref());
    let rings = rings_left(&options, output)?;
    if request.action != Action::Look && !rings.is_empty() {
        output.line(
            "What the files lack is put into them first, as at a start of the server. No server \
             may run with them now.",
        );
        if !output.confirm() {
            return Err("Aborting...".to_string());
        }
        let missing = options.replay_rings(&manifest).map_err(|(ring, e)| unreadable(&ring, &e))?;
        output.line(&format!("[info] {missing} byte{} were missing", plural(missing)));
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    let entries: Vec<&Entry> = manifest.to_load().collect();
    let last = last_with_content(dir, &entries)?;
    let (mut all_valid, mut told_incrs) = (true, false);
    for (nth, entry) in entries.into_iter().enumerate() {
        let path = Manifest::path(dir, entry);
        let name = entry.name.to_string_lossy();
        let style = if entry.kind == Kind::Base {
            let is_rdb = begins_in_rdb(&path)?;
            let format = if is_rdb { "RDB" } else { "RESP" };
            output.line(&format!("Start to check BASE AOF ({format} format)."));
            "BASE AOF"
        } else {
            if !std::mem::replace(&mut told_incrs, true) {
                output.line("Start to check INCR files.");
            }
            "INCR AOF"
        };
        let (is_last, rings) = (nth >= last, &rings[..]);
        let options = Some(&options);
        let mut part = Part { path: &path, name: &name, is_last, request, rings, options };
        let verdict = part.check(output)?;
        tell_verdict(verdict, style, &part, output);
        all_valid &= verdict != Verdict::Invalid;
    }
    if all_valid {
        output.line("All AOF files and manifest are valid");
    }
    Ok(all_valid)
}

fn read_manifest(path: &Path) -> Result<Manifest, String> {
    match Manifest::read(&RealFiles, path) {
        Ok(Some(manifest)) => Ok(manifest),
        Ok(None) => Err(format!("Cannot open file {}: it is gone", path.display())),
        Err(ReadError::Io(e)) => Err(unreadable(path, &e)),
        Err(ReadError::Parse(e)) => {
            Err(format!("{}\nThe AOF manifest is not valid.", e.lines().join("\n")))
        }
    }
}

/// The options that a server has which uses this manifest.
fn options(manifest: &Path, ring_dir: Option<&Path>) -> Options {
    let aof_dir = manifest.parent().unwrap_or(Path::new("/"));
    let dir = aof_dir.parent().unwrap_or(Path::new("/")).to_path_buf();
    let mut options = Options::new(dir, Arc::new(RealFiles), Arc::new(|| ()));
    options.dirname = aof_dir.file_name().unwrap_or_default().to_os_string();
    let name = manifest.file_name().unwrap_or_default().as_bytes();
    let name = name.strip_suffix(b".manifest").unwrap_or(name);
    options.filename = OsString::from_vec(name.to_vec());
    options.ring_dir = ring_dir.map(Path::to_path_buf);
    options
}

fn rings_left(options: &Options, output: &mut Output) -> Result<Vec<PathBuf>, String> {
    let rings = options.rings_left().map_err(|(ring, e)| unreadable(&ring, &e))?;
    for ring in &rings {
        output.line(&format!(
            "[info] The ring {} is of a server that runs, or has crashed: it may hold what the \
             files lack, and a start of the server appends that.",
            ring.display()
        ));
    }
    Ok(rings)
}

/// A single file of a manifest is not cut while there is a ring: what is in it would follow on what
/// is gone.
fn refuse_beside_ring(path: &Path) -> Result<(), String> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let numbered = name.rsplitn(4, '.').collect::<Vec<_>>();
    let [_, "incr" | "base", _, stem] = numbered[..] else { return Ok(()) };
    let path = std::path::absolute(path).map_err(|e| unreadable(path, &e))?;
    let manifest = path.with_file_name(with_suffix(stem.as_ref(), ".manifest"));
    let left = options(&manifest, None).rings_left();
    if left.map_err(|(ring, e)| unreadable(&ring, &e))?.is_empty() {
        return Ok(());
    }
    Err(format!(
        "A server that runs, or has crashed, has left a ring with what this file may lack. Run \
         this on {} instead.",
        manifest.display()
    ))
}

/// The number of the last file that is not empty: a crash can have torn it also if an empty one
/// was begun behind it.
fn last_with_content(dir: &Path, entries: &[&Entry]) -> Result<usize, String> {
    let mut last = 0;
    for (nth, entry) in entries.iter().enumerate() {
        let path = Manifest::path(dir, entry);
        if RealFiles.metadata(&path).map_err(|e| cannot_open(&path, &e))?.len > 0 {
            last = nth;
        }
    }
    Ok(last)
}

fn begins_in_rdb(path: &Path) -> Result<bool, String> {
    let file = RealFiles.open(path, Open::Read).map_err(|e| cannot_open(path, &e))?;
    begins_in_rdb_format(&*file).map_err(|e| unreadable(path, &e))
}

fn cannot_open(path: &Path, e: &io::Error) -> String {
    format!("Cannot open file {}: {}, aborting...", path.display(), reason(e))
}

fn unreadable(path: &Path, e: &io::Error) -> String {
    format!("Failed to read from {}: {}, aborting...", path.display(), reason(e))
}

/// One file to check.
struct Part<'a> {
    path: &'a Path,
    name: &'a str,
    is_last: bool,
    request: &'a Request,
    /// Rings to be set aside when the file is cut.
    rings: &'a [PathBuf],
    options: Option<&'a Options>,
}

impl Part<'_> {
    fn check(&mut self, output: &mut Output) -> Result<Verdict, String> {
        let (path, name) = (self.path, self.name);
        let file = RealFiles.open(path, Open::Read).map_err(|e| cannot_open(path, &e))?;
        let file: Arc<dyn FileHandle> = file.into();
        let len = file.len().map_err(|e| unreadable(path, &e))?;
        if len == 0 {
            return Ok(Verdict::Empty);
        }
        let mut from = 0;
        if begins_in_rdb_format(&*file).map_err(|e| unreadable(path, &e))? {
            let end = rdb::check_part(file.clone(), len, name, output);
            from = end.ok_or("RDB preamble of AOF file is not sane, aborting.")?;
            output.line("RDB preamble is OK, proceeding with AOF tail...");
        }
        let mut scan = Scan::new(file.clone(), from, len);
        let mut contents = Contents::default();
        let end = loop {
            match contents.read_some(&mut scan, self.request.action) {
                Ok(Stop::Slice) => output.progress(scan.offset(), len),
                Ok(Stop::End(end)) => break end,
                Ok(Stop::Time(at)) => return self.cut_to_time(at, output),
                Ok(Stop::BadTime) => return Err("Invalid timestamp annotation".to_string()),
                Err(e) => return Err(unreadable(path, &e)),
            }
        };
        output.clear_bar();
        contents.tell(output);
        tell_end(&end, output);
        let sound_to = scan.sound_to();
        if let (End::Whole, Action::CutTo(time)) = (&end, self.request.action) {
            output.line(&format!("Truncate nothing in AOF {name} to timestamp {time}"));
            return Ok(Verdict::Valid);
        }
        output.line(&format!(
            "AOF analyzed: filename={name}, size={len}, ok_up_to={sound_to}, \
             ok_up_to_line={}, diff={}",
            contents.sound_line,
            len - sound_to
        ));
        match (&end, self.request.action) {
            (End::Whole, _) => Ok(Verdict::Valid),
            (_, Action::Fix) => self.fix(&*file, len, sound_to, &end, output),
            _ => Ok(Verdict::Invalid),
        }
    }

    fn cut_to_time(&mut self, at: u64, output: &mut Output) -> Result<Verdict, String> {
        let Action::CutTo(time) = self.request.action else { return Ok(Verdict::Valid) };
        let name = self.name;
        if at == 0 {
            return Err(format!("AOF {name} has nothing before timestamp {time}, aborting..."));
        }
        if !self.is_last {
            return Err(format!(
                "Failed to truncate AOF {name} to timestamp {time} to offset {at} because it is \
                 not the last file.\nWhat you can do is to take the files behind it out of the \
                 manifest, and to run this again: they hold what came later."
            ));
        }
        self.cut(at, output)?;
        Ok(Verdict::CutTo(time))
    }

    fn fix(
        &mut self,
        file: &dyn FileHandle,
        len: u64,
        sound_to: u64,
        end: &End,
        output: &mut Output,
    ) -> Result<Verdict, String> {
        let name = self.name;
        if !self.is_last {
            return Err(format!("Failed to truncate AOF {name} because it is not the last file"));
        }
        let lost = len - sound_to;
        output.line(&format!(
            "This will shrink the AOF {name} from {len} bytes, with {lost} bytes, to {sound_to} \
             bytes"
        ));
        if !output.confirm() {
            return Err("Aborting...".to_string());
        }
        if matches!(end, End::Damaged { .. }) {
            let kept = with_suffix(self.path.as_os_str(), &format!(".cut-at-{sound_to}"));
            let kept = PathBuf::from(kept);
            keep(file, sound_to, &kept)
                .map_err(|e| format!("Cannot keep a copy as {}: {}", kept.display(), reason(&e)))?;
            output.line(&format!("What is cut off is kept as {}", kept.display()));
        }
        self.cut(sound_to, output)?;
        Ok(Verdict::Fixed)
    }

    fn cut(&mut self, at: u64, output: &mut Output) -> Result<(), String> {
        let failed = |e: io::Error| format!("Failed to truncate AOF {}: {}", self.name, reason(&e));
        for ring in self.rings {
            if let Some(options) = self.options {
                options.set_ring_aside(ring).map_err(failed)?;
            }
        }
        let file = RealFiles.open(self.path, Open::Write).map_err(failed)?;
        file.set_len(at).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        output.clear_bar();
        Ok(())
    }
}

/// Copies what is in a file from a place on, durably.
fn keep(file: &dyn FileHandle, from: u64, to: &Path) -> io::Result<()> {
    let copy = RealFiles.open(to, Open::Truncate)?;
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        let n = file.read_full_at(&mut piece, from + at)?;
        if n == 0 {
            break;
        }
        copy.write_all_at(&piece[..n], at)?;
        at += n as u64;
    }
    copy.sync_all()?;
    RealFiles.sync_dir(to.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new(".")))
}

fn tell_end(end: &End, output: &mut Output) {
    let (Fault { offset, what }, goes_on_at) = match end {
        End::Whole => return,
        End::Torn(fault) => (fault, None),
        End::Damaged { fault, goes_on_at } => (fault, *goes_on_at),
    };
    output.line(&format!("[offset {offset}] {what}"));
    match (end, goes_on_at) {
        (End::Torn(_), _) => output.line(
            "[info] A crash leaves that: a start with 'aof-load-truncated yes' cuts it off, too",
        ),
        (_, Some(at)) => output.line(&format!(
            "[info] No crash leaves that. Behind it, whole commands go on at offset {at}"
        )),
        (_, None) => output.line("[info] No crash leaves that: no server loads it as it is"),
    }
}

/// Why reading was interrupted.
enum Stop {
    /// To show how far it has come.
    Slice,
    /// To cut here, as what follows is of a later time.
    Time(u64),
    BadTime,
    End(End),
}

/// What was found.
#[derive(Default)]
struct Contents {
    commands: u64,
    transactions: u64,
    /// How often each command was found, by its name in capitals.
    names: HashMap<Vec<u8>, u64>,
    /// Which were selected.
    databases: BTreeSet<u64>,
    /// The times that are noted, the first and the last.
    times: Option<(i64, i64)>,
    annotations: u64,
    /// Lines as Redis counts them: a command's, but not an annotation's, from 1.
    line: u64,
    /// The line where the last whole command ended, or the last whole transaction.
    sound_line: u64,
}

impl Contents {
    /// Reads a slice.
    fn read_some(&mut self, scan: &mut Scan, action: Action) -> io::Result<Stop> {
        for _ in 0..1024 {
            let at = scan.sound_to();
            let mut ends_unit = false;
            match scan.next_found()? {
                Found::End(end) => {
                    if self.line == 0 {
                        (self.line, self.sound_line) = (1, 1);
                    }
                    return Ok(Stop::End(end));
                }
                Found::Annotation(line) => {
                    self.annotations += 1;
                    let Some(time) = line.strip_prefix(b"#TS:") else { continue };
                    match (timestamp(time), action) {
                        (Some(time), Action::CutTo(limit)) if time > limit => {
                            return Ok(Stop::Time(at));
                        }
                        (Some(time), _) => {
                            self.times = Some((self.times.map_or(time, |(first, _)| first), time));
                        }
                        (None, Action::CutTo(_)) => return Ok(Stop::BadTime),
                        (None, _) => {}
                    }
                }
                Found::Command(args) => {
                    self.line = self.line.max(1) + 1 + 2 * args.len() as u64;
                    self.note(args);
                    ends_unit = args.get(0).eq_ignore_ascii_case(b"exec");
                }
            }
            self.transactions += u64::from(ends_unit);
            if !scan.is_in_transaction() {
                self.sound_line = self.line.max(1);
            }
        }
        Ok(Stop::Slice)
    }

    fn note(&mut self, args: Args<'_>) {
        self.commands += 1;
        let name = args.get(0);
        if name.eq_ignore_ascii_case(b"select")
            && args.len() == 2
            && self.databases.len() < NAMES_COUNTED
            && let Some(db) = std::str::from_utf8(args.get(1)).ok().and_then(|n| n.parse().ok())
        {
            self.databases.insert(db);
        }
        let name = name[..name.len().min(64)].to_ascii_uppercase();
        if self.names.len() < NAMES_COUNTED || self.names.contains_key(&name) {
            *self.names.entry(name).or_default() += 1;
        }
    }

    fn tell(&self, output: &mut Output) {
        let mut names: Vec<(&Vec<u8>, &u64)> = self.names.iter().collect();
        names.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
        let told = names.iter().take(NAMES_TOLD);
        let told: Vec<String> =
            told.map(|(name, count)| format!("{} {count}", name.escape_ascii())).collect();
        let others = if names.len() > NAMES_TOLD { ", and others" } else { "" };
        let (commands, s) = (self.commands, plural(self.commands));
        if commands > 0 {
            let told = told.join(", ");
            output.line(&format!("[info] {commands} command{s}: {told}{others}"));
        }
        if !self.databases.is_empty() {
            let databases: Vec<String> = self.databases.iter().map(u64::to_string).collect();
            output.line(&format!("[info] databases selected: {}", databases.join(", ")));
        }
        if self.transactions > 0 {
            let (count, s) = (self.transactions, plural(self.transactions));
            output.line(&format!("[info] {count} transaction{s}"));
        }
        if let Some((first, last)) = self.times {
            output.line(&format!("[info] timestamps from {first} to {last}"));
        }
        if self.annotations > 0 {
            let (count, s) = (self.annotations, plural(self.annotations));
            output.line(&format!("[info] {count} annotation{s}"));
        }
    }
}

/// The seconds since 1970 of an annotation: digits up to the end of the line.
fn timestamp(text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
