//! Snapshots of the data: when they begin, that the loop goes on with them, what becomes of the
//! file. An RDB file for BGSAVE, SAVE and save points; a new base for the append-only file. One
//! runs at a time. Must not know how entries are shown (`store::db::snapshot`) or written
//! (`persist::snapshot`).

use super::config::{Config, MaxmemoryPolicy, REDIS_VERSION, SavePoint};
use super::loading::{self, RdbFile};
use super::{Server, gate, log as server_log, process};
use crate::persist::aof::{self, Loader, Manifest, Rewrite};
use crate::persist::files::{Files, reason};
use crate::persist::rdb::{
    self,
    write::{self, Use},
};
use crate::persist::snapshot::{self, Form, Pause, Rdb, Task, Used, Writing};
use crate::store::Keyspace;
use log::{info, warn};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The loop's time for a snapshot in one tick, in microseconds, at least and at most. In between
/// it is as much as the clients had, so that both go on whatever the load.
const SLICE_LEAST_US: u64 = 50;
const SLICE_MOST_US: u64 = 500;
/// FLUSHALL waits no longer than this for the RDB file to be gone.
const FLUSH_WAIT: Duration = Duration::from_millis(50);
/// After a failed save, save points wait so many seconds.
const RETRY_SAVE_S: i64 = 5;
/// After failed rewrites in a row the next one waits: a minute, twice as long each time, an hour.
const RETRY_REWRITE_S: i64 = 60;
const RETRY_REWRITE_MOST_S: i64 = 3600;
/// Where nothing better is known, a file is expected to take the memory taken divided by this:
/// rather too little than too much, as it is only to keep us from filling the disk for nothing.
const MEMORY_TO_FILE: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An RDB file.
    Save,
    /// A base of the append-only file.
    Rewrite,
}

struct Running {
    purpose: Purpose,
    writing: Writing,
    began_ms: i64,
    /// Bytes of memory taken then.
    used: u64,
    /// The keyspace's count of changes then.
    dirty: u64,
    /// Entries there were.
    entries: u64,
    /// Bytes of entries that it came to by itself.
    walked: u64,
}

impl Running {
    /// Bytes of entries that it was handed because they were about to change.
    fn copied(&self) -> u64 {
        self.writing.bytes().saturating_sub(self.walked)
    }
}

/// How snapshots of one purpose have gone.
#[derive(Clone, Copy, Debug)]
pub struct History {
    pub last_ok: bool,
    /// How long the last one took, in seconds; -1 if there was none.
    pub last_took_s: i64,
    pub completed: u64,
    /// How many failed since the last success.
    pub failures: u32,
    /// Bytes of entries that the last one was handed because they were about to change.
    pub last_copied: u64,
    /// When the last one was begun, in seconds since 1970; 0 if there was none.
    tried_s: i64,
    /// Bytes of the last file, and of memory taken then.
    last_size: Option<(u64, u64)>,
}

impl Default for History {
    fn default() -> History {
        let (last_ok, last_took_s, completed) = (true, -1, 0);
        let (failures, last_copied, tried_s, last_size) = (0, 0, 0, None);
        History { last_ok, last_took_s, completed, failures, last_copied, tried_s, last_size }
    }
}

/// An RDB file that is being taken away, by a thread.
struct Emptying {
    done: Receiver<Result<(), String>>,
    /// The keyspace's count of changes at the flush.
    dirty: u64,
}

#[derive(Default)]
pub struct Snapshots {
    running: Option<Running>,
    /// One that was given up: until it has come to its end no other can begin.
    ending: Option<Running>,
    /// Asked for while another was running.
    save_scheduled: bool,
    rewrite_scheduled: bool,
    /// What is in the RDB file was flushed, and must not come back.
    owes_save: bool,
    /// It is being taken away.
    emptying: Option<Emptying>,
    /// A rewrite waits for its increment to be made.
    awaits_increment: bool,
    /// The append-only file was turned on, and is not complete yet: it lacks a base.
    pub wants_base: bool,
    /// What was in the RDB file that was loaded last.
    pub last_load: rdb::Loaded,
    pub saves: History,
    pub rewrites: History,
}

