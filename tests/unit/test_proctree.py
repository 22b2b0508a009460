"""Who descends from whom, and the boottime alarm."""

from __future__ import annotations

import math
import os
import select

import pytest

from worker.clock import Alarm, boottime
from worker.proctree import Proc, below, own_children, read_proc, scan


def proc(pid: int, parent: int, *, alive: bool = True) -> Proc:
    return Proc(pid, parent, pid, 0, alive)


FAMILY = [proc(1, 0), proc(10, 1), proc(11, 10), proc(12, 11), proc(20, 1), proc(21, 20)]


def pids(procs: list[Proc]) -> list[int]:
    return sorted(proc.pid for proc in procs)


def test_below_is_all_generations_and_not_the_root() -> None:
    assert pids(below(10, FAMILY)) == [11, 12]
    assert pids(below(1, FAMILY)) == [10, 11, 12, 20, 21]
    assert below(12, FAMILY) == []
    assert below(99, FAMILY) == []


def test_the_spared_shield_their_descendants() -> None:
    assert pids(below(1, FAMILY, spare={10})) == [20, 21]
    assert pids(below(1, FAMILY, spare={11, 20})) == [10]


def test_zombies_do_not_count_but_their_children_do() -> None:
    assert pids(below(1, [proc(10, 1, alive=False), proc(11, 10)])) == [11]


def test_this_process_is_in_the_scan() -> None:
    assert read_proc(os.getpid()) in scan()
    assert read_proc(os.getpid()) in below(os.getppid(), scan())


def test_a_child_is_seen_alive_dead_and_gone() -> None:
    reader, writer = os.pipe()
    pid = os.posix_spawn("/bin/cat", ["cat"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)])
    os.close(reader)
    seen = read_proc(pid)
    assert seen is not None
    assert (seen.pid, seen.parent, seen.alive) == (pid, os.getpid(), True)
    assert pid in own_children()

    os.close(writer)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    zombie = read_proc(pid)
    assert zombie is not None
    assert (zombie.start, zombie.alive) == (seen.start, False)

    os.waitpid(pid, 0)
    assert read_proc(pid) is None


def readable(alarm: Alarm, timeout: float) -> bool:
    assert alarm.fd is not None
    return bool(select.select([alarm.fd], [], [], timeout)[0])


@pytest.mark.parametrize("at", [0.0, 5.0, "soon"])
def test_an_alarm_goes_off(at: float | str) -> None:
    alarm = Alarm()
    alarm.set(boottime() + 0.05 if isinstance(at, str) else at)

    assert readable(alarm, 10)
    assert alarm.timeout() is None
    os.close(alarm.fd or -1)


def test_an_alarm_can_be_put_off() -> None:
    alarm = Alarm()
    alarm.set(0.0)
    alarm.set(boottime() + 600)
    assert not readable(alarm, 0)
    alarm.set(0.0)
    assert readable(alarm, 10)
    alarm.set(None)
    assert not readable(alarm, 0)
    os.close(alarm.fd or -1)


def test_without_a_timerfd_the_timeout_tells() -> None:
    alarm = Alarm()
    os.close(alarm.fd or -1)
    alarm.fd = None
    assert alarm.timeout() is None
    alarm.set(0.0)
    assert alarm.timeout() == 0
    alarm.set(boottime() + 600)
    assert math.isclose(alarm.timeout() or 0, 600, abs_tol=60)
