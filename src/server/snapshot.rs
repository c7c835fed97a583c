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
use crate::persist::snapshot::{self, Pause, Task, Writing};
use crate::store::Keyspace;
use log::{info, warn};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// The loop's time for a snapshot in one tick, in microseconds, at least and at most. In between
/// it is as much as the clients had, so that both go on whatever the load.
const SLICE_LEAST_US: u64 = 50;
const SLICE_MOST_US: u64 = 500;
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
    /// When the last one was begun, in seconds since 1970; 0 if there was none.
    tried_s: i64,
    /// Bytes of the last file, and of memory taken then.
    last_size: Option<(u64, u64)>,
}

impl Default for History {
    fn default() -> History {
        let (last_ok, last_took_s, completed) = (true, -1, 0);
        History { last_ok, last_took_s, completed, failures: 0, tried_s: 0, last_size: None }
    }
}

#[derive(Default)]
pub struct Snapshots {
    running: Option<Running>,
    /// Asked for while another was running.
    save_scheduled: bool,
    rewrite_scheduled: bool,
    /// A rewrite waits for its increment to be made.
    awaits_increment: bool,
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
    /// What is under way: a rewrite also while its increment is being made.
    pub fn running(&self) -> Option<Purpose> {
        let running = self.running.as_ref().map(|running| running.purpose);
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

fn used(config: &Config, keys: &Keyspace) -> Arc<dyn Fn(u32) -> Use + Send + Sync> {
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
    let memory = process::memory().anonymous;
    let sizes = (0..keys.databases()).map(|db| {
        let records = keys.records(db);
        (records.len(), records.expiring())
    });
    let sizes: Vec<(usize, usize)> = sizes.collect();
    let entries = sizes.iter().map(|size| size.0 as u64).sum();
    let number = |n: i64| n.to_string().into_bytes();
    let aux = vec![
        ("redis-ver", REDIS_VERSION.as_bytes().to_vec()),
        ("redis-bits", number(usize::BITS.into())),
        ("ctime", number(keys.now_ms / 1000)),
        ("used-mem", number(memory as i64)),
        ("aof-base", number((purpose == Purpose::Rewrite).into())),
    ];
    let task = Task {
        files: options.files.clone(),
        temporary,
        aux,
        version: write::version_for(keys),
        compress: config.rdbcompression,
        checksum: config.rdbchecksum,
        sizes,
        used: used(config, keys),
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
    let (began_ms, dirty) = (keys.now_ms, keys.dirty);
    let used = memory.saturating_sub(server.startup_memory);
    server.snapshots.running = Some(Running { purpose, writing, began_ms, used, dirty, entries });
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
    if server.snapshots.running().is_some() || keys.in_snapshot() {
        server.snapshots.rewrite_scheduled = true;
        return Ok(Begun::Later);
    }
    server.snapshots.rewrite_scheduled = false;
    server.snapshots.rewrites.tried_s = keys.now_ms / 1000;
    let begun = match server.log.is_open() {
        true => begin_increment(server),
        false => begin_base_alone(server, keys),
    };
    match &begun {
        Ok(()) => server.snapshots.awaits_increment = server.log.is_open(),
        Err(reason) => failed(server, keys.now_ms / 1000, Purpose::Rewrite, reason),
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

/// Begins a base for an append-only file that is off: it takes the place of what there is of one.
fn begin_base_alone(server: &mut Server, keys: &mut Keyspace) -> Result<(), String> {
    let options = server.log_options.clone().ok_or("the server has not started")?;
    let rewrite = base_anew(&options)?.0;
    let temporary = rewrite.temporary();
    begin(server, keys, Purpose::Rewrite, temporary, Box::new(move || rewrite.finish()))
}

/// A base in place of all files there are.
fn base_anew(options: &aof::Options) -> Result<(Rewrite, Receiver<(Manifest, u64)>), String> {
    // The data are in memory: nothing is to be taken over from an RDB file.
    let options = aof::Options { first_base: None, ..options.clone() };
    let found = Loader::open(&options).map_err(|e| e.to_string())?.finish();
    options.make_dir()?;
    Ok(Rewrite::anew(&options, found))
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
        let temporary = rewrite.temporary();
        begin(server, keys, Purpose::Rewrite, temporary, Box::new(move || rewrite.finish()))
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
    let waits = keys.step_snapshot(|| clock.monotonic_us().saturating_sub(began) >= slice_us);
    keys.in_snapshot() && !waits
}

/// Notices that a snapshot's file is complete, or has failed.
pub fn check(server: &mut Server, keys: &mut Keyspace) {
    let Some(running) = &server.snapshots.running else { return };
    let Some(result) = running.writing.result() else { return };
    let Running { purpose, began_ms, used, dirty, .. } = *running;
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
    history.completed += 1;
    history.last_size = Some((size, used));
    match purpose {
        Purpose::Save => {
            server.saved_dirty = dirty;
            server.saved_s = keys.now_ms / 1000;
            info!("DB saved on disk: {size} bytes");
            info!("Background saving terminated with success");
        }
        Purpose::Rewrite => info!("Background AOF rewrite finished successfully: {size} bytes"),
    }
    update_gate(server);
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

/// Writes a base for a new append-only file, in place of what there was of an old one, while nobody
/// is served: what to start it with.
///
/// # Errors
/// Why that cannot be, for the log; then the old one is as it was.
pub fn write_base(
    server: &mut Server,
    keys: &mut Keyspace,
    options: &aof::Options,
) -> Result<Manifest, String> {
    wait(server, keys);
    let (rewrite, made) = base_anew(options)?;
    let temporary = rewrite.temporary();
    begin(server, keys, Purpose::Rewrite, temporary, Box::new(move || rewrite.finish()))?;
    wait(server, keys);
    let made = made.try_recv().map_err(|_| "see the log".to_string());
    made.map(|(manifest, _)| manifest)
}

/// FLUSHALL, where there are save points: what was flushed must not come back from the RDB file.
pub fn save_emptied(server: &mut Server, keys: &mut Keyspace) {
    if server.config.save.is_empty() {
        return;
    }
    if server.snapshots.running() == Some(Purpose::Rewrite) {
        // To wait for that would take long.
        schedule_save(server);
    } else if let Err(reason) = save_now(server, keys) {
        warn!("Error saving DB on disk: {reason}");
    }
}

/// Waits until nothing runs; a snapshot for `given_up` is given up.
fn end_running(server: &mut Server, keys: &mut Keyspace, given_up: Purpose) {
    let given_up = server.snapshots.running.take_if(|running| running.purpose == given_up);
    if let Some(running) = given_up {
        keys.abort_snapshot();
        info!("A background save was given up");
        // It may be complete already: then its file must not come after that of who gave it up,
        // nor have the same temporary name.
        while running.writing.result().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    wait(server, keys);
}

/// Goes on with what runs until it has ended.
fn wait(server: &mut Server, keys: &mut Keyspace) {
    while keys.in_snapshot() || server.snapshots.running.is_some() {
        if keys.step_snapshot(|| false) || !keys.in_snapshot() {
            std::thread::sleep(Duration::from_millis(1));
        }
        check(server, keys);
    }
}

/// DEBUG RELOAD: saves unless told otherwise, and loads what is in the file, into emptied databases
/// unless told otherwise.
///
/// # Errors
/// As text for the log; then keys may be missing.
pub fn reload(
    server: &mut Server,
    keys: &mut Keyspace,
    saves: bool,
    flushes: bool,
) -> Result<(), String> {
    if saves {
        save_now(server, keys)?;
    }
    abort(server, keys);
    if flushes {
        (0..keys.databases()).for_each(|db| _ = keys.flush(db));
    }
    let files = server.log_options.as_ref().ok_or("the server has not started")?.files.clone();
    let (path, options) = (rdb_path(&server.config), server_log::rdb_options(&server.config));
    let source = RdbFile::open(&*files, &path, options)?;
    let source = source.ok_or_else(|| format!("there is no {}", path.display()))?;
    loading::load_now(server, keys, source)
}

/// Gives up what runs, if anything does.
pub fn abort(server: &mut Server, keys: &mut Keyspace) {
    if server.snapshots.running.take().is_some() {
        keys.abort_snapshot();
        info!("A background save or rewrite was given up");
    }
}

/// What the save points, the file's growth and what was put off ask for: to be called now and
/// then.
pub fn begin_what_is_due(server: &mut Server, keys: &mut Keyspace) {
    if server.snapshots.running().is_some() || keys.in_snapshot() {
        return;
    }
    let now_s = keys.now_ms / 1000;
    let begun = if server.snapshots.rewrite_scheduled {
        begin_rewrite(server, keys)
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
    let (changes, since_s) = (keys.dirty - server.saved_dirty, now_s - server.saved_s);
    let point = server.config.save.iter().find(|SavePoint { seconds, changes: least }| {
        changes >= *least && since_s > i64::try_from(*seconds).unwrap_or(i64::MAX)
    });
    let Some(SavePoint { seconds, changes: least }) = point else { return false };
    let saves = &server.snapshots.saves;
    if !saves.last_ok && now_s - saves.tried_s <= RETRY_SAVE_S {
        return false;
    }
    info!("{least} changes in {seconds} seconds. Saving...");
    true
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
