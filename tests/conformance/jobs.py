"""Runs suite files as processes, several side by side, and ends them for certain.

One suite process a file, each in a directory, a port range and a process
group of its own: what a file leaves behind (a hung server, a stopped one, a
client) is killed with its group and cannot reach the next. Knows neither the
skip list nor what the logs say.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# Programs of redis-tools, and the names that the server binary answers to.
CLIENT_PROGRAMS = ("redis-cli", "redis-benchmark")
SERVER_NAMES = ("redis-server", "redis-sentinel", "redis-check-aof", "redis-check-rdb")

# A file needs some ports for its servers, and 32 below them for the harness itself.
# It also tries each port + 10000, so that all must stay below 55535.
PORTS_PER_CLIENT = 300
PORTS_BELOW = 32

KEPT_LOG_BYTES = 256 * 1024


class Workshop:
    """The temporary directory of a run: the binary under test and the files' own places.

    It lies in /tmp whatever TMPDIR says: the path of a server's unix socket
    in it must stay below 108 bytes.
    """

    def __init__(self, suite, server):
        self.suite = suite
        self.path = Path(tempfile.mkdtemp(prefix="conformance-", dir="/tmp"))
        # A copy, so that a build during the run does not change what is tested.
        self.server = self.path / "server"
        shutil.copy(server, self.server)
        self.server.chmod(0o755)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def place(self, number):
        """A fresh directory laid out as the suite expects Redis's source to be."""
        place = self.path / str(number)
        (place / "src").mkdir(parents=True)
        for name in SERVER_NAMES:
            (place / "src" / name).symlink_to(self.server)
        for name in CLIENT_PROGRAMS:
            (place / "src" / name).symlink_to(shutil.which(name))
        tests, theirs = place / "tests", self.suite / "tests"
        for directory in ("tmp", "support"):
            (tests / directory).mkdir(parents=True)
        for entry in [*theirs.iterdir(), *(theirs / "support").iterdir()]:
            if entry.name not in ("tmp", "support", "util.tcl"):
                (place / entry.relative_to(self.suite)).symlink_to(entry)
        # The last that the suite loads: where our changes to its procedures go.
        loads = (theirs / "support/util.tcl", Path(__file__).resolve().parent / "shim.tcl")
        (tests / "support/util.tcl").write_text("".join(f"source {{{p}}}\n" for p in loads))
        return place


def first_port():
    """Where this run's ports begin: runs side by side should not walk in step."""
    return 20100 + os.getpid() % 10 * 1200


class Job:
    """One suite file under way."""

    def __init__(self, file, workshop, number, slot, ports, log, options):
        self.file = file
        self.slot = slot
        self.log = log
        self.place = workshop.place(number)
        self.base_port = ports + slot * (PORTS_PER_CLIENT + PORTS_BELOW) + PORTS_BELOW
        command = [
            "tclsh", "tests/test_helper.tcl", "--single", file, "--clients", "1",
            "--baseport", str(self.base_port), "--portcount", str(PORTS_PER_CLIENT),
            "--dont-clean", *options,
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("REDISCLI")}
        # No colours in the log; one encoding everywhere; redis-cli's history goes here.
        environment.update(TERM="dumb", LC_ALL="C.UTF-8", HOME=str(self.place))
        self.started = time.monotonic()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=self.place, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )

    def seconds(self):
        return time.monotonic() - self.started

    def has_ended(self):
        """Whether the suite's own process is gone (its servers may not be)."""
        return _has_exited(self.process)

    def end(self):
        """Kills whatever is left of the group."""
        end_group(self.process)

    def exit_code(self):
        """The suite's own exit code, once end() was called: not 0 if a test failed."""
        return self.process.returncode

    def keep_server_logs(self, target):
        """Copies the servers' logs and configurations (their last part) to target."""
        shutil.rmtree(target, ignore_errors=True)
        for path in sorted((self.place / "tests/tmp").rglob("*")):
            if path.is_file() and re.match(r"stdout|stderr|redis\.conf", path.name):
                copy = target / path.relative_to(self.place / "tests/tmp")
                copy.parent.mkdir(parents=True, exist_ok=True)
                with path.open("rb") as source:
                    source.seek(max(0, path.stat().st_size - KEPT_LOG_BYTES))
                    copy.write_bytes(source.read())

    def remove(self):
        shutil.rmtree(self.place, ignore_errors=True)


def _has_exited(process):
    """Like poll(), but leaves the zombie, so that its group's number stays taken."""
    if process.returncode is not None:
        return True
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, flags) is not None


def end_group(process):
    """Kills a process that leads its own group, with the group, and reaps it."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def why_not_a_server(server, scratch, limit_s=10):
    """Starts the server once as the suite does; returns what is wrong, "" if nothing.

    Without this, a binary that cannot start costs two minutes a server started.
    """
    scratch.mkdir()
    port = _free_port()
    config = scratch / "redis.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {scratch}\nlogfile ''\ndaemonize no\n"
        # The line with the PID that the suite waits for is part of the logo.
        f"unixsocket {scratch}/socket\nloglevel verbose\nalways-show-logo yes\n"
    )
    log = scratch / "stdout"
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                [server, config], cwd=scratch, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )
        except OSError as error:
            return f"it cannot be executed: {error}"
    deadline = time.monotonic() + limit_s
    try:
        wrong = _first_fault(process, port, log, deadline)
        if not wrong:
            process.terminate()
            wrong = _until(lambda: _has_exited(process), deadline + limit_s)
            wrong = wrong and "it does not exit on SIGTERM"
    finally:
        end_group(process)
    said = log.read_text(errors="replace").strip()[-2000:]
    return f"{wrong}; it said:\n{said or '(nothing)'}" if wrong else ""


def _first_fault(process, port, log, deadline):
    for text in (f" PID: {process.pid}", "Ready to accept"):
        _until(lambda: _has_exited(process) or text in log.read_text(errors="replace"), deadline)
        if text not in log.read_text(errors="replace"):
            ended = "it exited" if _has_exited(process) else "time is up"
            return f"no `{text.strip()}` on its standard output ({ended})"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.settimeout(5)
            connection.sendall(b"PING\r\n\n")
            reply = connection.recv(64)
    except OSError as error:
        return f"no answer to PING on port {port}: {error}"
    return "" if reply == b"+PONG\r\n" else f"PING was answered with {reply!r}"


def _until(condition, deadline):
    """Waits for the condition; returns whether time ran out."""
    while not condition():
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
