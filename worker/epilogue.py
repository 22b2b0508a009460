"""The last words of a worker whose code cannot be stopped.

Only the end of its process ends such code, and a process that has ended writes nothing more. So the
worker turns itself (exec) into this program: its threads are gone at that moment, the warden kills
its commands, and then it is said of every job what is true, under the token of its claim.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from hub.connection import connect_sync
from hub.scripts import Arg, Scripts
from hub.settings import Settings
from worker import proctree
from worker.persist import will_pass

log = logging.getLogger("jobcast.worker")

#: Seconds for the commands to be killed; and for Redis to answer a worker that was told to go.
PATIENCE: Final = 5.0
_LOOK: Final = 0.02
_PAUSE: Final = 0.2


class LastWord(Struct):
    """What is to be said of a job: `script` (release, finish or retry) is run with `args` behind
    the job's id and token. `commands`: the warden keeps some of its."""

    job_id: str
    token: str
    script: str
    args: list[str] = []
    commands: bool = False


class Will(Struct):
    """What an epilogue is given."""

    settings: dict[str, Any]
    words: list[LastWord]


def speak(settings: Settings, words: Sequence[LastWord], status: int) -> NoReturn:
    """Ends everything in this process at once, says `words`, and ends with `status`.

    From any thread of a worker that a warden started. Where a fresh worker is to follow (`status`
    is not 0), an outage of Redis is waited out. Without words, or where that fails, it just ends:
    then the jobs are lost when their leases are over."""
    if words:
        try:
            fd = _unnamed_file()
            os.write(fd, msgspec.json.encode(Will(dataclasses.asdict(settings), list(words))))
            os.lseek(fd, 0, os.SEEK_SET)
            os.set_inheritable(fd, True)
            command = [sys.executable, "-P", "-m", "worker.epilogue", str(fd), str(status)]
            os.execv(command[0], command)
        except OSError as error:
            log.warning("no last words: %s", error)
    os._exit(status)


def _unnamed_file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("last words")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def main(args: Sequence[str]) -> int:
    """Says what the file on descriptor args[0] holds; returns args[1]."""
    with open(int(args[0]), "rb") as file:
        will = msgspec.json.decode(file.read(), type=Will)
    status = int(args[1])
    until = time.monotonic() + PATIENCE
    clear = _end_commands(until)
    if status != 0:
        # A fresh worker is to follow. It could only wait for Redis as well, and what is not given
        # back counts as lost.
        until = float("inf")
    settings = Settings(**will.settings)
    scripts = Scripts(settings)
    redis = connect_sync(settings.redis_url)
    for word in will.words:
        if word.commands and not clear:
            continue
        call: list[Arg] = [word.job_id, word.token, *word.args]
        while True:
            try:
                scripts.run_sync(redis, word.script, *call)
            except RedisError as error:
                if not will_pass(error) or time.monotonic() > until:
                    sys.stderr.write(f"job {word.job_id}: no last word: {error}\n")
                    break
                time.sleep(_PAUSE)
            else:
                break
    return status


def _end_commands(until: float) -> bool:
    """Kills what this process itself started; waits for the warden to have killed the rest, which
    it does because our end of its socket was closed. False where that cannot be known in time."""
    if not proctree.SUBREAPERS:
        return False
    minder = os.getppid()
    above = proctree.read_proc(minder)
    while time.monotonic() < until and above is not None:
        own = proctree.kill_tree(os.getpid()) + proctree.kill_tree(minder, {os.getpid()})
        others = proctree.below(above.parent, proctree.scan(), {minder})
        if not own and not others:
            return True
        time.sleep(_LOOK)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
