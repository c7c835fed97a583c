//! Loading: finds the AOF's files, repairs what a crash may leave, and hands out the commands in
//! them, a slice of work at a time, so that the server can answer clients in between.
//!
//! What a crash may leave, and nothing else, is repaired: bytes in the ring that had not reached
//! the file (replayed before anything is read), and at the end of the last file a command that is
//! not whole, a transaction without its EXEC, or zeros that a file system had promised to fill.
//! Anything else is refused, with its place: to guess would be to lose data silently. Must not
//! know what commands mean, but for MULTI and EXEC.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use log::{info, warn};

use super::cut::{self, Batch, Cutter, Stop};
use super::manifest::{Kind, Manifest, ReadError};
use super::tail::{next_if_one_digit_is_wrong, only_zeros_from};
use super::{Options, recover};
use crate::persist::ahead::{Ahead, Next, is_worth_a_thread};
use crate::persist::files::{FileHandle, FileReader, Files, Open, reason};
use crate::persist::rdb;
use crate::resp::Args;
use crate::store::Keyspace;

/// Files are looked through in pieces of this size. Bytes.
const READ_SIZE: usize = 1 << 20;
/// Commands handed out together: as many as there are keys worth fetching at once.
pub const GROUP: usize = 32;
/// What a file in RDB format begins with, or one whose first part is.
pub const RDB_MAGICS: [&[u8]; 2] = [b"REDIS", b"VALKEY"];

/// Why the AOF cannot be loaded: lines to log, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    pub lines: Vec<String>,
}

