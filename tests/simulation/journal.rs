//! What was done to a disk, and what of it is there after a cut: what a kill leaves, and what a
//! loss of power may leave. The rules of the latter:
//!
//! - What an fsync of a file has covered is there. Of what was written to it since, anything up to
//!   some byte, and behind that nothing, or zeros up to some length. Files are independent.
//!   What went past the page cache is there all the same, or a beginning of that.
//! - Of a mapped file's stores each sector has what it held at any moment since it was synced.
//! - Of the names made, moved and removed since their directory was synced, any may be so and any
//!   not; a rename is so in both places.
//! - After a failed fsync nothing that it should have covered becomes durable any more, unless it
//!   is written again.

use goredis::base::rng::Rng;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SECTOR: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Dir,
    /// A number of [`Image::files`].
    File(usize),
}

/// What is on a disk.
#[derive(Clone, Default)]
pub struct Image {
    pub names: BTreeMap<PathBuf, Node>,
    pub files: Vec<Arc<Vec<u8>>>,
}

#[derive(Clone)]
pub enum Event {
    Create {
        path: PathBuf,
        file: usize,
    },
    Write {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
        is_past_cache: bool,
    },
    /// Into a mapping; a whole one is of one word, and cannot be torn.
    Store {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
        is_whole: bool,
    },
    SetLen {
        file: usize,
        len: usize,
    },
    Sync {
        file: usize,
    },
    SyncRange {
        file: usize,
        at: usize,
        len: usize,
    },
    SyncFailed {
        file: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        file: usize,
    },
    Remove {
        path: PathBuf,
    },
    MakeDir {
        path: PathBuf,
    },
    SyncDir {
        path: PathBuf,
    },
    Mark(Mark),
}

/// What the server has promised by then. Numbers count the commands executed since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Executed(usize),
    /// The reply was sent.
    Acknowledged(usize),
    /// A loss of power must not take it.
    Durable(usize),
    /// The RDB file has at least these.
    Saved(usize),
    /// An append-only file that is off may be rewritten with these, and then counts more than the
    /// RDB file.
    Rewritten(usize),
    /// For the reader of a journal.
    Note(&'static str),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Create { path, file } => write!(f, "create {} as {file}", path.display()),
            Event::Write { file, at, bytes, is_past_cache } => {
                let how = if *is_past_cache { " past the cache" } else { "" };
                write!(f, "write {file}{how} at {at}: {} bytes {}", bytes.len(), shown(bytes))
            }
            Event::Store { file, at, bytes, .. } => {
                write!(f, "store {file} at {at}: {} bytes {}", bytes.len(), shown(bytes))
            }
            Event::SetLen { file, len } => write!(f, "set length of {file} to {len}"),
            Event::Sync { file } => write!(f, "fsync {file}"),
            Event::SyncRange { file, at, len } => write!(f, "msync {file} at {at}: {len} bytes"),
            Event::SyncFailed { file } => write!(f, "fsync {file} fails"),
            Event::Rename { from, to, .. } => {
                write!(f, "rename {} to {}", from.display(), to.display())
            }
            Event::Remove { path } => write!(f, "remove {}", path.display()),
            Event::MakeDir { path } => write!(f, "make {}", path.display()),
            Event::SyncDir { path } => write!(f, "fsync {}", path.display()),
            Event::Mark(mark) => write!(f, "    {mark:?}"),
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    match bytes.iter().all(|b| *b == 0) {
        true => "of zeros".to_string(),
        false => bytes[..bytes.len().min(60)].escape_ascii().to_string(),
    }
}

