//! Writes a snapshot to an RDB file: takes what the keyspace shows, on the loop's thread, and has
//! a thread of its own encode, compress and write it. Must not know what the file is for.
//!
//! ```text
//! keyspace ──entry──► copies of records ──┐
//!          ──part───► encoded bytes ──────┴─► queue ──► encoded, compressed ──► temporary file
//!                                           (bounded)                           └─► its name
//! ```
//!
//! Short values are copied as they are, which costs the loop least; what hangs on pointers is
//! encoded at once, without compression. The queue's bound makes the snapshot wait for the disk;
//! entries that commands change meanwhile are queued beyond it, as those cannot wait.

use super::aof::Waker;
use super::files::{FileHandle, Files, Open, reason};
use super::rdb::write::{self, Use, Writer};
use crate::base::crc64::crc64;
use crate::store::db::snapshot::{LargeEntry, Sink};
use crate::store::record::{Copies, View};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

mod parts;

/// A batch is handed over when it is so long. Bytes.
const BATCH: usize = 64 << 10;
/// So much is written at a time. Bytes.
const WRITE: usize = 256 << 10;
/// The file is made durable whenever so much was written, so that the disk is never given much at
/// once, which would make others wait for it. Bytes.
const SYNC: u64 = 16 << 20;

/// What is to be written, and where to.
pub struct Task {
    pub files: Arc<dyn Files>,
    /// In the directory of the file that it is to become.
    pub temporary: PathBuf,
    /// What the file says of itself, before any entry: names and values.
    pub aux: Vec<(&'static str, Vec<u8>)>,
    /// See [`write::version_for`].
    pub version: u32,
    pub compress: bool,
    pub checksum: bool,
    /// Keys of each database, and how many of them expire: what a reader makes room for.
    pub sizes: Vec<(usize, usize)>,
    /// What is written of a key's use, from the record's access bits.
    pub used: Arc<dyn Fn(u32) -> Use + Send + Sync>,
    /// Bytes that may wait in the queue.
    pub queue_bytes: u64,
    pub pause: Pause,
    /// Called by the thread before it does anything.
    pub prepare_thread: fn(),
    /// Called when a full queue has room again, and at the end.
    pub waker: Waker,
    /// What makes the complete and durable file what it is for. Its error is the snapshot's.
    pub finish: Box<dyn FnOnce() -> Result<(), String> + Send>,
}

/// A pause while entries are written, for tests that want to look on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pause {
    each: Duration,
    /// Entries from one pause to the next; 0 if there is none.
    every: u64,
}

impl Pause {
    /// What `rdb-key-save-delay` says: so many microseconds after each entry; a negative number
    /// -n is one microsecond every n entries.
    pub fn new(delay: i32) -> Pause {
        let each = Duration::from_micros(delay.max(1) as u64);
        let every = if delay > 0 { 1 } else { u64::from(delay.unsigned_abs()) };
        Pause { each, every }
    }

    fn after(&self, entries: u64) {
        if self.every > 0 && entries.is_multiple_of(self.every) {
            std::thread::sleep(self.each);
        }
    }
}

enum Message {
    /// Entries of one database, in no order: records, and encoded ones.
    Batch {
        db: usize,
        copies: Copies,
        encoded: Vec<u8>,
    },
    /// Bytes that continue the last encoded entry.
    Part(Vec<u8>),
    Complete,
}

impl Message {
    fn len(&self) -> u64 {
        match self {
            Message::Batch { copies, encoded, .. } => (copies.len() + encoded.len()) as u64,
            Message::Part(bytes) => bytes.len() as u64,
            Message::Complete => 0,
        }
    }
}

#[derive(Default)]
struct Shared {
    /// Bytes in the queue.
    queued: AtomicU64,
    /// The loop waits for room.
    waits: AtomicBool,
    /// The snapshot was given up.
    abandoned: AtomicBool,
    entries: AtomicU64,
    result: Mutex<Option<Result<u64, String>>>,
}

/// A snapshot being written, for who wants to know how it goes.
pub struct Writing {
    shared: Arc<Shared>,
}

