//! The event loop's side of the AOF: what a tick's commands did is appended to a buffer, and
//! `commit` moves it into the ring at the end of the tick, before the replies go out.
//!
//! Offsets are logical: bytes committed since the AOF was started. A reply may be sent once
//! `acknowledged()` has reached the offset that `commit` gave after the command. Where the ring is
//! full (a stalled disk, or more load than it bears), bytes queue in ordinary memory, and
//! acknowledged() lags until they are in the ring. Must not know clients or commands.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::Duration;

use log::{info, warn};

use super::format::{ANCHOR_MAX, Anchor};
use super::log::{Delays, Effort, Fsync, Log, Shared};
use super::manifest::Manifest;
use super::ring::{self, Place, Reader, Writer};
use super::{Options, Rewrite};
use crate::base::crc64::crc64;
use crate::base::rng::Rng;
use crate::persist::files::{FileHandle, Files, Open, reason};
use crate::persist::rdb::{self, write};

/// The ring's size where none is asked for: it then lies in ordinary memory.
const IN_MEMORY_SIZE: u64 = 8 << 20;
/// So much is worth a frame of its own, and still lies in the first cache. Bytes.
const EARLY: usize = 8 << 10;
/// A buffer that once held more is given back. Bytes.
const KEEP_BUFFER: usize = 1 << 20;

/// An AOF that is being appended to.
pub struct Aof {
    buffer: Vec<u8>,
    /// Committed bytes that found no place in the ring; those before `queue_start` are in it.
    queue: Vec<u8>,
    queue_start: usize,
    /// More need not queue, if it can be helped. Bytes.
    most_queued: usize,
    writer: Writer,
    /// What is in the ring outlives the process.
    persistent: bool,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    manifest: Manifest,
    options: Options,
    /// The next increment, while it is being made.
    next_incr: Option<Receiver<Result<(Manifest, Place), String>>>,
    /// What a rewrite has made of the AOF, once it is done.
    new_base: Option<Receiver<(Manifest, u64)>>,
    /// The data at the start are in no file yet: the manifest must not be written.
    lacks_base: bool,
    /// Bytes on disk: of the base, and of all files as they were at the offset `sized_at`.
    base_size: u64,
    start_size: u64,
    sized_at: u64,
    /// Where the present increment begins.
    switched_at: u64,
    seconds_syncing: u64,
    delayed_fsync: u64,
}

/// For INFO's persistence section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// aof_current_size: bytes of base and increments, with what is committed but not yet written.
    pub current_size: u64,
    /// aof_base_size.
    pub base_size: u64,
    /// aof_buffer_length: bytes committed but not yet written to the file.
    pub buffer_length: u64,
    /// aof_pending_bio_fsync.
    pub pending_fsync: bool,
    /// aof_delayed_fsync: seconds an fsync took beyond its second.
    pub delayed_fsync: u64,
    /// aof_last_write_status.
    pub last_write_ok: bool,
}

impl Aof {
    /// Opens the last increment of what was loaded for appending. An empty manifest begins a new
    /// AOF, with an empty base. All that is new is durable before this returns. The error is a
    /// line to log; the server cannot start then.
    pub fn start(options: &Options, manifest: Manifest) -> Result<Aof, String> {
        let mut manifest = manifest;
        let dir = options.aof_dir();
        let place = prepare(options, &dir, &mut manifest)?;
        delete_history(options, &dir, &mut manifest);
        Aof::open(options, manifest, place, false)
    }

    /// Begins an AOF for data that are not in the files there are (`found`): those give way when a
    /// [`Rewrite`] has made a base of the data. Until then the manifest on disk is theirs, and what
    /// is appended does not count. The error is a line to log.
    pub fn start_without_base(options: &Options, found: Manifest) -> Result<Aof, String> {
        let mut manifest = found;
        manifest.retire();
        options.make_dir()?;
        let place = add_incr(options, &mut manifest)?;
        Aof::open(options, manifest, place, true)
    }

