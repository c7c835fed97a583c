//! From a configuration to a server that accepts connections, in Redis's order: listen, load,
//! announce. Tools wait for some of these log lines; they are marked.

use super::config::{GOREDIS_VERSION, REDIS_VERSION, Start};
use super::loading::{Loading, RdbFile, Source};
use super::process::{self, PidFile};
use super::tick::EventLoop;
use super::{Instance, apply, command::CommandTable, declarations, log as server_log, logging};
use crate::base::clock::Clock;
use crate::persist::aof::{Loader, Options};
use crate::persist::files::Files;
use crate::persist::rdb;
use log::{error, info, warn};
use std::path::Path;
use std::sync::Arc;

/// The process's exit code after a start that failed or a run that ended badly.
pub const FAILED: u8 = 1;

/// Runs a server until it is shut down; returns the process's exit code. `files` is how the
/// append-only file reaches the disk.
pub fn serve(start: Start, commands: &'static CommandTable, files: Arc<dyn Files>) -> u8 {
    let commands = match declarations::read(&start.config, commands) {
        Ok(commands) => commands,
        // As all that is wrong with the configuration: before there is a log.
        Err(error) => {
            eprint!("{error}");
            return FAILED;
        }
    };
    logging::start(&start.config.logfile, start.config.loglevel);
    install_panic_report();
    report_crashes(&start);
    match prepare(start, commands, files).and_then(run) {
        Ok(()) => 0,
        Err(reason) => {
            error!("{reason}");
            FAILED
        }
    }
}

/// The file goes away with the server. That it cannot be written is no reason not to start.
fn write_pid_file(path: &str) -> Option<PidFile> {
    if path.is_empty() {
        return None;
    }
    let written = PidFile::write(Path::new(path));
    written.inspect_err(|e| warn!("Failed to write PID file: {e}")).ok()
}

fn run(mut eventloop: EventLoop) -> Result<(), String> {
    let _pid_file = write_pid_file(&eventloop.instance().server.config.pidfile);
    if !eventloop.is_stopping() {
        info!("Ready to accept connections tcp"); // waited for
    }
    let ended = eventloop.run().map_err(|e| format!("The event loop failed: {e}"));
    // The process ends, and the system takes all of its memory at once; to free it record by
    // record takes seconds where there are many millions.
    std::mem::forget(eventloop);
    ended
}

fn report_crashes(start: &Start) {
    let log_file = &start.config.logfile;
    let log_file = (!log_file.is_empty()).then(|| start.config.dir.join(log_file));
    const PROGRAM: &str = concat!("goredis ", env!("CARGO_PKG_VERSION"));
    process::report_crashes(log_file.as_deref(), PROGRAM);
}

/// A panic is a bug of ours: say where, in the log, before the process ends. What was acknowledged
/// is in the append-only file's ring and comes back with the next start.
fn install_panic_report() {
    std::panic::set_hook(Box::new(|report| {
        let trace = std::backtrace::Backtrace::force_capture();
        error!("=== GOREDIS BUG REPORT START: Cut & paste starting from here ===");
        error!("Guru Meditation: {report}");
        error!("------ STACK TRACE ------\n{trace}");
        error!("=== GOREDIS BUG REPORT END. Make sure to include from START to END. ===");
    }));
}