/// What [`begin_save`] and [`begin_rewrite`] answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    Now,
    /// Something else runs: it begins when that has ended.
    Later,
}

impl Snapshots {
    /// What is under way: a rewrite also while its increment is being made, and what was given up
    /// until it has ended.
    pub fn running(&self) -> Option<Purpose> {
        let running = self.running.as_ref().or(self.ending.as_ref());
        let running = running.map(|running| running.purpose);
        let running = running.or(self.emptying.as_ref().map(|_| Purpose::Save));
        running.or(self.awaits_increment.then_some(Purpose::Rewrite))
    }

    pub fn is_scheduled(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Save => self.save_scheduled,
            Purpose::Rewrite => self.rewrite_scheduled,
        }
    }

    /// Milliseconds since 1970 at which what runs for this purpose has begun.
    pub fn began_ms(&self, purpose: Purpose) -> Option<i64> {
        let running = self.running.as_ref().filter(|running| running.purpose == purpose);
        running.map(|running| running.began_ms)
    }

    /// Entries written, and how many there are to be written, by what runs.
    pub fn progress(&self) -> Option<(u64, u64)> {
        let running = self.running.as_ref()?;
        Some((running.writing.entries(), running.entries))
    }

    /// Bytes of entries that were handed over because they were about to change, by what runs.
    pub fn copied(&self) -> u64 {
        self.running.as_ref().map_or(0, Running::copied)
    }

    /// No snapshot can begin. That the RDB file is being taken away hinders saves only.
    fn is_busy(&self) -> bool {
        self.running.is_some() || self.ending.is_some() || self.awaits_increment
    }

    fn runs(&self, purpose: Purpose) -> bool {
        self.running.as_ref().is_some_and(|running| running.purpose == purpose)
    }

    fn history(&mut self, purpose: Purpose) -> &mut History {
        match purpose {
            Purpose::Save => &mut self.saves,
            Purpose::Rewrite => &mut self.rewrites,
        }
    }
}

/// Where SAVE and BGSAVE write to.
fn rdb_path(config: &Config) -> PathBuf {
    config.dir.join(&config.dbfilename)
}

fn used(config: &Config, keys: &Keyspace) -> Used {
    let access = keys.access.clone();
    let wants_times = matches!(
        config.maxmemory_policy,
        MaxmemoryPolicy::AllkeysLru | MaxmemoryPolicy::VolatileLru
    );
    Arc::new(move |bits| match access.is_lfu() {
        true => Use::Frequency(access.frequency(bits) as u8),
        false if wants_times => Use::Idle(access.idle_s(bits).into()),
        false => Use::Unknown,
    })
}

fn rdb_form(config: &Config, keys: &Keyspace, purpose: Purpose) -> Rdb {
    let sizes = (0..keys.databases()).map(|db| {
        let records = keys.records(db);
        (records.len(), records.expiring())
    });
    let number = |n: i64| n.to_string().into_bytes();
    let aux = vec![
        ("redis-ver", REDIS_VERSION.as_bytes().to_vec()),
        ("redis-bits", number(usize::BITS.into())),
        ("ctime", number(keys.now_ms / 1000)),
        ("used-mem", number(process::memory().anonymous as i64)),
        ("aof-base", number((purpose == Purpose::Rewrite).into())),
    ];
    Rdb {
        aux,
        version: write::version_for(keys),
        compress: config.rdbcompression,
        checksum: config.rdbchecksum,
        sizes: sizes.collect(),
        used: used(config, keys),
    }
}