impl LoadError {
    fn new(line: String) -> LoadError {
        LoadError { lines: vec![line] }
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for LoadError {}

/// How far loading has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of all files.
    pub total: u64,
    pub loaded: u64,
    /// From a part in RDB format.
    pub keys: u64,
    pub commands: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    More,
    Done,
}

/// Runs commands.
pub trait Run {
    /// Runs some commands, one after the other.
    ///
    /// # Errors
    /// The number of the command that cannot be run, and why.
    fn run(&mut self, keys: &mut Keyspace, commands: &[Args<'_>]) -> Result<(), (usize, String)>;
}

/// Who runs a single one.
struct Each<F>(F);

impl<F: FnMut(&mut Keyspace, Args<'_>) -> Result<(), String>> Run for Each<F> {
    fn run(&mut self, keys: &mut Keyspace, commands: &[Args<'_>]) -> Result<(), (usize, String)> {
        commands
            .iter()
            .enumerate()
            .try_for_each(|(nth, args)| (self.0)(keys, *args).map_err(|why| (nth, why)))
    }
}

/// An AOF being loaded.
pub struct Loader {
    options: Options,
    manifest: Manifest,
    /// The files still to come, last first.
    to_come: Vec<Source>,
    current: Option<Current>,
    progress: Progress,
    /// Whether a torn tail may be cut: not while the server appends to the file.
    may_repair: bool,
}

/// What came of looking for more in a file.
enum Part {
    Some,
    /// It is not there yet.
    Later,
    /// There is no more.
    End,
}

struct Source {
    name: String,
    path: PathBuf,
    kind: Kind,
    /// Nothing follows, but for empty files: the log thread syncs a file before it writes to the
    /// next, so a loss of power can have torn this one all the same.
    is_last: bool,
}

struct Current {
    source: Source,
    file: Arc<dyn FileHandle>,
    len: u64,
    /// What is left of a first part in RDB format.
    rdb: Option<Box<rdb::AheadLoader<FileReader>>>,
    began: Instant,
    /// What cuts commands, from the first of them on.
    batches: Option<Ahead<Batch>>,
    /// Those that were cut, and how many of them were run.
    batch: Option<Batch>,
    run: usize,
    /// Where in the file the next command is.
    offset: u64,
    /// Where the MULTI of an open transaction begins.
    multi_at: Option<u64>,
}

impl Loader {
    /// Finds what there is to load; replays the ring of a crashed run into the files first, and
    /// moves the single file of an older version into the AOF directory, as Redis 7 does. If there
    /// is nothing, the loader is empty.
    pub fn open(options: &Options) -> Result<Loader, LoadError> {
        let mut manifest = read_manifest(options)?;
        adopt_old_file(options, &mut manifest)?;
        adopt_rdb_file(options, &mut manifest)?;
        if !manifest.is_empty() {
            recover::all(options, &manifest).map_err(|(ring, e)| {
                let ring = ring.display();
                let why = reason(&e);
                LoadError::new(format!("Can't replay the AOF ring {ring}: {why}"))
            })?;
        }
        Loader::over(options, manifest, true)
    }

    /// Loads again the files of an AOF that is being appended to (`Aof::manifest`), after
    /// `Aof::flush_all_now`. Changes no file.
    pub fn reopen(options: &Options, manifest: &Manifest) -> Result<Loader, LoadError> {
        Loader::over(options, manifest.clone(), false)
    }

    fn over(options: &Options, manifest: Manifest, may_repair: bool) -> Result<Loader, LoadError> {
        let dir = options.aof_dir();
        let mut to_come = Vec::new();
        let (mut total, mut last) = (0, 0);
        for entry in manifest.to_load() {
            let path = Manifest::path(&dir, entry);
            let name = entry.name.to_string_lossy().into_owned();
            // All are looked for before any is loaded: a missing one is better known early.
            let len = match options.files.metadata(&path) {
                Ok(metadata) => metadata.len,
                Err(e) => {
                    let why = reason(&e);
                    return Err(LoadError::new(format!(
                        "Unable to obtain the AOF file {name} length. stat: {why}"
                    )));
                }
            };
            total += len;
            if len > 0 {
                last = to_come.len();
            }
            to_come.push(Source { name, path, kind: entry.kind, is_last: false });
        }
        to_come.iter_mut().skip(last).for_each(|source| source.is_last = true);
        to_come.reverse();
        Ok(Loader {
            options: options.clone(),
            manifest,
            to_come,
            current: None,
            progress: Progress { total, ..Progress::default() },
            may_repair,
        })
    }

    /// There are no files, or nothing in them.
    pub fn is_empty(&self) -> bool {
        self.progress.total == 0
    }

    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Runs the commands in about the next `max_bytes` bytes, or puts what is in RDB format into
    /// the keyspace. An error of `run` ends loading; it
    /// is reported as `<error> reading the append only file <name>`.
    ///
    /// The commands of a transaction are handed out as they stand between MULTI and EXEC; whoever
    /// runs them queues them until EXEC, and drops the queue if `Done` comes before.
    pub fn step(
        &mut self,
        max_bytes: u64,
        keys: &mut Keyspace,
        run: &mut dyn FnMut(&mut Keyspace, Args<'_>) -> Result<(), String>,
    ) -> Result<Step, LoadError> {
        self.step_in_groups(max_bytes, keys, &mut Each(run))
    }

    /// The same for who runs several commands at once.
    pub fn step_in_groups(
        &mut self,
        max_bytes: u64,
        keys: &mut Keyspace,
        run: &mut dyn Run,
    ) -> Result<Step, LoadError> {
        let goal = self.progress.loaded.saturating_add(max_bytes.max(1));
        while self.progress.loaded < goal {
            let mut current = match self.current.take() {
                Some(current) => current,
                None => match self.to_come.pop() {
                    Some(source) => self.begin(source)?,
                    None => return Ok(Step::Done),
                },
            };
            match self.next(&mut current, goal, keys, run)? {
                Part::End => report_loaded(&current),
                Part::Some => self.current = Some(current),
                Part::Later => {
                    self.current = Some(current);
                    break;
                }
            }
        }
        Ok(Step::More)
    }

    /// When all is loaded: what `Aof::start` goes on with.
    pub fn finish(self) -> Manifest {
        self.manifest
    }

    fn begin(&mut self, source: Source) -> Result<Current, LoadError> {
        let mut current = Current::open(&*self.options.files, source).map_err(|(name, e)| {
            let why = reason(&e);
            LoadError::new(format!(
                "Fatal error: can't open the append log file {name} for reading: {why}"
            ))
        })?;
        self.begin_rdb(&mut current)?;
        Ok(current)
    }

    /// If the file begins in RDB format, that part is loaded first.
    fn begin_rdb(&self, current: &mut Current) -> Result<(), LoadError> {
        let mut head = [0; 6];
        let n = current.file.read_full_at(&mut head, 0).map_err(|e| unreadable(current, &e))?;
        if RDB_MAGICS.iter().any(|magic| head[..n].starts_with(magic)) {
            let source = FileReader::new(current.file.clone());
            let loader = rdb::AheadLoader::new(source, self.options.rdb, current.len);
            current.rdb = Some(Box::new(loader.map_err(|e| bad_base(current, &e))?));
        }
        Ok(())
    }

    /// Loads some entries of the part in RDB format; at its end, goes on behind it.
    fn next_entries(
        &mut self,
        current: &mut Current,
        keys: &mut Keyspace,
    ) -> Result<Part, LoadError> {
        let Some(mut loader) = current.rdb.take() else { return Ok(Part::Some) };
        let before = loader.loaded().keys;
        let more = loader.step(keys).map_err(|e| bad_base(current, &e))?;
        self.progress.keys += loader.loaded().keys - before;
        let loaded = loader.offset() - current.offset;
        self.progress.loaded += loaded;
        current.offset = loader.offset();
        if more {
            current.rdb = Some(loader);
        } else {
            let loaded = loader.loaded();
            info!("{} keys loaded from {}", loaded.keys, current.source.name);
        }
        Ok(if more && loaded == 0 { Part::Later } else { Part::Some })
    }

    /// Takes some commands, no more than to come to the goal.
    fn next(
        &mut self,
        current: &mut Current,
        goal: u64,
        keys: &mut Keyspace,
        run: &mut dyn Run,
    ) -> Result<Part, LoadError> {
        if current.rdb.is_some() {
            return self.next_entries(current, keys);
        }
        let Some(batch) = current.next_batch()? else { return Ok(Part::Later) };
        if current.run < batch.len() {
            let result = self.run_some(current, &batch, goal, keys, run);
            current.batch = Some(batch);
            return result.map(|()| Part::Some);
        }
        self.progress.loaded += batch.end - current.offset;
        current.offset = batch.end;
        match batch.stop {
            Stop::Full => {
                if let Some(batches) = &mut current.batches {
                    batches.give_back(batch);
                }
                return Ok(Part::Some);
            }
            Stop::EndOfFile => self.at_end(current)?,
            Stop::Bad(at) => self.at_bad_byte(current, at)?,
            Stop::Unreadable(e) => return Err(unreadable(current, &e)),
        }
        Ok(Part::End)
    }

    /// Runs the next commands of a batch.
    fn run_some(
        &mut self,
        current: &mut Current,
        batch: &Batch,
        goal: u64,
        keys: &mut Keyspace,
        run: &mut dyn Run,
    ) -> Result<(), LoadError> {
        let first = current.run;
        let until = goal.saturating_sub(self.progress.loaded).saturating_add(current.offset);
        let most = batch.len().min(first + GROUP);
        let group = (first..most).take_while(|&nth| nth == first || batch.offset(nth) < until);
        let group: Vec<Args<'_>> = group.map(|nth| batch.args(nth)).collect();
        run.run(keys, &group).map_err(|(nth, e)| {
            LoadError::new(format!(
                "{e} reading the append only file {} (at offset {})",
                current.source.name,
                batch.offset(first + nth)
            ))
        })?;
        for (nth, args) in group.iter().enumerate() {
            let name = args.get(0);
            if name.eq_ignore_ascii_case(b"multi") {
                current.multi_at.get_or_insert(batch.offset(first + nth));
            } else if name.eq_ignore_ascii_case(b"exec") {
                current.multi_at = None;
            }
        }
        current.run += group.len();
        self.progress.commands += group.len() as u64;
        let offset = batch.offset(current.run);
        self.progress.loaded += offset - current.offset;
        current.offset = offset;
        Ok(())
    }

    /// The file ends here, or in the middle of a command.
    fn at_end(&mut self, current: &Current) -> Result<(), LoadError> {
        if current.offset == current.len {
            if current.multi_at.is_none() {
                return Ok(());
            }
            let name = &current.source.name;
            warn!("Revert incomplete MULTI/EXEC transaction in AOF file {name}");
        } else if let Some(at) =
            next_if_one_digit_is_wrong(&*current.file, current.offset, current.len)
                .map_err(|e| unreadable(current, &e))?
        {
            return Err(bad_format(
                &self.options,
                current,
                &format!(
                    "the command at offset {} claims to reach beyond the end of the file, but \
                     another one follows at offset {at}",
                    current.offset
                ),
            ));
        }
        self.cut(current)
    }

    /// The byte at this place, in the next command, cannot stand there. If nothing but zeros
    /// follows, power was lost after the file had been lengthened and before it had been filled.
    fn at_bad_byte(&mut self, current: &Current, at: u64) -> Result<(), LoadError> {
        let torn = current.source.is_last
            && only_zeros_from(&*current.file, at, current.len)
                .map_err(|e| unreadable(current, &e))?;
        if torn {
            return self.cut(current);
        }
        let what =
            format!("unexpected byte at offset {at}, in the command at offset {}", current.offset);
        Err(bad_format(&self.options, current, &what))
    }

    /// Cuts the file where its last whole command ends, or its last whole transaction.
    fn cut(&mut self, current: &Current) -> Result<(), LoadError> {
        let name = &current.source.name;
        let at = current.multi_at.unwrap_or(current.offset);
        if !current.source.is_last {
            return Err(LoadError {
                lines: vec![
                    format!(
                        "Unexpected end of file reading the append only file {name}, \
                         at offset {at}."
                    ),
                    "Fatal error: the truncated file is not the last file".to_string(),
                ],
            });
        }
        if !self.options.load_truncated || !self.may_repair {
            let manifest = self.options.manifest_path();
            return Err(LoadError::new(format!(
                "Unexpected end of file reading the append only file {name}: its last whole \
                 command ends at offset {at}. Make a backup, then either run redis-check-aof --fix \
                 {}, or start with 'aof-load-truncated yes', which cuts the file there.",
                manifest.display()
            )));
        }
        warn!("!!! Warning: short read while loading the AOF file {name}!!!");
        warn!(
            "!!! Truncating the AOF {name} at offset {at} !!! ({} bytes are cut off)",
            current.len - at
        );
        let cut = || {
            let file = self.options.files.open(&current.source.path, Open::Write)?;
            file.set_len(at)?;
            file.sync_all()
        };
        cut().map_err(|e| {
            LoadError::new(format!("Error truncating the AOF file {name}: {}", reason(&e)))
        })?;
        warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
        self.progress.loaded = self.progress.total;
        Ok(())
    }
}

impl Current {
    fn open(files: &dyn Files, source: Source) -> Result<Current, (String, io::Error)> {
        let open = || {
            let file = files.open(&source.path, Open::Read)?;
            let len = file.len()?;
            Ok((Arc::from(file), len))
        };
        let (file, len) = open().map_err(|e| (source.name.clone(), e))?;
        Ok(Current {
            source,
            file,
            len,
            rdb: None,
            began: Instant::now(),
            batches: None,
            batch: None,
            run: 0,
            offset: 0,
            multi_at: None,
        })
    }

    /// The commands being run, or the next ones; none if they are not there yet.
    fn next_batch(&mut self) -> Result<Option<Batch>, LoadError> {
        if let Some(batch) = self.batch.take() {
            return Ok(Some(batch));
        }
        let batches = match &mut self.batches {
            Some(batches) => batches,
            none => none.insert(begin_to_cut(&self.file, self.offset, self.len).map_err(|e| {
                unreadable_as(&self.source.name, &format!("no thread can be started: {e}"))
            })?),
        };
        match batches.next() {
            Next::Later => Ok(None),
            Next::Gone => Err(unreadable_as(&self.source.name, "its thread has panicked")),
            Next::Piece(batch) => {
                self.run = 0;
                Ok(Some(batch))
            }
        }
    }
}

fn begin_to_cut(file: &Arc<dyn FileHandle>, at: u64, len: u64) -> io::Result<Ahead<Batch>> {
    let mut cutter = Cutter::new(file.clone(), at, len);
    let in_thread = is_worth_a_thread(len - at, cut::PIECE as u64);
    Ahead::new(in_thread, move |batch: &mut Batch| cutter.fill(batch))
}

fn read_manifest(options: &Options) -> Result<Manifest, LoadError> {
    let path = options.manifest_path();
    match Manifest::read(&*options.files, &path) {
        Ok(manifest) => Ok(manifest.unwrap_or_default()),
        Err(ReadError::Io(e)) => Err(LoadError::new(format!(
            "Fatal error: can't open the AOF manifest file {} for reading: {}",
            path.display(),
            reason(&e)
        ))),
        Err(ReadError::Parse(e)) => Err(LoadError { lines: e.lines() }),
    }
}

/// Takes over `<dir>/<appendfilename>`, the one file of Redis before 7: in a first start, or when
/// a first start did not get further than the manifest.
fn adopt_old_file(options: &Options, manifest: &mut Manifest) -> Result<(), LoadError> {
    let files = &*options.files;
    let old = options.dir.join(&options.filename);
    let new = options.aof_dir().join(&options.filename);
    if !files.metadata(&old).is_ok_and(|m| !m.is_dir) {
        return Ok(());
    }
    let interrupted = manifest.incrs.is_empty()
        && manifest.base.as_ref().is_some_and(|base| base.name == options.filename)
        && files.metadata(&new).is_err();
    if !manifest.is_empty() && !interrupted {
        return Ok(());
    }
    options.make_dir().map_err(LoadError::new)?;
    manifest.adopt_base(&options.filename);
    // The manifest first: if the move is then missing, the next start sees what was meant.
    let adopt = || {
        manifest.write(files, &options.aof_dir(), &options.filename)?;
        files.rename(&old, &new)?;
        files.sync_dir(&options.aof_dir())?;
        files.sync_dir(&options.dir)
    };
    let name = options.filename.to_string_lossy();
    let dir = options.dirname.to_string_lossy();
    adopt().map_err(|e| {
        let why = reason(&e);
        LoadError::new(format!(
            "Error trying to move the old AOF file {name} into dir {dir}: {why}"
        ))
    })?;
    info!("Successfully migrated an old-style AOF file ({name}) into the AOF directory ({dir}).");
    Ok(())
}

/// Makes a copy of the RDB file of a server that had no AOF the base of a new one: nothing is lost
/// by turning it on. The manifest comes last: until then there is no AOF.
fn adopt_rdb_file(options: &Options, manifest: &mut Manifest) -> Result<(), LoadError> {
    let Some(from) = options.first_base.as_ref().filter(|_| manifest.is_empty()) else {
        return Ok(());
    };
    let files = &*options.files;
    let source = match files.open(from, Open::Read) {
        Ok(source) => source,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(not_adopted(from, &e)),
    };
    options.make_dir().map_err(LoadError::new)?;
    let base = Manifest::path(&options.aof_dir(), manifest.add_base(&options.filename, "rdb"));
    let adopt = || {
        let target = files.open(&base, Open::Truncate)?;
        let mut piece = vec![0; READ_SIZE];
        let mut at = 0;
        loop {
            let n = source.read_full_at(&mut piece, at)?;
            if n == 0 {
                break;
            }
            target.write_all_at(&piece[..n], at)?;
            at += n as u64;
        }
        target.sync_all()?;
        manifest.write(files, &options.aof_dir(), &options.filename)
    };
    adopt().map_err(|e| not_adopted(from, &e))?;
    info!("{} is the base of a new append-only file", from.display());
    Ok(())
}

fn not_adopted(from: &Path, e: &io::Error) -> LoadError {
    let why = reason(e);
    LoadError::new(format!("Can't make {} the base of the AOF: {why}", from.display()))
}

fn bad_base(current: &Current, e: &rdb::Error) -> LoadError {
    let name = &current.source.name;
    LoadError::new(format!("Error reading the RDB base file {name}, AOF loading aborted: {e}"))
}

fn report_loaded(current: &Current) {
    let kind = if current.source.kind == Kind::Base { "base" } else { "incr" };
    let seconds = current.began.elapsed().as_secs_f64();
    info!("DB loaded from {kind} file {}: {seconds:.3} seconds", current.source.name);
}

fn unreadable(current: &Current, e: &io::Error) -> LoadError {
    unreadable_as(&current.source.name, &reason(e))
}

fn unreadable_as(name: &str, why: &str) -> LoadError {
    LoadError::new(format!("Unrecoverable error reading the append only file {name}: {why}"))
}

fn bad_format(options: &Options, current: &Current, what: &str) -> LoadError {
    LoadError::new(format!(
        "Bad file format reading the append only file {}: {what}. Make a backup of the AOF, then \
         look at the damage with redis-check-aof {}",
        current.source.name,
        options.manifest_path().display()
    ))
}