/// A server that listens and has loaded its data, to be run: without what concerns the whole
/// process (the log, the reports of crashes), so that a test can have several in its own. The
/// process's directory becomes `dir`, on which nothing depends if that is absolute.
///
/// # Errors
/// A text for the log: the server cannot start.
pub fn prepare(
    start: Start,
    commands: &'static CommandTable,
    files: Arc<dyn Files>,
) -> Result<EventLoop, String> {
    let Start { mut config, config_file } = start;
    std::env::set_current_dir(&config.dir)
        .map_err(|e| format!("Can't chdir to '{}': {e}", config.dir.display()))?;
    info!("oO0OoO0OoO0Oo goredis is starting oO0OoO0OoO0Oo");
    if config_file.is_none() {
        warn!("Warning: no config file specified, using the default config.");
    }
    for directive in config.unsupported_in_use() {
        warn!("The directive '{directive}' is set, but has no effect yet.");
    }
    if config.disable_thp
        && let Err(e) = process::disable_huge_pages()
    {
        warn!("Huge pages cannot be disabled: {e}");
    }
    apply::fit_max_clients(&mut config)?;
    let mut instance = Instance::new(config, commands, Clock::system());
    instance.server.config_file = config_file;
    declarations::load_users(&mut instance.server)?;
    let server = &mut instance.server;
    // Why it failed is in the log; the server can do without.
    let _ = server.oom_score.apply(&server.config);
    let mut eventloop = EventLoop::new(instance).map_err(|e| format!("Can't poll: {e}"))?;
    eventloop.listen()?;
    let port = eventloop.instance().server.listeners.port();
    info!(
        "goredis {GOREDIS_VERSION} (Redis {REDIS_VERSION}), standalone, port: {port}, PID: {}",
        std::process::id()
    ); // " PID: <pid>" is waited for
    info!("Server initialized"); // waited for
    let waker = eventloop.waker();
    let wake = Arc::new(move || {
        // A wake-up that fails leaves it to the timer to notice.
        let _ = waker.wake();
    });
    let server = &mut eventloop.instance_mut().server;
    let options = server_log::options(&server.config, files, wake, server.clock.clone());
    server.log_options = Some(options.clone());
    if server.config.appendonly {
        load(&mut eventloop, &options)?;
    } else {
        load_rdb(&mut eventloop, &options)?;
    }
    Ok(eventloop)
}

/// Loads the append-only file, and begins to append to it.
fn load(eventloop: &mut EventLoop, options: &Options) -> Result<(), String> {
    let loader = Loader::open(options).map_err(|e| e.to_string())?;
    let loader = match loader.is_empty() {
        true => Some(loader),
        false => match load_from(eventloop, Source::Aof(Box::new(loader)))? {
            Some(Source::Aof(loader)) => Some(*loader),
            _ => None,
        },
    };
    let Some(loader) = loader else { return Ok(()) };
    eventloop.instance_mut().server.log.start(options, loader.finish())
}

/// Loads the RDB file of a server without an append-only file.
fn load_rdb(eventloop: &mut EventLoop, options: &Options) -> Result<(), String> {
    let Instance { server, keys } = eventloop.instance_mut();
    let leaves_out_expired = Some(keys.now_ms);
    let rdb = rdb::Options { leaves_out_expired, ..server_log::rdb_options(&server.config) };
    let path = server.config.dir.join(&server.config.dbfilename);
    let began = server.clock.monotonic_us();
    let Some(source) = RdbFile::open(&*options.files, &path, rdb)? else { return Ok(()) };
    if load_from(eventloop, source)?.is_some() {
        let Instance { server, keys } = eventloop.instance_mut();
        let seconds = server.clock.monotonic_us().saturating_sub(began) as f64 / 1e6;
        info!("DB loaded from disk: {seconds:.3} seconds");
        // It is on disk already.
        server.saved_dirty = keys.dirty;
    }
    Ok(())
}

/// Loads, serving clients in between; gives back what was loaded, or nothing if the server was
/// stopped meanwhile.
fn load_from(eventloop: &mut EventLoop, source: Source) -> Result<Option<Source>, String> {
    let Instance { server, keys } = eventloop.instance_mut();
    let mut loading = Loading::begin(server, keys, source);
    loop {
        let Instance { server, keys } = eventloop.instance_mut();
        if !loading.step(server, keys)? {
            break;
        }
        eventloop.tick_while_loading().map_err(|e| format!("The event loop failed: {e}"))?;
        if eventloop.is_stopping() {
            return Ok(None);
        }
    }
    let Instance { server, keys } = eventloop.instance_mut();
    Ok(Some(loading.end(server, keys)))
}
