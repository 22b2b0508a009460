"""The transitions of a job's life, one typed wrapper per script.

Wrappers pack arguments and read replies; what is true is decided in Lua. JSON arguments are
fragments that the caller has encoded. A worker's call whose token is void raises StaleToken,
and has written nothing. Every call may be repeated after a lost reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from redis.asyncio import Redis

from hub import keys
from hub.claims import Claim, claim_args, read_claims
from hub.endings import Endings
from hub.errors import Conflict, NotFound, StaleToken
from hub.scripts import Arg, AsyncEval, Scripts, SyncEval, text

Fate = Literal["completed", "failed", "cancelled"]


class Asked(NamedTuple):
    """What came of asking: `status` is the job's; `answer` (JSON) where one was given before."""

    status: str
    answer: bytes | None = None


class Transitions:
    """All transitions, over one Redis client (whose replies must be bytes). Scripts are called
    over `calls` where there is one, which is faster for many at once."""

    def __init__(self, redis: Redis, scripts: Scripts, calls: AsyncEval | None = None) -> None:
        self._redis = redis
        self._scripts = scripts
        self._calls: AsyncEval = redis if calls is None else calls
        self._endings = Endings(self._run)

    async def _run(self, name: str, *args: Arg) -> Any:
        return await self._scripts.run(self._calls, name, *args)

    async def claim(
        self,
        worker_id: str,
        request_id: str,
        *,
        queues: Sequence[str],
        tasks: Iterable[str],
        lease: float,
        limit: int,
    ) -> list[Claim]:
        """Takes up to `limit` jobs under a lease of `lease` seconds, from the first queue that
        has any on. Jobs of tasks that are not among `tasks` are parked. The same `request_id`
        answers the same jobs again. Count the lease from before this call."""
        args = claim_args(
            worker_id, request_id, queues=queues, tasks=tasks, lease=lease, limit=limit
        )
        return read_claims(await self._run("claim", *args))

    async def memo(self, job_id: str) -> dict[str, bytes]:
        """Answers (`answer:<input id>`) and step results (`step:<name>`) kept for a rerun."""
        found: Any = await self._redis.hgetall(keys.memo(job_id))
        return {text(name): value for name, value in found.items()}

    async def finish(
        self, job_id: str, token: str, fate: Fate, value: bytes = b"", traceback: bytes = b""
    ) -> str:
        """Ends a job; `value` is the result, or the error without its traceback. Returns the
        status that it has now. Raises StaleToken, and Conflict for `cancelled` when nobody
        asked for that."""
        verdict, status = await self._endings.finish(job_id, token, fate, value, traceback)
        if verdict == b"refused":
            raise Conflict(f"The job is {text(status)}; only a cancelling one ends as cancelled.")
        return self._held(job_id, verdict, status)

    async def retry(
        self, job_id: str, token: str, delay: float, error: bytes, traceback: bytes = b""
    ) -> str:
        """A retryable failure: `retrying` after `delay` seconds, `failed` when no attempt is
        left, `cancelled` when that was asked for. Returns which. Raises StaleToken."""
        verdict, status = await self._run(
            "retry", job_id, token, max(0, int(delay * 1000)), error, traceback
        )
        return self._held(job_id, verdict, status)

    async def release(self, job_id: str, token: str) -> str:
        """Gives a job back at no cost. Returns the status that it has now. Raises StaleToken."""
        return self._held(job_id, *await self._run("release", job_id, token))

    async def ask(self, job_id: str, token: str, input_id: str, members: bytes) -> Asked:
        """Asks a person. `members` are the members of the input but `asked_at`, as JSON without
        braces. Raises StaleToken, and Conflict while another question of the job is open."""
        verdict, value = await self._run("ask", job_id, token, input_id, members)
        if verdict == b"answered":
            return Asked("running", value)
        if verdict == b"busy":
            raise Conflict(f"Job {job_id} is still asking {text(value)!r}: one question at a time.")
        return Asked(self._held(job_id, verdict, value))

    async def withdraw(self, job_id: str, token: str) -> str:
        """Takes an open question back. Raises StaleToken."""
        return self._held(job_id, *await self._run("withdraw", job_id, token))

    async def progress(self, job_id: str, token: str, progress: bytes) -> str:
        """Sets and tells a job's progress. Returns its status. Raises StaleToken."""
        return self._held(job_id, *await self._run("progress", job_id, token, progress))

    async def log(self, job_id: str, token: str, first: int, lines: Sequence[bytes]) -> str:
        """Adds log lines, numbered from `first`, each JSON `{"stream","text"}`. Lines that are
        there already are passed over. Returns the job's status. Raises StaleToken."""
        return self._held(job_id, *await self._run("log", job_id, token, first, *lines))

    async def step(self, job_id: str, token: str, name: str, result: bytes) -> str:
        """Keeps a step's result for a rerun. Raises StaleToken."""
        return self._held(job_id, *await self._run("step", job_id, token, name, result))

    async def heartbeat(
        self, worker_id: str, lease: float, held: Sequence[tuple[str, str]]
    ) -> list[str]:
        """Renews leases. For each (job id, token): the job's status, or `lost`."""
        reply = await self._run("heartbeat", *heartbeat_args(worker_id, lease, held))
        return [text(word) for word in reply]

    async def goodbye(self, worker_id: str) -> None:
        """The worker has stopped; it is no longer listed."""
        await self._run("goodbye", worker_id)

    async def announce(self, tasks: dict[str, dict[str, Any]]) -> int:
        """Announces tasks (name -> announcement) and wakes jobs that were parked for want of
        them. Returns how many."""
        args: list[Arg] = []
        for name, announcement in tasks.items():
            args += [name, msgspec.json.encode(announcement)[:-1]]
        return int(await self._run("announce", *args)) if args else 0

    async def cancel(self, job_id: str) -> str:
        """Asks for a job's end. Returns `cancelled` or `cancelling`. Raises NotFound, and
        Conflict when it had completed or failed."""
        reply = await self._run("cancel", job_id)
        if reply[0] == b"gone":
            raise NotFound(f"There is no job {job_id}.")
        if reply[0] == b"ended":
            raise Conflict(f"The job has {text(reply[1])} already.")
        return text(reply[1])

    async def answer(self, job_id: str, input_id: str, value: bytes) -> str:
        """Answers a job's question; the same answer twice is once. Returns the job's status.
        Raises NotFound, and Conflict when another question is open, none is, or it was answered
        otherwise."""
        reply = await self._run("answer", job_id, input_id, value)
        word = reply[0]
        if word == b"gone":
            raise NotFound(f"There is no job {job_id}.")
        if word == b"answered":
            raise Conflict(f"The question was answered already, with {text(reply[1])}.")
        if word == b"other":
            open_id = text(reply[1])
            now = f"it asks {open_id!r}" if open_id else "it asks nothing now"
            raise Conflict(f"The job does not ask {input_id!r}: {now}.")
        return text(reply[1])

    async def pause(self, queue: str, paused: bool) -> bool:
        """Stops or resumes handing out a queue's jobs. True when that changed something."""
        return bool(await self._run("pause", queue, "pause" if paused else "resume"))

    @staticmethod
    def _held(job_id: str, verdict: bytes, status: bytes) -> str:
        if verdict == b"stale":
            raise StaleToken(f"The claim of job {job_id} is over; it is {text(status) or 'gone'}.")
        return text(status)


def heartbeat_args(
    worker_id: str,
    lease: float,
    held: Sequence[tuple[str, str]],
    facts: bytes = b"",
    tasks: str = "",
    queues: str = "",
) -> list[Arg]:
    """The arguments of the script `heartbeat`; `facts` (JSON), `tasks` and `queues` (see
    `names_arg`) register the worker and may be left out once they are known."""
    args: list[Arg] = [worker_id, int(lease * 1000), facts, tasks, queues]
    for job_id, token in held:
        args += [job_id, token]
    return args


def heartbeat_sync(redis: SyncEval, scripts: Scripts, args: Sequence[Arg]) -> list[str]:
    """A heartbeat from the thread that renews leases, with a blocking client."""
    return [text(word) for word in scripts.run_sync(redis, "heartbeat", *args)]