impl Writing {
    /// The file's size in bytes, or why there is none, once that is known.
    pub fn result(&self) -> Option<Result<u64, String>> {
        self.shared.result.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Entries shown so far.
    pub fn entries(&self) -> u64 {
        self.shared.entries.load(Ordering::Relaxed)
    }
}

/// Begins to write. The sink is for [`Keyspace::begin_snapshot`]; dropping it before it was told
/// that all is complete ends the writing, and removes the file.
///
/// [`Keyspace::begin_snapshot`]: crate::store::Keyspace::begin_snapshot
///
/// # Errors
/// The thread cannot be started, as text.
pub fn start(task: Task) -> Result<(Box<dyn Sink>, Writing), String> {
    let shared = Arc::new(Shared::default());
    let (sender, receiver) = channel();
    let collector = Collector {
        sender,
        shared: shared.clone(),
        bound: task.queue_bytes,
        writer: Writer::new(false),
        used: task.used.clone(),
        batch: Batch::default(),
        part_of: None,
        held: Vec::new(),
        is_complete: false,
    };
    let writer = shared.clone();
    let work = move || {
        (task.prepare_thread)();
        let waker = task.waker.clone();
        // Who waits for the file must not wait for ever.
        let written = catch_unwind(AssertUnwindSafe(|| write_file(task, &receiver, &writer)));
        let result = written.unwrap_or_else(|_| Err("its thread has panicked".to_string()));
        *writer.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        // Frees what is still in the queue, before anybody is told that this is over.
        drop(receiver);
        waker();
    };
    let thread = std::thread::Builder::new().name("snapshot".to_string());
    thread.spawn(work).map_err(|e| reason(&e))?;
    Ok((Box::new(collector), Writing { shared }))
}

/// Entries of one database on their way into the queue.
#[derive(Default)]
struct Batch {
    db: usize,
    copies: Copies,
    encoded: Vec<u8>,
}

/// The loop's end of the queue.
struct Collector {
    sender: Sender<Message>,
    shared: Arc<Shared>,
    bound: u64,
    writer: Writer,
    used: Arc<dyn Fn(u32) -> Use + Send + Sync>,
    batch: Batch,
    /// The rest of a large value, and its database, while parts of it are to come.
    part_of: Option<Vec<u8>>,
    /// What is to be sent when the last part was.
    held: Vec<Message>,
    is_complete: bool,
}

impl Collector {
    fn send(&self, message: Message) {
        self.shared.queued.fetch_add(message.len(), Ordering::Relaxed);
        // If the thread has ended, so has the snapshot, as will soon be seen.
        let _ = self.sender.send(message);
    }

    fn send_batch(&mut self) {
        let Batch { db, copies, encoded } = std::mem::take(&mut self.batch);
        self.batch.db = db;
        if copies.is_empty() && encoded.is_empty() {
            return;
        }
        let message = Message::Batch { db, copies, encoded };
        match self.part_of {
            // Between two parts of a value there is no place for other entries.
            Some(_) => self.held.push(message),
            None => self.send(message),
        }
    }
}

impl Sink for Collector {
    fn entry(&mut self, db: usize, entry: View<'_>) {
        if self.batch.db != db {
            self.send_batch();
            self.batch.db = db;
        }
        self.shared.entries.fetch_add(1, Ordering::Relaxed);
        if !self.batch.copies.push(entry) {
            let used = (self.used)(entry.access());
            self.writer.entry(&mut self.batch.encoded, &entry, used);
        }
        if self.batch.copies.len() + self.batch.encoded.len() >= BATCH {
            self.send_batch();
        }
    }

    fn part(&mut self, db: usize, entry: &mut LargeEntry<'_>) -> bool {
        let mut bytes = self.part_of.take().unwrap_or_else(|| {
            self.send_batch();
            self.shared.entries.fetch_add(1, Ordering::Relaxed);
            let mut encoded = Vec::new();
            parts::begin(&mut self.writer, &mut encoded, entry, (self.used)(entry.access));
            self.send(Message::Batch { db, copies: Copies::default(), encoded });
            Vec::new()
        });
        let has_more = parts::part(&mut self.writer, &mut bytes, entry);
        if bytes.len() >= BATCH || !has_more {
            self.send(Message::Part(std::mem::take(&mut bytes)));
        }
        if has_more {
            self.part_of = Some(bytes);
        } else {
            std::mem::take(&mut self.held).into_iter().for_each(|message| self.send(message));
        }
        has_more
    }

