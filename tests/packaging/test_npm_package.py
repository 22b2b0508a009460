"""The npm package of web/, as its users have it: installed from its tarball, elsewhere."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from redis.asyncio import Redis

from hub import keys
from hub.client import Jobs
from hub.jobs import Job, JobError
from hub.requests import JobRequest
from hub.settings import Settings
from hub.states import STATUSES
from hub.transitions import Transitions
from tests.announced import TASKS, Hand
from tests.conftest import API_KEY, Server, free_port
from tests.hub_process import environment, serving
from tests.node import node, npm
from tests.running_hub import Hub

pytestmark = pytest.mark.timeout(300)

CHECKOUT = Path(__file__).parents[2]
WEB = CHECKOUT / "web"
EXAMPLE = CHECKOUT / "examples" / "follow.ts"
SESSION = "npm:s1"
STRICT = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "exactOptionalPropertyTypes": True,
    "module": "nodenext",
    "target": "es2022",
    "types": ["node"],
    "noEmit": True,
    "skipLibCheck": False,
}


def declared() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((WEB / "package.json").read_text())
    return found


def test_one_version_and_one_licence() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert declared()["version"] == project["version"]
    assert declared()["license"] == project["license"]
    assert (WEB / "LICENSE").read_text() == (CHECKOUT / "LICENSE").read_text()


def test_every_module_that_the_client_imports_is_in_the_package() -> None:
    found, open_ = {"jobcast.d.ts"}, ["jobcast.js"]
    while open_:
        name = open_.pop()
        found.add(name)
        text = (WEB / name).read_text()
        open_ += set(re.findall(r'^(?:import|export)\b[^;]*?"\./([^"]+)";', text, re.M)) - found
    assert set(declared()["files"]) == found


def members(interface: str) -> set[str]:
    """The names that an interface of jobcast.d.ts has."""
    text = (WEB / "jobcast.d.ts").read_text()
    [body] = re.findall(rf"^export interface {interface} {{\n(.*?)^}}", text, re.M | re.S)
    return set(re.findall(r"^  (\w+)\??:", body, re.M))


def test_the_types_have_what_the_hub_has() -> None:
    assert members("Job") == set(Job.__struct_fields__)
    assert members("NewJob") == set(JobRequest.__struct_fields__)
    text = (WEB / "jobcast.d.ts").read_text()
    [statuses] = re.findall(r"export type JobStatus =(.*?);", text, re.S)
    assert set(re.findall(r'"(\w+)"', statuses)) == set(STATUSES)
    [codes] = re.findall(r"^export interface JobError \{\n  code: (.*?);", text, re.M | re.S)
    assert set(re.findall(r'"(\w+)"', codes)) == set(get_args(get_type_hints(JobError)["code"]))


def test_the_read_me_of_the_package_is_javascript(tmp_path: Path) -> None:
    blocks = re.findall(r"```js\n(.*?)```", (WEB / "README.md").read_text(), re.S)
    assert len(blocks) == 2
    for block in blocks:
        script = tmp_path / "block.mjs"
        script.write_text(block)
        run(tmp_path, "--check", str(script))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the tarball is installed, and what its tests need."""
    folder = tmp_path_factory.mktemp("npm")
    npm("pack", WEB, "--pack-destination", folder, cwd=folder)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    tools = ("ws@8", "@types/ws@8", "@types/node@20", "typescript@>=5.9")
    npm("install", next(folder.glob("jobcast-*.tgz")), *tools, cwd=folder)
    return folder


@pytest.mark.slow
def test_the_tarball_holds_the_client_only(home: Path) -> None:
    with tarfile.open(next(home.glob("jobcast-*.tgz"))) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    assert names == {*declared()["files"], "package.json", "README.md", "LICENSE"}
    installed = json.loads((home / "node_modules/jobcast/package.json").read_text())
    assert "dependencies" not in installed


@pytest.mark.slow
def test_what_is_exported_is_what_is_declared(home: Path) -> None:
    script = "console.log(JSON.stringify(Object.keys(await import('jobcast'))))"
    exported = set(json.loads(run(home, "--input-type=module", "--eval", script)))
    text = (WEB / "jobcast.d.ts").read_text()
    assert exported == set(re.findall(r"^export (?:class|const|function) (\w+)", text, re.M))


@pytest.mark.slow
def test_without_a_websocket_it_says_what_to_give(home: Path) -> None:
    script = """
        delete globalThis.WebSocket;
        const { Jobcast } = await import("jobcast");
        try {
          new Jobcast({ base: "http://127.0.0.1:1" });
        } catch (error) {
          console.log(error.message);
        }
    """
    assert "the package ws" in run(home, "--input-type=module", "--eval", script)


