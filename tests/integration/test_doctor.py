"""`jobcast doctor`, on servers that are well and on some that are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from redis.asyncio import Redis

from hub import keys
from hub.connection import connect
from hub.doctor import Finding, examine
from hub.scripts import Scripts
from hub.settings import Settings
from hub.transitions import Transitions
from hub.webhooks.store import WebhookStore
from tests.announced import TASKS
from tests.conftest import Server, free_port


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


async def test_a_server_that_is_well(redis: Redis, settings: Settings) -> None:
    found = by_check(await examine(redis, settings))
    for check in ("server", "memory", "persistence", "replication", "pub/sub", "clock", "queues"):
        assert found[check].level == "ok", found[check]
    assert found["workers"].level == "warning"
    assert found["tasks"].level == "warning"


async def test_what_is_not_as_it_should_be(own_valkey: Server, settings: Settings) -> None:
    redis = connect(own_valkey.url)
    try:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        await redis.config_set("appendonly", "no")
        for number in range(8):
            await redis.xadd(keys.OUTBOX, {"n": number})
        found = by_check(await examine(redis, Settings(redis_url=own_valkey.url, outbox_entries=9)))
        assert found["memory"].level == found["server"].level == "problem"
        assert "noeviction" in (found["memory"].advice or "")
        assert found["persistence"].level == "warning"
        assert found["webhooks"].level == "warning"
        await redis.replicaof("127.0.0.1", free_port())
        found = by_check(await examine(redis, settings))
        assert found["replication"].level == "problem"
    finally:
        await redis.aclose()


async def test_tasks_that_nobody_serves_and_queues_that_rest(
    redis: Redis, settings: Settings, transitions: Transitions
) -> None:
    await transitions.announce(TASKS)
    await transitions.pause("ops", True)
    await redis.sadd(keys.QUEUES, "ops")
    found = by_check(await examine(redis, settings))
    assert "ops paused" in found["queues"].found
    assert found["workers"].advice is not None


async def test_webhooks_that_get_nothing(redis: Redis, settings: Settings) -> None:
    hooks = WebhookStore(redis, Scripts(settings))
    urls = [f"https://{name}.example/" for name in ("a", "b", "c")]
    stopped, failing, _ = [await hooks.put(url=url, types=["a"], owner="o") for url in urls]
    assert by_check(await examine(redis, settings))["webhooks"].level == "ok"
    await hooks.edit(stopped.id, {}, False, "o disabled it")
    await redis.hset(keys.webhook(failing.id), "failing_since", "1")
    found = [one for one in await examine(redis, settings) if one.check == "webhooks"]
    assert [one.level for one in found] == ["warning", "ok"]
    assert found[0].found == "1 of 3 are disabled, 1 fail"


def test_its_exit_status_says_whether_there_is_a_problem(valkey: Server) -> None:
    def doctor(*words: str, url: str) -> tuple[int, str]:
        env = {**os.environ, "JOBCAST_REDIS_URL": url}
        argv = [sys.executable, "-P", "-m", "worker.cli", "doctor", *words]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout

    status, out = doctor("--json", url=valkey.url)
    assert status == 0
    assert {finding["check"] for finding in json.loads(out)} >= {"server", "pub/sub"}
    status, out = doctor(url=f"redis://127.0.0.1:{free_port()}")
    assert status == 1
    assert "Check JOBCAST_REDIS_URL" in out
