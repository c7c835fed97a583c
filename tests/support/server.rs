//! A server as a process of its own, in a temporary directory, on a port of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use super::{Conn, DEADLINE, wait_for};

/// In the log when a server is ready. Redis writes the first letter large for TCP and small for a
/// unix socket.
const READY: &str = "eady to accept connections";

/// What to start, and how.
#[derive(Clone)]
pub struct Options {
    /// None for the goredis that was built with the tests; else a redis-server.
    redis: Option<String>,
    args: Vec<String>,
    stdin: Option<String>,
    /// Where the log goes instead of standard output, in the directory.
    log_file: Option<String>,
    dir: Arc<TempDir>,
}

impl Options {
    pub fn new() -> Options {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Options { redis: None, args: Vec::new(), stdin: None, log_file: None, dir }
    }

    /// Starts this redis-server instead of goredis.
    pub fn redis(mut self, program: &str) -> Options {
        self.redis = Some(program.to_string());
        self
    }

    /// Starts the referee, if the environment names one: for tests of what both must do alike.
    pub fn new_or_referee() -> Options {
        match super::run::referee() {
            Some(program) => Options::new().redis(&program),
            None => Options::new(),
        }
    }

    /// Adds arguments behind those that every server gets.
    pub fn args<A: AsRef<str>>(mut self, args: &[A]) -> Options {
        self.args.extend(args.iter().map(|arg| arg.as_ref().to_string()));
        self
    }

    /// Gives the process this on its standard input.
    pub fn stdin(mut self, text: &str) -> Options {
        self.stdin = Some(text.to_string());
        self
    }

    /// Has the log written to a file of this name in the directory.
    pub fn log_file(mut self, name: &str) -> Options {
        self.log_file = Some(name.to_string());
        self.args(&["--logfile", name])
    }

    /// The directory that a server with these options runs in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the program with the given arguments alone.
    fn spawn(&self, args: &[String]) -> Child {
        let program = self.redis.as_deref().unwrap_or(env!("CARGO_BIN_EXE_goredis"));
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir());
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{program}: {e}"));
        if let (Some(text), Some(mut stdin)) = (&self.stdin, child.stdin.take()) {
            stdin.write_all(text.as_bytes()).unwrap();
        }
        child
    }

    /// Starts a server, and kills it after a while, ready or not.
    pub fn run_and_kill(&self, after: Duration) {
        let args = self.server_args(free_port());
        let mut child = self.spawn(&args);
        thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The options' arguments behind those that every server gets, which they may override.
    fn server_args(&self, port: u16) -> Vec<String> {
        // A configuration file, or "-" for standard input, must stay first.
        let (first, rest) = match self.args.split_first() {
            Some((first, rest)) if !first.starts_with("--") => (Some(first), rest),
            _ => (None, &self.args[..]),
        };
        let dir = self.dir().to_str().unwrap();
        let port = port.to_string();
        let own = ["--port", &port, "--dir", dir, "--save", "", "--appendonly", "no"];
        let own = own.map(String::from);
        first.into_iter().cloned().chain(own).chain(rest.to_vec()).collect()
    }

    /// Runs the program with the options' arguments alone, which must make it end soon by itself.
    #[track_caller]
    pub fn run_to_exit(&self) -> Ended {
        let mut child = self.spawn(&self.args);
        let pipes: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let [stdout, stderr] = pipes.map(|mut pipe| {
            thread::spawn(move || {
                let mut text = String::new();
                pipe.read_to_string(&mut text).map(|_| text)
            })
        });
        let Some(status) = wait_for_exit(&mut child, DEADLINE) else {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("does not end: {:?}", self.args);
        };
        let [stdout, stderr] = [stdout, stderr].map(|text| text.join().unwrap().unwrap());
        Ended { status, stdout, stderr }
    }
}

/// What a program that has ended left behind.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

