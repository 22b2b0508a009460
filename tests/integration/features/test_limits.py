"""How many jobs may run at once: exact, whatever happens to those that run."""

from __future__ import annotations

import random
from typing import Any

import pytest
from redis.asyncio import Redis

from hub import keys
from hub.claims import Claim
from hub.errors import Conflict, JobcastError, ParentCancelled, StaleToken
from hub.invariant import check
from hub.jobs import NewJob
from hub.limits import Limit, packed
from hub.scripts import Scripts
from hub.settings import Settings
from hub.states import TERMINAL
from hub.transitions import Transitions
from tests.integration.features.feature_tasks import crowd
from tests.integration.store.conftest import Driver
from tests.integration.worker.shop import Shop
from tests.running_hub import Hub
from worker import task
from worker.tasks import TaskError
from worker.toml_tasks import read_tasks


@pytest.fixture
def driver(redis: Redis, scripts: Scripts) -> Driver:
    return Driver(redis, scripts)


async def ids(driver: Driver, limit: int = 10) -> list[str]:
    return [claim.job_id for claim in await driver.claim(limit)]


async def test_what_is_over_the_limit_waits_its_turn(driver: Driver, redis: Redis) -> None:
    jobs = [await driver.queue(limits="task:work 2") for _ in range(5)]
    free = await driver.queue()

    assert sorted(await ids(driver)) == sorted([*jobs[:2], free])
    assert await ids(driver) == []
    assert await driver.redis.zrange(keys.parked("limit:task:work|default"), 0, -1) == [
        each.encode() for each in jobs[2:]
    ]
    assert await check(redis) == []
    await driver.act("complete", jobs[1])
    # Those who wait for work are woken by the script that made room.
    assert await driver.woken()
    assert await ids(driver) == [jobs[2]]
    assert await check(redis) == []


@pytest.mark.parametrize("end", ["complete", "fail", "retry", "release", "reap"])
async def test_every_end_of_a_claim_makes_room(driver: Driver, redis: Redis, end: str) -> None:
    first = await driver.queue(limits="key:a 1", max_attempts=2)
    second = await driver.queue(limits="key:a 1")
    assert await ids(driver) == [first]
    assert await ids(driver) == []
    await driver.act(end, first)

    assert second in await ids(driver, 1) + await ids(driver, 1) or end in ("release", "reap")
    assert len(await driver.redis.smembers(keys.holders("key:a"))) == 1
    assert await check(redis) == []


async def test_a_job_that_asks_keeps_its_place_while_it_is_held(
    driver: Driver, redis: Redis
) -> None:
    first = await driver.queue(limits="key:a 1")
    second = await driver.queue(limits="key:a 1")
    await driver.claim()
    await driver.act("ask", first)
    assert await ids(driver) == []
    await driver.act("release", first)  # it waits for its answer in nobody's hands
    assert await ids(driver) == [second]
    await driver.act("answer", first)
    assert await ids(driver) == []
    await driver.act("complete", second)
    assert await ids(driver) == [first]
    assert await check(redis) == []


async def test_room_that_is_not_used_is_passed_on(driver: Driver, redis: Redis) -> None:
    jobs = [await driver.queue(limits="key:a 1") for _ in range(3)]
    assert await ids(driver) == [jobs[0]]
    assert await ids(driver) == []
    await driver.act("complete", jobs[0])
    await driver.act("cancel", jobs[1])  # it had been let in

    assert await ids(driver) == [jobs[2]]
    assert await check(redis) == []


async def test_a_paused_queue_does_not_keep_others_waiting(driver: Driver, redis: Redis) -> None:
    first = await driver.queue(limits="key:a 1")
    slow = await driver.queue(limits="key:a 1", queue="slow")
    third = await driver.queue(limits="key:a 1")
    assert await ids(driver) == [first]
    assert await ids(driver) == []
    await driver.do.claim("w", "r", queues=["slow"], tasks=["work"], lease=15, limit=5)
    await driver.do.pause("slow", True)
    await driver.act("complete", first)

    assert await ids(driver) == [third]
    assert await driver.state(slow) == "pending"
    assert await check(redis) == []


