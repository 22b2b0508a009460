"""Leases: what a worker holds, and the thread that renews it whatever Python code does.

A lease is counted from before the command that gave it was sent, on a clock that no suspend stops.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from redis.exceptions import RedisError

from hub.connection import connect_sync
from hub.scripts import Scripts, names_arg
from hub.transitions import heartbeat_args, heartbeat_sync
from worker.clock import boottime
from worker.epilogue import LastWord
from worker.processes import Processes, WardenLost

log = logging.getLogger("jobcast.worker")

#: Renewals in one lease. A third would do; a tenth lets an outage take all but a fifth of it.
BEATS: Final = 10
#: The same of a worker that holds nothing, and only says that it lives.
IDLE_BEATS: Final = 3
#: The part of a lease at whose beginning a worker that could not renew it stops its job.
MARGIN: Final = 0.1
_FIRST_RETRY: Final = 0.1

#: What the loop is told of a job: `cancelling` (somebody wants its end), `answered` (it may be
#: that its question was), `lost` (its claim is over), `fence` (it could not be renewed in time).
Word = Literal["cancelling", "answered", "lost", "fence"]

#: The name under which the warden keeps what in-process code starts by itself.
OWN_CHILDREN: Final = "worker"


class Registration(NamedTuple):
    """What a worker says of itself: facts are JSON."""

    worker_id: str
    facts: bytes
    tasks: tuple[str, ...]
    queues: tuple[str, ...]


class Held:
    """One claim in this worker's hands. Its fields are read by the threads that keep leases.

    `valid_until`  end of the lease, on `boottime()`
    `begun`        the warden knows its `key`
    `alive`        code of it runs in this process, which must end with the lease
    `asking`       it waits for an answer
    `last_word`    says what is to be written of it when this process ends now
    `overdue`      when its timeout and grace are over, on `boottime()`
    """

    __slots__ = (
        "alive",
        "asking",
        "begun",
        "fenced",
        "job_id",
        "key",
        "last_word",
        "overdue",
        "status",
        "tell",
        "token",
        "valid_until",
    )

    def __init__(
        self,
        job_id: str,
        token: str,
        valid_until: float,
        tell: Callable[[Word], None],
        last_word: Callable[[], LastWord],
    ) -> None:
        self.job_id = job_id
        self.token = token
        self.key = f"{job_id} {token}"
        self.valid_until = valid_until
        self.tell = tell
        self.last_word = last_word
        self.status = "running"
        self.begun = False
        self.alive = False
        self.asking = False
        self.fenced = False
        self.overdue = float("inf")


class Leases:
    """All claims of this worker. `held` is safe to walk from any thread."""

    def __init__(
        self,
        redis_url: str,
        scripts: Scripts,
        registration: Registration,
        lease: float,
        processes: Processes,
        post: Callable[[Callable[[], None]], None],
        *,
        stop_grace: float,
        on_back: Callable[[], None],
    ) -> None:
        """`post` has the event loop call something soon; `on_back` is called there when Redis
        answers again after it did not."""
        self.lease = lease
        self._url = redis_url
        self._scripts = scripts
        self._registration = registration
        self._processes = processes
        self._post = post
        self._stop_grace = stop_grace
        self._on_back = on_back
        self._held: dict[str, Held] = {}
        self._lock = threading.Condition()
        self._due = 0.0
        self._nudged = False
        self._stopping = False
        self._failures = 0
        self._children_until = float("inf")
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Starts renewing. The first beat registers the worker."""
        self._processes.begin(OWN_CHILDREN)
        self._thread.start()

    def stop(self) -> None:
        """Renews no more; returns when the thread has ended."""
        with self._lock:
            self._stopping = True
            self._lock.notify()
        self._thread.join()

    def add(self, held: Held) -> None:
        """Takes a claim in."""
        with self._lock:
            self._held[held.key] = held
            soon = boottime() + self.lease / BEATS
            if soon < self._due:
                self._due = soon
                self._lock.notify()

    def drop(self, held: Held) -> None:
        """The claim is over, or nothing of it is left to be renewed."""
        with self._lock:
            self._held.pop(held.key, None)

    def guard(self, held: Held) -> None:
        """Code of it runs in this process from now: what that may start by itself ends with it."""
        with self._lock:
            if held.valid_until < self._children_until:
                self.keep_children()

    def nudge(self) -> None:
        """Has a beat made now: somebody said that there is news."""
        with self._lock:
            self._nudged = True
            self._lock.notify()

    def holds(self, job_id: str) -> bool:
        """Whether there is a claim of this job."""
        with self._lock:
            return any(held.job_id == job_id for held in self._held.values())

    def held(self) -> list[Held]:
        """The claims as they are now."""
        with self._lock:
            return list(self._held.values())

    def keep_children(self) -> None:
        """Tells the warden until when children of this process itself may live."""
        with self._lock:
            until = min((h.valid_until for h in self._held.values() if h.alive), default=None)
            self._children_until = float("inf") if until is None else until
            self._processes.begin(OWN_CHILDREN, until)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        redis = connect_sync(self._url, timeout=max(0.1, self.lease * MARGIN))
        self._due = boottime()
        while self._wait():
            now = boottime()
            pause: float | None = None
            try:
                self._beat(redis)
            except (RedisError, OSError) as error:
                if self._failures == 0:
                    log.warning("cannot renew leases while Redis is away: %s", error)
                pause = min(_FIRST_RETRY * 2**self._failures, self.lease / BEATS)
                self._failures = min(self._failures + 1, 16)
                # The connection may be half open, or the name may mean another server now.
                redis.close()
            except WardenLost:
                return
            else:
                if self._failures:
                    log.info("Redis is back: leases are renewed")
                    self._failures = 0
                    self._post(self._on_back)
            with self._lock:
                if pause is None:
                    pause = self.lease / (BEATS if self._held else IDLE_BEATS)
                self._due = now + pause
        redis.close()

    def _wait(self) -> bool:
        """Waits until a beat is due, or a nudge; False when it is time to stop."""
        with self._lock:
            while not self._stopping and not self._nudged and (rest := self._due - boottime()) > 0:
                self._lock.wait(rest)
            self._nudged = False
            return not self._stopping

    def _beat(self, redis: object) -> None:
        held = [each for each in self.held() if not each.fenced and each.status != "lost"]
        me = self._registration
        args = heartbeat_args(
            me.worker_id,
            self.lease,
            [(each.job_id, each.token) for each in held],
            me.facts,
            names_arg(me.tasks),
            names_arg(me.queues),
        )
        sent = boottime()
        statuses = heartbeat_sync(redis, self._scripts, args)  # type: ignore[arg-type]
        for each, status in zip(held, statuses, strict=True):
            if status != "lost":
                each.valid_until = sent + self.lease
                if each.begun:
                    self._processes.valid_until(each.key, each.valid_until)
            for word in _words(each, status):
                self._post(lambda tell=each.tell, word=word: tell(word))  # type: ignore[misc]
            each.status = status
            if status == "cancelling":
                each.overdue = min(each.overdue, sent + self._stop_grace)
        self.keep_children()


def _words(held: Held, status: str) -> Iterator[Word]:
    if status == "lost" or (status == "cancelling" and held.status != "cancelling"):
        yield status  # type: ignore[misc]
    elif status == "running" and held.asking:
        yield "answered"
