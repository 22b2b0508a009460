"""`jobcast worker`: the command's first half starts the warden, which starts the second half."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from worker.warden import EXIT_RELOAD, FD_VARIABLE, exec_warden

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from hub.scripts import Scripts
    from hub.settings import Settings
    from worker.reload import Sources
    from worker.runner import Options, Runner
    from worker.tasks import Registry

Agent = "Callable[[Redis, Scripts], Registry]"


def worker(
    tasks: Annotated[
        str | None,
        typer.Argument(
            metavar="MODULE_OR_TOML",
            help="the tasks to serve: module, module:attribute or file.toml",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, help="jobs at once")
    ] = 8,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "-q",
            help="a queue to serve, the first one first; those of the tasks unless said",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, help="seconds that jobs may take to finish on SIGTERM")
    ] = 30.0,
    lease: Annotated[
        float | None,
        typer.Option(min=1, help="seconds that a claim is valid without a heartbeat"),
    ] = None,
    redis_url: Annotated[
        str | None, typer.Option(help="the Redis or Valkey server", show_default=False)
    ] = None,
    name: Annotated[
        str, typer.Option(help="what this worker is called; the host's name unless said")
    ] = "",
    agent: Annotated[
        bool, typer.Option("--agent/--no-agent", help="answer people's messages too")
    ] = True,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="a task that its toml file leaves off, such as shell"),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="start anew when a source changes; for development")
    ] = False,
) -> None:
    """Run the jobs of a module's or a toml file's tasks."""
    # The environment, not the command line: what is in it is no secret of other users'.
    if redis_url is not None:
        os.environ["JOBCAST_REDIS_URL"] = redis_url
    if lease is not None:
        os.environ["JOBCAST_LEASE"] = f"{lease:g}"
    if FD_VARIABLE not in os.environ:
        _start_warden(tasks, concurrency, queue or [], grace, name, agent, allow or [], reload)
    from worker.runner import Options

    options = Options(concurrency=concurrency, queues=queue or None, grace=grace, name=name)
    raise typer.Exit(_serve(tasks, options, with_agent=agent, allow=allow or [], reload=reload))


def _start_warden(
    tasks: str | None,
    concurrency: int,
    queues: list[str],
    grace: float,
    name: str,
    agent: bool,
    allow: list[str],
    reload: bool,
) -> NoReturn:
    # -P: a `worker` or `hub` module in the working directory must not hide ours.
    argv = [sys.executable, "-P", "-m", "worker.serve"]
    argv += ["--concurrency", str(concurrency), "--grace", f"{grace:g}", "--name", name]
    argv += [word for queue in queues for word in ("--queue", queue)]
    argv += [word for task in allow for word in ("--allow", task)]
    argv += ["--reload"] if reload else []
    argv += ["--agent" if agent else "--no-agent", *(["--", tasks] if tasks else [])]
    exec_warden(argv)


def _serve(
    target: str | None, options: Options, *, with_agent: bool, allow: list[str], reload: bool
) -> int:
    from hub.errors import SettingsError
    from hub.settings import Settings
    from worker.loading import LoadError
    from worker.reload import Sources
    from worker.signature import TaskError

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    sources = Sources(target) if reload else None
    try:
        settings = Settings.from_env()
        registry = _loaded(target, allow, sources)
        if registry is None:
            return EXIT_RELOAD
        agent = _agent(settings, registry) if with_agent else None
        if not registry and agent is None:
            raise LoadError("nothing to serve: name a module or a toml file with tasks")
        if target and not registry:
            where = Path(target).resolve()
            raise LoadError(f"{where}: no task in it that is on; see --allow")
        return _run(registry, settings, options, agent, sources)
    except (LoadError, TaskError, SettingsError) as error:
        sys.stderr.write(f"jobcast worker: {error}\n")
        return 2


def _loaded(target: str | None, allow: list[str], sources: Sources | None) -> Registry | None:
    """The tasks to serve; None once the source of an error in them has changed."""
    from worker.loading import load
    from worker.tasks import Registry

    if target is None:
        return Registry()
    if sources is None:
        return load(target, allow=allow)
    try:
        return load(target, allow=allow)
    except Exception as error:
        sources.add(error)
        logging.getLogger("jobcast.worker").exception("waiting for a change of the source")
        if not asyncio.run(_until_mended(sources)):
            raise typer.Exit(0) from None
        return None


async def _until_mended(sources: Sources) -> bool:
    """False when the worker is told to stop instead."""
    from worker.processes import Processes

    processes = Processes.inherited()
    assert processes is not None
    async with processes:
        processes.ready()
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        waits = [asyncio.ensure_future(each) for each in (stop.wait(), sources.until_changed())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return not stop.is_set()


def _agent(settings: Settings, registry: Registry) -> Callable[[Redis, Scripts], Registry] | None:
    if not settings.agent:
        return None
    from hub.agent.openai_model import OpenAiModel
    from hub.enqueue import Enqueuer
    from hub.store import Store
    from hub.transitions import Transitions
    from worker.agent_task import agent_registry
    from worker.hooks import on_stop

    model = OpenAiModel(settings.agent_model) if settings.agent_model else None
    if model is not None:
        registry.hooks.append(on_stop(model.aclose))

    def build(redis: Redis, scripts: Scripts) -> Registry:
        store = Store(redis, scripts)
        enqueuer = Enqueuer(store, settings)
        return agent_registry(store, Transitions(redis, scripts), enqueuer, model)

    return build


def _run(
    registry: Registry,
    settings: Settings,
    options: Options,
    agent: Callable[[Redis, Scripts], Registry] | None,
    sources: Sources | None,
) -> int:
    import uvloop

    from worker.processes import Processes
    from worker.runner import Runner

    async def run() -> int:
        processes = Processes.inherited()
        assert processes is not None
        async with processes:
            runner = Runner(registry, settings, processes, options, agent=agent)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, runner.drain)
            if sources is None:
                return await runner.run()
            watching = asyncio.ensure_future(_reload(runner, sources))
            try:
                return await runner.run()
            finally:
                watching.cancel()
                await asyncio.wait({watching})

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop_runner:
        return loop_runner.run(run())


async def _reload(runner: Runner, sources: Sources) -> None:
    path = await sources.until_changed()
    logging.getLogger("jobcast.worker").info("%s has changed: starting anew", path)
    runner.reload()


if __name__ == "__main__":
    # An error in the user's own module is shown as Python shows it.
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(worker)
    app()