fn put(to: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if to.len() < at + bytes.len() {
        to.resize(at + bytes.len(), 0);
    }
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Image {
    pub fn empty(dirs: &[&str]) -> Image {
        let names = dirs.iter().map(|dir| (PathBuf::from(dir), Node::Dir)).collect();
        Image { names, files: Vec::new() }
    }

    /// Puts a file there.
    pub fn put(&mut self, path: &str, content: &[u8]) {
        self.names.insert(path.into(), Node::File(self.files.len()));
        self.files.push(Arc::new(content.to_vec()));
    }

    fn file(&mut self, file: usize) -> &mut Vec<u8> {
        if self.files.len() <= file {
            self.files.resize(file + 1, Arc::default());
        }
        Arc::make_mut(&mut self.files[file])
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Write { file, .. } | Event::Store { file, .. } | Event::SetLen { file, .. } => {
                apply_to(self.file(*file), event);
            }
            Event::Create { path, file } => {
                self.file(*file);
                self.names.insert(path.clone(), Node::File(*file));
            }
            Event::Rename { from, to, file } => {
                // A name that came to be another file's meanwhile stays.
                if self.names.get(from) == Some(&Node::File(*file)) {
                    self.names.remove(from);
                }
                self.file(*file);
                self.names.insert(to.clone(), Node::File(*file));
            }
            Event::Remove { path } => _ = self.names.remove(path),
            Event::MakeDir { path } => _ = self.names.insert(path.clone(), Node::Dir),
            _ => {}
        }
    }

    /// Forgets files without a name; the numbers of the others stay.
    pub fn forget_unnamed(&mut self) {
        let named: Vec<usize> = self
            .names
            .values()
            .filter_map(|node| if let Node::File(file) = node { Some(*file) } else { None })
            .collect();
        for (number, file) in self.files.iter_mut().enumerate() {
            if !named.contains(&number) {
                *file = Arc::default();
            }
        }
    }

    /// Takes away all that is in a directory.
    fn empty_dir(&mut self, dir: &Path) {
        self.names.retain(|path, _| path.parent() != Some(dir));
    }

    fn drop_orphans(&mut self) {
        let dirs: Vec<PathBuf> = self
            .names
            .iter()
            .filter(|(_, node)| **node == Node::Dir)
            .map(|(path, _)| path.clone())
            .collect();
        self.names.retain(|path, node| {
            *node == Node::Dir || path.parent().is_some_and(|dir| dirs.iter().any(|d| d == dir))
        });
    }
}

/// A change of a file's content.
fn apply_to(content: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write { at, bytes, .. } | Event::Store { at, bytes, .. } => put(content, *at, bytes),
        Event::SetLen { len, .. } => content.resize(*len, 0),
        _ => {}
    }
}

/// Choices that can be repeated, and made simpler: 0 is always what a sound disk would have done.
pub struct Choices {
    rng: Rng,
    given: Option<Vec<u64>>,
    pub made: Vec<u64>,
}

impl Choices {
    pub fn random(seed: u64) -> Choices {
        Choices { rng: Rng::from_seed(seed), given: None, made: Vec::new() }
    }

    pub fn given(choices: Vec<u64>) -> Choices {
        Choices { rng: Rng::from_seed(0), given: Some(choices), made: Vec::new() }
    }

    pub fn pick(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        let value = match &self.given {
            Some(given) => given.get(self.made.len()).map_or(0, |value| value % bound),
            None => self.rng.below(bound),
        };
        self.made.push(value);
        value as usize
    }
}

/// The changes of one file that no fsync has covered.
#[derive(Clone, Default)]
struct Pending<'a> {
    changes: Vec<&'a Event>,
    /// So many of the first an fsync has failed for.
    doomed: usize,
    /// Bytes that were synced after so many of the changes.
    synced: Vec<(usize, usize, usize)>,
}

/// A disk's state as a journal is gone through.
#[derive(Clone)]
pub struct Tracker<'a> {
    /// What is there in any case, and what the programs see.
    durable: Image,
    cached: Image,
    pending: BTreeMap<usize, Pending<'a>>,
    names: Vec<&'a Event>,
    /// What was a directory in memory only.
    volatile: &'static str,
}

