"""The commands of `jobcast`, as processes, against a real hub and a worker driven by hand."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from typer.testing import CliRunner

from hub.cli.follow import FATES
from hub.states import TERMINAL
from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.conftest import API_KEY, free_port, wait_until
from tests.running_hub import Hub
from worker.cli import command_line

UNKNOWN = "01991f7c-2b6a-7c3d-8e4f-0123456789ab"


class Done:
    """A command that has ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err
        assert "Traceback" not in err, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs `jobcast` in a directory of its own, with a hub's address and key."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if "JOBCAST" not in name}
        self.env = {**kept, **env, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}

    @asynccontextmanager
    async def start(self, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "worker.cli", *words),
            cwd=self.folder,
            env=self.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, *words: str) -> Done:
        """Runs a command in this process, where starting one would test nothing more."""
        env = {name: None for name in os.environ if "JOBCAST" in name}
        result = await asyncio.to_thread(
            CliRunner().invoke, command_line(), words, env={**env, **self.env}
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
async def hand(hub: Hub, transitions: Transitions) -> Hand:
    await transitions.announce(TASKS)
    return Hand(transitions)


@pytest.fixture
def shell(hub: Hub, tmp_path: Path) -> Shell:
    return Shell(tmp_path, JOBCAST_URL=hub.url, JOBCAST_API_KEY=API_KEY)


async def line_with(process: asyncio.subprocess.Process, words: str) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            if words in line:
                return line
    raise AssertionError(f"it ended without saying {words!r}")


async def test_a_job_is_queued_shown_listed_and_cancelled(shell: Shell, hand: Hand) -> None:
    queued = await shell.run("enqueue", "echo", "text=7", "times=2", "-s", "s1")
    assert queued.status == 0
    job_id = queued.out.strip()
    shown = await shell.run("show", job_id, "--json")
    listed = await shell.run("jobs")
    cancelled = await shell.run("cancel", job_id)
    assert shown.json["params"] == {"text": "7", "times": 2}, "typed by the task's schema"
    assert job_id in listed.out
    assert cancelled.out == "cancelled\n"
    again = await shell.run("retry", job_id, "--json")
    assert again.json["job"]["retry_of"] == job_id


@pytest.mark.parametrize(
    ("ending", "payload", "status"),
    [
        ("completed", b'{"said":"hi"}', 0),
        ("failed", b'{"code":"error","message":"boom"}', 1),
        ("cancelled", b"", 2),
    ],
)
async def test_watching_a_job_exits_with_its_fate(
    hub: Hub,
    shell: Shell,
    hand: Hand,
    ending: Literal["completed", "failed", "cancelled"],
    payload: bytes,
    status: int,
) -> None:
    transitions = hub.services.transitions
    running = asyncio.create_task(shell.run("enqueue", "echo", "text=hi", "-s", "s1", "--watch"))
    await wait_until(partial(_queued, hub), "the job is queued")
    claim = await hand.claim()
    if ending == "cancelled":
        await transitions.cancel(claim.job_id)
    await transitions.finish(claim.job_id, claim.token, ending, payload)
    done = await running
    assert done.status == status
    assert f"[echo] {ending}" in done.out
    assert ("boom" in done.out) == (ending == "failed")


async def _queued(hub: Hub) -> bool:
    return bool((await hub.services.store.jobs(session_id="s1")).jobs)


async def test_a_session_is_watched_through_a_restart_of_the_hub(
    hub: Hub, shell: Shell, hand: Hand
) -> None:
    async with shell.start("watch", "s1") as process:
        await line_with(process, "Watching s1")

        async def until_seen(text: str) -> None:
            await hub.client.post("/sessions/s1/messages", json={"text": text, "role": "agent"})
            await line_with(process, text)

        await until_seen("before")
        # Everybody is sent away, as by a hub that is started anew.
        await hub.services.streams.drain()
        hub.services.streams.draining = False
        await line_with(process, "connection is lost")
        await until_seen("after")
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            await process.communicate()
        assert process.returncode == 130


async def test_watching_as_json_is_a_line_for_each_event(hub: Hub, shell: Shell) -> None:
    async with shell.start("watch", "s1", "--json") as process:
        hello = json.loads(await line_with(process, '"hello"'))
        assert hello["event"] == "hello"
        await hub.client.post("/sessions/s1/messages", json={"text": "hi", "role": "agent"})
        said = json.loads(await line_with(process, '"message"'))
        assert said["message"]["text"] == "hi"


async def test_logs_are_printed_and_followed(hub: Hub, shell: Shell, hand: Hand) -> None:
    job_id = (await shell.run("enqueue", "echo", "text=hi")).out.strip()
    claim = await hand.claim()
    log = hub.services.transitions.log
    await log(job_id, claim.token, 1, [b'{"stream":"stdout","text":"one"}'])
    assert (await shell.run("logs", job_id)).out == "one\n"
    async with shell.start("logs", job_id, "-f") as process:
        await line_with(process, "one")
        await log(job_id, claim.token, 2, [b'{"stream":"stderr","text":"[two]"}'])
        assert await line_with(process, "two") == "[two]\n"
        await hub.services.transitions.finish(job_id, claim.token, "completed", b"null")
        async with asyncio.timeout(60):
            await process.communicate()
        assert process.returncode == 0


async def test_questions_tasks_and_webhooks(shell: Shell, hand: Hand) -> None:
    job_id = (await shell.run("enqueue", "deploy")).out.strip()
    wrong = await shell.run("answer", job_id, "maybe")
    tasks = await shell.run("tasks")
    hook = await shell.run(
        "webhooks", "add", "https://example.com/hook", "--type", "job.failed", "--json"
    )
    assert (wrong.status, wrong.err) == (3, "jobcast: value: must be one of: yes, no\n")
    assert "[environment=staging]" in tasks.out
    answered = await shell.run("answer", job_id, "yes")
    listed = await shell.run("webhooks", "list")
    assert answered.out == "pending\n"
    assert hook.json["id"] in listed.out


async def test_errors_say_what_to_do(hub: Hub, shell: Shell, hand: Hand, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    cases = {
        ("enqueue", "ecko", "text=hi"): "Did you mean echo?",
        ("enqueue", "echo", "txt=hi"): "params.txt: 'txt'. Did you mean text?",
        ("enqueue", "echo", "times=two"): "params.times: 'two' is no integer in JSON",
        ("enqueue", "echo", "text"): "'text' is not name=value",
        ("enqueue", "echo"): "params.text",
        ("show", UNKNOWN): f"There is no job {UNKNOWN}.",
        ("jobs", "--status", "done"): "status: must be some of",
        ("jobs", "--token", "none"): "JOBCAST_API_KEY",
        ("jobs", "--token", hub.token("s1")): "for API keys",
        ("watch", "s1", "--url", nowhere): "The address is from --url",
        ("jobs", "--url", "ftp://hub"): "is not the address of a hub",
    }
    for words, expected in cases.items():
        done = await shell.run(*words)
        assert done.status == 3, (words, done.out)
        assert expected in done.err, words
    astray = Shell(tmp_path)
    astray.env["JOBCAST_URL"] = ""
    done = await astray.run("token", "--sub", "ada", "--session", "s1")
    assert done.status == 2
    assert "JOBCAST_SECRET" in done.err


async def test_completion_is_there_for_shells(shell: Shell) -> None:
    shell.env |= {
        "_JOBCAST_COMPLETE": "complete_bash",
        "COMP_WORDS": "jobcast en",
        "COMP_CWORD": "1",
    }
    code = "import sys; sys.argv[0] = 'jobcast'; from worker.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", code),
        env=shell.env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out.decode().split() == ["enqueue"]


def test_fates_are_all_told() -> None:
    assert set(FATES) == TERMINAL
