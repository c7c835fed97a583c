//! A disk in memory that writes down all that is done to it, and lets other threads than the
//! driver's do so only one operation at a time, when the driver says so: with that a run is
//! repeatable, whatever the scheduler does (save for the moments when the driver itself waits for
//! them).

use super::journal::{Event, Image, Mark, Node};
use goredis::persist::files::{BLOCK, FileHandle, Files, Identity, MapObserver, Metadata, Open};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, ThreadId};

/// The threads that work in the background, by the names the program gives them.
pub const LOG: &str = "aof-log";
pub const INCREMENT: &str = "aof-incr";
pub const SNAPSHOT: &str = "snapshot";

#[derive(Clone)]
pub struct Disk {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    driver: ThreadId,
    /// Threads of this process that are none of the program's, by the system's numbers.
    foreign: Vec<u32>,
}

struct State {
    image: Image,
    journal: Vec<Event>,
    records: bool,
    /// Threads whose operations wait for the driver; None of them if empty.
    is_gated: bool,
    /// Those that may pass all the same.
    free: &'static [&'static str],
    waiting: Vec<Ticket>,
    next_ticket: u64,
}

/// An operation that waits.
struct Ticket {
    number: u64,
    thread: String,
    /// What the driver has decided: do it, or fail with this errno.
    decided: Option<Option<i32>>,
}

impl Disk {
    /// Writes nothing down.
    pub fn silent(image: Image) -> Disk {
        Disk::new(image, false, Vec::new())
    }

    /// Writes all down. Other threads must not work in the background.
    pub fn recording(image: Image) -> Disk {
        Disk::new(image, true, Vec::new())
    }

    /// Writes all down, and has the driver, who calls this, decide what others do and when. Until
    /// it is dropped, this process starts no threads but the program's.
    pub fn driven(image: Image) -> Disk {
        Disk::new(image, true, tasks().into_keys().collect())
    }

    fn new(image: Image, records: bool, foreign: Vec<u32>) -> Disk {
        let state = State {
            image,
            journal: Vec::new(),
            records,
            is_gated: false,
            free: &[],
            waiting: Vec::new(),
            next_ticket: 0,
        };
        let driver = thread::current().id();
        let inner = Inner { state: Mutex::new(state), changed: Condvar::new(), driver, foreign };
        Disk { inner: Arc::new(inner) }
    }

    pub fn mark(&self, mark: Mark) {
        self.inner.state().journal.push(Event::Mark(mark));
    }

    pub fn take_journal(&self) -> Vec<Event> {
        std::mem::take(&mut self.inner.state().journal)
    }

    /// From now on other threads wait for [`Disk::grant`], or no longer.
    pub fn gate(&self, is_gated: bool) {
        self.inner.state().is_gated = is_gated;
        self.inner.changed.notify_all();
    }

    /// Lets these threads pass freely, while the driver waits for them.
    pub fn free(&self, threads: &'static [&'static str]) {
        self.inner.state().free = threads;
        self.inner.changed.notify_all();
    }

    /// The threads that wait, in the order of their names.
    pub fn waiting(&self) -> Vec<String> {
        let state = self.inner.state();
        let mut names: Vec<String> = state
            .waiting
            .iter()
            .filter(|t| t.decided.is_none())
            .map(|t| t.thread.clone())
            .collect();
        names.sort();
        names
    }

    /// Has one operation of a thread that waits done, or failed, and waits until all threads wait
    /// again for one thing or another.
    pub fn grant(&self, thread: &str, errno: Option<i32>) {
        let mut state = self.inner.state();
        let ticket = state.waiting.iter_mut().find(|t| t.thread == thread && t.decided.is_none());
        ticket.expect("it waits").decided = Some(errno);
        drop(state);
        self.inner.changed.notify_all();
        self.settle();
    }

    /// Waits until each thread of the program sleeps: at the gate, or for want of work.
    pub fn settle(&self) {
        let mut before = None;
        loop {
            let mut tasks = tasks();
            tasks.retain(|id, _| !self.inner.foreign.contains(id));
            let asleep = tasks.values().all(|task| task.is_asleep);
            // With the same counts twice, nobody was awake in between.
            if asleep && before.as_ref() == Some(&tasks) {
                return;
            }
            before = asleep.then_some(tasks);
            if !asleep {
                thread::yield_now();
            }
        }
    }
}

#[derive(PartialEq)]
struct Task {
    is_asleep: bool,
    /// How often it went to sleep.
    switches: u64,
}

fn tasks() -> BTreeMap<u32, Task> {
    let own = thread_number();
    let entries = fs::read_dir("/proc/self/task").expect("threads can be listed");
    let tasks = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        if id == own {
            return None;
        }
        // One that has ended is none.
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line[name.len()..].trim().split(' ').next().map(str::to_string)
        };
        let state = field("State:")?;
        if state == "Z" || state == "X" {
            return None;
        }
        let switches = field("voluntary_ctxt_switches:")?.parse().ok()?;
        Some((id, Task { is_asleep: state == "S", switches }))
    });
    tasks.collect()
}