impl<'a> Tracker<'a> {
    pub fn new(base: &Image, volatile: &'static str) -> Tracker<'a> {
        let (durable, cached) = (base.clone(), base.clone());
        Tracker { durable, cached, pending: BTreeMap::new(), names: Vec::new(), volatile }
    }

    pub fn advance(&mut self, event: &'a Event) {
        self.cached.apply(event);
        match event {
            Event::Write { file, .. } | Event::Store { file, .. } | Event::SetLen { file, .. } => {
                self.pending.entry(*file).or_default().changes.push(event);
            }
            Event::Sync { file } => self.sync(*file),
            Event::SyncFailed { file } => {
                let pending = self.pending.entry(*file).or_default();
                pending.doomed = pending.changes.len();
            }
            Event::SyncRange { file, at, len } => {
                let bytes = self.cached.files[*file][*at..at + len].to_vec();
                put(self.durable.file(*file), *at, &bytes);
                let pending = self.pending.entry(*file).or_default();
                pending.synced.push((*at, *len, pending.changes.len()));
            }
            Event::SyncDir { path } => {
                let names = std::mem::take(&mut self.names);
                for event in names {
                    match touches(event, path) {
                        true => self.durable.apply(event),
                        false => self.names.push(event),
                    }
                }
            }
            Event::Mark(_) => {}
            _ => self.names.push(event),
        }
    }

    fn sync(&mut self, file: usize) {
        let pending = self.pending.remove(&file).unwrap_or_default();
        let content = self.durable.file(file);
        for change in &pending.changes[pending.doomed..] {
            apply_to(content, change);
        }
    }

    /// What is there if the process ends while `next` is being done, and the part of that which
    /// was done.
    pub fn killed(&self, next: Option<&Event>, choices: &mut Choices) -> (Image, Option<Event>) {
        let mut image = self.cached.clone();
        let part = next.and_then(|event| torn(event, choices));
        part.iter().for_each(|part| image.apply(part));
        (image, part)
    }

    /// What may be there if the power goes while `next` is being done.
    pub fn powerless(&self, next: Option<&Event>, choices: &mut Choices) -> Image {
        let mut image = self.durable.clone();
        let part = next.and_then(|event| torn(event, choices));
        let of_part = part.as_ref().and_then(changed_file);
        let mut changed: Vec<usize> = self.pending.keys().copied().chain(of_part).collect();
        changed.dedup();
        changed.sort_unstable();
        changed.dedup();
        for file in changed {
            let mut pending = self.pending.get(&file).cloned().unwrap_or_default();
            if let Some(part) = part.as_ref().filter(|part| changed_file(part) == Some(file)) {
                pending.changes.push(part);
            }
            pending.leave(image.file(file), choices);
        }
        self.leave_names(&mut image, choices);
        image.drop_orphans();
        image.empty_dir(Path::new(self.volatile));
        image
    }

    fn leave_names(&self, image: &mut Image, choices: &mut Choices) {
        if self.names.is_empty() {
            return;
        }
        let count = self.names.len();
        let is_kept: Vec<bool> = match choices.pick(4) {
            0 => vec![true; count],
            1 => vec![false; count],
            2 => {
                let lost = choices.pick(count + 1);
                (0..count).map(|i| i < count - lost).collect()
            }
            _ => (0..count).map(|_| choices.pick(2) == 0).collect(),
        };
        for (i, event) in self.names.iter().enumerate() {
            let is_needed = || match event {
                // What is kept in a directory keeps the directory.
                Event::MakeDir { path } => {
                    (i..count).any(|later| is_kept[later] && touches(self.names[later], path))
                }
                _ => false,
            };
            if is_kept[i] || is_needed() {
                image.apply(event);
            }
        }
    }
}

impl Pending<'_> {
    /// What of the changes is there.
    fn leave(&self, content: &mut Vec<u8>, choices: &mut Choices) {
        let changes = &self.changes;
        let is_past_cache =
            |change: &&&Event| matches!(change, Event::Write { is_past_cache: true, .. });
        let past_cache = changes.iter().filter(is_past_cache).count();
        if past_cache > 0 {
            let lost = choices.pick(past_cache + 1);
            let there = changes.iter().filter(is_past_cache).take(past_cache - lost);
            there.for_each(|change| apply_to(content, change));
        }
        let is_mapped = changes.iter().any(|change| matches!(change, Event::Store { .. }));
        match choices.pick(if is_mapped { 5 } else { 3 }) {
            0 => changes.iter().for_each(|change| apply_to(content, change)),
            1 => {}
            2 if !is_mapped => self.leave_beginning(content, choices),
            _ => self.leave_sectors(content, choices),
        }
    }