async def test_a_job_never_waits_for_a_child_that_waits_for_it(
    driver: Driver, redis: Redis
) -> None:
    parent = await driver.queue(limits="session:s1 1")
    [claim] = await driver.claim()
    other = await driver.queue(limits="session:s1 1")
    below: dict[str, Any] = {"parent_id": parent, "parent_token": claim.token}
    children = [await driver.queue(limits="session:s1 1", **below) for _ in range(2)]

    # One at a time, in its parent's place; whoever is not below it waits for both.
    assert await ids(driver) == [children[0]]
    assert await ids(driver) == []
    await driver.act("complete", children[0])
    assert await ids(driver) == [children[1]]
    await driver.act("complete", children[1])
    assert await ids(driver) == []
    await driver.act("complete", parent)
    assert await ids(driver) == [other]
    assert await check(redis) == []


async def test_the_order_of_a_queue_outlives_the_waiting(driver: Driver) -> None:
    first = await driver.queue(limits="key:a 1")
    await driver.claim()
    late = await driver.queue(limits="key:a 1", priority=9)
    soon = await driver.queue(limits="key:a 1", priority=1)
    assert await ids(driver) == []
    await driver.act("complete", first)
    assert await ids(driver) == [soon]
    await driver.act("complete", soon)
    assert await ids(driver) == [late]


class Chance:
    """Random calls of the scripts, in sessions with limits of every kind."""

    def __init__(self, driver: Driver, seed: int) -> None:
        self.driver = driver
        self.random = random.Random(seed)
        self.jobs: list[str] = []
        self.held: dict[str, Claim] = {}

    async def queue(self) -> None:
        choice = self.random.choice
        session = choice(["s1", "s2"])
        names = [f"task:work {choice([3, 4])}", f"session:{session} 2", f"key:{choice('ab')} 1"]
        limits = " ".join(name for name in names if self.random.random() < 0.6)
        fields: dict[str, Any] = {"limits": limits or None, "queue": choice(["default", "slow"])}
        above = [claim for claim in self.held.values() if claim.session_id == session]
        if above and self.random.random() < 0.5:
            claim = choice(above)
            fields |= {"parent_id": claim.job_id, "parent_token": claim.token}
        fields |= {"max_attempts": 3, "priority": choice([4, 5])}
        try:
            self.jobs.append(await self.driver.queue(session, **fields))
        except (ParentCancelled, StaleToken):
            return

    async def claim(self) -> None:
        for claim in await self.driver.do.claim(
            "w",
            f"{self.random.random()}",
            queues=self.random.sample(["default", "slow"], 2),
            tasks=["work"],
            lease=15,
            limit=self.random.choice([1, 5]),
        ):
            self.held[claim.job_id] = claim
            self.driver.tokens[claim.job_id] = claim.token

    async def act(self, action: str) -> None:
        job_id = self.random.choice(self.jobs)
        try:
            await self.driver.act(action, job_id)
        except (Conflict, StaleToken):
            return
        if "token" not in await self.driver.redis.hgetall(keys.job(job_id)):
            self.held.pop(job_id, None)

    async def step(self) -> None:
        acts = ["complete", "fail", "retry", "release", "reap", "ask", "cancel", "answer"]
        match self.random.choice(["queue", "claim", "claim", *acts]):
            case "queue":
                await self.queue()
            case "claim":
                await self.claim()
            case act:
                await self.act(act)

    async def drain(self) -> None:
        """Runs everything to its end: whatever waits for a limit gets its turn."""
        while True:
            await self.driver.redis.zunionstore(keys.DELAYED, {keys.DELAYED: 0})
            await self.driver.ticker.once()
            await self.claim()
            left = [job for job in self.jobs if await self.driver.state(job) not in TERMINAL]
            if not left:
                return
            before = await self.states(left)
            for job_id in left:
                for act in ("answer", "confirm_cancel", "complete"):
                    try:
                        await self.driver.act(act, job_id)
                    except JobcastError:
                        continue
            assert await self.states(left) != before, "nothing moves any more"

    async def states(self, jobs: list[str]) -> list[str]:
        return [await self.driver.state(job) for job in jobs]