/// Begins a snapshot that becomes a file at `temporary` and is then handed to `finish`.
fn begin(
    server: &mut Server,
    keys: &mut Keyspace,
    purpose: Purpose,
    temporary: PathBuf,
    finish: Box<dyn FnOnce() -> Result<(), String> + Send>,
) -> Result<(), String> {
    check_space(server, purpose, temporary.parent().unwrap_or(Path::new(".")))?;
    let options = server.log_options.as_ref().ok_or("the server has not started")?;
    let config = &server.config;
    let task = Task {
        files: options.files.clone(),
        temporary,
        form: match purpose == Purpose::Rewrite && !config.aof_use_rdb_preamble {
            true => Form::Commands {
                unix_s: config.aof_timestamp_enabled.then_some(keys.now_ms / 1000),
            },
            false => Form::Rdb(rdb_form(config, keys, purpose)),
        },
        queue_bytes: config.snapshot_queue_size,
        pause: Pause::new(config.rdb_key_save_delay),
        prepare_thread: process::yield_to_others,
        waker: options.waker.clone(),
        finish,
    };
    let (sink, writing) = snapshot::start(task)?;
    if !keys.begin_snapshot(sink) {
        return Err("another snapshot is on its way".to_string());
    }
    let used = process::memory().anonymous.saturating_sub(server.startup_memory);
    let entries = (0..keys.databases()).map(|db| keys.records(db).len() as u64).sum();
    let (began_ms, dirty, walked) = (keys.now_ms, keys.dirty, 0);
    let running = Running { purpose, writing, began_ms, used, dirty, entries, walked };
    server.snapshots.running = Some(running);
    server.snapshots.history(purpose).tried_s = began_ms / 1000;
    Ok(())
}

impl History {
    /// Bytes that the next file will take, about, given the memory that is taken.
    fn size_to_expect(&self, used: u64) -> u64 {
        match self.last_size {
            Some((size, before @ 1..)) => {
                let scaled = u128::from(size) * u128::from(used) / u128::from(before);
                u64::try_from(scaled).unwrap_or(u64::MAX)
            }
            _ => used / MEMORY_TO_FILE,
        }
    }
}

/// Whether a file is likely to fit where it is to be.
///
/// # Errors
/// That it is not, with the figures.
fn check_space(server: &mut Server, purpose: Purpose, dir: &Path) -> Result<(), String> {
    let used = process::memory().anonymous.saturating_sub(server.startup_memory);
    let needed = server.snapshots.history(purpose).size_to_expect(used);
    let options = server.log_options.as_ref().ok_or("the server has not started")?;
    // Where that is not known, the disk will say.
    let Ok(free) = options.files.free_space(dir) else { return Ok(()) };
    if needed <= free {
        return Ok(());
    }
    let dir = dir.display();
    Err(format!(
        "it needs about {needed} bytes in {dir}, where {free} are free, so it is not begun"
    ))
}

fn start_save(server: &mut Server, keys: &mut Keyspace) -> Result<(), String> {
    let target = rdb_path(&server.config);
    let options = server.log_options.as_ref().ok_or("the server has not started")?;
    let files = options.files.clone();
    let temporary = target.with_file_name(format!("temp-{}.rdb", std::process::id()));
    let from = temporary.clone();
    let finish = Box::new(move || put_in_place(&*files, &from, &target));
    let begun = begin(server, keys, Purpose::Save, temporary, finish);
    if let Err(reason) = &begun {
        failed(server, keys.now_ms / 1000, Purpose::Save, reason);
    }
    begun
}

/// Gives a complete file its name, durably.
fn put_in_place(files: &dyn Files, from: &Path, to: &Path) -> Result<(), String> {
    let dir = to.parent().unwrap_or(Path::new("."));
    let done = files.rename(from, to).and_then(|()| files.sync_dir(dir));
    done.map_err(|e| format!("Can't move it to {}: {}", to.display(), reason(&e)))
}

/// BGSAVE: begins a save in the background, or, if something else is under way, when that ends.
///
/// # Errors
/// Why it cannot begin, for the log.
pub fn begin_save(server: &mut Server, keys: &mut Keyspace) -> Result<Begun, String> {
    if server.snapshots.running().is_some() || keys.in_snapshot() {
        server.snapshots.save_scheduled = true;
        return Ok(Begun::Later);
    }
    server.snapshots.save_scheduled = false;
    start_save(server, keys)?;
    info!("Background saving started");
    Ok(Begun::Now)
}

