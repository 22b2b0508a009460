"""What it costs to push: Jobcast beside other servers, on one core, in one alternating run.

    python -m bench.push [--rounds 5] [--only jobcast,ws,c] [--measure fanout,idle]
                         [--subscribers 100 1000 5000] [--json FILE]

Measures: fanout latency handshakes single storm idle stalled. Systems: jobcast textbook
python-socketio socket.io ws nchan nats c, and asgi when asked for. The server has one core, and the
clients (one process in C), Valkey and whoever publishes have another. A round measures each system
once, one after the other. Peers that are not installed are installed into bench/.venv and
bench/node_modules or, where they come with the system (nchan, nats-server), left out. See
bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from bench.deliveries.figures import Figures
from bench.deliveries.kit import Kit, Missing, kit, versions
from bench.deliveries.measures import MEASURES as MOST_MEASURES
from bench.deliveries.process import REST, SERVER, Failed
from bench.deliveries.stalled import stalled
from bench.deliveries.systems import OPTIONAL, SYSTEMS
from bench.deliveries.table import write

MEASURES = {**MOST_MEASURES, "stalled": (stalled, ("jobcast",), 3)}


def main() -> None:
    args = _arguments()
    figures = Figures(args.rounds)
    began = time.monotonic()
    if SERVER == REST:
        _say("there is one core only: server and clients share it, and figures say little")
    os.sched_setaffinity(0, {REST})
    # As Ctrl-C: what was started ends, and what was measured is told.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with kit() as found:
        figures.tally = found.tally
        try:
            run(found, figures, args.only, args.measure, args.subscribers)
        except KeyboardInterrupt:
            _say("interrupted: what follows is of the rounds until then")
        known = versions(found)
    write(figures, args.subscribers, sys.stdout)
    _say(f"{time.monotonic() - began:.0f} s")
    if args.json is not None:
        whole = {**figures.json(), "versions": known, "subscribers": args.subscribers}
        args.json.write_text(json.dumps(whole, indent=1) + "\n")
    if figures.failed:
        sys.exit(1)


def run(
    found: Kit, figures: Figures, systems: Sequence[str], measures: Sequence[str], sizes: list[int]
) -> None:
    """Measures everything, a round at a time."""
    for turn in range(figures.rounds):
        for name in measures:
            began = time.monotonic()
            measure, only, most = MEASURES[name]
            if most is not None and turn >= most:
                continue
            for key in systems:
                if (only is not None and key not in only) or key in figures.missing:
                    continue
                try:
                    for variant, values in measure(found, key, sizes).items():
                        figures.put(name, variant, values, turn)
                except Missing as error:
                    figures.missing[key] = str(error)
                    _say(f"{key} is left out: {error}")
                except (Failed, OSError) as error:
                    figures.failed.append(f"{name} of {key} in round {turn + 1}: {error}")
                    _say(figures.failed[-1])
            _say(f"round {turn + 1} of {figures.rounds}: {name}, {time.monotonic() - began:.0f} s")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", type=_names(SYSTEMS), default=[key for key in SYSTEMS if key not in OPTIONAL]
    )
    parser.add_argument("--measure", type=_names(MEASURES), default=list(MEASURES))
    parser.add_argument("--subscribers", type=int, nargs="+", default=[100, 1_000, 5_000])
    parser.add_argument("--json", type=Path)
    args: argparse.Namespace = parser.parse_args()
    args.subscribers.sort()
    return args


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {' '.join(known)}")
        return names

    return parse


if __name__ == "__main__":
    main()