    fn open(
        options: &Options,
        manifest: Manifest,
        place: Place,
        lacks_base: bool,
    ) -> Result<Aof, String> {
        let (dir, files) = (options.aof_dir(), &*options.files);
        let sizes: Result<Vec<u64>, String> =
            manifest.to_load().map(|entry| size_of(files, &dir, entry)).collect();
        let start_size = sizes?.iter().sum();
        let base_size = match &manifest.base {
            Some(entry) => size_of(files, &dir, entry)?,
            None => 0,
        };
        let (writer, reader, persistent) = open_ring(options, place)
            .map_err(|e| format!("Can't make the AOF ring: {}", reason(&e)))?;
        let shared = Arc::new(Shared::new(options.fsync, options.waker.clone()));
        if let Some(incr) = manifest.incrs.last() {
            shared.announce(incr.seq, Manifest::path(&dir, incr));
        }
        let thread = spawn(shared.clone(), reader, options)
            .map_err(|e| format!("Can't start the AOF's log thread: {}", reason(&e)))?;
        Ok(Aof {
            buffer: Vec::new(),
            queue: Vec::new(),
            queue_start: 0,
            most_queued: usize::try_from(ring_size(options)).unwrap_or(usize::MAX),
            writer,
            persistent,
            shared,
            thread: Some(thread),
            manifest,
            options: options.clone(),
            next_incr: None,
            new_base: None,
            lacks_base,
            base_size,
            start_size,
            sized_at: 0,
            switched_at: 0,
            seconds_syncing: 0,
            delayed_fsync: 0,
        })
    }

    /// Where to append what the tick's commands did, as RESP arrays.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Ends the tick: what is in the buffer survives the process from now on, as far as
    /// `acknowledged` says; look at that afterwards. Returns the logical end of all committed
    /// bytes. Call it also when woken: it moves what has queued, and asks for the next wake-up.
    pub fn commit(&mut self) -> u64 {
        if self.has_uncommitted() {
            self.commit_bytes();
        }
        // Asked for anew each time: the last wake-up may have been for less than is waited for.
        let end = self.end();
        if self.acknowledged() < end {
            self.shared.await_progress();
        }
        end
    }

    /// Moves what is in the buffer on already before the end of the tick, if it is much: while it
    /// is in the processor's cache that costs least. What is in the buffer must be whole: a crash
    /// from now on keeps it. True if it was much.
    #[inline]
    pub fn commit_early(&mut self) -> bool {
        let much = self.buffer.len() >= EARLY;
        if much {
            self.commit_bytes();
        }
        much
    }

    /// Whether `commit` has anything to move.
    #[inline]
    pub fn has_uncommitted(&self) -> bool {
        !self.buffer.is_empty() || self.queue_start < self.queue.len()
    }

    fn commit_bytes(&mut self) {
        self.drain_queue();
        if self.queue.is_empty() {
            let n = self.writer.append(&self.buffer);
            self.queue.extend_from_slice(&self.buffer[n..]);
        } else {
            self.queue.extend_from_slice(&self.buffer);
        }
        self.buffer.clear();
        if self.buffer.capacity() > KEEP_BUFFER {
            self.buffer = Vec::new();
        }
        let full = !self.queue.is_empty();
        if full || self.writer.take_crowded() || self.shared.fsync() == Fsync::Always {
            self.shared.request(Effort::Policy);
        } else if !self.persistent {
            self.shared.request(Effort::Write);
        }
    }

    fn drain_queue(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        self.queue_start += self.writer.append(&self.queue[self.queue_start..]);
        if self.queue_start == self.queue.len() {
            self.queue = Vec::new();
            self.queue_start = 0;
        } else if self.queue_start > self.queue.len() / 2 {
            self.queue.drain(..self.queue_start);
            self.queue_start = 0;
        }
    }

    /// The logical end of all committed bytes.
    fn end(&self) -> u64 {
        self.writer.tail() + (self.queue.len() - self.queue_start) as u64
    }

    /// Replies to commands whose effects end at or before this logical offset may be sent. May
    /// fall back when the policy changes to `always`. While it is behind the last commit, the
    /// waker is called at the next progress.
    pub fn acknowledged(&self) -> u64 {
        match self.shared.fsync() {
            Fsync::Always => self.shared.synced(),
            _ if self.persistent => self.writer.tail(),
            _ => self.shared.written(),
        }
    }

    /// Whether as many bytes wait for a place in the ring as the ring has.
    pub fn is_clogged(&self) -> bool {
        self.queue.len() - self.queue_start > self.most_queued
    }

    /// The timer's part, once a second: what the policy asks for is begun, and a failed write or
    /// fsync is tried again.
    pub fn every_second(&mut self) {
        self.commit();
        self.seconds_syncing = if self.shared.is_syncing() { self.seconds_syncing + 1 } else { 0 };
        if self.seconds_syncing > 1 {
            self.delayed_fsync += 1;
        }
        let done = match self.shared.fsync() {
            Fsync::No => self.shared.written(),
            _ => self.shared.synced(),
        };
        if done < self.writer.tail() || self.shared.status().is_err() {
            self.shared.request(Effort::Policy);
        }
    }