/// Has a save begin in the background when it can.
pub fn schedule_save(server: &mut Server) -> Begun {
    server.snapshots.save_scheduled = true;
    Begun::Later
}

/// Has a rewrite begin when it can.
pub fn schedule_rewrite(server: &mut Server) -> Begun {
    server.snapshots.rewrite_scheduled = true;
    Begun::Later
}

/// BGREWRITEAOF: the same for the append-only file. Its increment is made first, by another
/// thread, so that a rewrite never begins within a tick.
///
/// # Errors
/// Why it cannot begin, for the log.
pub fn begin_rewrite(server: &mut Server, keys: &mut Keyspace) -> Result<Begun, String> {
    if server.snapshots.is_busy() || keys.in_snapshot() {
        server.snapshots.rewrite_scheduled = true;
        return Ok(Begun::Later);
    }
    server.snapshots.rewrite_scheduled = false;
    server.snapshots.rewrites.tried_s = keys.now_ms / 1000;
    let begun = if server.log.is_open() {
        let begun = begin_increment(server);
        server.snapshots.awaits_increment = begun.is_ok();
        begun
    } else if server.snapshots.wants_base {
        begin_log(server, keys)
    } else {
        begin_base_alone(server, keys)
    };
    if let Err(reason) = &begun {
        failed(server, keys.now_ms / 1000, Purpose::Rewrite, reason);
    }
    begun.map(|()| Begun::Now)
}

/// Begins to make a new increment, unless the base that it is for would have no room.
fn begin_increment(server: &mut Server) -> Result<(), String> {
    let options = server.log_options.as_ref().ok_or("the server has not started")?;
    let dir = options.dir.join(&options.dirname);
    check_space(server, Purpose::Rewrite, &dir)?;
    server.log.prepare_incr()
}

fn begin_base(server: &mut Server, keys: &mut Keyspace, rewrite: Rewrite) -> Result<(), String> {
    let (temporary, is_rdb) = (rewrite.temporary(), server.config.aof_use_rdb_preamble);
    begin(server, keys, Purpose::Rewrite, temporary, Box::new(move || rewrite.finish(is_rdb)))
}

/// Begins a base for an append-only file that is off: it takes the place of what there is of one.
fn begin_base_alone(server: &mut Server, keys: &mut Keyspace) -> Result<(), String> {
    let options = server.log_options.clone().ok_or("the server has not started")?;
    let found = files_found(&options)?;
    options.make_dir()?;
    begin_base(server, keys, Rewrite::anew(&options, found).0)
}

/// Begins an append-only file anew, and a base of the data as they are now.
fn begin_log(server: &mut Server, keys: &mut Keyspace) -> Result<(), String> {
    let former = server.log_options.as_ref().ok_or("the server has not started")?;
    // As it is configured by now, and not when the server started.
    let (files, waker) = (former.files.clone(), former.waker.clone());
    let options = server_log::options(&server.config, files, waker, server.clock.clone());
    server.log.start_without_base(&options, files_found(&options)?)?;
    server.log_options = Some(options);
    server.effects.forget_selection();
    let rewrite = server.log.begin_rewrite().ok_or("the append-only file is closed")?;
    begin_base(server, keys, rewrite)
}

/// The files of an append-only file that is off, whole as after a start.
fn files_found(options: &aof::Options) -> Result<Manifest, String> {
    // The data are in memory: nothing is to be taken over from an RDB file.
    let options = aof::Options { first_base: None, ..options.clone() };
    Ok(Loader::open(&options).map_err(|e| e.to_string())?.finish())
}

/// CONFIG SET appendonly yes: what is changed from now on is logged, and a base of what there is
/// is begun, or will be when nothing else runs. What was in the files before gives way when that
/// base is complete; if it fails it is tried again.
///
/// # Errors
/// Why that cannot begin, for the log; then it is off as before.
pub fn turn_log_on(server: &mut Server, keys: &mut Keyspace) -> Result<(), String> {
    if server.snapshots.runs(Purpose::Rewrite) {
        // Its base would be followed by nothing.
        abort(server, keys);
    }
    server.snapshots.wants_base = true;
    match begin_rewrite(server, keys) {
        Ok(_) => Ok(()),
        Err(reason) => turn_log_off(server, keys).and(Err(reason)),
    }
}

