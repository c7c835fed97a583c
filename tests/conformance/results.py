"""The skip list, and what a suite process's log says.

Knows the text the suite writes and the list's format; starts nothing.
"""

import re
from dataclasses import dataclass, field


class Malformed(Exception):
    """The skip list cannot be read as one; the text names the line."""


@dataclass(frozen=True)
class Skip:
    """One line of the skip list."""

    file: str  # "unit/auth", or "*" for all (tags only)
    what: str  # test name, "/regex/", "tag:NAME", or "*" for the whole file
    reason: str
    line: int

    @property
    def is_tag(self):
        return self.what.startswith("tag:")

    @property
    def is_file(self):
        return self.what == "*"

    @property
    def is_test(self):
        return not self.is_tag and not self.is_file

    def matches(self, name):
        if self.what.startswith("/"):
            return re.search(self.what[1:-1], name) is not None
        return self.what == name

    def for_suite(self):
        """The line as --skipfile wants it: a regex has no slash at its end there."""
        return self.what[:-1] if self.what.startswith("/") else self.what


class SkipList:
    def __init__(self, text):
        self.lines = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            head, first, rest = line.partition(" | ")
            what, last, reason = rest.rpartition(" | ")
            skip = Skip(head.strip(), what.strip(), reason.strip(), number)
            if not (first and last and skip.file and skip.what and skip.reason):
                raise Malformed(f"skip, line {number}: not `file | test | reason`: {line}")
            if skip.file == "*" and not skip.is_tag:
                raise Malformed(f"skip, line {number}: only tags can be for all files")
            if skip.what.startswith("/") and not (len(skip.what) > 2 and skip.what.endswith("/")):
                raise Malformed(f"skip, line {number}: a regex stands between two slashes")
            self.lines.append(skip)

    def for_file(self, file):
        return [skip for skip in self.lines if skip.file in (file, "*")]


@dataclass
class Failure:
    name: str
    message: str


@dataclass
class FileResult:
    """What one run of one suite file came to."""

    file: str
    passed: list = field(default_factory=list)  # names
    failures: list = field(default_factory=list)
    skipped: list = field(default_factory=list)  # names from the skip list
    ignored: list = field(default_factory=list)  # what the suite leaves out by tag
    finished: bool = False  # the suite reported the file as done
    stuck_in: str = ""  # the test (or step) under way when time was up
    seconds: float = 0.0

    def failed_names(self):
        return {failure.name for failure in self.failures}


# Where a failure belongs to no test: a server that did not start, a block's own code.
OUTSIDE = "(outside any test)"

STATUS = re.compile(
    r"\[(?P<status>ok|err|skip|ignore|exception|ready|TIMEOUT|\d+/\d+ done)\]: (?P<rest>.*)"
)
OK = re.compile(r"(?P<name>.*) \((?P<ms>\d+) ms\)")
IN_PROGRESS = re.compile(r"\S+ => (?P<state>\(.*)")


def parse_log(file, text):
    """Reads a log of `test_helper.tcl --single FILE` into a FileResult.

    The caller judges what is missing from it: a log may end anywhere.
    """
    result = FileResult(file)
    last_test = "(nothing)"
    lines = text.split("\n")
    marks = [(i, m) for i, line in enumerate(lines) if (m := STATUS.fullmatch(line))]
    for (i, mark), following in zip(marks, [i for i, _ in marks[1:]] + [len(lines)]):
        status, rest = mark["status"], mark["rest"]
        body = lines[i + 1 : following]
        if status == "ok" and (ok := OK.fullmatch(rest)):
            result.passed.append(ok["name"])
            last_test = ok["name"]
        elif status == "skip":
            result.skipped.append(rest)
        elif status == "ignore":
            result.ignored.append(rest)
        elif status == "err":
            result.failures.append(_failure(file, rest, body))
            last_test = result.failures[-1].name
        elif status == "exception":
            # It was outside any test: inside, it would only have failed the test (shim.tcl).
            result.failures.append(Failure(f"[exception] after: {last_test}",
                                           "\n".join([rest, *body])))
        elif status == "TIMEOUT":
            states = [m["state"] for line in body if (m := IN_PROGRESS.fullmatch(line))]
            state = states[0] if states else "(unknown)"
            result.stuck_in = state.removeprefix("(IN PROGRESS) ")
            result.failures.append(Failure("[timeout] " + result.stuck_in,
                                           "no progress; the file was ended here"))
        elif status.endswith("done"):
            result.finished = True
    return result


def _failure(file, rest, body):
    name, separator, after = rest.rpartition(f" in tests/{file}.tcl")
    if separator and not after:
        return Failure(name, "\n".join(_before_summary(body)))
    return Failure(OUTSIDE, "\n".join([rest, *_before_summary(body)]))


def _before_summary(body):
    """The body without the suite's closing words, should they follow it."""
    for i, line in enumerate(body):
        if line.strip() == "The End":
            return body[:i]
    return body


def unknown_skips(skips, result):
    """Lines for single tests that no test of the finished file answered to."""
    return [s for s in skips if s.is_test and not any(map(s.matches, result.skipped))]


def strike_offs(skips, result):
    """Lines all of whose tests ran and passed (only after a run that tried them)."""
    passed, failed = set(result.passed), result.failed_names()
    names = passed | failed
    done = []
    for skip in skips:
        if skip.is_file and result.finished and passed and not result.failures:
            done.append(skip)
        elif skip.is_test:
            tried = [name for name in names if skip.matches(name)]
            if tried and not any(name in failed for name in tried):
                done.append(skip)
    return done


def listed(skips, name):
    """Whether one of the lines covers a failure of this name."""
    plain = name.removeprefix("[timeout] ")
    return any(s.is_file or (s.is_test and s.matches(plain)) for s in skips)
