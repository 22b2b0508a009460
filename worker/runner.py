"""The worker: claims jobs, runs them, keeps their leases, and goes in order when told to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from hub import keys
from hub.calls import Calls
from hub.channels import Channels
from hub.connection import check_server, connect
from hub.enqueue import Enqueuer
from hub.errors import SettingsError
from hub.jobs import AGENT_QUEUE, iso
from hub.scheduler import Scheduler
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.supervisor import keep_running
from hub.tick import Ticker
from hub.transitions import Transitions
from worker.bell import Bell
from worker.children import Children
from worker.claimer import Claimer
from worker.control import Control
from worker.crew import RELEASE_SECONDS, Crew
from worker.epilogue import LastWord, speak
from worker.execution import STOP_GRACE, Workshop
from worker.hooks import started, stopped
from worker.isolation import check_isolated
from worker.leases import Leases, Registration
from worker.meter import Meter
from worker.persist import persist
from worker.processes import Processes
from worker.slots import Slots
from worker.tasks import Registry
from worker.warden import EXIT_RELOAD
from worker.watchdog import EXIT_UNSTOPPABLE, Watchdog

log = logging.getLogger("jobcast.worker")

#: Slots for the agent's turns: a worker that is full of long jobs still answers people.
AGENT_SLOTS: Final = 4
_START_WAIT: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a worker works. `grace` is in seconds: what running jobs may take to finish after a
    SIGTERM. `queues` None means those of its tasks, and `default`."""

    concurrency: int = 8
    queues: Sequence[str] | None = None
    grace: float = 30.0
    name: str = ""
    stop_grace: float = STOP_GRACE