/// CONFIG SET appendonly no: makes durable what was logged, and closes. Waits for the disk.
///
/// # Errors
/// Why that failed, for the log; then it is on as before.
pub fn turn_log_off(server: &mut Server, keys: &mut Keyspace) -> Result<(), String> {
    if server.snapshots.runs(Purpose::Rewrite) {
        abort(server, keys);
    }
    // It may just be making the base the file's, and its thread must be done with the files.
    wait_for_thread(server);
    server.log.end_rewrite();
    let snapshots = &mut server.snapshots;
    (snapshots.awaits_increment, snapshots.rewrite_scheduled) = (false, false);
    let closed = server.log.shutdown();
    server.snapshots.wants_base = server.log.lacks_base();
    closed
}

/// Has the base of an append-only file that was turned on complete, while nobody is served.
///
/// # Errors
/// It still lacks one; why is in the log.
pub fn finish_base(server: &mut Server, keys: &mut Keyspace) -> Result<(), String> {
    wait(server, keys);
    if server.snapshots.wants_base && !server.log.is_open() {
        begin_rewrite(server, keys)?;
        wait(server, keys);
    }
    let lacks = || "the append-only file has no base yet".to_string();
    if server.snapshots.wants_base { Err(lacks()) } else { Ok(()) }
}

/// To be called when all changes of a tick are committed: if a rewrite's increment is ready, what
/// comes from now on goes there, and the snapshot is of this moment.
pub fn switch_increment(server: &mut Server, keys: &mut Keyspace) {
    if !server.snapshots.awaits_increment {
        return;
    }
    let Some(switched) = server.log.switch_incr() else { return };
    server.snapshots.awaits_increment = false;
    // The new file is loaded after the base: it must select its database itself.
    server.effects.forget_selection();
    let begun = switched.and_then(|()| {
        let rewrite = server.log.begin_rewrite().ok_or("the append-only file is closed")?;
        begin_base(server, keys, rewrite)
    });
    match begun {
        Ok(()) => info!("Background append only file rewriting started"),
        Err(reason) => failed(server, keys.now_ms / 1000, Purpose::Rewrite, &reason),
    }
}

fn failed(server: &mut Server, now_s: i64, purpose: Purpose, reason: &str) {
    let history = server.snapshots.history(purpose);
    history.last_ok = false;
    history.failures += 1;
    history.tried_s = now_s;
    match purpose {
        Purpose::Save => warn!("Background saving error: {reason}"),
        Purpose::Rewrite => warn!("Background AOF rewrite failed: {reason}"),
    }
    update_gate(server);
}

/// Goes on with a running snapshot for a while, depending on how long the clients of this tick
/// took; true if it wants to go on at once.
pub fn step(server: &mut Server, keys: &mut Keyspace, clients_us: u64) -> bool {
    let clock = &server.clock;
    let slice_us = clients_us.clamp(SLICE_LEAST_US, SLICE_MOST_US);
    let began = clock.monotonic_us();
    let running = &mut server.snapshots.running;
    let before = running.as_ref().map_or(0, |running| running.writing.bytes());
    let waits = keys.step_snapshot(|| clock.monotonic_us().saturating_sub(began) >= slice_us);
    if let Some(running) = running {
        running.walked += running.writing.bytes() - before;
    }
    keys.in_snapshot() && !waits
}

