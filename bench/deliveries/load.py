"""A server and the clients that listen to it, for the time of one measure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.deliveries.kit import Kit
from bench.deliveries.process import PATIENCE, REST, Failed, Process
from bench.deliveries.systems import System, Target

#: Handshakes under way at a time, unless said.
IN_FLIGHT: Final = 128
CONNECT_PATIENCE: Final = 300.0


@dataclass(frozen=True)
class Connected:
    """Seconds until the last handshake, and until the last could hear. `snapshots`: how many were
    given a snapshot although they wanted to resume."""

    handshakes: float
    heard: float
    snapshots: int


@dataclass(frozen=True)
class Latency:
    """From publish to client, in seconds."""

    count: int
    p50: float
    p99: float
    most: float


class Clients:
    """The load client: see bench/push/load.c."""

    def __init__(self, kit: Kit, port: int, protocol: str, targets: Sequence[Target]) -> None:
        file = kit.folder / "targets"
        file.write_text("".join(f"{path} {token}\n" for path, token in targets))
        argv = [kit.compiled("load"), "127.0.0.1", str(port), protocol, file]
        self._process = Process(REST, argv, kit.folder / "load.log")
        self.count = 0
        self._tally = kit.tally
        self._delivered = self._lost = self._doubled = 0

    def connect(self, count: int, at_a_time: int = IN_FLIGHT) -> Connected:
        """Brings their number up to `count`."""
        self.count = count
        line = f"connect {count} {at_a_time}"
        handshakes, heard, snapshots = self._ask(line, "connected", CONNECT_PATIENCE)
        return Connected(float(handshakes), float(heard), int(snapshots))

    def expect(self, number: int) -> None:
        """Has `had` tell when each client has had the events up to this one."""
        self._process.tell(f"wait {number}\n".encode())

    def had(self) -> None:
        """Returns once each has had what `expect` said. Raises Failed where events were lost
        (nothing for a minute counts as never) or came twice."""
        said = self._process.line()
        word, *numbers = said.split()
        if word not in ("ok", "stuck"):
            raise Failed(f"the load client said: {said}")
        first, second, delivered = map(int, numbers)
        self._tally.delivered += delivered - self._delivered
        self._delivered = delivered
        if word == "stuck":
            self._tally.lost += second - first
            raise Failed(f"{second - first} of {second} deliveries never came")
        self._tally.lost += first - self._lost
        self._tally.doubled += second - self._doubled
        self._lost, self._doubled = first, second
        if first or second:
            raise Failed(f"{first} lost and {second} doubled")

    def latency(self) -> Latency:
        """Of all that came since the last call."""
        count, p50, p99, most = (int(word) for word in self._ask("latency", "latency"))
        return Latency(count, p50 / 1e6, p99 / 1e6, most / 1e6)

    def start_at(self, number: int) -> None:
        """They hold the events up to this one already."""
        self._ask(f"start {number}", "ok")

    def cut(self) -> None:
        """Resets all connections."""
        self._ask("cut", "ok")

    def _ask(self, line: str, answer: str, patience: float = PATIENCE) -> list[str]:
        self._process.tell(line.encode() + b"\n")
        said = self._process.line(patience).split()
        if said[0] != answer:
            raise Failed("the load client said: " + " ".join(said))
        return said[1:]

    def close(self) -> None:
        self._process.close()


@dataclass
class Stage:
    """A server that runs, and its clients."""

    system: System
    clients: Clients
    #: The number of the event that was published last.
    number: int = 0

    def turn(self, count: int) -> None:
        """Publishes so many events together, and returns once each client has had them."""
        first = self.number + 1
        self.number += count
        self.clients.expect(self.number)
        self.system.publish(range(first, self.number + 1))
        self.clients.had()
        self.system.settle()


@contextlib.contextmanager
def stage(
    kit: Kit,
    system: System,
    targets: Sequence[Target] | None = None,
    protocol: str | None = None,
) -> Iterator[Stage]:
    """Starts a server, and clients that are not connected yet."""
    clients: Clients | None = None
    kit.flush()
    try:
        system.start()
        where = system.targets() if targets is None else targets
        clients = Clients(kit, system.port, protocol or system.protocol, where)
        yield Stage(system, clients)
    finally:
        if clients is not None:
            clients.close()
        system.close()