    fn leave_beginning(&self, content: &mut Vec<u8>, choices: &mut Choices) {
        let lost = choices.pick(self.changes.len() + 1);
        let kept = self.changes.len() - lost;
        self.changes[..kept].iter().for_each(|change| apply_to(content, change));
        if let Some(part) = self.changes.get(kept).and_then(|next| torn(next, choices)) {
            apply_to(content, &part);
        }
        let mut whole = content.clone();
        self.changes[kept..].iter().for_each(|change| apply_to(&mut whole, change));
        let more = whole.len().saturating_sub(content.len());
        match choices.pick(3) {
            0 => {}
            1 => content.resize(content.len() + more, 0),
            _ => {
                let zeros = choices.pick(more + 1);
                content.resize(content.len() + zeros, 0);
            }
        }
    }

    fn leave_sectors(&self, content: &mut Vec<u8>, choices: &mut Choices) {
        let salt = choices.pick(usize::MAX) as u64;
        let count = self.changes.len();
        // The sector's content is of the moment behind so many changes.
        let moment = |sector: usize| {
            let overlaps = |(at, len, _): &&(usize, usize, usize)| {
                sector * SECTOR < at + len && *at < (sector + 1) * SECTOR
            };
            let floor = self.synced.iter().filter(overlaps).map(|synced| synced.2).max();
            let mut rng = Rng::from_seed(salt ^ sector as u64);
            let at = match rng.below(4) {
                0 => 0,
                1 => count,
                _ => rng.index(count + 1),
            };
            at.max(floor.unwrap_or(0))
        };
        for (i, change) in self.changes.iter().enumerate() {
            let (Event::Write { at, bytes, .. } | Event::Store { at, bytes, .. }) = change else {
                apply_to(content, change);
                continue;
            };
            if content.len() < at + bytes.len() {
                content.resize(at + bytes.len(), 0);
            }
            for sector in at / SECTOR..=(at + bytes.len() - 1) / SECTOR {
                if i < moment(sector) {
                    let from = (sector * SECTOR).max(*at);
                    let to = ((sector + 1) * SECTOR).min(at + bytes.len());
                    content[from..to].copy_from_slice(&bytes[from - at..to - at]);
                }
            }
        }
    }
}

/// The part of a change that was done when it was cut; none of what is done as a whole.
fn torn(event: &Event, choices: &mut Choices) -> Option<Event> {
    let kept = |bytes: &[u8], choices: &mut Choices| {
        let lost = choices.pick(bytes.len() + 1);
        bytes[..bytes.len() - lost].to_vec()
    };
    match event {
        Event::Write { file, at, bytes, is_past_cache } => {
            let (file, at, is_past_cache) = (*file, *at, *is_past_cache);
            let bytes = kept(bytes, choices);
            (!bytes.is_empty()).then_some(Event::Write { file, at, bytes, is_past_cache })
        }
        Event::Store { file, at, bytes, is_whole: false } => {
            let bytes = kept(bytes, choices);
            let is_whole = false;
            (!bytes.is_empty()).then_some(Event::Store { file: *file, at: *at, bytes, is_whole })
        }
        _ => None,
    }
}

fn changed_file(event: &Event) -> Option<usize> {
    match event {
        Event::Write { file, .. } | Event::Store { file, .. } | Event::SetLen { file, .. } => {
            Some(*file)
        }
        _ => None,
    }
}

/// Whether the event changes a name in this directory.
fn touches(event: &Event, dir: &Path) -> bool {
    let is_in = |path: &Path| path.parent() == Some(dir);
    match event {
        Event::Create { path, .. } | Event::Remove { path } | Event::MakeDir { path } => {
            is_in(path)
        }
        Event::Rename { from, to, .. } => is_in(from) || is_in(to),
        _ => false,
    }
}