/// Notices that a snapshot's file is complete, or has failed.
pub fn check(server: &mut Server, keys: &mut Keyspace) {
    check_ending(server, keys);
    check_emptying(server, keys.now_ms / 1000, Duration::ZERO);
    let Some(running) = &server.snapshots.running else { return };
    let Some(result) = running.writing.result() else { return };
    let Running { purpose, began_ms, used, dirty, .. } = *running;
    let copied = running.copied();
    server.snapshots.running = None;
    // If it failed, nobody takes what is still to be shown.
    keys.abort_snapshot();
    if purpose == Purpose::Rewrite {
        server.log.end_rewrite();
    }
    let size = match result {
        Ok(size) => size,
        Err(reason) => return failed(server, keys.now_ms / 1000, purpose, &reason),
    };
    let took_s = (keys.now_ms - began_ms) / 1000;
    let history = server.snapshots.history(purpose);
    (history.last_ok, history.last_took_s, history.failures) = (true, took_s, 0);
    history.last_copied = copied;
    history.completed += 1;
    history.last_size = Some((size, used));
    match purpose {
        Purpose::Save => {
            server.saved_dirty = dirty;
            server.saved_s = keys.now_ms / 1000;
            // One that began before the flush was given up.
            server.snapshots.owes_save = false;
            info!("DB saved on disk: {size} bytes");
            info!("Background saving terminated with success");
        }
        Purpose::Rewrite => {
            server.snapshots.wants_base &= !server.log.is_open() || server.log.lacks_base();
            info!("Background AOF rewrite finished successfully: {size} bytes");
        }
    }
    update_gate(server);
}

/// Notices that one that was given up has come to its end.
fn check_ending(server: &mut Server, keys: &Keyspace) {
    let Some(ending) = &server.snapshots.ending else { return };
    if ending.writing.result().is_none() || keys.in_snapshot() {
        return;
    }
    if ending.purpose == Purpose::Rewrite {
        // It may have been finished all the same.
        server.log.end_rewrite();
    }
    server.snapshots.ending = None;
}

/// SAVE: writes the file while nobody is served. What runs in the background is waited for, or,
/// if that is a save too, given up in favour of this one.
///
/// # Errors
/// Why there is no file, for the log.
pub fn save_now(server: &mut Server, keys: &mut Keyspace) -> Result<(), String> {
    end_running(server, keys, Purpose::Save);
    start_save(server, keys)?;
    wait(server, keys);
    if server.snapshots.saves.last_ok { Ok(()) } else { Err("see the log".to_string()) }
}

/// FLUSHALL: a save of what was there is given up. Where there are save points, what was flushed
/// must not come back from the RDB file: that is taken away, as a server without one starts empty,
/// too. A rename needs no fsync to be safe, and so takes no time. (Redis saves an empty file, and
/// all wait for the disk.) Should even that take long, it goes on without anybody waiting.
pub fn save_emptied(server: &mut Server, keys: &mut Keyspace) {
    if server.snapshots.runs(Purpose::Save) {
        abort(server, keys);
    }
    if server.config.save.is_empty() || server.log_options.is_none() {
        return;
    }
    server.snapshots.owes_save = true;
    let (clock, now_s) = (server.clock.clone(), keys.now_ms / 1000);
    let began_us = clock.monotonic_us();
    let left = || {
        let us = clock.monotonic_us().saturating_sub(began_us);
        FLUSH_WAIT.saturating_sub(Duration::from_micros(us))
    };
    // What was given up may just be getting its file into place.
    let is_at_work = |snapshots: &Snapshots| match &snapshots.ending {
        Some(ending) => ending.purpose == Purpose::Save && ending.writing.result().is_none(),
        None => snapshots.emptying.is_some(),
    };
    while is_at_work(&server.snapshots) {
        if left().is_zero() {
            // A save will follow when it can.
            return;
        }
        std::thread::sleep(Duration::from_micros(100));
        check_emptying(server, now_s, Duration::ZERO);
    }
    match take_file_away(server, keys.dirty) {
        Ok(()) => check_emptying(server, now_s, left()),
        Err(reason) => failed(server, now_s, Purpose::Save, &reason),
    }
}

