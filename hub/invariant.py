"""Walks a partition and says what cannot be. For tests and `doctor`.

A job that the agent owns, or whose session was forgotten (`silent`), is in no list of its session;
everything else holds for it too.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from redis.asyncio import Redis

from hub import keys
from hub.events import ZERO, parse_header, seq
from hub.jobs import AGENT_QUEUE
from hub.states import LEASED, LIVE, STATUSES, TERMINAL


async def check(redis: Redis) -> list[str]:
    """Every violation, as a sentence; empty when all is well. Reads all keys: call it while
    nothing writes."""
    client: Any = redis
    jobs = await _jobs(client)
    places = await _places(client)
    wrong: list[str] = []
    for job_id, job in jobs.items():
        wrong += _check_job(job_id, job, places.get(job_id, []))
    for job_id, where in places.items():
        if job_id not in jobs:
            wrong.append(f"{job_id} is in {where} but has no hash")
    wrong += await _check_lists(client, jobs)
    wrong += await _check_families(client, jobs)
    wrong += await _check_limits(client, jobs)
    wrong += [
        f"{job_id.decode()} is awaited to stall, but does not run"
        for job_id in await client.zrange(keys.QUIET, 0, -1)
        if jobs.get(job_id.decode(), {}).get("status") != "running"
    ]
    wrong += await _check_streams(client)
    return wrong


async def _scan(client: Any, pattern: str) -> list[str]:
    return sorted([key.decode() async for key in client.scan_iter(match=pattern, count=1000)])


async def _jobs(client: Any) -> dict[str, dict[str, str]]:
    jobs = {}
    for key in await _scan(client, keys.job("*")):
        found = await client.hgetall(key)
        jobs[key.removeprefix(keys.job(""))] = {
            name.decode(): value.decode(errors="replace") for name, value in found.items()
        }
    return jobs


async def _places(client: Any) -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    zsets = [keys.DELAYED, keys.RUNNING, keys.WAITING]
    zsets += await _scan(client, keys.ready("*")) + await _scan(client, keys.parked("*"))
    for zset in zsets:
        for member in await client.zrange(zset, 0, -1):
            places[member.decode()].append(zset.removeprefix(keys.PREFIX))
    return places


def _check_job(job_id: str, job: dict[str, str], where: list[str]) -> list[str]:
    status, token = job.get("status", ""), job.get("token")
    wrong = []
    if status not in STATUSES:
        wrong.append(f"{job_id} has the status {status!r}")
    if status in TERMINAL:
        if where:
            wrong.append(f"{job_id} is {status} but still in {where}")
        if token:
            wrong.append(f"{job_id} is {status} but has a token")
        if "finished_at" not in job:
            wrong.append(f"{job_id} is {status} but has no finished_at")
    elif len(where) != 1:
        wrong.append(f"{job_id} is {status} and in {len(where)} places: {where}")
    else:
        expected = {
            "pending": ("ready:", "delayed", "parked:"),
            "retrying": ("ready:", "delayed", "parked:"),
            "input_required": ("waiting", "running"),
        }.get(status, ("running",))
        if not where[0].startswith(expected):
            wrong.append(f"{job_id} is {status} but in {where[0]}")
        if (where[0] == "running") != (token is not None):
            wrong.append(f"{job_id} is in {where[0]} and its token is {token}")
        if token is not None and status not in LEASED:
            wrong.append(f"{job_id} is {status} but has a token")
    if (status == "input_required") != ("input" in job):
        wrong.append(f"{job_id} is {status} and its input is {job.get('input')}")
    return wrong


async def _check_lists(client: Any, jobs: dict[str, dict[str, str]]) -> list[str]:
    wrong = []
    active: dict[str, str] = {}
    for key in await _scan(client, keys.active("*")):
        for member in await client.zrange(key, 0, -1):
            active[member.decode()] = key.removeprefix(keys.active(""))
    for job_id, job in jobs.items():
        listed = job.get("queue") != AGENT_QUEUE and "silent" not in job
        live = job.get("status") in LIVE
        if listed and live and active.get(job_id) != job.get("session_id"):
            wrong.append(f"{job_id} is live but not in active:{job.get('session_id')}")
        if (not live or not listed) and job_id in active:
            wrong.append(f"{job_id} is {job.get('status')} but in active:{active[job_id]}")
        if live and await client.pttl(keys.job(job_id)) != -1:
            wrong.append(f"{job_id} is live but expires")
    wrong += [
        f"active:{sid} holds {i}, which has no hash" for i, sid in active.items() if i not in jobs
    ]
    return wrong


async def _check_families(client: Any, jobs: dict[str, dict[str, str]]) -> list[str]:
    """The live children of every job are known by it, and only they."""
    wrong = []
    parents: dict[str, str] = {}
    for key in await _scan(client, keys.children("*")):
        for member in await client.zrange(key, 0, -1):
            parents[member.decode()] = key.removeprefix(keys.children(""))
    for job_id, job in jobs.items():
        parent = job.get("parent_id") if job.get("status") in LIVE else None
        if parents.pop(job_id, None) != parent and "silent" not in job:
            wrong.append(f"{job_id} is {job.get('status')}, a child of {parent}: not listed so")
    wrong += [f"children:{parent} holds {i}, which has no hash" for i, parent in parents.items()]
    return wrong


async def _check_limits(client: Any, jobs: dict[str, dict[str, str]]) -> list[str]:
    """The holders of a limit are the leased jobs that have it. No job waits for a limit that has
    room, unless one that was let in for that room is on its way."""
    wrong: list[str] = []
    holders: dict[str, set[str]] = defaultdict(set)
    for key in await _scan(client, keys.holders("*")):
        members = {member.decode() for member in await client.smembers(key)}
        holders[key.removeprefix(keys.holders(""))] = members
    named: dict[str, set[str]] = defaultdict(set)
    ready: set[tuple[str, str]] = set()
    for job_id, job in jobs.items():
        for name in job.get("limits", "").split()[::2]:
            if "token" in job and job.get("status") in LEASED:
                named[name].add(job_id)
            elif job.get("status") in LIVE and "parked" not in job:
                ready.add((name, job.get("queue", "")))
    wrong += [
        f"limit {name} is held by {holders[name]}, and should be by {named[name]}"
        for name in sorted({*holders, *named})
        if holders[name] != named[name]
    ]
    lists: dict[str, tuple[str, int]] = {}
    for key in await _scan(client, keys.blocked("*")):
        name = key.removeprefix(keys.blocked(""))
        for found, bound in (await client.hgetall(key)).items():
            lists[f"limit:{found.decode()}"] = name, int(bound)
    parked = {reason.decode() for reason in await client.smembers(keys.PARKED)}
    zsets = await _scan(client, keys.parked("limit:*"))
    found_lists = {zset.removeprefix(keys.parked("")) for zset in zsets}
    if not (found_lists == set(lists) == {each for each in parked if each.startswith("limit:")}):
        wrong.append(f"lists of limits do not agree: {found_lists}, {set(lists)}, {parked}")
    for reason, (name, bound) in lists.items():
        queue = reason.split("|")[1]
        if len(holders[name]) < bound and (name, queue) not in ready:
            wrong.append(f"{reason} waits for {name}, which {len(holders[name])} hold of {bound}")
    return wrong


async def _check_streams(client: Any) -> list[str]:
    """Every session's entries are consecutive, each naming the one before; a job's events rise in
    rev and end with one terminal event."""
    wrong = []
    for key in await _scan(client, keys.events("*")):
        sid = key.removeprefix(keys.events(""))
        prev: bytes | None = None
        revs: dict[bytes, int] = {}
        ended: set[bytes] = set()
        for entry_id, fields in await client.xrange(key):
            event = parse_header(fields[b"h"], fields[b"e"])
            if event.cursor != entry_id:
                wrong.append(f"{sid}: entry {entry_id!r} calls itself {event.cursor!r}")
            expected = prev if prev is not None else event.prev
            if event.prev != expected or seq(event.cursor) != seq(event.prev) + 1:
                wrong.append(f"{sid}: {event.cursor!r} follows {prev!r} but names {event.prev!r}")
            prev = entry_id
            if event.key == b"-":
                continue
            if event.key in ended:
                wrong.append(f"{sid}: {event.cursor!r} comes after the end of {event.key!r}")
            if event.rev <= revs.get(event.key, 0):
                wrong.append(f"{sid}: the rev of {event.key!r} does not rise at {event.cursor!r}")
            revs[event.key] = event.rev
            kind = event.body.split(b'"type":"job.', 1)[-1].split(b'"', 1)[0].decode()
            if kind in TERMINAL:
                ended.add(event.key)
        if prev in (None, ZERO):
            wrong.append(f"{sid}: has a stream without entries")
    return wrong
