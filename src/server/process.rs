//! The process and the machine as the system tells of them: limits, memory, times, a file with
//! the process's id, and the report of a crash. A safe face for system calls; must not know
//! commands, clients or data.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// How many descriptors the process may have open.
#[derive(Debug)]
pub struct FileLimit {
    /// Before it was raised.
    pub before: u64,
    pub now: u64,
    /// Why it is less than what was asked for.
    pub error: Option<io::Error>,
}

/// Has the kernel back this process's memory with ordinary pages alone: to make a huge one it
/// clears two megabytes at once, and whoever waits for the event loop waits for that, too.
pub fn disable_huge_pages() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: sets a flag of this process; no argument is a pointer.
    if unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Raises the limit of open descriptors to `wanted`, or as far as the system lets us. It is never
/// lowered.
///
/// # Errors
/// When the limit cannot even be read.
pub fn raise_file_limit(wanted: u64) -> io::Result<FileLimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is a valid place to write to.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    let (before, hard) = (limit.rlim_cur, limit.rlim_max);
    if before >= wanted {
        return Ok(FileLimit { before, now: before, error: None });
    }
    // Only a privileged process may pass the hard limit.
    let Err(error) = set_file_limit(wanted, hard.max(wanted)) else {
        return Ok(FileLimit { before, now: wanted, error: None });
    };
    let best = hard.min(wanted);
    match set_file_limit(best, hard) {
        Ok(()) => Ok(FileLimit { before, now: best, error: (best < wanted).then_some(error) }),
        Err(error) => Ok(FileLimit { before, now: before, error: Some(error) }),
    }
}

fn set_file_limit(soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the structure is valid and only read.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The system's name, release and machine, such as `Linux 6.1.0-18-amd64 x86_64`.
pub fn system_name() -> String {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the structure is a valid place to write to; all zeros is a valid value of it.
    let name = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init()
    };
    let texts = [&name.sysname[..], &name.release[..], &name.machine[..]].map(|field| {
        // SAFETY: uname ends each field with a zero byte, and so do the zeros if it failed.
        let text = unsafe { CStr::from_ptr(field.as_ptr()) };
        text.to_string_lossy().into_owned()
    });
    texts.join(" ")
}

/// Memory of the machine, in bytes; 0 if the system does not tell.
pub fn total_memory() -> u64 {
    system_value(libc::_SC_PHYS_PAGES) * page_size()
}

fn page_size() -> u64 {
    system_value(libc::_SC_PAGESIZE)
}

fn system_value(name: c_int) -> u64 {
    // SAFETY: sysconf only returns a number.
    u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(0)
}

/// Memory of the process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// All that is resident: also the program itself and mapped files.
    pub resident: u64,
    /// What of it is backed by no file: the heap and the stacks.
    pub anonymous: u64,
}

/// What the process takes now; two system calls and a little parsing, some 10 µs. Where there is
/// no /proc, the peak stands in for both numbers.
pub fn memory() -> Memory {
    let Ok(text) = fs::read_to_string("/proc/self/statm") else {
        let resident = peak_resident();
        return Memory { resident, anonymous: resident };
    };
    // In pages: all, resident, resident and shared with a file, ... (man 5 proc).
    let mut pages = text.split(' ').map(|field| field.parse::<u64>().unwrap_or(0));
    let (resident, of_files) = (pages.nth(1).unwrap_or(0), pages.next().unwrap_or(0));
    let page = page_size();
    Memory { resident: resident * page, anonymous: resident.saturating_sub(of_files) * page }
}

