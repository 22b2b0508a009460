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
from hub.channels import Channels
from hub.connection import check_server, connect
from hub.enqueue import Enqueuer
from hub.errors import SettingsError
from hub.jobs import AGENT_QUEUE, iso
from hub.scripts import Scripts
from hub.settings import Settings
from hub.store import Store
from hub.supervisor import keep_running
from hub.tick import Ticker
from hub.transitions import Claim, Transitions
from worker.children import Children
from worker.claimer import Claimer
from worker.control import Control
from worker.epilogue import LastWord, speak
from worker.execution import STOP_GRACE, Execution, Why, Workshop
from worker.isolation import check_isolated
from worker.leases import Leases, Registration
from worker.persist import persist
from worker.processes import Processes
from worker.slots import Slots
from worker.tasks import Registry
from worker.watchdog import EXIT_UNSTOPPABLE, Watchdog

log = logging.getLogger("jobcast.worker")

#: Slots for the agent's turns: a worker that is full of long jobs still answers people.
AGENT_SLOTS: Final = 4
#: Seconds that giving jobs back may take beyond their stopping; Redis may be away.
RELEASE_SECONDS: Final = 5.0
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
        self._executions: set[Execution] = set()
        self._hopeless: set[Execution] = set()
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._news = asyncio.Event()
        self._status = 0
        most = 4 * (options.concurrency + AGENT_SLOTS) + 1_000
        self._redis = connect(settings.redis_url, max_connections=most)
        self._scripts = Scripts(settings)
        self._transitions = Transitions(self._redis, self._scripts)
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
            self._hurry.set()
        self._stop.set()
        self._changed.set()

    async def run(self) -> int:
        """Works; returns the exit status. Raises SettingsError when the server is not fit."""
        try:
            if await self._until_redis_answers():
                await check_server(self._redis)
                await self._work()
        finally:
            await self._redis.aclose()
        return self._status

    # ------------------------------------------------------------------ working

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        agent = Registry() if self._agent is None else self._agent(self._redis, self._scripts)
        served = {AGENT_QUEUE} if agent else set()
        queues = self._options.queues
        if queues is None:
            queues = sorted({"default", *(task.queue for task in self._registry.values())})
        queues = [queue for queue in queues if queue != AGENT_QUEUE]
        seconds, micros = await persist(self._redis.time)
        facts = {
            "name": self._name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "concurrency": self._options.concurrency,
            "started_at": iso(int(seconds) * 1000 + int(micros) // 1000),
        }
        lease = self._settings.lease

        def post(call: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(call)

        leases = Leases(
            self._settings.redis_url,
            self._scripts,
            Registration(
                self.worker_id,
                msgspec.json.encode(facts),
                (*self._registry, *agent),
                (*queues, *served),
            ),
            lease,
            self._processes,
            post,
            stop_grace=self._options.stop_grace,
            on_back=self._news.set,
        )
        watchdog = Watchdog(
            leases, post, lambda words: self._speak(self._settings, words, EXIT_UNSTOPPABLE)
        )

        control = Control(leases.holds, leases.nudge)
        channels = Channels(self._redis, control)
        control.listen(channels)
        store = Store(self._redis, self._scripts)
        children = control.children = Children(
            store, self._transitions, Enqueuer(store, self._settings), channels
        )

        def shop(slots: Slots) -> Workshop:
            return Workshop(
                settings=self._settings,
                transitions=self._transitions,
                processes=self._processes,
                leases=leases,
                slots=slots,
                children=children,
                give_up=self._give_up,
                stop_grace=self._options.stop_grace,
            )

        crews = [(self._registry, queues, shop(Slots(self._options.concurrency)))]
        if agent:
            crews.append((agent, [AGENT_QUEUE], shop(Slots(AGENT_SLOTS))))
        await self._announce()
        leases.start()
        watchdog.start()
        try:
            async with asyncio.TaskGroup() as group:
                ticker = Ticker(self._redis, self._scripts)
                services = [
                    group.create_task(keep_running(name, run))
                    for name, run in {
                        "the control channel": channels.run,
                        "the tick": ticker.run,
                        "announcing": self._keep_announced,
                    }.items()
                ]
                claimers = [
                    group.create_task(
                        keep_running(
                            f"claiming from {', '.join(queues)}",
                            Claimer(
                                self._transitions,
                                self.worker_id,
                                queues=queues,
                                tasks=list(registry),
                                lease=lease,
                                slots=shop.slots,
                                begin=self._beginner(group, registry, shop),
                                stop=self._stop,
                            ).run,
                        )
                    )
                    for registry, queues, shop in crews
                    if registry and queues
                ]
                self._processes.ready()
                log.info(
                    "worker %s serves %s from %s",
                    self.worker_id,
                    ", ".join(sorted(self._registry)) or "the agent only",
                    ", ".join((*queues, *served)),
                )
                await self._stop.wait()
                for _, _, each in crews:
                    each.draining = True
                if claimers:
                    await asyncio.wait(claimers)
                await self._finish(crews[0][2].stop_grace)
                for service in services:
                    service.cancel()
                # A last beat would register this worker again.
                await asyncio.to_thread(leases.stop)
                await self._goodbye([*queues, *served])
        finally:
            watchdog.stop()
            leases.stop()

    def _beginner(
        self, group: asyncio.TaskGroup, registry: Registry, shop: Workshop
    ) -> Callable[[Claim, float], None]:
        def begin(claim: Claim, valid_until: float) -> None:
            execution = Execution(shop, claim, registry[claim.task], valid_until)
            self._executions.add(execution)
            group.create_task(self._execute(execution))

        return begin

    async def _execute(self, execution: Execution) -> None:
        job_id = execution.claim.job_id
        try:
            await execution.run()
        except Exception:
            # Nothing is renewed any more, so the job comes to another worker.
            log.exception("job %s: the worker itself failed", job_id)
        finally:
            self._executions.discard(execution)
            self._changed.set()

    def _give_up(self, execution: Execution) -> None:
        claim = execution.claim
        self._hopeless.add(execution)
        self._changed.set()
        log.error(
            "job %s: the code of %s does not stop, so this worker ends: a coroutine must let "
            "CancelledError through, and a function that waits for long should have "
            'isolate="process"',
            claim.job_id,
            claim.task,
        )
        if not self._stop.is_set():
            self._status = EXIT_UNSTOPPABLE
            self.drain()

    # ------------------------------------------------------------------ announcing

    async def _announce(self) -> None:
        if self._registry:
            announcements = self._registry.announce()
            await persist(lambda: self._transitions.announce(announcements))

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

    # ------------------------------------------------------------------ going

    async def _finish(self, stop_grace: float) -> None:
        """Waits for jobs to finish, and gives back what does not."""
        if self._executions:
            log.info("finishing %d jobs within %g s", len(self._executions), self._options.grace)
        for execution in list(self._executions):
            if execution.waiting:
                execution.stop(Why.RELEASE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.grace):
                await self._until_idle(or_hurried=True)
        patience = stop_grace
        while self._left():
            grace = 0.0 if self._hurry.is_set() else stop_grace
            patience = grace + RELEASE_SECONDS
            for execution in list(self._executions):
                execution.stop(Why.RELEASE, grace)
            try:
                async with asyncio.timeout(patience):
                    await self._until_idle(or_hurried=grace > 0)
            except TimeoutError:
                break
        if self._executions:
            log.warning("%d jobs could not be ended", len(self._executions))
            words = [execution.last_word() for execution in self._executions]
            self._speak(self._settings, words, self._status)

    def _left(self) -> bool:
        """Whether there are jobs that may still end."""
        return any(each not in self._hopeless for each in self._executions)

    async def _until_idle(self, *, or_hurried: bool) -> None:
        while self._left() and not (or_hurried and self._hurry.is_set()):
            self._changed.clear()
            await self._changed.wait()

    async def _goodbye(self, queues: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._transitions.goodbye(self.worker_id)
                # A wake-up that came to this worker at the last moment is for another one.
                for queue in queues:
                    await self._redis.zadd(keys.wake(queue), {"1": 0})
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("could not say goodbye to Redis: %s", error)