fn thread_number() -> u32 {
    let link = fs::read_link("/proc/thread-self").expect("this thread has a number");
    link.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number")
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn not_found() -> io::Error {
    errno(2)
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits until this thread may do something to the disk; the error is what that comes to.
    fn pass(&self) -> Result<MutexGuard<'_, State>, (MutexGuard<'_, State>, i32)> {
        let mut state = self.state();
        if thread::current().id() == self.driver {
            return Ok(state);
        }
        let thread = thread::current().name().unwrap_or_default().to_string();
        let number = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push(Ticket { number, thread: thread.clone(), decided: None });
        loop {
            let at = state.waiting.iter().position(|t| t.number == number).expect("its ticket");
            let is_free = !state.is_gated || state.free.contains(&thread.as_str());
            let decided = state.waiting[at].decided.or(is_free.then_some(None));
            if let Some(decision) = decided {
                state.waiting.remove(at);
                return match decision {
                    None => Ok(state),
                    Some(errno) => Err((state, errno)),
                };
            }
            state = self.changed.wait(state).unwrap();
        }
    }

    fn perform(&self, event: Event) -> io::Result<()> {
        let mut state = self.pass().map_err(|(mut state, code)| {
            if let Event::Sync { file } = event {
                state.record(Event::SyncFailed { file });
            }
            errno(code)
        })?;
        state.record(event);
        Ok(())
    }
}

impl State {
    fn record(&mut self, event: Event) {
        self.image.apply(&event);
        if self.records {
            self.journal.push(event);
        }
    }
}

impl Files for Disk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn FileHandle>> {
        let inner = &self.inner;
        let look = |state: &State| match state.image.names.get(path) {
            Some(Node::File(file)) => Ok(Some(*file)),
            Some(Node::Dir) => Err(errno(21)),
            None => Ok(None),
        };
        let found = look(&inner.state())?;
        let file = match (found, how) {
            (Some(file), Open::Read | Open::Write | Open::PastCache) => file,
            (None, Open::Read | Open::PastCache) => return Err(not_found()),
            (_, Open::Write | Open::Truncate) => {
                let mut state = inner.pass().map_err(|(_, code)| errno(code))?;
                match look(&state)? {
                    Some(file) if how == Open::Truncate => {
                        state.record(Event::SetLen { file, len: 0 });
                        file
                    }
                    Some(file) => file,
                    None => {
                        let parent = path.parent().unwrap_or(Path::new("/"));
                        if state.image.names.get(parent) != Some(&Node::Dir) {
                            return Err(not_found());
                        }
                        let file = state.image.files.len();
                        state.record(Event::Create { path: path.into(), file });
                        file
                    }
                }
            }
        };
        let is_past_cache = how == Open::PastCache;
        Ok(Box::new(SimFile { inner: inner.clone(), file, is_past_cache }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let state = self.inner.state();
        match state.image.names.get(path) {
            Some(Node::Dir) => Ok(Metadata { len: 0, is_dir: true }),
            Some(Node::File(file)) => {
                Ok(Metadata { len: state.image.files[*file].len() as u64, is_dir: false })
            }
            None => Err(not_found()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.inner.pass().map_err(|(_, code)| errno(code))?;
        let Some(Node::File(file)) = state.image.names.get(from) else { return Err(not_found()) };
        let file = *file;
        state.record(Event::Rename { from: from.into(), to: to.into(), file });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.inner.state().image.names.contains_key(path) {
            return Err(not_found());
        }
        self.inner.perform(Event::Remove { path: path.into() })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match self.inner.state().image.names.get(path) {
            Some(Node::Dir) => return Ok(()),
            Some(Node::File(_)) => return Err(errno(17)),
            None => {}
        }
        self.inner.perform(Event::MakeDir { path: path.into() })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.perform(Event::SyncDir { path: path.into() })
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

struct SimFile {
    inner: Arc<Inner>,
    file: usize,
    is_past_cache: bool,
}

impl FileHandle for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.inner.state();
        let bytes = &state.image.files[self.file];
        let from = bytes.len().min(offset as usize);
        let n = buf.len().min(bytes.len() - from);
        buf[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let (file, at, is_past_cache) = (self.file, at as usize, self.is_past_cache);
        if is_past_cache {
            let misplaced = [at, bytes.len(), bytes.as_ptr().addr()].map(|n| n % BLOCK);
            assert_eq!(misplaced, [0; 3], "the system would refuse this");
        }
        self.inner.perform(Event::Write { file, at, bytes: bytes.to_vec(), is_past_cache })?;
        Ok(bytes.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.perform(Event::Sync { file: self.file })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.perform(Event::SetLen { file: self.file, len: len as usize })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.inner.state().image.files[self.file].len() as u64)
    }

    fn identity(&self) -> io::Result<Identity> {
        Ok(Identity { device: 1, inode: self.file as u64 })
    }

    /// A file of its own: what is stored there comes back by the observer.
    fn to_map(&self) -> io::Result<File> {
        let shm = Path::new("/dev/shm");
        let file = if shm.is_dir() { tempfile::tempfile_in(shm)? } else { tempfile::tempfile()? };
        let bytes = self.inner.state().image.files[self.file].clone();
        file.write_all_at(&bytes, 0)?;
        Ok(file)
    }

    fn map_observer(&self) -> Option<Arc<dyn MapObserver>> {
        Some(Arc::new(Observer { inner: self.inner.clone(), file: self.file }))
    }
}

struct Observer {
    inner: Arc<Inner>,
    file: usize,
}

impl MapObserver for Observer {
    fn stored(&self, at: usize, bytes: &[u8], is_whole: bool) {
        let event = Event::Store { file: self.file, at, bytes: bytes.to_vec(), is_whole };
        self.inner.state().record(event);
    }

    fn synced(&self, at: usize, len: usize) {
        self.inner.state().record(Event::SyncRange { file: self.file, at, len });
    }
}
