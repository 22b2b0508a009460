"""`jobcast dead`, `jobcast pause`, `jobcast resume`: for operators, straight on Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import msgspec
import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.cli.flags import plain_errors
from hub.connection import connect
from hub.dead import Dead
from hub.enqueue import Enqueuer
from hub.errors import SettingsError
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.transitions import Transitions

T = TypeVar("T")

CREDENTIAL: Final = "operator"
_NEWEST: Final = 10_000

RedisUrl = Annotated[
    str | None, typer.Option(help="The Redis or Valkey server.", show_default=False)
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[JOB_ID]...", show_default=False)]
TaskOption = Annotated[str | None, typer.Option(help="Those of this task.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All of them.")]

dead = typer.Typer(
    name="dead", help="Jobs that failed for good: list, retry, purge.", no_args_is_help=True
)


def _with_redis(redis_url: str | None, work: Callable[[Redis, Settings], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = Settings.from_env(redis_url=redis_url)
        redis = connect(settings.redis_url)
        try:
            return await work(redis, settings)
        except (RedisError, OSError) as error:
            raise SettingsError(f"Redis does not answer: {error}. See JOBCAST_REDIS_URL.") from None
        finally:
            await redis.aclose()

    with plain_errors():
        return asyncio.run(run())


def _with_dead(redis_url: str | None, work: Callable[[Dead], Awaitable[T]]) -> T:
    async def run(redis: Redis, settings: Settings) -> T:
        scripts = Scripts(settings)
        store = Store(redis, scripts)
        return await work(Dead(store, scripts, Enqueuer(store, settings)))

    return _with_redis(redis_url, run)


@dead.command("list")
def list_dead(
    task: TaskOption = None,
    limit: Annotated[int, typer.Option(min=1, max=_NEWEST, help="How many at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Whole jobs, one a line.")] = False,
    redis_url: RedisUrl = None,
) -> None:
    """List dead jobs, the last to fail first."""

    async def show(dead: Dead) -> int:
        shown, cursor = 0, None
        while shown < limit:
            page = await dead.page(task, min(200, limit - shown), cursor)
            for job in page.jobs:
                print(msgspec.json.encode(job).decode() if as_json else _line(job))
            shown += len(page.jobs)
            cursor = page.more
            if cursor is None:
                break
        return shown

    if not _with_dead(redis_url, show) and not as_json:
        print("No job is dead.")


def _line(job: Any) -> str:
    error = job.error
    why = f"{error.code}: {error.message}" if error is not None else ""
    return f"{job.id}  {job.finished_at}  {job.task}  {why.splitlines()[0] if why else ''}"


@dead.command("retry")
def retry_dead(
    job_id: Ids = None, task: TaskOption = None, every: All = False, redis_url: RedisUrl = None
) -> None:
    """Queue anew what dead jobs did: these, those of a task, or all."""
    _one_of(job_id, task, every)

    async def retry(dead: Dead) -> tuple[int, int]:
        retried = failed = 0
        while True:
            done = await dead.retry(job_id or None, task, CREDENTIAL)
            for each in done.retried:
                print(f"{each.job_id} is retried by {each.new_job_id}")
            for refused in done.failed if not done.more else []:
                print(f"{refused.job_id} is not: {refused.detail}")
                failed += 1
            retried += len(done.retried)
            if not done.more:
                return retried, failed

    retried, failed = _with_dead(redis_url, retry)
    print(f"{retried} retried, {failed} not.")
    if failed:
        raise typer.Exit(1)


@dead.command("purge")
def purge_dead(
    job_id: Ids = None, task: TaskOption = None, every: All = False, redis_url: RedisUrl = None
) -> None:
    """Delete dead jobs and their logs: these, those of a task, or all."""
    _one_of(job_id, task, every)

    async def purge(dead: Dead) -> int:
        count = 0
        while True:
            done = await dead.purge(job_id or None, task)
            count += done.purged
            if not done.more:
                return count

    print(f"{_with_dead(redis_url, purge)} purged.")


def pause(queue: str, redis_url: RedisUrl = None) -> None:
    """Stop handing out a queue's jobs; those that run go on."""
    _pause(queue, redis_url, True)


def resume(queue: str, redis_url: RedisUrl = None) -> None:
    """Hand out a queue's jobs again."""
    _pause(queue, redis_url, False)


def _pause(queue: str, redis_url: str | None, paused: bool) -> None:
    async def set_it(redis: Redis, settings: Settings) -> bool:
        return await Transitions(redis, Scripts(settings)).pause(queue, paused)

    changed = _with_redis(redis_url, set_it)
    already = "" if changed else " already"
    print(f"The queue {queue} is{already} {'paused' if paused else 'handing out jobs'}.")


def _one_of(ids: list[str] | None, task: str | None, every: bool) -> None:
    if bool(ids) + (task is not None) + every != 1:
        raise typer.BadParameter("say which: job ids, --task, or --all")
