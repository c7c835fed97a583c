"""What the bench scripts share: servers to start and stop, a small client, tables.

Knows how a server is run and watched from outside (command line, socket, /proc). Must not know
what is being measured: that is each script's own business. Linux only, standard library only.
"""

import argparse
import ctypes
import itertools
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, NamedTuple, Tuple

REPOSITORY = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_DEADLINE_S = 20
REPLY_DEADLINE_S = 120
# Outside the kernel's default ephemeral range, so that no outgoing connection takes a port
# between our test of it and the server's bind.
PORTS = range(20000, 32000)


class Missing(Exception):
    """Something the script needs is not here; nothing was measured (exit 2)."""


class Stopped(Exception):
    """A signal or the time limit ended the run."""


class ServerError(Exception):
    """The server answered with an error, or not at all."""

    def unknown_command(self):
        """The name of the command that the server does not know, if that is the error."""
        match = re.search(r"unknown command '?`?(\w+)", str(self), re.IGNORECASE)
        return match and match[1]


def trouble(error):
    """A word on why something was not measured."""
    unknown = isinstance(error, ServerError) and error.unknown_command()
    return f"skipped: no {unknown}" if unknown else f"failed: {error}"


# ---------------------------------------------------------------- arguments and the main program


def argument_parser(description):
    """The options every script has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--goredis", metavar="PATH", help="default: release/goredis in cargo's target directory")
    add("--peer", metavar="PATH", default="redis-server", help="default: redis-server from PATH")
    add("--dir", metavar="DIR", help="where temporary directories go (default: $TMPDIR or /tmp)")
    add("--server-cpus", metavar="N[,N]", type=cpu_list, help="default: the first usable CPU")
    add("--client-cpus", metavar="N[,N]", type=cpu_list, help="default: the next usable CPU")
    add("--quick", action="store_true", help="small and short: shows that it works, not numbers")
    add("--markdown", action="store_true", help="print tables as Markdown")
    add("--limit", metavar="S", type=int, default=3600, help="give up after S seconds (3600)")
    return parser


def program(main):
    """Runs `main(argv)` and exits with its result; every way out stops servers and cleans up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _stop)
    try:
        if not sys.platform.startswith("linux"):
            raise Missing("needs Linux: CPU time and memory are read from /proc")
        sys.exit(main(sys.argv[1:]))
    except Missing as missing:
        print(f"{Path(sys.argv[0]).name}: {missing}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        print(f"\n{Path(sys.argv[0]).name}: {stopped}", file=sys.stderr)
        sys.exit(130)


def _stop(number, _frame):
    # Once is enough: a second signal must not interrupt the cleaning up after the first.
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(other, signal.SIG_IGN)
    what = "time limit reached" if number == signal.SIGALRM else "stopped by a signal"
    raise Stopped(what)


def note(text):
    """Progress, for whoever watches a terminal; kept out of logs and of standard output."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- who runs where


class Cpus(NamedTuple):
    server: frozenset
    client: frozenset


def pick_cpus(options):
    usable = sorted(os.sched_getaffinity(0))
    server = options.server_cpus or frozenset(usable[:1])
    others = [cpu for cpu in usable if cpu not in server]
    client = options.client_cpus or frozenset(others[:1] or usable)
    if not (server | client) <= set(usable):
        raise Missing(f"usable CPUs are {usable}")
    return Cpus(server, client)


def cpu_list(text):
    return frozenset(int(part) for part in text.split(","))


class Side(NamedTuple):
    """One of the two programs compared, with what only it is started with."""

    name: str
    binary: str
    extra: Tuple[str, ...] = ()


def find_sides(options, more=()):
    """goredis and its peer, and the paths of what is `more` to find; says all that is missing."""
    goredis, peer, *others = find_all([
        wanted_goredis(options),
        (options.peer, "install redis-server, or give --peer PATH"),
        *more,
    ])
    name = Path(peer).name
    return [Side("goredis", goredis), Side("peer" if name == "goredis" else name, peer)], others


def wanted_goredis(options):
    target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
    path = options.goredis or str(target / "release" / "goredis")
    return path, "build it with `cargo build --release`, or give --goredis PATH"


def find_all(wanted):
    """Absolute paths of the programs in `wanted`, pairs of a name or path and a hint."""
    found = [shutil.which(name) for name, _ in wanted]
    missing = [f"{name} not found: {hint}" for (name, hint), path in zip(wanted, found) if not path]
    if missing:
        raise Missing("; ".join(missing))
    return [os.path.abspath(path) for path in found]


def check_start(sides, cpus, options):
    """Starts each server once and plainly: what cannot run at all is Missing, not a result."""
    for side in sides:
        with Server(side._replace(extra=()), cpus, options.dir):
            pass


def version_line(binary):
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({error})"
    return (done.stdout or done.stderr).strip().split("\n")[0] or "(no version)"


def describe(sides, cpus):
    """Lines that say what was compared, and where."""
    lines = [f"{side.name}: {version_line(side.binary)}" for side in sides]
    lines.append(
        f"machine: {_cpu_model()}, {os.cpu_count()} CPUs, Linux {os.uname().release}; "
        f"server on CPU {_join(cpus.server)}, client on CPU {_join(cpus.client)}"
    )
    if cpus.server & cpus.client:
        lines.append("WARNING: server and client share a CPU; times contain each other's work")
    return lines


def _cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return os.uname().machine


def _join(numbers):
    return ",".join(str(number) for number in sorted(numbers))


def raise_open_files(wanted):
    """Raises the limit of open files, for us and the servers started after; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for new in ((max(wanted, soft), max(wanted, hard)), (min(wanted, hard), hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, new)
            return new[0]
        except (ValueError, OSError):
            continue
    return soft


def die_with_parent():
    """Asks the kernel to kill this process when its parent dies, even by SIGKILL."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


# ---------------------------------------------------------------- servers


class Server:
    """A server in a temporary directory on a free loopback port; use as a context manager."""

    def __init__(self, side, cpus, parent_dir=None, extra=()):
        self.side, self.cpus = side, cpus.server
        self.extra = [*side.extra, *extra]
        self.parent_dir = parent_dir
        self.process = self.directory = self.port = None

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="goredis-bench-", dir=self.parent_dir)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self):
        return self.process.pid

    def _start(self):
        for _ in range(5):  # someone else may take the port first: then try another
            self.port = _free_port()
            self._spawn()
            if self._answers():
                return
            exited = self.process.poll() is not None
            self._kill()
            if not exited:
                break  # it runs and does not answer: another port would not help
        raise Missing(f"{self.side.binary} does not start: {self._last_words()}")

    def _spawn(self):
        flags = {"--port": str(self.port), "--bind": HOST, "--dir": self.directory}
        flags.update({"--appendonly": "no", "--save": ""})
        flags.update(zip(self.extra[::2], self.extra[1::2]))
        with open(os.path.join(self.directory, "log"), "wb") as log:
            self.process = subprocess.Popen(
                [self.side.binary, *itertools.chain.from_iterable(flags.items())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                # A group of its own: Ctrl-C reaches us alone, and forked children go with it.
                start_new_session=True, preexec_fn=self._before_exec,
            )

    def _before_exec(self):
        die_with_parent()
        os.sched_setaffinity(0, self.cpus)

    def _answers(self):
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with Connection(self.port) as connection:
                    connection.call("PING")
                # Still ours, and not someone else's server on the port we wanted.
                return self.process.poll() is None
            except (OSError, ServerError):
                time.sleep(0.02)
        return False

    def _kill(self):
        if self.process is None:
            return
        # Nothing in the directory is worth an orderly end. The group takes forked children along.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def _last_words(self):
        text = Path(self.directory, "log").read_text(errors="replace").strip().split("\n")
        return text[-1] or "it printed nothing"

    def rss(self):
        """Resident bytes of the server process itself."""
        return _status_bytes(self.pid, "VmRSS")

    def memory_with_children(self):
        """Resident bytes of the server and what its forked children do not share with it."""
        return self.rss() + sum(_private_bytes(child) for child in _children(self.pid))

    def cpu(self):
        return CpuClock.read(self.pid)

    def wait_idle(self, deadline_s=10):
        """Waits until the server has no background work left (freeing, rehashing, flushing)."""
        deadline = time.monotonic() + deadline_s
        calm = 0
        while calm < 2 and time.monotonic() < deadline:
            before = self.cpu()
            time.sleep(0.1)
            # 3% of a core: above a server's idle timer, below any work worth waiting for.
            calm = calm + 1 if self.cpu().since(before) < 3_000_000 else 0

    def wait_rss_steady(self, calm_s=1.0, deadline_s=15):
        """Waits until the resident size stands still; returns it in bytes."""
        deadline = time.monotonic() + deadline_s
        last, since = self.rss(), time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < calm_s:
            time.sleep(0.1)
            now = self.rss()
            if abs(now - last) > last // 500:
                last, since = now, time.monotonic()
        return self.rss()


def _free_port():
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
                return port
            except OSError:
                continue


class CpuClock(NamedTuple):
    """CPU time used by a process so far, all threads, user and system."""

    threads: dict  # thread id -> nanoseconds; empty where the kernel has no schedstat
    ticks_ns: int  # the whole process with threads that ended, in steps of a clock tick (10 ms)

    @staticmethod
    def read(pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        threads = {}
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                text = Path(f"/proc/{pid}/task/{task}/schedstat").read_text()
                threads[task] = int(text.split()[0])
            except (OSError, IndexError, ValueError):
                continue
        return CpuClock(threads, ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK"))

    def since(self, earlier):
        """Nanoseconds used since `earlier`."""
        if not self.threads or not earlier.threads.keys() <= self.threads.keys():
            # No schedstat, or a thread ended and took its count along: the coarse clock has all.
            return self.ticks_ns - earlier.ticks_ns
        return sum(ns - earlier.threads.get(task, 0) for task, ns in self.threads.items())


def _status_bytes(pid, field):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise ServerError(f"process {pid} has no {field}: it is gone")


def _children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    except OSError:
        pass
    return found


def _private_bytes(pid):
    # Only the child's map is walked: walking the server's own would hold up what is measured.
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1]) * 1024
    except OSError:
        pass  # it has just ended
    return total


def filesystem_of(directory):
    """Type of the file system `directory` is on: an AOF on tmpfs has no disk to wait for."""
    path = os.path.realpath(directory or tempfile.gettempdir())
    best = ("", "?")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind = line.split()[:3]
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


# ---------------------------------------------------------------- client


def encode(*arguments):
    """A command in RESP."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


class Connection:
    """A blocking RESP2 client; use as a context manager."""

    def __init__(self, port):
        self.socket = socket.create_connection((HOST, port), timeout=REPLY_DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.input.close()
        self.socket.close()

    def call(self, *arguments):
        """The reply to one command; an error reply is raised."""
        self.socket.sendall(encode(*arguments))
        return self._reply()

    def _reply(self):
        line = self.input.readline()
        if not line.endswith(b"\r\n"):
            raise ServerError("connection closed by the server")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise ServerError(rest.decode(errors="replace"))
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.input.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]
        raise ServerError(f"not RESP: {line[:40]!r}")

    def info(self, section):
        """INFO's fields of one section, as text."""
        lines = self.call("INFO", section).decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)


class Shape(NamedTuple):
    """Data of one form: a command with %-placeholders, and the numbers that go into entry i."""

    arguments: Tuple[bytes, ...]
    values: Callable[[int], tuple] = lambda i: (i,)
    reply_lines: int = 1  # lines of RESP in one reply: 2 for a bulk string

    def template(self):
        """The command's RESP with its placeholders; each must be as wide for every i."""
        values = list(self.values(0))
        parts = [b"*%d\r\n" % len(self.arguments)]
        for argument in self.arguments:
            taken = tuple(values.pop(0) for _ in range(argument.count(b"%")))
            parts.append(b"$%d\r\n%s\r\n" % (len(argument % taken), argument))
        return b"".join(parts)

    def batches(self, indices, size):
        """Pairs of bytes to send and number of commands in them, `size` commands at most."""
        template, values = self.template(), self.values
        for low in range(0, len(indices), size):
            part = indices[low : low + size]
            yield b"".join([template % values(i) for i in part]), len(part)


class Pipeline:
    """A raw connection for many commands whose replies only need counting."""

    def __init__(self, port):
        self.socket = socket.create_connection((HOST, port), timeout=REPLY_DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.at_line_start = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send_all(self, batches, reply_lines=1, window=2):
        """Sends `batches`, at most `window` of them unanswered at a time; returns the commands.

        What is unanswered fits the socket's buffers by far, so neither end can block the other.
        """
        owed = count = 0
        for data, commands in batches:
            self.socket.sendall(data)
            count += commands
            owed += commands * reply_lines
            while owed > (window - 1) * commands * reply_lines:
                owed -= self._lines()
        while owed > 0:
            owed -= self._lines()
        return count

    def _lines(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ServerError("connection closed by the server")
        if (self.at_line_start and data[:1] == b"-") or b"\n-" in data:
            start = 0 if data[:1] == b"-" else data.index(b"\n-") + 1
            raise ServerError(data[start + 1 :].split(b"\r")[0].decode(errors="replace"))
        self.at_line_start = data.endswith(b"\n")
        return data.count(b"\n")


def load(server, shape, indices, batch=500):
    """Loads the entries of `shape` numbered `indices`, as fast as one connection can."""
    with Pipeline(server.port) as pipeline:
        return pipeline.send_all(shape.batches(indices, batch), shape.reply_lines)


# ---------------------------------------------------------------- tables


def render(headers, rows, markdown=False):
    """A table as text; the first column to the left, all others to the right.

    A column whose header starts with `<` goes to the left as well.
    """
    left = [i == 0 or header.startswith("<") for i, header in enumerate(headers)]
    headers = [header.lstrip("<") for header in headers]
    cells = [headers, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]

    def line(row):
        padded = [
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, left)
        ]
        return "| " + " | ".join(padded) + " |" if markdown else "  ".join(padded).rstrip()

    rule = ["-" * w if is_left else "-" * (w - 1) + ":" for w, is_left in zip(widths, left)]
    plain_rule = ["-" * w for w in widths]
    second = "| " + " | ".join(rule) + " |" if markdown else "  ".join(plain_rule)
    return "\n".join([line(cells[0]), second, *[line(row) for row in cells[1:]]])