    fn is_full(&mut self) -> bool {
        let is_full = || self.shared.queued.load(Ordering::SeqCst) > self.bound;
        if !is_full() {
            return false;
        }
        self.shared.waits.store(true, Ordering::SeqCst);
        // There may have been room just before that.
        is_full()
    }

    fn complete(mut self: Box<Self>) {
        self.send_batch();
        // Before the message: the thread may be quicker than this.
        self.is_complete = true;
        self.send(Message::Complete);
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if !self.is_complete {
            self.shared.abandoned.store(true, Ordering::Relaxed);
        }
    }
}

/// The file, on the thread's side.
struct Output {
    file: Box<dyn FileHandle>,
    /// Bytes not written yet.
    out: Vec<u8>,
    written: u64,
    synced: u64,
    /// None: the file has no checksum.
    checksum: Option<u64>,
}

impl Output {
    /// Writes what has gathered.
    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.out, self.written)?;
        self.checksum = self.checksum.map(|checksum| crc64(checksum, &self.out));
        self.written += self.out.len() as u64;
        self.out.clear();
        if self.written - self.synced >= SYNC {
            self.file.sync_data()?;
            self.synced = self.written;
        }
        Ok(())
    }

    fn flush_if_much(&mut self) -> io::Result<()> {
        if self.out.len() >= WRITE { self.flush() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<u64> {
        write::end(&mut self.out);
        self.flush()?;
        write::checksum(&mut self.out, self.checksum.unwrap_or(0));
        self.flush()?;
        self.file.sync_all()?;
        Ok(self.written)
    }
}

/// Writes the whole file and makes it what it is for. If that fails, it is removed.
fn write_file(task: Task, queue: &Receiver<Message>, shared: &Shared) -> Result<u64, String> {
    let result = match write_entries(&task, queue, shared) {
        Ok(Some(size)) => Ok(size),
        Ok(None) => Err("it was given up".to_string()),
        Err(e) => Err(reason(&e)),
    };
    let (files, temporary) = (task.files.clone(), task.temporary.clone());
    let result = result.and_then(|size| (task.finish)().map(|()| size));
    if result.is_err() {
        // That it cannot be removed is no worse than what went wrong before.
        let _ = files.remove(&temporary);
    }
    result
}

/// None if the snapshot was given up.
fn write_entries(
    task: &Task,
    queue: &Receiver<Message>,
    shared: &Shared,
) -> io::Result<Option<u64>> {
    let file = task.files.open(&task.temporary, Open::Truncate)?;
    let checksum = task.checksum.then_some(0);
    let mut output = Output { file, out: Vec::new(), written: 0, synced: 0, checksum };
    let mut writer = Writer::new(task.compress);
    write::header(&mut output.out, task.version);
    task.aux.iter().for_each(|(name, value)| writer.aux(&mut output.out, name, value));
    let (mut selected, mut written) = (None, 0);
    let mut sizes = task.sizes.clone();
    loop {
        let Ok(message) = queue.recv() else { return Ok(None) };
        let len = message.len();
        match message {
            Message::Batch { db, copies, encoded } => {
                if selected.replace(db) != Some(db) {
                    write::select(&mut output.out, db);
                    if let Some((keys @ 1.., expiring)) = sizes.get_mut(db).map(std::mem::take) {
                        write::resize(&mut output.out, keys, expiring);
                    }
                }
                for entry in copies.iter() {
                    if shared.abandoned.load(Ordering::Relaxed) {
                        return Ok(None);
                    }
                    let used = (task.used)(entry.access());
                    writer.entry(&mut output.out, &entry, used);
                    output.flush_if_much()?;
                    written += 1;
                    task.pause.after(written);
                }
                output.out.extend_from_slice(&encoded);
            }
            Message::Part(bytes) => output.out.extend_from_slice(&bytes),
            Message::Complete => return output.finish().map(Some),
        }
        output.flush_if_much()?;
        let left = shared.queued.fetch_sub(len, Ordering::SeqCst) - len;
        if left <= task.queue_bytes / 2 && shared.waits.swap(false, Ordering::SeqCst) {
            (task.waker)();
        }
    }
}