/// What of the process the system has swapped out, in bytes; 0 where it does not tell.
pub fn swapped_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // In kB (man 5 proc).
    let line = status.lines().find_map(|line| line.strip_prefix("VmSwap:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The most that was ever resident, in bytes.
pub fn peak_resident() -> u64 {
    // In KB, but on macOS.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    usage(libc::RUSAGE_SELF).map_or(0, |usage| u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit)
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    pub system: Duration,
    pub user: Duration,
}

/// Of all threads of this process.
pub fn cpu_time() -> CpuTime {
    times(libc::RUSAGE_SELF)
}

/// Of child processes that have ended.
pub fn cpu_time_of_children() -> CpuTime {
    times(libc::RUSAGE_CHILDREN)
}

/// Of the calling thread; none where the system does not tell.
pub fn cpu_time_of_thread() -> Option<CpuTime> {
    #[cfg(target_os = "linux")]
    return Some(times(libc::RUSAGE_THREAD));
    #[cfg(not(target_os = "linux"))]
    None
}

fn times(who: c_int) -> CpuTime {
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    usage(who).map_or(CpuTime::default(), |usage| CpuTime {
        system: duration(usage.ru_stime),
        user: duration(usage.ru_utime),
    })
}

fn usage(who: c_int) -> Option<libc::rusage> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the structure is a valid place to write to; all zeros is a valid value of it.
    let (result, usage) = unsafe {
        let result = libc::getrusage(who, usage.as_mut_ptr());
        (result, usage.assume_init())
    };
    (result == 0).then_some(usage)
}

/// A file with the process's id in it, for scripts; removed when this is dropped.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    pub fn write(path: &Path) -> io::Result<PidFile> {
        // The directory may change before the end.
        let path = std::path::absolute(path)?;
        fs::write(&path, format!("{}\n", std::process::id()))?;
        Ok(PidFile(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // If somebody else has removed it, all is well.
        let _ = fs::remove_file(&self.0);
    }
}

/// Signals that mean that the program has gone wrong.
const CRASHES: [c_int; 5] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// Where the report of a crash goes.
struct CrashLog {
    /// None is standard output.
    path: Option<CString>,
    /// What its lines begin with, and the program's name and version.
    mark: String,
    program: &'static str,
}

static CRASH_LOG: OnceLock<CrashLog> = OnceLock::new();

/// From now on a crash is reported to the log file, or to standard output if there is none, before
/// the process dies of it. Call it once; `program` is a name and a version.
pub fn report_crashes(log_file: Option<&Path>, program: &'static str) {
    let path = log_file.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
    let mark = format!("{}:M # ", std::process::id());
    if CRASH_LOG.set(CrashLog { path, mark, program }).is_err() {
        return;
    }
    // The first call loads a library, which must not happen in a signal handler.
    let _ = stack();
    for signal in CRASHES {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: all zeros is a valid value of the structure, an empty mask among it; the
        // handler has the signature that SA_SIGINFO asks for and does only what is allowed there.
        unsafe {
            let action = action.assume_init_mut();
            action.sa_sigaction = on_crash as *const () as usize;
            action.sa_flags =
                libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
            libc::sigaction(signal, action, std::ptr::null_mut());
        }
    }
}

/// The signal handler: only what may be called there (man 7 signal-safety), so no allocation and
/// no lock. That is also why the line has no time stamp.
extern "C" fn on_crash(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    if let Some(log) = CRASH_LOG.get() {
        let fd = open_crash_log(log);
        // SAFETY: the system hands the handler a valid structure.
        let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as u64) };
        let mut digits = [0; 20];
        write_all(fd, b"\n\n=== GOREDIS BUG REPORT START: Cut & paste starting from here ===\n");
        for part in [log.mark.as_bytes(), log.program.as_bytes(), b" crashed by signal: "] {
            write_all(fd, part);
        }
        write_all(fd, number(signal.unsigned_abs().into(), 10, &mut digits));
        write_all(fd, b", si_code: ");
        write_all(fd, if code < 0 { b"-" } else { b"" });
        write_all(fd, number(code.unsigned_abs().into(), 10, &mut digits));
        if signal == libc::SIGSEGV || signal == libc::SIGBUS {
            write_all(fd, b"\n");
            write_all(fd, log.mark.as_bytes());
            write_all(fd, b"Accessing address: 0x");
            write_all(fd, number(address, 16, &mut digits));
        }
        write_all(fd, b"\n\n------ STACK TRACE ------\n");
        write_stack(fd);
        write_all(
            fd,
            b"\n=== GOREDIS BUG REPORT END. Make sure to include from START to END. ===\n",
        );
    }
    // SAFETY: both calls only have to do with this process. The handler is no longer installed
    // (SA_RESETHAND), so this ends the process, with a core where those are wanted.
    unsafe { libc::raise(signal) };
}

fn open_crash_log(log: &CrashLog) -> c_int {
    let Some(path) = &log.path else { return libc::STDOUT_FILENO };
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT;
    // SAFETY: the path ends with a zero byte and lives as long as the process.
    match unsafe { libc::open(path.as_ptr(), flags, 0o644) } {
        fd if fd < 0 => libc::STDOUT_FILENO,
        fd => fd,
    }
}

fn write_all(fd: c_int, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the bytes are valid for reading.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => bytes = &bytes[written.min(bytes.len())..],
            _ => return,
        }
    }
}

/// A number's digits, written without the formatting machinery, which might allocate.
fn number(mut value: u64, base: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(value % base) as usize];
        value /= base;
        if value == 0 || at == 0 {
            return &digits[at..];
        }
    }
}

const STACK_DEPTH: usize = 100;

#[cfg(target_env = "gnu")]
fn stack() -> ([*mut c_void; STACK_DEPTH], c_int) {
    let mut frames = [std::ptr::null_mut(); STACK_DEPTH];
    // SAFETY: there is room for as many addresses as we say.
    let depth = unsafe { libc::backtrace(frames.as_mut_ptr(), STACK_DEPTH as c_int) };
    (frames, depth)
}

#[cfg(target_env = "gnu")]
fn write_stack(fd: c_int) {
    let (frames, depth) = stack();
    // SAFETY: the first `depth` addresses are valid; this function does not allocate.
    unsafe { libc::backtrace_symbols_fd(frames.as_ptr(), depth, fd) };
}

#[cfg(not(target_env = "gnu"))]
fn stack() {}

#[cfg(not(target_env = "gnu"))]
fn write_stack(fd: c_int) {
    write_all(fd, b"(not available with this C library)\n");
}