    /// The reason (strerror's text) why the last write or fsync failed; it is tried again by
    /// itself. Cheap enough to ask before each write command.
    pub fn status(&self) -> Result<(), String> {
        self.shared.status()
    }

    pub fn fsync(&self) -> Fsync {
        self.shared.fsync()
    }

    pub fn set_fsync(&mut self, fsync: Fsync) {
        self.shared.set_fsync(fsync);
        if self.acknowledged() < self.end() {
            self.shared.request(Effort::Policy);
            self.shared.await_progress();
        }
    }

    /// Counts delayed fsyncs from 0 again.
    pub fn forget_delays(&mut self) {
        self.delayed_fsync = 0;
    }

    /// The longest waits for the disk since this was asked last.
    pub fn take_delays(&self) -> Delays {
        self.shared.take_delays()
    }

    /// DEBUG AOF-FLUSH-SLEEP: waits before each write to the file.
    pub fn set_flush_sleep(&mut self, sleep: Duration) {
        self.shared.set_sleep(sleep);
    }

    /// Waits until everything is in the file and synced, or until that has failed once. Blocks:
    /// for DEBUG LOADAOF and the end of the server.
    pub fn flush_all_now(&mut self) -> Result<(), String> {
        loop {
            self.commit();
            let request = self.shared.request(Effort::Sync);
            self.shared.wait(request)?;
            if self.shared.synced() >= self.end() {
                return Ok(());
            }
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err("the AOF's log thread has ended".to_string());
            }
        }
    }

    /// Flushes everything, ends the log thread and marks the ring as done with: at the end of the
    /// server, or when the AOF is turned off. After an error all is as before, and it may be tried
    /// again; if the AOF is dropped instead, the next start replays the ring.
    pub fn shutdown(&mut self) -> Result<(), String> {
        if self.thread.is_none() {
            return Ok(());
        }
        self.flush_all_now()?;
        self.stop_threads();
        if self.persistent
            && let Err(e) = self.writer.mark_clean()
        {
            warn!("Can't sync the AOF ring: {}", reason(&e));
        }
        self.remove_if_worthless();
        Ok(())
    }

    /// Increments without a base are of no use to anybody.
    fn remove_if_worthless(&mut self) {
        if !std::mem::take(&mut self.lacks_base) {
            return;
        }
        let dir = self.options.aof_dir();
        for incr in self.manifest.incrs.drain(..) {
            // A start does not look at what is left; the next rewrite takes the name again.
            let _ = self.options.files.remove(&Manifest::path(&dir, &incr));
        }
    }

    fn stop_threads(&mut self) {
        if let Some(being_made) = self.next_incr.take() {
            // It writes a manifest, which must not come after that of an AOF begun later.
            let _ = being_made.recv();
        }
        self.shared.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("The AOF's log thread has panicked");
        }
    }

    /// Begins to make a new increment, for a rewrite that is to replace all before it. Disk work,
    /// so another thread does it, and calls the waker when it is ready.
    pub fn prepare_incr(&mut self) -> Result<(), String> {
        if self.next_incr.is_some() {
            return Ok(());
        }
        let options = self.options.clone();
        let (mut manifest, lacks_base) = (self.manifest.clone(), self.lacks_base);
        let (sender, receiver) = mpsc::channel();
        let make = move || {
            let made = prepare_next_incr(&options, &mut manifest, !lacks_base);
            // Nobody listens any more if the AOF has been turned off meanwhile.
            let _ = sender.send(made.map(|place| (manifest, place)));
            (options.waker)();
        };
        let thread = std::thread::Builder::new().name("aof-incr".to_string());
        thread.spawn(make).map_err(|e| reason(&e))?;
        self.next_incr = Some(receiver);
        Ok(())
    }

    /// Has what is committed from now on go into the new increment, if it is ready: `None` means
    /// not yet. After an error the old one goes on. A crash between making and switching leaves an
    /// empty increment at the end, which is harmless.
    pub fn switch_incr(&mut self) -> Option<Result<(), String>> {
        // What is committed belongs to the old file, so all of it must be in the ring before.
        self.commit();
        if !self.queue.is_empty() {
            return None;
        }
        let made = match self.next_incr.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("the thread has panicked".to_string()),
            Ok(made) => made,
        };
        self.next_incr = None;
        Some(made.map(|(manifest, place)| self.switch_to(manifest, place)))
    }

    fn switch_to(&mut self, manifest: Manifest, place: Place) {
        self.manifest = manifest;
        if let Some(incr) = self.manifest.incrs.last() {
            let path = Manifest::path(&self.options.aof_dir(), incr);
            self.shared.announce(incr.seq, path);
        }
        self.writer.switch_file(place);
        self.switched_at = self.end();
    }

    /// Begins to replace all that is in the files before the increment that was just switched to.
    pub fn begin_rewrite(&mut self) -> Rewrite {
        let (done, new_base) = mpsc::channel();
        self.new_base = Some(new_base);
        Rewrite {
            options: self.options.clone(),
            manifest: self.manifest.clone(),
            done,
            log: Some(self.shared.clone()),
        }
    }

    /// Goes on with the files that [`Rewrite::finish`] has left, if it has.
    pub fn end_rewrite(&mut self) {
        let Some(new_base) = self.new_base.take() else { return };
        if let Ok((manifest, size)) = new_base.try_recv() {
            self.manifest = manifest;
            self.lacks_base = false;
            self.base_size = size;
            self.start_size = size;
            self.sized_at = self.switched_at;
        }
    }

    /// Whether a base is still to be made: see [`Aof::start_without_base`].
    pub fn lacks_base(&self) -> bool {
        self.lacks_base
    }

    /// The files the AOF is made of at this moment.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn numbers(&self) -> Numbers {
        Numbers {
            current_size: self.start_size + self.end() - self.sized_at,
            base_size: self.base_size,
            buffer_length: self.end() - self.shared.written(),
            pending_fsync: self.shared.is_syncing(),
            delayed_fsync: self.delayed_fsync,
            last_write_ok: self.shared.status().is_ok(),
        }
    }
}