@pytest.mark.parametrize(
    ("seed", "steps"),
    [(0, 50), (1, 50), *(pytest.param(n, 250, marks=pytest.mark.slow) for n in range(2, 22))],
)
async def test_chance_breaks_no_limit(driver: Driver, redis: Redis, seed: int, steps: int) -> None:
    chance = Chance(driver, seed)
    for _ in range(5):
        await chance.queue()
    for _ in range(steps):
        await chance.step()
        assert await check(redis) == []
    await chance.drain()
    assert await check(redis) == []
    left = [key async for key in driver.redis.scan_iter(match=keys.PREFIX + "*")]
    assert not [key for key in left if b":holders:" in key or b":blocked:" in key]


async def test_a_declared_limit_is_kept_by_workers(shop: Shop) -> None:
    lone = [await shop.queue("lone", limits="task:lone 1") for _ in range(5)]
    for job_id in lone:
        assert (await shop.until(job_id, *TERMINAL)).status == "completed"
    assert max(crowd) == 1
    assert len(crowd) == 5


@pytest.fixture
async def limited(hub: Hub, transitions: Transitions) -> Hub:
    @task(concurrency=4, limits=[Limit(1, key="deploy:{env}"), Limit(2, per="session")])
    async def deploy(env: str = "staging") -> None: ...

    await transitions.announce({"deploy": deploy.announce()})
    return hub


@pytest.mark.parametrize(
    ("params", "key"),
    [({}, "key:deploy:staging"), ({"env": "prod"}, "key:deploy:prod"), ({"env": "a b"}, "sha256")],
)
async def test_a_job_has_the_limits_of_its_task(
    limited: Hub, redis: Redis, params: dict[str, str], key: str
) -> None:
    body = {"task": "deploy", "session_id": "s1", "params": params}
    job_id = (await limited.client.post("/jobs", json=body)).json()["job_id"]
    client: Any = redis
    names = (await client.hget(keys.job(job_id), "limits")).decode().split()

    assert names[:2] == ["task:deploy", "4"]
    assert key in names[2]
    assert names[3:] == ["1", "task:deploy@s1", "2"]


def test_a_session_may_have_a_limit_of_its_own() -> None:
    assert packed([], "t", "s", {}) is None
    assert packed([], "t", "s", {}, 3) == "session:s 3"
    assert packed([Limit(5), Limit(2)], "t", "s", {}) == "task:t 2"
    assert Limit(1, per="session", key="k").name("t", "s", {}) == "key:s/k"


def test_limits_that_cannot_be(tmp_path: Any) -> None:
    with pytest.raises(TaskError, match="no param 'env'"):
        task(limits=[Limit(1, key="{env}")])(_nothing)
    with pytest.raises(TaskError, match=">= 1"):
        task(concurrency=0)(_nothing)
    text = '[tasks.t]\ncommand = ["true"]\nconcurrency = 2\nlimits = [{ most = 1, key = "k" }]'
    assert read_tasks(text, tmp_path / "j.toml")["t"].limits == [Limit(2), Limit(1, key="k")]
    with pytest.raises(TaskError, match="limits"):
        read_tasks(text.replace("most = 1", "most = 0"), tmp_path / "j.toml")


async def _nothing() -> None: ...


def test_settings_have_it() -> None:
    assert Settings.from_env({"JOBCAST_SESSION_CONCURRENCY": "3"}).session_concurrency == 3
    assert NewJob(session_id="s", task="t").limits is None
