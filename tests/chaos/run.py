"""A chaos run: `python -m tests.chaos.run --seed 7 --seconds 60`.

Thousands of jobs of mixed kinds, and workers, hubs and Valkey killed all the time; then the history
is checked. The same seed makes the same plan. Prints the counts; exit status 1 when something was
lost, doubled or told wrongly."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from redis.exceptions import RedisError

from hub import invariant, keys
from hub.errors import StaleToken
from hub.scripts import Scripts
from hub.settings import Settings
from hub.states import TERMINAL
from hub.transitions import Transitions
from tests.chaos.history import Effect, End, History, Told, check
from tests.chaos.plan import SESSIONS, Step, make_plan
from tests.chaos.town import LEASE, Town
from tests.conftest import API_KEY
from tests.subscriber import Subscriber

#: Seconds after the last kill within which every job must have ended.
AFTERMATH = 90.0
RATE = 45.0


@dataclass
class Outcome:
    """What a run proved: `wrong` is empty when all is well."""

    seed: int
    counts: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}", *(f"{name}: {value}" for name, value in self.counts.items())]
        lines.append(f"wrong: {len(self.wrong)}")
        return "\n".join([*lines, *self.wrong[:50]])


class Listener(Subscriber):
    """A subscriber that goes to the next hub whenever it loses one."""

    def __init__(self, hubs: Sequence[str], session_id: str, token: str) -> None:
        super().__init__(hubs[0], session_id, token)
        self._hubs = itertools.cycle(hubs)
        self._session_id = session_id

    @property
    def _url(self) -> str:
        return f"ws{next(self._hubs).removeprefix('http')}/ws/{self._session_id}"

    @_url.setter
    def _url(self, url: str) -> None:
        """The first one is not used: each connection asks anew."""

    def told(self) -> list[Told]:
        return [_told(event) for event in self.events]


class Driver:
    """Does what the plan says, through whichever hub lives."""

    def __init__(self, town: Town, plan: Sequence[Step]) -> None:
        self.town = town
        self.plan = plan
        self.accepted: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.by_number: dict[int, str] = {}
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.listeners: list[Listener] = []
        self._hubs = itertools.cycle(town.hub_urls)
        self._client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {API_KEY}"}, timeout=15
        )
        self.over = asyncio.Event()

    async def call(self, method: str, path: str, **what: Any) -> httpx2.Response:
        """The answer of a hub, asked again and again while hubs or Redis are away."""
        while True:
            url = next(self._hubs)
            try:
                answer = await self._client.request(method, url + path, **what)
            except httpx2.TransportError:
                self.counts["calls repeated"] += 1
            else:
                if answer.status_code == 500:
                    self.wrong.append(f"500 for {method} {path}: {answer.text}")
                if answer.status_code not in (429, 500, 502, 503):
                    return answer
                self.counts["calls repeated"] += 1
            await asyncio.sleep(0.1)

    async def run(self) -> None:
        """Returns once the plan is done."""
        async with asyncio.TaskGroup() as group:
            people = group.create_task(self._answer())
            liar = group.create_task(self._lie())
            began = time.monotonic()
            deeds: set[asyncio.Task[None]] = set()
            for step in self.plan:
                await asyncio.sleep(max(0.0, began + step.at - time.monotonic()))
                if step.deed == "kill":
                    done = self.town.kill(step.kind, step.number)
                    self.counts[f"killed {step.kind}"] += done
                    continue
                if step.deed == "freeze":
                    self.counts[f"froze {step.kind}"] += 1
                    deed = group.create_task(self.town.freeze(step.kind, step.number, step.pause))
                else:
                    act = self._queue if step.deed == "queue" else self._cancel
                    deed = group.create_task(act(step))
                deeds.add(deed)
                deed.add_done_callback(deeds.discard)
            if deeds:
                await asyncio.wait(deeds)
            await self._until_ended()
            people.cancel()
            liar.cancel()
        await self._client.aclose()

    async def _queue(self, step: Step) -> None:
        body = {"session_id": step.session_id, **step.request}
        answer = await self.call(
            "POST", "/jobs", json=body, headers={"Idempotency-Key": f"job-{step.number}"}
        )
        if answer.status_code not in (200, 202):
            self.wrong.append(f"{answer.status_code} for {body}: {answer.text}")
            return
        job_id = answer.json()["job_id"]
        self.accepted[job_id] = step.session_id
        self.kinds[job_id] = step.kind
        self.by_number[step.number] = job_id

    async def _cancel(self, step: Step) -> None:
        job_id = self.by_number.get(step.number)
        if job_id is not None:
            answer = await self.call("POST", f"/jobs/{job_id}/cancel")
            self.counts["cancels accepted"] += answer.status_code == 202
            if answer.status_code not in (202, 409):
                self.wrong.append(f"{answer.status_code} for a cancel: {answer.text}")

    async def _answer(self) -> None:
        """People answer what they are pushed, some time later."""
        asked: set[str] = set()
        while True:
            for listener in self.listeners:
                for job in list(listener.jobs.values()):
                    if job.get("status") != "input_required" or job["id"] in asked:
                        continue
                    asked.add(job["id"])
                    value = {"input_id": job["input"]["id"], "value": "this"}
                    answer = await self.call("POST", f"/jobs/{job['id']}/input", json=value)
                    self.counts["answers accepted"] += answer.status_code < 300
                    if answer.status_code >= 300 and answer.status_code != 409:
                        self.wrong.append(f"{answer.status_code} for an answer: {answer.text}")
            await asyncio.sleep(0.2)

    async def _lie(self) -> None:
        """Uses tokens of claims that are over, as a worker would that woke too late."""
        do = Transitions(self.town.redis, Scripts(Settings(lease=LEASE)))
        tried: set[tuple[str, str]] = set()
        while True:
            await asyncio.sleep(0.5)
            for job_id, tokens in tokens_of(read_effects(self.town.effects)).items():
                for token in tokens[:-1]:
                    if (job_id, token) in tried:
                        continue
                    tried.add((job_id, token))
                    lies = (
                        do.finish(job_id, token, "completed", b'"stale"'),
                        do.progress(job_id, token, b'{"message":"stale"}'),
                        do.log(job_id, token, 1_000_000, [b'{"text":"0:stale"}']),
                        do.step(job_id, token, "stale", b"1"),
                    )
                    for lie in lies:
                        try:
                            await lie
                        except StaleToken:
                            self.counts["stale calls refused"] += 1
                        except (RedisError, OSError):
                            continue
                        else:
                            self.wrong.append(f"{job_id}: the stale token {token} was believed")

    async def _until_ended(self) -> None:
        left = set(self.accepted)
        until = time.monotonic() + AFTERMATH
        while left and time.monotonic() < until:
            await asyncio.sleep(0.3)
            with contextlib.suppress(RedisError, OSError):
                pipe = self.town.redis.pipeline(transaction=False)
                ids = sorted(left)
                for job_id in ids:
                    pipe.hget(keys.job(job_id), "status")
                for job_id, status in zip(ids, await pipe.execute(), strict=True):
                    if status is not None and status.decode() in TERMINAL:
                        left.discard(job_id)
        self.counts["not ended in time"] = len(left)


def _told(event: dict[str, Any]) -> Told:
    return Told(event["id"], event["type"], event["job_id"], event["rev"])


def read_effects(path: Path) -> list[Effect]:
    """The lines that are whole."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [Effect(*line.split(" ", 2)) for line in lines]


