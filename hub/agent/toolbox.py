"""The agent's tools at work: what a model calls, done, and answered in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import msgspec

from hub.agent.desk import Desk
from hub.agent.reports import TAIL, listing, report, started, trouble
from hub.agent.watch import Watcher, watching_over
from hub.announcements import Announcement
from hub.errors import BadInput, JobcastError, NotFound, Refused
from hub.jobs import Job
from hub.schema import check
from hub.tools import Tool, rendered, task_of, tools_of
from hub.waits import first

if TYPE_CHECKING:
    from hub.client import Client

LISTED: Final = 20
#: The same by a shorter name, which models make up by themselves.
CHECKS: Final = ("check_job_status", "check_job")

#: Hears of a job while somebody waits for it.
Heard = Callable[[Job], Awaitable[None]]


async def _nobody(_: Job) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Told:
    """A tool's answer. `failed` means that the tool could not do its work, or that the job which
    it tells of has failed; `job` is that job."""

    text: str
    failed: bool = False
    job: Job | None = None


class Toolbox:
    """The tools of one conversation or of many, over a Desk: `hub.client.Client` (HTTP),
    `hub.client.Jobs` (Redis), or `OwnDesk`. `url` is the hub's, for the format gantz.

    A tool sees the jobs of the session that it is called for and no others, and never approves:
    a `confirm` is for people. Without a `watcher`, no tool waits; waits end once `over` is
    set."""

    def __init__(
        self,
        desk: Desk,
        *,
        url: str = "http://127.0.0.1:8080",
        watcher: Watcher | None = None,
        over: asyncio.Event | None = None,
    ) -> None:
        self._desk = desk
        self._url = url
        self._watcher = watcher
        self._over = over or asyncio.Event()

    @classmethod
    def over(cls, client: Client) -> Self:
        """The tools of a hub that a client speaks to."""
        return cls(client, url=client.address.http, watcher=watching_over(client))

    async def tools(self, format: Literal["openai", "mcp", "gantz"] = "openai") -> Any:
        """The tools as function definitions for OpenAI's chat API (a list), as MCP's `tools/list`
        (an object), or as a `gantz.yaml` (text)."""
        return rendered(await self.known(), format, self._url)

    async def known(self) -> list[Tool]:
        """The tools there are now."""
        return self._tools(await self._tasks())

    async def execute_tool(
        self, name: str, args: Mapping[str, Any] | str | None = None, *, session_id: str
    ) -> str:
        """What `call` says, as words alone."""
        return (await self.call(name, args, session_id=session_id)).text

    async def call(
        self,
        name: str,
        args: Mapping[str, Any] | str | None = None,
        *,
        session_id: str,
        idempotency_key: str | None = None,
        heard: Heard = _nobody,
    ) -> Told:
        """Does what a model asks for, in at most 4,000 characters; `args` may be JSON. What is
        wrong with the call is told, not raised, as the model is to mend it. `idempotency_key`
        makes a start that is repeated one; `heard` is told of the job in a wait. Raises what the
        transport raises."""
        try:
            return await self._call(name, _object(args), session_id, idempotency_key, heard)
        except JobcastError as error:
            return Told(text=trouble(error), failed=True)

    async def report(self, job: Job) -> Told:
        """How a job is, with the last lines of its log."""
        after = max(0, job.log_lines - TAIL)
        log = (
            (await self._desk.logs(job.id, after=after, limit=TAIL)).lines if job.log_lines else []
        )
        text = report(job, [line.text for line in log])
        return Told(text=text, failed=job.status == "failed", job=job)

    async def job(self, job_id: str, session_id: str) -> Job:
        """A job of this session, whole. Raises NotFound for any other."""
        job = await self._desk.job(job_id)
        if job.session_id != session_id:
            raise NotFound(f"There is no job {job_id[:64]}.")
        return job

    async def _tasks(self) -> dict[str, Announcement]:
        return {task.name: task for task in await self._desk.tasks()}

    def _tools(self, tasks: Mapping[str, Announcement]) -> list[Tool]:
        return tools_of(tasks, wait=self._watcher is not None)

    async def _call(
        self,
        name: str,
        args: dict[str, Any],
        session_id: str,
        idempotency_key: str | None,
        heard: Heard,
    ) -> Told:
        tools = self._tools(await self._tasks())
        name = CHECKS[0] if name in CHECKS else name
        tool = next((tool for tool in tools if tool.name == name), None)
        if tool is None:
            known = ", ".join(tool.name for tool in tools)
            raise NotFound(f"there is no tool {name[:80]!r}. There are: {known}.")
        task = task_of(tool)
        if task is None:
            errors = check(msgspec.json.encode(tool.parameters), args)
            if errors:
                raise BadInput(errors)
        if name == "start_job":
            task, args = args["task"], args["params"]
        if task is not None:
            queued = await self._desk.enqueue(
                task, args, session_id=session_id, idempotency_key=idempotency_key
            )
            return Told(text=started(queued.job), job=queued.job)
        if name == "list_jobs":
            status = [args["status"]] if "status" in args else []
            page = await self._desk.jobs(session_id=session_id, status=status, limit=LISTED)
            return Told(text=listing(page.jobs, page.more is not None))
        job = await self.job(args["job_id"], session_id)
        if name == "cancel_job":
            job = await self._desk.cancel(job.id)
            return Told(text=f"Job {job.id} is {job.status}.", job=job)
        if name == "answer_job":
            return await self._answer(job, args["input_id"], args["value"])
        if wait := args.get("wait"):
            job = await self.wait(job, wait, heard)
        return await self.report(job)

    async def wait(self, job: Job, seconds: float, heard: Heard = _nobody) -> Job:
        """The job once it has ended or asks a person, or as it is after `seconds`. `heard` is
        told of each change that it lives to see. Raises NotFound when it is deleted."""
        changed = asyncio.Event()
        until = asyncio.get_running_loop().time() + seconds

        def listen(job_id: str | None) -> None:
            if job_id in (None, job.id):
                changed.set()

        if self._watcher is None:
            return job
        rev = -1
        async with self._watcher(job.session_id, listen):
            while True:
                changed.clear()
                # Looked at after the listening began: what happened before is known by now.
                job = await self.job(job.id, job.session_id)
                left = until - asyncio.get_running_loop().time()
                settled = job.terminal or job.status == "input_required"
                if settled or left <= 0 or self._over.is_set():
                    return job
                if job.rev > rev:
                    rev = job.rev
                    await heard(job)
                await first(left, changed.wait(), self._over.wait())

    async def _answer(self, job: Job, input_id: str, value: str) -> Told:
        if job.input is not None and job.input.id == input_id and job.input.kind == "confirm":
            raise Refused("this is an approval, which only a person can give, on the job's card.")
        answered = await self._desk.answer(job.id, input_id, value)
        return Told(text=f"Answered. Job {job.id} is {answered.status}.", job=job)


def _object(args: Mapping[str, Any] | str | None) -> dict[str, Any]:
    if isinstance(args, str):
        try:
            args = msgspec.json.decode(args) if args.strip() else {}
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise BadInput([("", f"are not JSON: {error}")]) from None
    if args is not None and not isinstance(args, Mapping):
        raise BadInput([("", "must be a JSON object")])
    return dict(args or {})
