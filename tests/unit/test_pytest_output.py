"""pytest's output, recorded from real runs of pytest 9.2 with and without pytest-xdist 3.8."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pytest_output import MAX_FAILURES, MAX_MESSAGE, Progress, PytestOutput

RECORDED = Path(__file__).parent / "recorded"

MESSAGES = {
    "tests/test_kinds.py::test_error": "RuntimeError: no database",
    "tests/test_kinds.py::test_fails": "AssertionError: one is not two",
    "tests/test_kinds.py::test_names[FAILED x]": "AssertionError: assert 'FAILED x' != 'FAILED x'",
    "tests/test_kinds.py::test_teardown": "RuntimeError: bad teardown",
    "tests/test_more.py::test_n[7]": "assert 7 != 7",
}


def read(text: str) -> tuple[list[Progress], PytestOutput]:
    output = PytestOutput()
    return [told for line in text.split("\n") if (told := output.feed(line))], output


def recorded(name: str) -> tuple[list[Progress], PytestOutput]:
    return read((RECORDED / f"{name}.txt").read_text("utf-8"))


@pytest.mark.parametrize(
    "name",
    ["verbose", "dots", "quiet", "colour", "xdist_verbose", "xdist_dots", "no_capture", "count"],
)
def test_every_kind_of_output_tells_the_same(name: str) -> None:
    _, output = recorded(name)
    summary = output.summary()
    assert summary.pop("duration") > 0
    failures = {failure["test"]: failure["message"] for failure in summary.pop("failures")}
    assert failures == MESSAGES
    assert summary == {
        "passed": 14,
        "failed": 3,
        "skipped": 1,
        "errors": 2,
        "xfailed": 1,
        "xpassed": 1,
    }


@pytest.mark.parametrize("name", ["verbose", "colour", "xdist_verbose", "no_capture", "count"])
def test_verbose_output_moves_test_by_test(name: str) -> None:
    progress, _ = recorded(name)
    assert [each.total for each in progress] == [21] * len(progress)
    counted = [each.current for each in progress]
    assert counted == sorted(counted)
    assert set(counted) == set(range(22))
    assert progress[0].message == "Running tests"
    assert progress[-1].message == "Running tests, 5 failed"


def test_dots_move_file_by_file() -> None:
    progress, _ = recorded("dots")
    assert [(each.current, each.total) for each in progress] == [(0, 21), (11, 21), (21, 21)]


def test_without_a_count_progress_is_a_percentage() -> None:
    progress, _ = recorded("quiet")
    assert progress == [Progress(100, None, "Running tests, 5 failed")]


def test_only_the_selected_tests_count() -> None:
    progress, output = recorded("select")
    assert progress[-1].total == 13
    assert output.summary()["passed"] == 11


def test_a_run_that_stopped_says_why() -> None:
    summary = recorded("exit_first")[1].summary()
    assert summary["stopped"] == "stopping after 1 failures"
    assert summary["failures"] == [
        {"test": "tests/test_kinds.py::test_error", "message": "RuntimeError: no database"}
    ]


def test_an_interrupted_run() -> None:
    progress, output = recorded("interrupted")
    assert output.summary()["stopped"] == "KeyboardInterrupt"
    assert (progress[-1].current, progress[-1].total) == (1, 3)


def test_a_module_that_does_not_import() -> None:
    summary = recorded("broken")[1].summary()
    assert summary["errors"] == 1
    assert summary["stopped"] == "Interrupted: 1 error during collection"
    assert [failure["test"] for failure in summary["failures"]] == ["../broken_test.py"]


@pytest.mark.parametrize("name", ["missing", "nothing_selected", "usage"])
def test_a_run_without_tests(name: str) -> None:
    progress, output = recorded(name)
    assert [each.current for each in progress] in ([], [0])
    assert output.summary()["failures"] == []
    assert output.summary()["passed"] == 0


def test_a_run_that_died_has_the_counts_so_far() -> None:
    text = (RECORDED / "verbose.txt").read_text("utf-8")
    _, output = read(text[: text.index("tests/test_more.py::test_n[0]")])
    summary = output.summary()
    assert summary["duration"] is None
    assert (summary["passed"], summary["failed"], summary["errors"]) == (5, 2, 2)
    assert {failure["test"] for failure in summary["failures"]} == {
        test for test in MESSAGES if "test_kinds" in test
    }


def test_what_is_kept_is_bounded() -> None:
    lines = [f"FAILED t.py::test_{n} - {'x' * 5000}" for n in range(MAX_FAILURES + 50)]
    head = "=========================== short test summary info ============================"
    tail = f"============ {len(lines)} failed in 1.00s ============"
    summary = read("\n".join([head, *lines, tail]))[1].summary()
    assert len(summary["failures"]) == MAX_FAILURES
    assert summary["failures_omitted"] == 50
    assert {len(failure["message"]) for failure in summary["failures"]} == {MAX_MESSAGE}


@given(st.lists(st.text(max_size=200), max_size=30), st.data())
def test_any_lines_anywhere_keep_progress_within_its_total(
    noise: list[str], data: st.DataObject
) -> None:
    lines = (RECORDED / "verbose.txt").read_text("utf-8").split("\n")
    for line in noise:
        lines.insert(data.draw(st.integers(0, len(lines))), line)
    progress, output = read("\n".join(lines))
    assert all(0 <= each.current <= (each.total or 100) for each in progress)
    assert all(count >= 0 for key, count in output.summary().items() if key[0] not in "df")


NAMES = st.text("abc-[] .PASED", min_size=1, max_size=20).map(
    lambda name: f"test_{' '.join(name.split()) or 'x'}"
)
WORDS = st.sampled_from(["PASSED", "FAILED", "SKIPPED", "XFAIL", "XPASS"])


@given(st.dictionaries(NAMES, WORDS, min_size=1, max_size=30))
def test_verbose_lines_are_counted_whatever_the_tests_are_called(verdicts: dict[str, str]) -> None:
    lines = [f"collected {len(verdicts)} items"]
    for number, (name, word) in enumerate(verdicts.items(), 1):
        lines.append(f"t.py::{name} {word} [{number * 100 // len(verdicts):3}%]")
    progress, output = read("\n".join(lines))
    assert progress[-1].current == len(verdicts)
    summary = output.summary()
    for word, key in (("PASSED", "passed"), ("FAILED", "failed"), ("SKIPPED", "skipped")):
        assert summary[key] == list(verdicts.values()).count(word)
    assert {failure["test"] for failure in summary["failures"]} == {
        f"t.py::{name}" for name, word in verdicts.items() if word == "FAILED"
    }


def test_the_installed_pytest_is_understood(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(
        "def test_good(): pass\n\ndef test_bad(): raise ValueError('a long message ' * 20)\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-rfE", "--color=no", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    progress, output = read(run.stdout)
    summary = output.summary()
    assert run.returncode == 1
    assert [each.current for each in progress] == [0, 1, 2]
    assert (summary["passed"], summary["failed"]) == (1, 1)
    (failure,) = summary["failures"]
    assert failure["test"] == "test_it.py::test_bad"
    assert failure["message"] == "ValueError: " + ("a long message " * 20).strip()