/// Has a thread give the RDB file another name, and then remove it, which may take long.
fn take_file_away(server: &mut Server, dirty: u64) -> Result<(), String> {
    let options = server.log_options.as_ref().ok_or("the server has not started")?;
    let (files, waker) = (options.files.clone(), options.waker.clone());
    let path = rdb_path(&server.config);
    let aside = path.with_file_name(format!("temp-{}-flushed.rdb", std::process::id()));
    let (sender, done) = channel();
    let work = move || {
        let moved = match files.rename(&path, &aside) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            other => other.map_err(|e| format!("Can't remove {}: {}", path.display(), reason(&e))),
        };
        // Nobody listens if the server has ended.
        let _ = sender.send(moved);
        waker();
        // What fails here is made up for by the next save.
        let _ = files.sync_dir(path.parent().unwrap_or(Path::new(".")));
        let _ = files.remove(&aside);
    };
    let thread = std::thread::Builder::new().name("flushed-rdb".to_string());
    thread.spawn(work).map_err(|e| reason(&e))?;
    server.snapshots.emptying = Some(Emptying { done, dirty });
    Ok(())
}

/// Notices that the RDB file is gone; waits so long for that at most.
fn check_emptying(server: &mut Server, now_s: i64, most: Duration) {
    let Some(Emptying { done, dirty }) = &server.snapshots.emptying else { return };
    let (result, dirty) = (done.recv_timeout(most), *dirty);
    if let Err(RecvTimeoutError::Timeout) = result {
        return;
    }
    server.snapshots.emptying = None;
    match result {
        Ok(Ok(())) => {
            (server.saved_dirty, server.saved_s) = (dirty, now_s);
            server.snapshots.owes_save = false;
            server.snapshots.saves.last_ok = true;
            update_gate(server);
        }
        Ok(Err(reason)) => failed(server, now_s, Purpose::Save, &reason),
        Err(_) => failed(server, now_s, Purpose::Save, "its thread has panicked"),
    }
}

/// Waits until nothing runs; a snapshot for `given_up` is given up.
fn end_running(server: &mut Server, keys: &mut Keyspace, given_up: Purpose) {
    if server.snapshots.runs(given_up) {
        abort(server, keys);
    }
    wait(server, keys);
}

/// Goes on with what runs until it has ended.
fn wait(server: &mut Server, keys: &mut Keyspace) {
    let is_busy = |server: &Server| {
        let Snapshots { running, ending, emptying, .. } = &server.snapshots;
        running.is_some() || ending.is_some() || emptying.is_some()
    };
    while keys.in_snapshot() || is_busy(server) {
        if keys.step_snapshot(|| false) || !keys.in_snapshot() {
            std::thread::sleep(Duration::from_millis(1));
        }
        check(server, keys);
    }
}

/// What DEBUG RELOAD does.
#[derive(Clone, Copy, Debug)]
pub struct Reload {
    pub saves: bool,
    /// Into emptied databases.
    pub flushes: bool,
    /// Keys that are there give way to those of the file.
    pub merges: bool,
}

/// DEBUG RELOAD: loads what is in the file.
///
/// # Errors
/// As text for the log; then keys may be missing.
pub fn reload(server: &mut Server, keys: &mut Keyspace, what: Reload) -> Result<(), String> {
    if what.saves {
        save_now(server, keys)?;
    }
    if server.snapshots.runs(Purpose::Save) {
        abort(server, keys);
    }
    if what.flushes {
        (0..keys.databases()).for_each(|db| _ = keys.flush(db));
    }
    let files = server.log_options.as_ref().ok_or("the server has not started")?.files.clone();
    let path = rdb_path(&server.config);
    let options = server_log::rdb_options(&server.config);
    let options = rdb::Options { replaces: what.merges, ..options };
    let source = RdbFile::open(&*files, &path, options)?;
    let source = source.ok_or_else(|| format!("there is no {}", path.display()))?;
    loading::load_now(server, keys, source)
}

/// Gives up what runs, if anything does. Its thread may still be at work for a while.
pub fn abort(server: &mut Server, keys: &mut Keyspace) {
    if let Some(running) = server.snapshots.running.take() {
        running.writing.give_up();
        keys.abort_snapshot();
        server.snapshots.ending = Some(running);
        info!("A background save or rewrite was given up");
    }
}

