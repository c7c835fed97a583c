"""Gets what the runs need: the tools, and Redis's own test suite.

The suite comes out of Debian's source package, through apt, so that its
authenticity is apt's business. The machine's apt configuration is read but
never changed: lists and sources live in a private directory below the cache.
Knows nothing of tests, results or servers.
"""

import hashlib
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

UPSTREAM = "7.0.15"

# Debian package -> the programs of it that the suite or this script calls.
# procps is on the list because the suite execs kill and ps: without them it
# takes every server for dead.
TOOLS = {
    "tcl": ["tclsh"],
    "redis-tools": ["redis-cli", "redis-benchmark"],
    "procps": ["kill", "ps", "pgrep"],
}
# Only needed when the suite is not in the cache yet.
UNPACK_TOOLS = {"dpkg-dev": ["dpkg-source"]}

APT_LIMIT_S = 600


class Missing(Exception):
    """Something is not there and cannot be had; the text says what and what to do."""


def require_tools(tools):
    """Makes sure that the programs are on the PATH, installing packages if need be."""
    lacking = [p for p, programs in tools.items() if not all(map(shutil.which, programs))]
    if not lacking:
        return
    wanted = " ".join(lacking)
    if not shutil.which("apt-get"):
        raise Missing(f"missing: {wanted} (and no apt-get to install them with)")
    if os.geteuid() == 0:
        root = []
    elif shutil.which("sudo") and _run(["sudo", "-n", "true"], check=False).returncode == 0:
        root = ["sudo", "-n"]
    else:
        raise Missing(f"missing: {wanted}; as root: apt-get install {wanted}")
    print(f"installing {wanted}", flush=True)
    apt = root + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    _run(apt + ["update"])
    _run(apt + ["install", "-y", "--no-install-recommends"] + lacking)
    for package in lacking:
        for program in TOOLS.get(package, []) + UNPACK_TOOLS.get(package, []):
            if not shutil.which(program):
                raise Missing(f"missing: {program}, though package {package} is installed")


def require_localhost():
    """The suite's processes find each other by this name."""
    try:
        socket.getaddrinfo("localhost", None, socket.AF_INET)
    except OSError as error:
        raise Missing(f"missing: the name localhost (in /etc/hosts): {error}") from None


def suite(cache):
    """Returns the directory that holds the suite's `tests`, fetching it on first use."""
    home = cache / f"redis-{UPSTREAM}"
    if _is_complete(home):
        return home
    require_tools(UNPACK_TOOLS)
    # Unpack beside, rename last: what stands under the final name is whole.
    staging = cache / "unpacking"
    for stale in (staging, home):
        shutil.rmtree(stale, ignore_errors=True)
    staging.mkdir(parents=True)
    version = _unpack_source(cache / "apt", staging)
    unpacked = staging / f"redis-{UPSTREAM}"
    if not (unpacked / "tests/test_helper.tcl").is_file():
        raise Missing(f"redis {version}: the source package holds no tests/test_helper.tcl")
    kept = staging / "kept"
    kept.mkdir()
    for name in ("tests", "COPYING"):
        (unpacked / name).rename(kept / name)
    (kept / "version").write_text(version + "\n")
    (kept / "digest").write_text(_digest(kept / "tests") + "\n")
    kept.rename(home)
    shutil.rmtree(staging)
    print(f"suite: Debian source redis {version}, now in {home}", flush=True)
    return home


def _is_complete(home):
    try:
        return (home / "digest").read_text().strip() == _digest(home / "tests")
    except OSError:
        return False


def _digest(root):
    """One hash over all names and contents below root."""
    total = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{content} {path.relative_to(root)}\n".encode())
    return total.hexdigest()


def _unpack_source(apt_home, staging):
    """Downloads the newest Debian revision of redis UPSTREAM into staging; returns it."""
    entries = _deb_src_entries(Path("/etc/apt"))
    if not entries:
        raise Missing(
            "this machine's apt sources name no Debian archive, so redis's source cannot"
            " be had from them: run on Debian 12, or give --suite DIR, where DIR/tests"
            f" is redis {UPSTREAM}'s own tests directory"
        )
    sources = apt_home / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    for directory in (sources, apt_home / "lists/partial", apt_home / "cache/archives/partial"):
        directory.mkdir(parents=True, exist_ok=True)
    for number, (suffix, text) in enumerate(entries):
        (sources / f"{number:02}.{suffix}").write_text(text)
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": sources,
        "Dir::State::lists": apt_home / "lists",
        "Dir::Cache": apt_home / "cache",
        # The cache may lie where the user _apt cannot go.
        "APT::Sandbox::User": "root",
        "Acquire::Retries": "3",
    }
    private = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    _run(["apt-get", *private, "update"])
    known = _run(["apt-cache", *private, "showsrc", "--only-source", "redis"], check=False)
    versions = re.findall(r"^Version: (\S+)$", known.stdout, re.M)
    fitting = [v for v in versions if re.match(rf"(\d+:)?{re.escape(UPSTREAM)}-", v)]
    if not fitting:
        found = ", ".join(sorted(set(versions))) or "none"
        raise Missing(f"no source of redis {UPSTREAM} in this machine's archives: {found}")
    newest = fitting[0]
    for version in fitting[1:]:
        if _run(["dpkg", "--compare-versions", version, "gt", newest], check=False).returncode == 0:
            newest = version
    _run(["apt-get", *private, "source", "--only-source", f"redis={newest}"], cwd=staging)
    return newest


def _deb_src_entries(etc):
    """The machine's Debian archives as deb-src entries: (file suffix, text) pairs."""
    entries = []
    lists = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    for path in filter(Path.is_file, lists):
        for line in path.read_text().splitlines():
            entry = re.match(r"\s*deb(?:-src)?\s+((?:\[[^\]]*\]\s+)?(\S+)\s.*)", line)
            if entry and _is_debian_archive(entry[2]):
                entries.append(("list", f"deb-src {entry[1]}\n"))
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n[ \t]*\n", path.read_text()):
            lines = [ln for ln in stanza.splitlines() if ln.strip() and not ln.startswith("#")]
            text = "\n".join(lines) + "\n"
            uris = re.search(r"^URIs:((?:.*\n)(?:[ \t].*\n)*)", text, re.M | re.I)
            if not uris or re.search(r"^Enabled:\s*(no|false|0)\s*$", text, re.M | re.I):
                continue
            if all(map(_is_debian_archive, uris[1].split())):
                changed = re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.M | re.I)
                entries.append(("sources", changed))
    return list(dict.fromkeys(entries))


def _is_debian_archive(uri):
    """Whether the URI is Debian's own archive or, by its path, a mirror of it."""
    parts = urlsplit(uri)
    if (parts.hostname or "").endswith("debian.org"):
        return True
    names = {"debian", "debian-security", "debian.list", "debian-security.list"}
    return not names.isdisjoint(parts.path.split("/"))


def _run(command, check=True, cwd=None):
    """Runs a command to its end, quietly; its output is shown when it fails."""
    shown = " ".join(word for word in map(str, command) if "::" not in word and word != "-o")
    try:
        done = subprocess.run(
            list(map(str, command)), cwd=cwd, text=True, errors="replace", timeout=APT_LIMIT_S,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"`{shown}` did not end within {APT_LIMIT_S} s") from None
    except OSError as error:
        raise Missing(f"`{shown}` cannot be run: {error}") from None
    if check and done.returncode != 0:
        raise Missing(f"`{shown}` failed:\n{done.stdout[-3000:].rstrip()}")
    return done