impl Drop for Aof {
    fn drop(&mut self) {
        self.stop_threads();
    }
}

fn spawn(shared: Arc<Shared>, reader: Reader, options: &Options) -> io::Result<JoinHandle<()>> {
    let log = Log::new(shared, reader, options);
    std::thread::Builder::new().name("aof-log".to_string()).spawn(move || log.run())
}

fn size_of(files: &dyn Files, dir: &Path, entry: &super::manifest::Entry) -> Result<u64, String> {
    let name = entry.name.to_string_lossy();
    match files.metadata(&Manifest::path(dir, entry)) {
        Ok(metadata) => Ok(metadata.len),
        Err(e) => Err(format!("Unable to obtain the AOF file {name} length. stat: {}", reason(&e))),
    }
}

/// Makes the directory, the base and the increment, as far as they are missing, and says where
/// appending goes on.
fn prepare(options: &Options, dir: &Path, manifest: &mut Manifest) -> Result<Place, String> {
    let files = &*options.files;
    options.make_dir()?;
    let before = manifest.clone();
    if manifest.is_empty() {
        let (suffix, bytes) =
            if options.rdb_preamble { ("rdb", empty_base()) } else { ("aof", Vec::new()) };
        let base = manifest.add_base(&options.filename, suffix);
        let name = base.name.to_string_lossy();
        make_file(files, &Manifest::path(dir, base), &bytes)
            .map_err(|e| format!("Can't write the AOF base file {name}: {}", reason(&e)))?;
        info!("Creating AOF base file {name} on server start");
    }
    let is_new = manifest.incrs.is_empty();
    if is_new {
        manifest.add_incr(&options.filename);
    }
    let incr = manifest.incrs.last().ok_or("the AOF has no increment")?;
    let name = incr.name.to_string_lossy().into_owned();
    let place = open_incr(files, &Manifest::path(dir, incr), incr.seq, is_new)
        .and_then(|place| sync_older(files, dir, manifest).map(|()| place))
        .map_err(|e| format!("Can't open the append-only file {name}: {}", reason(&e)))?;
    if *manifest != before {
        manifest
            .write(files, dir, &options.filename)
            .map_err(|e| format!("Can't write the AOF manifest: {}", reason(&e)))?;
    } else {
        // The process that wrote the manifest may have ended before it came to this.
        files
            .sync_dir(dir)
            .map_err(|e| format!("Can't sync the append-only dir: {}", reason(&e)))?;
    }
    info!("{} AOF incr file {name} on server start", if is_new { "Creating" } else { "Opening" });
    Ok(place)
}

/// Makes the file of a further increment, and adds it to the manifest.
fn prepare_next_incr(
    options: &Options,
    manifest: &mut Manifest,
    writes: bool,
) -> Result<Place, String> {
    let place = add_incr(options, manifest)?;
    if writes {
        manifest
            .write(&*options.files, &options.aof_dir(), &options.filename)
            .map_err(|e| format!("Can't write the AOF manifest: {}", reason(&e)))?;
    }
    Ok(place)
}