class Runner:
    """One worker. `run` works until `drain` is called; a second `drain` gives up its jobs now.

    `speak(settings, words, status)` ends the process at once, and is called where code cannot be
    stopped."""

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        processes: Processes,
        options: Options,
        *,
        agent: Callable[[Redis, Scripts], Registry] | None = None,
        speak: Callable[[Settings, Sequence[LastWord], int], object] = speak,
    ) -> None:
        for task in registry.values():
            if task.isolate == "process":
                check_isolated(task)
        self._registry = registry
        self._settings = settings
        self._processes = processes
        self._options = options
        self._speak = speak
        self._agent = agent
        self._stop = asyncio.Event()
        self._news = asyncio.Event()
        self._status = 0
        most = 4 * (options.concurrency + AGENT_SLOTS) + 1_000
        self._redis = connect(settings.redis_url, max_connections=most)
        self._scripts = Scripts(settings)
        self._calls = Calls(self._redis)
        self._transitions = Transitions(self._redis, self._scripts, self._calls)
        self._store = Store(self._redis, self._scripts, self._calls)
        self._enqueuer = Enqueuer(self._store, settings)
        self._scheduler = Scheduler(
            self._redis, self._scripts, self._enqueuer, lease=settings.lease, keep=settings.keep
        )
        self._meter = Meter(self._redis)
        self._crew = Crew(self._end_for_a_fresh_one, self._meter.timings)
        queues = options.queues
        if queues is None:
            queues = sorted({"default", *(task.queue for task in registry.values())})
        self._queues = [queue for queue in queues if queue != AGENT_QUEUE]
        host = socket.gethostname()
        name = options.name or host
        self._name = "".join(
            c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name
        )
        self.worker_id = f"{self._name[:48]}-{os.urandom(4).hex()}"

    def drain(self) -> None:
        """Claims no more, lets jobs finish within the grace, gives the rest back; then `run`
        returns. Called again, gives everything back now."""
        if self._stop.is_set():
            self._crew.hurry()
        self._stop.set()

    def reload(self) -> None:
        """Drains, and has the warden start a new worker."""
        self._status = EXIT_RELOAD
        self.drain()

    async def run(self) -> int:
        """Works; returns the exit status. Raises SettingsError when the server is not fit, and
        what a hook of the start raises."""
        try:
            if await self._until_redis_answers():
                await check_server(self._redis)
                async with self._calls:
                    await started(self._registry.hooks)
                    try:
                        await self._work()
                    finally:
                        await stopped(self._registry.hooks)
        finally:
            await self._redis.aclose()
        return self._status

    # ------------------------------------------------------------------ working

    async def _work(self) -> None:
        agent = Registry() if self._agent is None else self._agent(self._redis, self._scripts)
        teams = [(self._registry, self._queues, self._options.concurrency)]
        if agent:
            teams.append((agent, [AGENT_QUEUE], AGENT_SLOTS))
        queues = [queue for _, served, _ in teams for queue in served]
        try:
            registration = await self._registration([*self._registry, *agent], queues)
            await self._announce(self._stop)
        except (RedisError, OSError):
            if not self._stop.is_set():
                raise
            # There is nothing to give back yet, so nothing to wait for Redis for.
            log.warning("told to stop while Redis is away")
            return
        leases = Leases(
            self._settings.redis_url,
            self._scripts,
            registration,
            self._settings.lease,
            self._processes,
            self._poster(),
            stop_grace=self._options.stop_grace,
            on_back=self._news.set,
        )
        watchdog = Watchdog(
            leases,
            self._poster(),
            lambda words: self._speak(self._settings, words, EXIT_UNSTOPPABLE),
        )
        leases.start()
        watchdog.start()
        try:
            async with asyncio.TaskGroup() as group:
                control = Control(leases.holds, leases.nudge)
                channels = Channels(self._redis, control)
                control.listen(channels)
                control.children = Children(
                    self._store, self._transitions, self._enqueuer, channels
                )
                ticker = Ticker(self._redis, self._scripts, self._scheduler)
                services = [
                    group.create_task(keep_running("the control channel", channels.run)),
                    group.create_task(keep_running("the tick", ticker.run)),
                    group.create_task(keep_running("announcing", self._keep_announced)),
                    group.create_task(keep_running("metrics", self._meter.run)),
                ]
                shops, claimers = [], []
                for registry, served, count in teams:
                    shop = self._workshop(leases, control.children, count)
                    shops.append(shop)
                    if registry and served:
                        claimer = self._claimer(group, registry, served, shop)
                        what = f"claiming from {', '.join(served)}"
                        claimers.append(group.create_task(keep_running(what, claimer.run)))
                self._processes.ready()
                log.info(
                    "worker %s serves %s from %s",
                    self.worker_id,
                    ", ".join(sorted(self._registry)) or "the agent only",
                    ", ".join(queues),
                )
                await self._stop.wait()
                for shop in shops:
                    shop.draining = True
                if claimers:
                    await asyncio.wait(claimers)
                words = await self._crew.finish(self._options.grace, self._options.stop_grace)
                if words:
                    self._speak(self._settings, words, self._status)
                for service in services:
                    service.cancel()
                # A last beat would register this worker again.
                await asyncio.to_thread(leases.stop)
                await self._goodbye(queues)
        finally:
            watchdog.stop()
            leases.stop()

    async def _registration(self, tasks: Sequence[str], queues: Sequence[str]) -> Registration:
        seconds, micros = await persist(self._redis.time, self._stop)
        facts = {
            "name": self._name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "concurrency": self._options.concurrency,
            "started_at": iso(int(seconds) * 1000 + int(micros) // 1000),
        }
        return Registration(self.worker_id, msgspec.json.encode(facts), tuple(tasks), tuple(queues))

    def _workshop(self, leases: Leases, children: Children, slots: int) -> Workshop:
        return Workshop(
            settings=self._settings,
            transitions=self._transitions,
            processes=self._processes,
            leases=leases,
            slots=Slots(slots),
            children=children,
            give_up=self._crew.give_up,
            stop_grace=self._options.stop_grace,
        )

    def _claimer(
        self, group: asyncio.TaskGroup, registry: Registry, queues: Sequence[str], shop: Workshop
    ) -> Claimer:
        return Claimer(
            self._transitions,
            Bell(self._redis, self._scripts),
            self.worker_id,
            queues=queues,
            tasks=list(registry),
            lease=self._settings.lease,
            slots=shop.slots,
            begin=self._crew.beginner(group, registry, shop),
            stop=self._stop,
        )

    def _poster(self) -> Callable[[Callable[[], None]], None]:
        loop = asyncio.get_running_loop()

        def post(call: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(call)

        return post

    def _end_for_a_fresh_one(self) -> None:
        if not self._stop.is_set():
            self._status = EXIT_UNSTOPPABLE
            self.drain()

    # ------------------------------------------------------------------ announcing

    async def _announce(self, until: asyncio.Event | None = None) -> None:
        if self._registry:
            announcements = self._registry.announce()
            schedules = self._registry.schedules
            await persist(lambda: self._transitions.announce(announcements), until)
            await persist(lambda: self._scheduler.announce(schedules, announcements), until)

    async def _keep_announced(self) -> None:
        """Announces again when Redis is back: it may have forgotten, or be another one."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._announce()

    async def _until_redis_answers(self) -> bool:
        """False when the worker is told to stop first."""
        said = False
        while not self._stop.is_set():
            try:
                await self._redis.ping()
            except AuthenticationError as error:
                raise SettingsError(
                    f"Redis refuses the password: {error}. Check JOBCAST_REDIS_URL."
                ) from None
            except (RedisError, OSError) as error:
                if not said:
                    log.warning("waiting for Redis (is JOBCAST_REDIS_URL right?): %s", error)
                    said = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_START_WAIT):
                        await self._stop.wait()
            else:
                return True
        return False

    async def _goodbye(self, queues: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._transitions.goodbye(self.worker_id)
                await self._meter.write()
                # A wake-up that came to this worker at the last moment is for another one.
                for queue in queues:
                    await self._redis.zadd(keys.wake(queue), {"1": 0})
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("could not say goodbye to Redis: %s", error)
