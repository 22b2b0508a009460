"""Declared commands, run for real; only the job around them is made up."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from worker.command import CommandFailed
from worker.context import Context
from worker.environment import child_env
from worker.tasks import Task
from worker.toml_tasks import load_toml, read_tasks

ROOT = Path(__file__).parents[2]
NO_SUCH_TEST = "pytest found no such test, or was used wrongly (exit code 4)"


class Link:
    """A job that is made up around commands that are run for real."""

    job_id, session_id, attempt, stopping, value_bytes = "j", "s", 1, False, 1 << 20

    def __init__(self) -> None:
        self.progressed: list[dict[str, Any]] = []
        self.log: list[tuple[str, str]] = []
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, argv: list[str], cwd: str | None, env: dict[str, str], log: bool) -> int:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *argv, cwd=cwd, env=child_env(env), stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        return 0

    async def lines(self, number: int) -> list[tuple[str, str]]:
        assert self._process is not None
        out, err = await self._process.communicate()
        return [("stdout", text) for text in out.decode().splitlines()] + [
            ("stderr", text) for text in err.decode().splitlines()
        ]

    async def returncode(self, number: int) -> int:
        assert self._process is not None
        return await self._process.wait()

    async def progress(self, progress: bytes) -> None:
        self.progressed.append(json.loads(progress))

    async def write(self, stream: str, text: str) -> None:
        self.log.append((stream, text))


async def run(task: Task, link: Link | None = None, **params: Any) -> Any:
    arguments = task.decode_params(json.dumps(params).encode())
    # Questions and steps, the rest of a JobLink, are nothing that a command could do.
    context = Context(cast(Any, link or Link()))
    result = await task.function(**task.arguments(context, arguments))
    return json.loads(task.encode_result(result))


def declare(text: str, home: Path = ROOT) -> Task:
    (task,) = read_tasks(f"[tasks.t]\n{text}", home / "tasks.toml").values()
    return task


def python(code: str, *rest: str) -> str:
    code = code.replace("{", "{{").replace("}", "}}")
    return "command = " + json.dumps(["python", "-c", code, *rest])


async def test_a_command_that_ends_well() -> None:
    assert await run(declare(python("print('hello')"))) == {"exit_code": 0}


async def test_python_is_the_workers_own() -> None:
    code = "import sys, json; print('::jobcast result', json.dumps(sys.prefix))"
    assert await run(declare(python(code) + "\noutput = 'jobcast'")) == sys.prefix


async def test_where_and_with_what_it_runs(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    code = (
        "import os, sys, json; print('::jobcast result', "
        "json.dumps([os.getcwd(), os.environ['A'], sys.argv[1:]]))"
    )
    task = declare(
        python(code, "{words}")
        + "\ncwd = 'sub'\nenv = { A = 'b' }\noutput = 'jobcast'"
        + "\nparams.words = { type = 'list of string' }",
        tmp_path,
    )
    words = ["a b", "$HOME", "'; exit 1", "*"]
    assert await run(task, words=words) == [str(tmp_path / "sub"), "b", words]


async def test_a_command_that_fails_tells_how_and_quotes_its_last_line() -> None:
    code = "import sys; print('no room', file=sys.stderr); print('bye'); sys.exit(3)"
    with pytest.raises(CommandFailed, match=r"^t failed \(exit code 3\): no room$") as caught:
        await run(declare(python(code)))
    assert caught.value.returncode == 3


async def test_without_stderr_it_quotes_stdout_and_without_both_nothing() -> None:
    with pytest.raises(CommandFailed, match=r"\(exit code 1\): bye$"):
        await run(declare(python("print('bye'); print(); exit(1)")))
    with pytest.raises(CommandFailed, match=r"^t failed \(exit code 1\)$"):
        await run(declare(python("exit(1)")))


async def test_a_command_that_is_killed_names_the_signal() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(CommandFailed, match="killed by SIGKILL") as caught:
        await run(declare(python(code)))
    assert caught.value.returncode == -9


async def test_what_is_quoted_is_bounded() -> None:
    with pytest.raises(CommandFailed) as caught:
        await run(declare(python("print('x' * 5000); exit(1)")))
    assert len(str(caught.value)) < 600


async def test_markers_are_progress_and_result() -> None:
    code = (
        "print('::jobcast progress 1/2 Half'); print('between'); "
        "print('::jobcast progress 99%'); "
        "print('::jobcast result {\"n\": 1}'); import sys; "
        "print('::jobcast progress 2/2', file=sys.stderr)"
    )
    link = Link()
    assert await run(declare(python(code) + "\noutput = 'jobcast'"), link) == {"n": 1}
    assert link.progressed == [
        {"percent": 50, "current": 1, "total": 2, "message": "Half"},
        {"percent": 99},
    ]
    assert link.log == [("stdout", "between"), ("stderr", "::jobcast progress 2/2")]
    plain = Link()
    assert await run(declare(python(code)), plain) == {"exit_code": 0}
    assert plain.progressed == []


async def test_a_script_finds_its_params_in_the_environment() -> None:
    text = """
        shell = true
        output = "jobcast"
        command = '''
        set -eu
        [ -z "${PARAM_ABSENT-}" ]
        printf '::jobcast result "%s %s %s"\\n' "$PARAM_ONE" "$PARAM_N" "$PARAM_SURE"
        '''
        params.one = { type = "string" }
        params.n = { type = "integer" }
        params.sure = { type = "boolean" }
        params.absent = { type = "string", optional = true }
    """
    hostile = "$(touch pasted) `touch pasted`; touch pasted"
    assert await run(declare(text), one=hostile, n=3, sure=True) == f"{hostile} 3 true"
    assert not (ROOT / "pasted").exists()


@pytest.fixture
def suite(tmp_path: Path) -> Task:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(
        "import time\n\ndef test_good(): pass\n\ndef test_bad(): assert 1 == 2\n"
    )
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    (tmp_path / "broken.py").write_text("import nothing_like_it\n")
    return declare(
        """
        command = ["pytest", "-v", "-rfE", "-p", "no:cacheprovider", "{selector}"]
        output = "pytest"
        env = { PYTEST_DISABLE_PLUGIN_AUTOLOAD = "1" }
        params.selector = { type = "path", until = "::", default = "" }
        """,
        tmp_path,
    )


async def test_failing_tests_are_a_result(suite: Task) -> None:
    link = Link()
    result = await run(suite, link)
    assert (result["passed"], result["failed"]) == (2, 1)
    assert result["failures"] == [{"test": "test_it.py::test_bad", "message": "assert 1 == 2"}]
    assert [told["current"] for told in link.progressed if "current" in told] == [0, 1, 2, 3]
    assert link.progressed[-1] == {
        "percent": 100,
        "current": 3,
        "total": 3,
        "message": "Running tests, 1 failed",
    }


async def test_a_selection_of_tests(suite: Task) -> None:
    assert (await run(suite, selector="test_it.py::test_good"))["passed"] == 1
    assert (await run(suite, selector="test_other.py"))["failed"] == 0


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("nowhere.py", f"{NO_SUCH_TEST}: ERROR: file or directory not found: nowhere.py"),
        ("test_it.py::test_none", f"{NO_SUCH_TEST}: (no match in any of "),
        ("pytest.ini", "pytest "),
        ("broken.py", "pytest was interrupted (exit code 2)"),
    ],
)
async def test_a_run_without_tests_is_a_failure(suite: Task, selector: str, said: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        await run(suite, selector=selector)
    assert str(caught.value).startswith(said)


@pytest.fixture
def sample(tmp_path: Path) -> Mapping[str, Task]:
    """The repository's own jobcast.toml, on a copy that it may write beside."""
    kept = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=kept)
    declared = (ROOT / "jobcast.toml").read_text()
    hurried = 'env = { DEPLOY_DRAIN = "0" }\nconfirm = "Deploy to'
    (tmp_path / "jobcast.toml").write_text(declared.replace('confirm = "Deploy to', hurried))
    return load_toml(tmp_path / "jobcast.toml", allow=["shell"])


