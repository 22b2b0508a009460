"""What is measured of one system in one round. Each function starts a server of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from bench.deliveries.events import lifecycle
from bench.deliveries.kit import Kit
from bench.deliveries.load import Stage, stage
from bench.deliveries.process import Failed
from bench.deliveries.systems import SYSTEMS, Jobcast, System, token

BURST: Final = 10
#: Seconds of one figure of `fanout`.
FANOUT_SECONDS: Final = 0.7
WATCHING: Final = 1_000
PACED_SECONDS: Final = 3.0
LOAD: Final = 0.6
#: Events a second at `WATCHING` subscribers, beside 60 % load.
RATES: Final[dict[str, tuple[int, ...]]] = {"jobcast": (100, 1_000), "*": (50, 100)}
IDLE: Final = 10_000
#: Connections that are there before memory is counted: what is made once is made for them.
IDLE_BEFORE: Final = 100
#: Seconds after which what belongs to handshakes is gone.
SETTLED: Final = 1.5
HANDSHAKES: Final = 3_000
#: How many clients share a session where they do: the hub's default limit.
SHARED: Final = 100
MISSED: Final = 100
#: Below what a server lets wait to be accepted (uvicorn: 2,048).
STORM_AT_A_TIME: Final = 1_000
SINGLE_SESSIONS: Final = 1_000
SINGLE_RATE: Final = 100_000
SINGLE_SECONDS: Final = 2.0
#: Single events are published in this many seconds' worth.
SINGLE_STEP: Final = 0.01

#: By system (or variant of one), what was found.
Found = dict[str, dict[str, float]]


def turns(play: Stage, burst: int, seconds: float = FANOUT_SECONDS) -> tuple[float, float]:
    """Publishes `burst` events at a time, the next ones when every client has had the last ones,
    for so long; returns deliveries by second of the server's CPU, and by second. The first turn
    warms up, unless it has taken as long as all should."""
    cpu, began, done = play.system.process.cpu(), time.monotonic(), 1
    play.turn(burst)
    if time.monotonic() - began < seconds:
        cpu, began, done = play.system.process.cpu(), time.monotonic(), 0
    while time.monotonic() - began < seconds:
        play.turn(burst)
        done += 1
    used = max(play.system.process.cpu() - cpu, 1e-6)
    deliveries = done * burst * play.clients.count
    return deliveries / used, deliveries / (time.monotonic() - began)


def fanout(kit: Kit, key: str, sizes: Sequence[int]) -> Found:
    """Every event to every subscriber: one event at a time, and ten together."""
    found: dict[str, float] = {}
    with stage(kit, SYSTEMS[key](kit)) as play:
        for size in sorted(sizes):
            play.clients.start_at(play.number)
            play.clients.connect(size)
            for name, burst in (("one", 1), ("ten", BURST)):
                by_cpu, by_wall = turns(play, burst)
                found[f"{name} {size}"] = by_cpu
                found[f"{name} {size} wall"] = by_wall
                found[f"{name} {size} us"] = 1e6 / by_cpu
    return {key: found}


def latency(kit: Kit, key: str, _: Sequence[int]) -> Found:
    """From publish to each of 1,000 clients: at 60 % of what one core can do, and at fixed
    rates."""
    found: dict[str, float] = {}
    with stage(kit, SYSTEMS[key](kit)) as play:
        play.clients.connect(WATCHING)
        most, _wall = turns(play, 1)
        load = max(1, round(LOAD * most / WATCHING))
        rates = RATES.get(key, RATES["*"])
        for name, rate in [("60%", load), *((str(rate), rate) for rate in rates)]:
            cpu, began = play.system.process.cpu(), time.monotonic()
            paced(play, rate)
            seconds = time.monotonic() - began
            measured = play.clients.latency()
            found[f"{name} p50"] = measured.p50
            found[f"{name} p99"] = measured.p99
            found[f"{name} max"] = measured.most
            found[f"{name} rate"] = measured.count / WATCHING / seconds
            found[f"{name} cpu"] = (play.system.process.cpu() - cpu) / seconds
    return {key: found}


def paced(play: Stage, rate: float, seconds: float = PACED_SECONDS) -> None:
    """Publishes one event at a time at a steady rate, whether or not they arrive."""
    play.clients.latency()
    first = play.number + 1
    play.number += max(2, round(rate * seconds))
    play.clients.expect(play.number)
    began = time.monotonic()
    for number in range(first, play.number + 1):
        wait = began + (number - first) / rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        play.system.publish(range(number, number + 1))
    play.clients.had()
    play.system.settle()


def idle(kit: Kit, key: str, _: Sequence[int]) -> Found:
    """Resident memory for each of 10,000 connections that hear nothing. Jobcast's have been
    authenticated and hold a cursor: a hundred of them in each session, and one in each."""
    if key not in ("jobcast", "asgi"):
        return {key: _idle(kit, SYSTEMS[key](kit))}
    kind = SYSTEMS[key]
    assert issubclass(kind, Jobcast)
    return {
        key: _idle(kit, kind(kit, IDLE // SHARED)),
        f"{key}, own sessions": _idle(kit, kind(kit, IDLE, own_tokens=True)),
    }


def _idle(kit: Kit, system: System) -> dict[str, float]:
    with stage(kit, system) as play:
        if isinstance(system, Jobcast):
            kit.redis.ask(_seeds(system))
            play.clients.start_at(1)
        play.clients.connect(IDLE_BEFORE)
        time.sleep(SETTLED)
        before = system.process.resident()
        connected = play.clients.connect(IDLE)
        if connected.snapshots:
            raise Failed(f"{connected.snapshots} clients could not resume")
        time.sleep(SETTLED)
        more = system.process.resident() - before
        return {"bytes": max(0.0, more / (IDLE - IDLE_BEFORE)), "whole": float(before + more)}


def _seeds(system: Jobcast) -> list[bytes]:
    """The first event of each session: its cursor is what the clients resume from. XADD only, for
    nobody listens; ask() counts a reply for each command."""
    found = []
    for session in system.sessions:
        both = lifecycle(session, 1)
        found.append(both[: both.index(b"*3\r\n$8\r\nSPUBLISH")])
    return found


def handshakes(kit: Kit, key: str, _: Sequence[int]) -> Found:
    """Connections made, as many at a time as a busy minute brings. Each of Jobcast's clients has a
    token of its own, and is counted twice: once admitted, and once subscribed and greeted."""
    kind = SYSTEMS[key]
    if not issubclass(kind, Jobcast):
        return {key: _handshakes(kit, kind(kit))}
    hub = kind(kit)
    tokens = [("/ws", token([f"{hub.session}:{number}"])) for number in range(HANDSHAKES)]
    subscribing = kind(kit, HANDSHAKES, own_tokens=True)
    return {
        key: _handshakes(kit, hub, tokens),
        f"{key}, greeted": _handshakes(kit, subscribing),
    }


def _handshakes(
    kit: Kit, system: System, targets: Sequence[tuple[str, str]] | None = None
) -> dict[str, float]:
    protocol = "raw" if targets else None
    with stage(kit, system, targets, protocol) as play:
        play.clients.connect(IDLE_BEFORE)
        before = system.process.cpu()
        connected = play.clients.connect(IDLE_BEFORE + HANDSHAKES)
        used = max(system.process.cpu() - before, 1e-6)
        return {"by_cpu": HANDSHAKES / used, "wall": HANDSHAKES / connected.heard}


def storm(kit: Kit, _key: str, _: Sequence[int]) -> Found:
    """10,000 clients are cut off, miss 100 events each, and come back with their cursors. A
    hundred share each session."""
    hub = Jobcast(kit, IDLE // SHARED)
    with stage(kit, hub) as play:
        play.clients.connect(IDLE)
        play.clients.expect(1)
        hub.publish_to(hub.sessions, range(1, 2))
        play.clients.had()
        resident = hub.process.resident()
        play.clients.cut()
        for number in range(2, MISSED + 2):
            hub.publish_to(hub.sessions, range(number, number + 1))
        hub.settle()
        hub.process.forget_peak()
        cpu, began = hub.process.cpu(), time.monotonic()
        play.clients.latency()
        connected = play.clients.connect(IDLE, STORM_AT_A_TIME)
        play.clients.expect(MISSED + 1)
        play.clients.had()
        return {
            "jobcast": {
                "seconds": time.monotonic() - began,
                "cpu": hub.process.cpu() - cpu,
                "greeted": connected.heard,
                "snapshots": float(connected.snapshots),
                "resident": float(resident),
                "peak": float(hub.process.peak()),
            }
        }


def single(kit: Kit, _key: str, _: Sequence[int]) -> Found:
    """100,000 events a second, each of a session that has one subscriber."""
    hub = Jobcast(kit, SINGLE_SESSIONS)
    with stage(kit, hub) as play:
        play.clients.connect(SINGLE_SESSIONS)
        count = round(SINGLE_RATE * SINGLE_SECONDS)
        each = round(SINGLE_RATE * SINGLE_STEP)
        jobs = [
            (session, number)
            for number in range(1, count // SINGLE_SESSIONS + 1)
            for session in hub.sessions
        ]
        # Made before, so that whoever publishes is not what limits it.
        chunks = [
            b"".join([lifecycle(*job) for job in jobs[start : start + each]])
            for start in range(0, len(jobs), each)
        ]
        play.clients.expect(count // SINGLE_SESSIONS)
        cpu, began = hub.process.cpu(), time.monotonic()
        for index, chunk in enumerate(chunks):
            wait = began + index * SINGLE_STEP - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            kit.redis.send(chunk, 2 * each)
        published = time.monotonic() - began
        play.clients.had()
        seconds = time.monotonic() - began
        used = hub.process.cpu() - cpu
        kit.redis.settle()
        return {
            "jobcast": {
                "by_cpu": len(jobs) / used,
                "wall": len(jobs) / seconds,
                "published": len(jobs) / published,
                "after": seconds - published,
            }
        }


#: By name: the measure, which systems it is of (None: all), and in how many rounds at most.
MEASURES: Final[
    dict[
        str,
        tuple[
            Callable[[Kit, str, Sequence[int]], Found],
            tuple[str, ...] | None,
            int | None,
        ],
    ]
] = {
    "fanout": (fanout, None, None),
    "latency": (latency, ("jobcast", "textbook"), None),
    "handshakes": (handshakes, None, None),
    "single": (single, ("jobcast",), None),
    "storm": (storm, ("jobcast",), 3),
    "idle": (idle, None, 1),
}