def tokens_of(effects: Sequence[Effect]) -> dict[str, list[str]]:
    """The tokens under which each job did something, the first one first."""
    found: dict[str, list[str]] = {}
    for effect in effects:
        tokens = found.setdefault(effect.job_id, [])
        if effect.token not in tokens:
            tokens.append(effect.token)
    return found


async def read_history(town: Town, driver: Driver) -> History:
    """What Redis holds once nothing writes any more."""
    redis = town.redis
    jobs = {}
    for key in [key async for key in redis.scan_iter(match=keys.job("*"), count=1000)]:
        job_id = key.decode().removeprefix(keys.job(""))
        found = {k.decode(): v for k, v in (await redis.hgetall(key)).items()}
        log = await redis.xrange(keys.log(job_id))
        error = msgspec.json.decode(found["error"]) if "error" in found else {}
        jobs[job_id] = End(
            session_id=found["session_id"].decode(),
            kind=driver.kinds.get(job_id, "?"),
            status=found["status"].decode(),
            result=msgspec.json.decode(found["result"]) if "result" in found else None,
            code=error.get("code", ""),
            claims=int(found["claims"]),
            log=[
                json.loads(fields[b"j"])["text"]
                for _, fields in log
                if driver.kinds.get(job_id) == "slow"
            ],
        )
    streams = {}
    for session_id in set(driver.accepted.values()):
        entries = await redis.xrange(keys.events(session_id))
        streams[session_id] = [_told(msgspec.json.decode(fields[b"e"])) for _, fields in entries]
    return History(
        accepted=driver.accepted,
        jobs=jobs,
        streams=streams,
        pushed={each._session_id: each.told() for each in driver.listeners},
        effects=read_effects(town.effects),
    )