/// Dies as of an invalid memory access: DEBUG SEGFAULT.
pub fn crash() -> ! {
    // SAFETY: raising a signal touches no memory.
    unsafe { libc::raise(libc::SIGSEGV) };
    std::process::abort()
}

#[cfg(not(miri))]
// SAFETY: declared as in mimalloc.h, which the crate mimalloc has linked as the allocator.
unsafe extern "C" {
    /// Of the allocator, mimalloc: gives back what is free, with `force` at once.
    fn mi_collect(force: bool);
    /// 30302 for 3.3.2.
    fn mi_version() -> c_int;
    /// Tells what it counts, in pieces of text that end with a zero byte.
    fn mi_stats_print_out(write: extern "C" fn(*const c_char, *mut c_void), to: *mut c_void);
}

/// Gives memory that was freed back to the system, which the allocator puts off until it has more
/// to do. Takes long where there is much; not to be called by the thread that has allocated it,
/// as the allocator would then go through all that is still in use.
pub fn give_memory_back() {
    // The allocator does nothing for a thread that has never allocated anything.
    drop(std::hint::black_box(Box::new(0)));
    #[cfg(not(miri))]
    // SAFETY: may be called by any thread at any time.
    unsafe {
        mi_collect(true)
    };
}

/// The allocator's name and version.
pub fn allocator() -> String {
    #[cfg(not(miri))]
    // SAFETY: returns a number.
    let version = unsafe { mi_version() };
    #[cfg(miri)]
    let version = 0;
    format!("mimalloc-{}.{}.{}", version / 10000, version / 100 % 100, version % 100)
}

/// What the allocator tells of itself, in its own words.
pub fn allocator_statistics() -> String {
    let mut text = Vec::<u8>::new();
    #[cfg(not(miri))]
    // SAFETY: the function gets what it expects, and is not kept.
    unsafe {
        mi_stats_print_out(append_text, (&raw mut text).cast())
    };
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(not(miri))]
extern "C" fn append_text(piece: *const c_char, text: *mut c_void) {
    // SAFETY: `text` is the vector that `allocator_statistics` has lent, and nobody else uses it
    // meanwhile; pieces end with a zero byte.
    let (text, piece) = unsafe { (&mut *text.cast::<Vec<u8>>(), CStr::from_ptr(piece)) };
    text.extend_from_slice(piece.to_bytes());
}

/// Lets other threads come first where there are not enough processors for all: the calling thread
/// has no hurry. What it cannot have is no harm.
pub fn yield_to_others() {
    // Elsewhere it would hold for the whole process.
    #[cfg(target_os = "linux")]
    // SAFETY: takes numbers alone; 0 is the calling thread, 10 a nice value, which go to 19.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_told_as_uname_tells_it() {
        let uname = std::process::Command::new("uname").arg("-srm").output().unwrap();
        assert_eq!(system_name(), String::from_utf8(uname.stdout).unwrap().trim());
    }

    /// In a process of its own: other tests take and free memory at the same time.
    #[test]
    fn memory_grows_with_what_is_taken() {
        const NAME: &str = "server::process::tests::memory_grows_with_what_is_taken";
        const ALONE: &str = "GOREDIS_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let mut test = std::process::Command::new(std::env::current_exe().unwrap());
            let output = test.args(["--exact", NAME]).env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains(" 1 passed"), "{said}");
            return;
        }
        let before = memory();
        assert!(before.anonymous > 0 && before.anonymous <= before.resident);
        assert!(before.resident < total_memory());
        let taken = vec![1u8; 64 << 20];
        let after = memory();
        assert!(after.anonymous >= before.anonymous + (60 << 20), "{before:?} {after:?}");
        assert!(peak_resident() >= taken.len() as u64);
    }

    #[test]
    fn processor_time_passes() {
        let sum = |time: CpuTime| time.user + time.system;
        let before = sum(cpu_time());
        let mut text = String::new();
        while sum(cpu_time()) < before + Duration::from_millis(20) {
            text = (0..1000).map(|n| n.to_string()).collect();
        }
        assert_eq!(text.len(), 10 + 90 * 2 + 900 * 3);
        assert!(cpu_time_of_thread().is_none_or(|time| sum(time) <= sum(cpu_time())));
    }

    #[test]
    fn the_file_limit_is_raised_but_never_lowered() {
        let now = raise_file_limit(1).unwrap().now;
        let same = raise_file_limit(now).unwrap();
        assert_eq!((same.before, same.now), (now, now));
        let most = raise_file_limit(u64::MAX / 2).unwrap();
        assert!(most.now >= now && most.error.is_some(), "{most:?}");
    }

    #[test]
    fn a_pid_file_is_there_as_long_as_its_guard() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        let guard = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(guard);
        assert!(!path.exists());
        assert!(PidFile::write(&directory.path().join("missing/server.pid")).is_err());
    }

    #[test]
    fn numbers_are_written_without_help() {
        let text = |value, base| number(value, base, &mut [0; 20]).to_vec();
        assert_eq!(text(0, 10), b"0");
        assert_eq!(text(u64::MAX, 10), b"18446744073709551615");
        assert_eq!(text(u64::MAX, 16), b"ffffffffffffffff");
    }
}