async def test_run_tests_on_one_test_of_the_sample(sample: Mapping[str, Task]) -> None:
    link = Link()
    result = await run(sample["run_tests"], link, selector="tests/test_auth.py", keyword="hash")
    assert (result["passed"], result["failed"]) == (1, 0)
    assert [told["percent"] for told in link.progressed] == [0, 100]


async def test_the_sample_has_49_tests(sample: Mapping[str, Task], tmp_path: Path) -> None:
    link = Link()
    await link.start(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
        str(tmp_path / "examples/sample_project"),
        {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        log=False,
    )
    lines = [text for _, text in await link.lines(0)]
    assert sum("::" in line for line in lines) == 49
    assert "tests/test_auth.py::test_login_timeout" in lines
    assert "tests/test_api.py::test_rate_limit" in lines


async def test_the_sample_has_two_real_bugs(sample: Mapping[str, Task]) -> None:
    link = Link()
    result = await run(sample["run_tests"], link, keyword="test_login_timeout or test_rate_limit")
    assert (result["passed"], result["failed"]) == (1, 2)
    # Where CI is set, pytest leaves out what kind of error a failed assert is.
    said = {f["test"]: f["message"].removeprefix("AssertionError: ") for f in result["failures"]}
    assert said == {
        "tests/test_api.py::test_rate_limit": "assert [200, 200, 200, 200, 200, 200] == "
        "[200, 200, 200, 200, 200, 429]",
        "tests/test_auth.py::test_login_timeout": "Failed: DID NOT RAISE SessionExpired",
    }


@pytest.mark.slow
async def test_the_whole_sample_suite(sample: Mapping[str, Task]) -> None:
    link = Link()
    result = await run(sample["run_tests"], link)
    assert (result["passed"], result["failed"], result["errors"]) == (47, 2, 0)
    assert [told["current"] for told in link.progressed if "current" in told] == list(range(50))


async def test_build(sample: Mapping[str, Task], tmp_path: Path) -> None:
    link = Link()
    first = await run(sample["build"], link)
    assert (first["version"], first["files"]) == ("1.4.0", 17)
    assert (tmp_path / ".jobcast/work/build/shop-1.4.0.tar.gz").stat().st_size == first["bytes"]
    assert link.progressed[-1]["message"] == "Writing checksums"
    assert (await run(sample["build"]))["sha256"] == first["sha256"]
    assert (await run(sample["build"], format="zip"))["archive"].endswith("shop-1.4.0.zip")


async def test_a_build_that_does_not_compile(sample: Mapping[str, Task], tmp_path: Path) -> None:
    (tmp_path / "examples/sample_project/shop/cart.py").write_text("def total(:\n")
    with pytest.raises(CommandFailed, match=r"build failed \(exit code 1\): shop/cart.py:1: "):
        await run(sample["build"])


async def test_deploy(
    sample: Mapping[str, Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / ".jobcast/work/servers/staging"
    told = [await run(sample["deploy"], environment="staging") for _ in range(2)]
    assert os.readlink(server / "current") == f"releases/{told[1]['release']}"
    assert {path.name for path in (server / "releases").iterdir()} == {
        each["release"] for each in told
    }
    assert list((server / "incoming").iterdir()) == []

    (tmp_path / "examples/sample_project/shop/api.py").write_text("raise RuntimeError('down')\n")
    with pytest.raises(CommandFailed, match="does not start; staging is as it was"):
        await run(sample["deploy"], environment="staging")
    assert os.readlink(server / "current") == f"releases/{told[1]['release']}"


async def test_refactor(sample: Mapping[str, Task], tmp_path: Path) -> None:
    source = (tmp_path / "examples/sample_project/shop/auth.py").read_text()
    told = await run(sample["refactor"], old="user_of", new="whose")
    assert (told["renamed"], told["files"]) == (5, 2)
    changed = tmp_path / ".jobcast/work/refactor/user_of-whose/shop/auth.py"
    assert changed.read_text() == source.replace("user_of", "whose")
    assert (tmp_path / "examples/sample_project/shop/auth.py").read_text() == source
    with pytest.raises(CommandFailed, match="nothing is called nobody"):
        await run(sample["refactor"], old="nobody", new="anybody")
    with pytest.raises(CommandFailed, match="login is in use already"):
        await run(sample["refactor"], old="user_of", new="login")


@pytest.mark.parametrize(("form", "suffix"), [("markdown", "md"), ("html", "html")])
async def test_report(sample: Mapping[str, Task], tmp_path: Path, form: str, suffix: str) -> None:
    told = await run(sample["report"], format=form)
    assert (told["modules"], told["test_functions"]) == (15, 46)
    written = tmp_path / f".jobcast/work/reports/sample_project.{suffix}"
    assert "shop/auth.py" in written.read_text()


async def test_shell(sample: Mapping[str, Task]) -> None:
    assert await run(sample["shell"], command="test -f shop/api.py && echo yes | grep -q yes") == {
        "exit_code": 0
    }
    with pytest.raises(CommandFailed, match="exit code 7"):
        await run(sample["shell"], command="exit 7")
