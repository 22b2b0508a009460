"""A worker for the warden's tests: does what the test's orders say, one word per line of a FIFO.

argv: FIFO, lease in seconds, environment of its commands as JSON. It prints what it does.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import NoReturn

from worker.clock import boottime
from worker.processes import Processes

DAEMON = "import os; os.fork() and os._exit(0); os.setsid(); os.execvp('sleep', ['sleep', '600'])"


def spawn_own(env: dict[str, str]) -> None:
    subprocess.Popen(["sleep", "600"], env=env)


def say(*words: object) -> None:
    print(*words, flush=True)


async def main() -> NoReturn:
    fifo, lease, env = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, say, "signal", sig.name)
    processes = Processes.inherited()
    if processes is None:
        say("no warden")
        raise SystemExit(9)
    async with processes:
        processes.begin("j", boottime() + lease)
        say("worker", os.getpid(), *(name for name in os.environ if name.startswith("JOBCAST_")))
        while True:
            with await asyncio.to_thread(open, fifo) as orders:
                order = orders.readline().split()
            match order:
                case ["ready"]:
                    processes.ready()
                case ["start"]:
                    daemon = [sys.executable, "-I", "-S", "-c", DAEMON]
                    await (await processes.start("j", daemon, env=env)).wait()
                    await processes.start("j", ["sleep", "600"], env=env)
                case ["own"]:
                    spawn_own(env)
                case ["exit", code]:
                    os._exit(int(code))
                case ["block"]:
                    say("blocked")
                    os.read(os.pipe()[0], 1)
            say("done", *order)


asyncio.run(main())
