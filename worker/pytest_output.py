"""Reads what pytest prints: how far it is, and what came out. Pure.

Understands verbose and dotted output, with and without pytest-xdist, coloured or not. Exact
progress needs one line a test, so run it with ``-v``; ``-rfE`` lists failures with their messages.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from typing import Any, Final, NamedTuple

__all__ = ["Progress", "PytestOutput"]

MAX_FAILURES: Final = 200
MAX_MESSAGE: Final = 1000

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_WORDS = "PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS"
_POSITION = r"(?:\[\s*(?P<percent>\d+)%\]|\[\s*\d+/\d+\])"
_COLLECTED = re.compile(
    r"(?:collecting \.\.\. )*collected (\d+) items?(?: / .*?(?:(\d+) selected)?)?"
)
_WORKERS = re.compile(r"(?:\d+ workers? |(?:gw\d+ )+)\[(\d+) items?\]")
_VERDICT = re.compile(rf"(?P<test>\S.*) (?P<word>{_WORDS})(?: \(.*\))?\s*{_POSITION}?")
_XDIST = re.compile(rf"\[gw\d+\] {_POSITION} (?P<word>{_WORDS}) (?P<test>.+)")
_DOTS = re.compile(rf"(?:\S+\.\w+ )?(?P<dots>[.FEsxX]+)\s*{_POSITION}?")
_SECTION = re.compile(r"={3,} (?P<title>[A-Za-z][^=]*?) ={3,}")
_HEADER = re.compile(r"_{3,} (?:ERROR (?:at \w+ of|collecting) )?(?P<name>.+?) _{3,}")
_LISTED = re.compile(r"(?P<word>FAILED|ERROR) (?P<rest>.+)")
_STOPPED = re.compile(r"!{3,} (?P<why>.+?) !{3,}")
_END = re.compile(
    r"=* ?(?P<counts>\d+ [a-z].*?|no tests ran) in (?P<seconds>\d+\.\d+)s(?: \([^)]*\))? ?=*"
)

_DOT_WORDS: Final = {
    ".": "PASSED",
    "F": "FAILED",
    "E": "ERROR",
    "s": "SKIPPED",
    "x": "XFAIL",
    "X": "XPASS",
}
_END_WORDS: Final = {
    "passed": "PASSED",
    "failed": "FAILED",
    "error": "ERROR",
    "errors": "ERROR",
    "skipped": "SKIPPED",
    "xfailed": "XFAIL",
    "xpassed": "XPASS",
}


class Progress(NamedTuple):
    """Tests done, and of how many; without a ``total``, ``current`` is a percentage."""

    current: float
    total: int | None
    message: str


class PytestOutput:
    """Feed it the lines of one run in order, of stdout alone; ask for the summary at the end.

    Memory is bounded: the first 200 failures are kept, each message cut to 1,000 characters.
    """

    def __init__(self) -> None:
        self._part = "run"
        self._total: int | None = None
        self._done = 0
        self._percent = 0
        self._counts: Counter[str] = Counter()
        self._ended: Counter[str] | None = None
        self._duration: float | None = None
        self._stopped: str | None = None
        # A teardown error follows its test's verdict at once, or after a few others' with xdist.
        self._recent: deque[str] = deque(maxlen=64)
        self._broken: dict[str, str] = {}
        self._listed: dict[str, str] = {}
        self._name = ""
        self._details: dict[str, str] = {}

    def feed(self, line: str) -> Progress | None:
        """Take one line without its line end; returns the progress if this line changed it."""
        line = _ANSI.sub("", line).strip("\r\n\t ")
        if section := _SECTION.fullmatch(line):
            title = section["title"]
            if title != "test session starts":
                self._part = "list" if title == "short test summary info" else "details"
        if end := _END.fullmatch(line):
            self._take_end(end)
        elif stopped := _STOPPED.fullmatch(line):
            self._stopped = stopped["why"]
        elif self._part == "run":
            return self._take_run(line)
        elif self._part == "details":
            self._take_detail(line)
        elif listed := _LISTED.fullmatch(line):
            self._take_listed(listed["rest"])
        return None

    def summary(self) -> dict[str, Any]:
        """``{passed, failed, skipped, errors, xfailed, xpassed, duration, failures}``.

        ``duration`` is in seconds, ``failures`` a list of ``{test, message}``. Counts are those of
        pytest's own last line; a run that died before it has those of the lines seen so far, and
        ``duration`` None. ``stopped`` (why a run ended early) and ``failures_omitted`` (how many
        are not listed) are there only when they apply.
        """
        counts = self._counts if self._ended is None else self._ended
        failures = {**self._broken, **self._listed}
        said: dict[str, Any] = {
            "passed": counts["PASSED"],
            "failed": counts["FAILED"],
            "skipped": counts["SKIPPED"],
            "errors": counts["ERROR"],
            "xfailed": counts["XFAIL"],
            "xpassed": counts["XPASS"],
            "duration": self._duration,
            "failures": [{"test": test, "message": text} for test, text in failures.items()],
        }
        if (omitted := counts["FAILED"] + counts["ERROR"] - len(failures)) > 0 and failures:
            said["failures_omitted"] = omitted
        if self._stopped:
            said["stopped"] = self._stopped
        return said

    def _take_run(self, line: str) -> Progress | None:
        if found := _COLLECTED.fullmatch(line):
            self._total = int(found[2] or found[1])
        elif found := _WORKERS.fullmatch(line):
            self._total = int(found[1])
        elif (found := _XDIST.fullmatch(line) or _VERDICT.fullmatch(line)) and "::" in line:
            self._take_verdict(found["word"], found["test"].strip())
            self._percent = int(found["percent"] or self._percent)
        elif found := _DOTS.fullmatch(line):
            for dot in found["dots"]:
                self._take_verdict(_DOT_WORDS[dot], "")
            self._percent = int(found["percent"] or self._percent)
            if self._total and found["percent"]:
                # A test whose teardown fails has two letters; the percentage counts it once.
                most = -(-(self._percent + 1) * self._total // 100) - 1
                self._done = min(self._done, most)
        else:
            return None
        return self._progress()

    def _progress(self) -> Progress:
        bad = self._counts["FAILED"] + self._counts["ERROR"]
        message = f"Running tests, {bad} failed" if bad else "Running tests"
        if not self._total:
            return Progress(min(self._percent, 100), None, message)
        return Progress(min(self._done, self._total), self._total, message)

    def _take_verdict(self, word: str, test: str) -> None:
        self._counts[word] += 1
        if word in ("FAILED", "ERROR") and test and len(self._broken) < MAX_FAILURES:
            self._broken.setdefault(test, "")
        if word == "ERROR" and test in self._recent:
            return
        self._done += 1
        if test:
            self._recent.append(test)

    def _take_detail(self, line: str) -> None:
        if header := _HEADER.fullmatch(line):
            self._name = header["name"]
        elif line.startswith("E ") and self._name and len(self._details) < MAX_FAILURES:
            # Only the first such line of a test: it names the error, the others explain it.
            self._details.setdefault(self._name, line[1:].strip()[:MAX_MESSAGE])

    def _take_listed(self, rest: str) -> None:
        test, message = self._split(rest)
        if not message or message.endswith("..."):
            # pytest cuts what it lists to the width of the terminal.
            name = test.partition("::")[2].replace("::", ".") or test
            message = self._details.get(name, message)
        if len(self._listed) < MAX_FAILURES:
            self._listed[test] = message[:MAX_MESSAGE]

    def _split(self, rest: str) -> tuple[str, str]:
        """A listed "test - message"; a parametrized test may have " - " in its own name."""
        whole, _, _ = rest.rpartition(" - ")
        if rest in self._broken:
            return rest, ""
        while whole:
            if whole in self._broken:
                return whole, rest[len(whole) + 3 :]
            whole, _, _ = whole.rpartition(" - ")
        test, _, message = rest.partition(" - ")
        if "[" in test and "] - " in rest and not test.endswith("]"):
            test, _, message = rest.partition("] - ")
            test += "]"
        return test, message

    def _take_end(self, end: re.Match[str]) -> None:
        self._ended = Counter()
        self._duration = float(end["seconds"])
        for count in end["counts"].split(", "):
            number, _, word = count.partition(" ")
            if word in _END_WORDS and number.isdigit():
                self._ended[_END_WORDS[word]] = int(number)