fn wait_for_exit(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let mut status = None;
    wait_for(deadline, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status
}

/// A running server. When it is dropped, its process and its directory go away.
pub struct Server {
    options: Options,
    port: u16,
    child: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    #[track_caller]
    pub fn start(options: Options) -> Server {
        Server::try_start(options).unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// As [`Server::start`]; if the server ends or does not get ready, returns its log.
    pub fn try_start(options: Options) -> Result<Server, String> {
        // Between the choice of a port and the server's start another program may take it: then
        // the server ends, and another port is tried.
        let mut log = String::new();
        for _ in 0..5 {
            match Server::start_at(options.clone(), free_port()) {
                Err(text) if text.contains("Failed listening on port") => log = text,
                other => return other,
            }
        }
        Err(log)
    }

    fn start_at(options: Options, port: u16) -> Result<Server, String> {
        let args = options.server_args(port);
        let mut child = options.spawn(&args);
        let log = Arc::new(Mutex::new(String::new()));
        let pipes: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let readers = pipes.map(|pipe| collect(pipe, log.clone())).into();
        let mut server = Server { options, port, child, log, readers };
        let mut ended = None;
        wait_for(DEADLINE, || {
            ended = server.child.try_wait().unwrap();
            ended.is_some() || server.log().contains(READY)
        });
        if ended.is_some() {
            server.join_readers();
            return Err(server.log());
        }
        let log = server.log();
        if !log.contains(READY) {
            return Err(format!("{log}\nnot ready in time"));
        }
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn dir(&self) -> &Path {
        self.options.dir()
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    #[track_caller]
    pub fn connect(&self) -> Conn {
        Conn::connect(self.port)
    }

    /// What the server has written to standard output and standard error since it was started,
    /// and to its log file.
    pub fn log(&self) -> String {
        let mut log = self.log.lock().unwrap().clone();
        if let Some(name) = &self.options.log_file {
            let file = std::fs::read_to_string(self.dir().join(name));
            // It comes with the first line.
            log.push_str(&file.unwrap_or_default());
        }
        log
    }

    /// Waits for a text in the log.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        let found = wait_for(DEADLINE, || self.log().contains(text));
        assert!(found, "no {text:?} in the log:\n{}", self.log());
    }

    /// Resident memory in bytes; Linux only.
    pub fn resident_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// How many descriptors the process has open; Linux only.
    pub fn open_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Processor time used so far.
    pub fn cpu_time(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // Behind the name in parentheses: user and system time are the 12th and 13th field, in
        // hundredths of a second on every Linux there is.
        let (_, fields) = text.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// The TCP ports the process listens on.
    pub fn listening_ports(&self) -> Vec<u16> {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let targets: Vec<_> =
            descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
        let mut ports = Vec::new();
        for table in ["tcp", "tcp6"] {
            let path = format!("/proc/{}/net/{table}", self.pid());
            for line in std::fs::read_to_string(path).unwrap_or_default().lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let (_, port) = fields[1].rsplit_once(':').unwrap();
                let socket = PathBuf::from(format!("socket:[{}]", fields[9]));
                // 0A is the state LISTEN.
                if fields[3] == "0A" && targets.contains(&socket) {
                    ports.push(u16::from_str_radix(port, 16).unwrap());
                }
            }
        }
        ports
    }

    /// Sends the process a signal: `TERM`, `INT`, `STOP`, `CONT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let mut command = Command::new("kill");
        command.arg(format!("-{name}")).arg(self.pid().to_string());
        assert!(command.status().unwrap().success());
    }

    /// Kills the process as `kill -9` does.
    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.join_readers();
    }

    /// Asks the process to end, which must succeed in time.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.signal("TERM");
        let status = self.wait_for_exit();
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let status = wait_for_exit(&mut self.child, DEADLINE);
        let status = status.unwrap_or_else(|| panic!("does not end:\n{}", self.log()));
        self.join_readers();
        status
    }

    /// Starts the program again with the same options and directory; it must have ended before.
    #[track_caller]
    pub fn restart(&mut self) {
        self.check_log();
        let options = self.options.clone();
        *self = Server::start(options);
    }

    fn join_readers(&mut self) {
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
    }

    /// Fails the test if the server has panicked.
    fn check_log(&self) {
        let log = self.log();
        let bad = ["panicked at", "BUG REPORT START"];
        assert!(!bad.iter().any(|text| log.contains(text)), "the server panicked:\n{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        if !thread::panicking() {
            self.check_log();
        }
    }
}

fn collect(pipe: Box<dyn Read + Send>, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The append-only files in a server's directory, of the kind the suffix says: `.incr.aof`,
/// `.base.aof`, `.manifest`; the newest last.
pub fn aof_files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir.join("appendonlydir")) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().ends_with(suffix));
    paths.sort_by_key(|path| File::open(path).unwrap().metadata().unwrap().modified().unwrap());
    paths
}