fn add_incr(options: &Options, manifest: &mut Manifest) -> Result<Place, String> {
    let incr = manifest.add_incr(&options.filename);
    let name = incr.name.to_string_lossy().into_owned();
    let path = Manifest::path(&options.aof_dir(), incr);
    let place = open_incr(&*options.files, &path, incr.seq, true)
        .map_err(|e| format!("Can't open the append-only file {name}: {}", reason(&e)))?;
    info!("Creating AOF incr file {name} on background rewrite");
    Ok(place)
}

/// An RDB file without keys.
fn empty_base() -> Vec<u8> {
    let mut out = Vec::new();
    write::header(&mut out, rdb::VERSION);
    write::Writer::new(false).aux(&mut out, "aof-base", b"1");
    write::end(&mut out);
    let sum = crc64(0, &out);
    write::checksum(&mut out, sum);
    out
}

fn make_file(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = files.open(path, Open::Truncate)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()
}

fn open_incr(files: &dyn Files, path: &Path, seq: i64, is_new: bool) -> io::Result<Place> {
    // A file of a new increment's name that is there already is the rest of an attempt that did
    // not get as far as the manifest.
    let file = files.open(path, if is_new { Open::Truncate } else { Open::Write })?;
    file.sync_all()?;
    place_at_end(&*file, seq)
}

/// The log thread syncs an increment before it writes to the next, but may not have come so far.
/// What is appended must not last longer than what is before it.
fn sync_older(files: &dyn Files, dir: &Path, manifest: &Manifest) -> io::Result<()> {
    for incr in manifest.incrs.iter().rev().skip(1) {
        files.open(&Manifest::path(dir, incr), Open::Write)?.sync_all()?;
    }
    Ok(())
}

fn place_at_end(file: &dyn FileHandle, seq: i64) -> io::Result<Place> {
    let offset = file.len()?;
    let len = offset.min(ANCHOR_MAX as u64);
    let mut before = vec![0; len as usize];
    let n = file.read_full_at(&mut before, offset - len)?;
    let anchor = Anchor::of(&before[..n]);
    Ok(Place { seq, offset, identity: file.identity()?, anchor })
}

/// Files a rewrite has replaced.
pub(super) fn delete_history(options: &Options, dir: &Path, manifest: &mut Manifest) {
    if !options.auto_gc || manifest.history.is_empty() {
        return;
    }
    for entry in std::mem::take(&mut manifest.history) {
        info!("Removing the history file {}", entry.name.to_string_lossy());
        match options.files.remove(&Manifest::path(dir, &entry)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                warn!("Can't remove {}: {}", entry.name.to_string_lossy(), reason(&e));
            }
            _ => {}
        }
    }
    if let Err(e) = manifest.write(&*options.files, dir, &options.filename) {
        warn!("Can't write the AOF manifest: {}", reason(&e));
    }
}

/// The size of the ring, wherever it lies.
fn ring_size(options: &Options) -> u64 {
    if options.ring_size == 0 { IN_MEMORY_SIZE } else { options.ring_size }
}

fn open_ring(options: &Options, place: Place) -> io::Result<(Writer, Reader, bool)> {
    let epoch = Rng::from_os().next_u64();
    let in_memory = |size| {
        let (writer, reader) = ring::in_memory(size, epoch, place)?;
        Ok((writer, reader, false))
    };
    // A ring of an earlier run in the other place has been replayed; left there, it would only
    // wait to be mistaken for this run's.
    let path = options.ring_path();
    for old in options.ring_paths().into_iter().filter(|p| options.ring_size == 0 || *p != path) {
        remove_if_there(&*options.files, &old)?;
    }
    if options.ring_size == 0 {
        return in_memory(ring_size(options));
    }
    match create_ring(options, &path, epoch, place) {
        Ok((writer, reader)) => Ok((writer, reader, true)),
        Err(e) => {
            warn!(
                "Can't map the AOF ring {} ({}): replies wait until writes are in the file",
                path.display(),
                reason(&e)
            );
            remove_if_there(&*options.files, &path)?;
            in_memory(options.ring_size)
        }
    }
}

fn create_ring(
    options: &Options,
    path: &Path,
    epoch: u64,
    place: Place,
) -> io::Result<(Writer, Reader)> {
    let file = options.files.open(path, Open::Write)?;
    ring::create(&*file, options.ring_size, epoch, place)
}

fn remove_if_there(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