def run(home: Path, *args: str) -> str:
    done = subprocess.run([node(), *args], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("lib", [["es2023"], ["es2023", "dom"]], ids=["node", "dom"])
def test_a_strict_compiler_accepts_the_example(home: Path, lib: list[str]) -> None:
    assert compiled(home, EXAMPLE.read_text(), lib) == []


WRONG = {
    "new Jobcast({ base: 1 });": "TS2322",
    "jobcast.addEventListener('change', ({ detail }) => detail.nothing);": "TS2339",
    "await jobcast.api.enqueue({ tusk: 't', session_id: 's' });": "TS2353",
    "const status: 'done' = (await jobcast.api.job('j')).status;": "TS2322",
    "for await (const e of jobcast.subscribe('s')) if (e.type === 'job.over') break;": "TS2367",
}


@pytest.mark.slow
def test_a_strict_compiler_refuses_what_is_wrong(home: Path) -> None:
    around = "import { Jobcast } from 'jobcast'; const jobcast = new Jobcast({ base: 'http://h' });"
    errors = compiled(home, "\n".join([around, *WRONG]), ["es2023"])
    found = [re.match(r"program\.ts\((\d+),\d+\): error (TS\d+)", error) for error in errors]
    assert [match and match.groups() for match in found] == [
        (str(n), said) for n, said in enumerate(WRONG.values(), start=2)
    ]


def compiled(home: Path, program: str, lib: list[str]) -> list[str]:
    """What the TypeScript compiler has against a program."""
    (home / "program.ts").write_text(program)
    options = {"compilerOptions": {**STRICT, "lib": lib}, "files": ["program.ts"]}
    (home / "tsconfig.json").write_text(json.dumps(options))
    tsc = home / "node_modules" / ".bin" / "tsc"
    done = subprocess.run([tsc, "-p", home], cwd=home, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if "error TS" in line]


class Follower:
    """follower.mjs, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []

    async def hears(self, type_: str, times: int = 1) -> None:
        """Returns once it has heard this so often (in all)."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while sum(each["type"] == type_ for each in self.said) < times:
                line = await self.process.stdout.readline()
                assert line, f"it ended before it heard {type_} {times} times"
                self.said.append(json.loads(line))

    @property
    def lifecycle(self) -> list[str]:
        return [each["id"] for each in self.said if "id" in each]


@asynccontextmanager
async def following(home: Path, url: str, *after: str) -> AsyncIterator[Follower]:
    shutil.copy(Path(__file__).with_name("follower.mjs"), home)
    process = await asyncio.create_subprocess_exec(
        *(node(), "follower.mjs", url, API_KEY, SESSION, *after),
        cwd=home,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Follower(process)
        async with asyncio.timeout(30):
            await process.wait()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.slow
async def test_each_event_once_in_node_through_restarts_of_the_hub(
    home: Path, valkey: Server, settings: Settings, transitions: Transitions, redis: Redis
) -> None:
    await transitions.announce(TASKS)
    hand, port = Hand(transitions), str(free_port())
    finished = 0

    async with Jobs(settings) as jobs, serving(valkey.url, "--port", port) as (first, url):

        async def work(n: int, **more: Any) -> None:
            nonlocal finished
            for _ in range(n):
                await jobs.enqueue("echo", {"text": "hi"}, session_id=SESSION, **more)
                await hand.finish(b'{"n":1}')
                finished += 1

        async with following(home, url) as follower:
            await follower.hears("hello")
            await work(5)
            await follower.hears("job.completed", 5)
            first.kill()
            await work(5)
            async with serving(valkey.url, "--port", port) as (second, _):
                await follower.hears("job.completed", 10)
                second.terminate()
                await second.communicate()
            await work(5)
            async with serving(valkey.url, "--port", port):
                await follower.hears("job.completed", 15)
                await work(1, key="last")
                await follower.hears("over")
        entries: Any = await redis.xrange(keys.events(SESSION))
        ids = [cursor.decode() for cursor, _ in entries]
        assert follower.lifecycle == ids
        assert len(ids) == 3 * finished
        over = follower.said[-1]
        assert over == {"type": "over", "connections": 3, "result": {"n": 1}}
        hellos = [each["resumed"] for each in follower.said if each["type"] == "hello"]
        assert hellos == [False, True, True]

        async with (
            serving(valkey.url, "--port", port),
            following(home, url, ids[20]) as again,
        ):
            await again.hears("over")
        assert again.lifecycle == ids[21:]


@pytest.mark.slow
async def test_the_example_without_a_client_follows_through_a_restart(
    home: Path, valkey: Server, settings: Settings, transitions: Transitions
) -> None:
    await transitions.announce(TASKS)
    hand, port = Hand(transitions), str(free_port())
    shutil.copy(CHECKOUT / "examples" / "websocket.mjs", home)
    async with Jobs(settings) as jobs, serving(valkey.url, "--port", port) as (first, url):
        process = await asyncio.create_subprocess_exec(
            *(node(), "websocket.mjs", SESSION),
            cwd=home,
            env=environment(JOBCAST_URL=url, JOBCAST_TOKEN=API_KEY),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        said: list[str] = []

        async def says(job_id: str, status: str) -> None:
            assert process.stdout is not None
            async with asyncio.timeout(60):
                while not (said and said[-1].split() == [job_id, status]):
                    said.append((await process.stdout.readline()).decode())
                    assert said[-1], "it ended"

        try:
            queued = await jobs.enqueue("echo", {"text": "hi"}, session_id=SESSION)
            await says(queued.job_id, "pending")
            first.kill()
            claim = await hand.claim()
            async with serving(valkey.url, "--port", port):
                await says(queued.job_id, "running")
                await transitions.finish(claim.job_id, claim.token, "completed", b"null")
                await says(queued.job_id, "completed")
        finally:
            process.kill()
            await process.communicate()
    assert len(said) == 3


@pytest.mark.slow
async def test_the_example_without_a_client_ends_when_it_is_refused(home: Path, hub: Hub) -> None:
    shutil.copy(CHECKOUT / "examples" / "websocket.mjs", home)
    process = await asyncio.create_subprocess_exec(
        *(node(), "websocket.mjs", SESSION),
        cwd=home,
        env=environment(JOBCAST_URL=hub.url, JOBCAST_TOKEN="nonsense"),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    assert (process.returncode, said.decode()) == (1, "refused: 4401\n")
