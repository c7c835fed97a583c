//! Writes a snapshot to a file, in RDB format or as commands: takes what the keyspace shows, on the
//! loop's thread, and has a thread of its own encode, compress and write it. Must not know what the
//! file is for.
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

mod commands;
mod form;

pub use form::{Form, Rdb, Used};

use form::Encoder;

/// A batch is handed over when it is so long. Bytes.
const BATCH: usize = 64 << 10;
/// So much is written at a time. Bytes.
const WRITE: usize = 256 << 10;
/// The file is made durable whenever so much was written, so that the disk is never given much at
/// once, which would make others wait for it. Bytes.
const SYNC: u64 = 16 << 20;

/// How long a pause goes on before anybody looks whether it is still wanted.
const NAP: Duration = Duration::from_millis(10);

/// What is to be written, and where to.
pub struct Task {
    pub files: Arc<dyn Files>,
    /// In the directory of the file that it is to become.
    pub temporary: PathBuf,
    pub form: Form,
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

impl Task {
    /// Bytes that may wait in the queue. Who wants to look on wants to see entries that have not
    /// been shown yet.
    fn bound(&self) -> u64 {
        if self.pause.every > 0 { BATCH as u64 } else { self.queue_bytes }
    }
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

    /// Pauses after so many entries in all; `is_over` ends it early.
    fn after(&self, entries: u64, is_over: impl Fn() -> bool) {
        if self.every == 0 || !entries.is_multiple_of(self.every) {
            return;
        }
        let mut left = self.each;
        while !left.is_zero() && !is_over() {
            let nap = left.min(NAP);
            std::thread::sleep(nap);
            left -= nap;
        }
    }

    /// Pauses once for all, after entries from one count to another.
    pub fn between(&self, before: u64, after: u64) {
        let pauses = |entries: u64| entries.checked_div(self.every).unwrap_or(0);
        let times = pauses(after) - pauses(before);
        std::thread::sleep(self.each.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX)));
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
    /// Bytes of entries shown so far, as they went into the queue.
    bytes: AtomicU64,
    result: Mutex<Option<Result<u64, String>>>,
}

impl Shared {
    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
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

    /// Bytes of the entries shown so far.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// The file is not wanted any more. It is there all the same if it was just being finished;
    /// the result tells.
    pub fn give_up(&self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
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
        bound: task.bound(),
        encoder: task.form.encoder(false),
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

impl Batch {
    fn len(&self) -> usize {
        self.copies.len() + self.encoded.len()
    }
}

/// The loop's end of the queue.
struct Collector {
    sender: Sender<Message>,
    shared: Arc<Shared>,
    bound: u64,
    encoder: Encoder,
    batch: Batch,
    /// The rest of a large value, and its database, while parts of it are to come.
    part_of: Option<Vec<u8>>,
    /// What is to be sent when the last part was.
    held: Vec<Message>,
    is_complete: bool,
}

impl Collector {
    /// Counts what was shown. Nobody else does, so it need not be one step.
    fn count(&self, entries: u64, bytes: usize) {
        for (counter, more) in [(&self.shared.entries, entries), (&self.shared.bytes, bytes as u64)]
        {
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        }
    }

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
        let before = self.batch.len();
        if !self.batch.copies.push(entry) {
            self.encoder.entry(&mut self.batch.encoded, entry);
        }
        self.count(1, self.batch.len() - before);
        if self.batch.len() >= BATCH {
            self.send_batch();
        }
    }

    fn part(&mut self, db: usize, entry: &mut LargeEntry<'_>) -> bool {
        let mut bytes = self.part_of.take().unwrap_or_else(|| {
            self.send_batch();
            self.count(1, 0);
            let mut encoded = Vec::new();
            self.encoder.begin(&mut encoded, entry);
            self.send(Message::Batch { db, copies: Copies::default(), encoded });
            Vec::new()
        });
        let before = bytes.len();
        let has_more = self.encoder.part(&mut bytes, entry);
        self.count(0, bytes.len() - before);
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

    fn finish(&mut self, form: &Form) -> io::Result<u64> {
        form.end(&mut self.out);
        self.flush()?;
        form.checksum(&mut self.out, self.checksum.unwrap_or(0));
        self.flush()?;
        self.file.sync_all()?;
        Ok(self.written)
    }
}

/// Writes the whole file and makes it what it is for. If that fails, it is removed.
fn write_file(mut task: Task, queue: &Receiver<Message>, shared: &Shared) -> Result<u64, String> {
    let written = write_entries(&mut task, queue, shared);
    let result = match written {
        Ok(Some(size)) if !shared.is_abandoned() => Ok(size),
        Ok(_) => Err("it was given up".to_string()),
        Err(e) => Err(reason(&e)),
    };
    let Task { files, temporary, finish, .. } = task;
    let result = result.and_then(|size| finish().map(|()| size));
    if result.is_err() {
        // That it cannot be removed is no worse than what went wrong before.
        let _ = files.remove(&temporary);
    }
    result
}

/// None if the snapshot was given up.
fn write_entries(
    task: &mut Task,
    queue: &Receiver<Message>,
    shared: &Shared,
) -> io::Result<Option<u64>> {
    let (bound, form) = (task.bound(), &mut task.form);
    let file = task.files.open(&task.temporary, Open::Truncate)?;
    let checksum = form.has_checksum().then_some(0);
    let mut output = Output { file, out: Vec::new(), written: 0, synced: 0, checksum };
    let mut encoder = form.encoder(true);
    form.begin(&mut output.out);
    let (mut selected, mut written) = (None, 0);
    loop {
        let Ok(message) = queue.recv() else { return Ok(None) };
        let len = message.len();
        match message {
            Message::Batch { db, copies, encoded } => {
                if selected.replace(db) != Some(db) {
                    form.select(&mut output.out, db);
                }
                for entry in copies.iter() {
                    if shared.is_abandoned() {
                        return Ok(None);
                    }
                    encoder.entry(&mut output.out, entry);
                    output.flush_if_much()?;
                    written += 1;
                    task.pause.after(written, || shared.is_abandoned());
                }
                output.out.extend_from_slice(&encoded);
            }
            Message::Part(bytes) => output.out.extend_from_slice(&bytes),
            Message::Complete => return output.finish(form).map(Some),
        }
        output.flush_if_much()?;
        let left = shared.queued.fetch_sub(len, Ordering::SeqCst) - len;
        if left <= bound / 2 && shared.waits.swap(false, Ordering::SeqCst) {
            (task.waker)();
        }
    }
}