/// Waits for the thread of what was given up: then its temporary file is gone.
fn wait_for_thread(server: &Server) {
    while server.snapshots.ending.as_ref().is_some_and(|ending| ending.writing.result().is_none()) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Gives up what runs, as the server ends.
pub fn give_up(server: &mut Server, keys: &mut Keyspace) {
    abort(server, keys);
    wait_for_thread(server);
}

/// What the save points, the file's growth and what was put off ask for: to be called now and
/// then.
pub fn begin_what_is_due(server: &mut Server, keys: &mut Keyspace) {
    if server.snapshots.is_busy() || keys.in_snapshot() || server.loading.is_some() {
        return;
    }
    let now_s = keys.now_ms / 1000;
    let begun = if server.snapshots.rewrite_scheduled || is_base_due(server, now_s) {
        begin_rewrite(server, keys)
    } else if server.snapshots.emptying.is_some() {
        return;
    } else if server.snapshots.save_scheduled || is_save_due(server, keys, now_s) {
        begin_save(server, keys)
    } else if is_rewrite_due(server, now_s) {
        info!("Starting automatic rewriting of AOF on growth");
        begin_rewrite(server, keys)
    } else {
        return;
    };
    // What went wrong is in the log.
    let _ = begun;
}

fn is_save_due(server: &Server, keys: &Keyspace, now_s: i64) -> bool {
    let saves = &server.snapshots.saves;
    if !saves.last_ok && now_s - saves.tried_s <= RETRY_SAVE_S {
        return false;
    }
    if server.snapshots.owes_save {
        return true;
    }
    let (changes, since_s) = (keys.dirty - server.saved_dirty, now_s - server.saved_s);
    let point = server.config.save.iter().find(|SavePoint { seconds, changes: least }| {
        changes >= *least && since_s > i64::try_from(*seconds).unwrap_or(i64::MAX)
    });
    let Some(SavePoint { seconds, changes: least }) = point else { return false };
    info!("{least} changes in {seconds} seconds. Saving...");
    true
}

/// Whether to try again to make the base that the append-only file lacks: after a second, twice as
/// long each time.
fn is_base_due(server: &Server, now_s: i64) -> bool {
    let rewrites = &server.snapshots.rewrites;
    let pause_s = (1 << rewrites.failures.saturating_sub(1).min(12)).min(RETRY_REWRITE_MOST_S);
    server.snapshots.wants_base && now_s - rewrites.tried_s >= pause_s
}

fn is_rewrite_due(server: &Server, now_s: i64) -> bool {
    let percentage = u64::from(server.config.auto_aof_rewrite_percentage);
    let Some(numbers) = server.log.numbers().filter(|_| percentage > 0) else { return false };
    let base = numbers.base_size.max(1);
    let growth = numbers.current_size.saturating_sub(base) as u128 * 100 / u128::from(base);
    let rewrites = &server.snapshots.rewrites;
    let pause_s = match rewrites.failures {
        0 => 0,
        failures => (RETRY_REWRITE_S << (failures - 1).min(6)).min(RETRY_REWRITE_MOST_S),
    };
    numbers.current_size > server.config.auto_aof_rewrite_min_size
        && growth >= u128::from(percentage)
        && now_s - rewrites.tried_s >= pause_s
}

/// Whether writes are refused because the last save failed.
pub fn update_gate(server: &mut Server) {
    let refuses = !server.snapshots.saves.last_ok
        && server.config.stop_writes_on_bgsave_error
        && !server.config.save.is_empty();
    match refuses {
        true => server.state |= gate::state::SAVE_ERROR,
        false => server.state &= !gate::state::SAVE_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_to_expect_follows_the_last_one() {
        let mut history = History::default();
        assert_eq!(history.size_to_expect(1000), 250, "a guess");
        history.last_size = Some((600, 1000));
        assert_eq!(history.size_to_expect(2000), 1200);
        assert_eq!(history.size_to_expect(10), 6);
        history.last_size = Some((u64::MAX, 1));
        assert_eq!(history.size_to_expect(u64::MAX), u64::MAX);
        history.last_size = Some((600, 0));
        assert_eq!(history.size_to_expect(1000), 250);
    }
}