async def run(seed: int, seconds: float, *, workers: int = 3, hubs: int = 2) -> Outcome:
    """One run; says what it found."""
    outcome = Outcome(seed)
    plan = make_plan(seed, seconds, rate=RATE, workers=workers, hubs=hubs)
    with tempfile.TemporaryDirectory(prefix="jobcast-chaos-") as folder:
        async with Town(Path(folder), workers, hubs) as town:
            driver = Driver(town, plan)
            answer = await driver.call("POST", "/tokens", json={"sessions": ["chaos:*"]})
            token = answer.json()["token"]
            async with contextlib.AsyncExitStack() as stack:
                for n in range(SESSIONS):
                    urls = town.hub_urls[n % hubs :] + town.hub_urls[: n % hubs]
                    listener = Listener(urls, f"chaos:{n}", token)
                    await stack.enter_async_context(listener)
                    driver.listeners.append(listener)
                await driver.run()
                await _told_all(town, driver)
                await town.stop_all_but_valkey()
            outcome.wrong += driver.wrong
            history = await read_history(town, driver)
            outcome.wrong += check(history)
            outcome.wrong += await invariant.check(town.redis)
            outcome.wrong += await _alive(town)
            outcome.counts = _counts(driver, history)
            if outcome.wrong:
                sys.stderr.write("\n".join(town.lines) + "\n")
    return outcome


async def _told_all(town: Town, driver: Driver) -> None:
    """Waits until subscribers have caught up; what is still missing then, the checker finds."""
    for listener in driver.listeners:
        top = await town.redis.xrevrange(keys.events(listener._session_id), count=1)
        with contextlib.suppress(AssertionError):
            await listener.until(
                lambda top=top, of=listener: not top or of.cursor == top[0][0].decode(),  # type: ignore[misc]
                "the last event",
                30,
            )
        try:
            listener.check()
        except AssertionError as error:
            driver.wrong.append(f"the subscriber of {listener._session_id}: {error}"[:500])


async def _alive(town: Town) -> list[str]:
    try:
        await town.mark.until_gone(5)
    except TimeoutError:
        return [f"processes are left alive: {town.mark.alive()}"]
    return []


def _counts(driver: Driver, history: History) -> dict[str, Any]:
    tokens = tokens_of(history.effects)
    return {
        "jobs accepted": len(history.accepted),
        "by kind": dict(Counter(driver.kinds.values()).most_common()),
        "by end": dict(Counter(end.status for end in history.jobs.values()).most_common()),
        "failed with": dict(Counter(e.code for e in history.jobs.values() if e.code).most_common()),
        "claims": sum(end.claims for end in history.jobs.values()),
        "jobs that ran more than once": sum(len(each) > 1 for each in tokens.values()),
        "effects": len(history.effects),
        "lifecycle events": sum(map(len, history.streams.values())),
        "events pushed": sum(map(len, history.pushed.values())),
        "hellos": sum(len(each.hellos) for each in driver.listeners),
        **dict(sorted(driver.counts.items())),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--hubs", type=int, default=2)
    args = parser.parse_args()
    sys.stdout.write(f"seed {args.seed}: make chaos SEED={args.seed} SECONDS={args.seconds:g}\n")
    sys.stdout.flush()
    outcome = asyncio.run(run(args.seed, args.seconds, workers=args.workers, hubs=args.hubs))
    sys.stdout.write(f"{outcome}\n")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
