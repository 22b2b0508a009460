"""The servers that are measured: how each is started, reached, and given events."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import jwt

from bench.deliveries.events import Connection, body, command, lifecycle
from bench.deliveries.kit import NODE_MODULES, PROGRAMS, Kit, free_port
from bench.deliveries.process import SERVER, Failed, Process

SECRET: Final = "a secret for a benchmark, of 32 bytes and more"
#: A path and, where the server wants one, a token.
Target = tuple[str, str]


class System(ABC):
    """A server. `numbers` to `publish` are those of events that every client is to get."""

    key: ClassVar[str]
    label: ClassVar[str]
    #: What the load client speaks.
    protocol: ClassVar[str] = "raw"
    #: An events' session for those that know none.
    session: str = "bench"

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.process: Process
        self.port = 0

    def start(self) -> None:
        """Starts it. Raises Missing where it is not on this machine, and Failed."""
        self.process = self._process(*self._argv())
        self.port = int(self.process.line())

    def _process(self, *argv: Any) -> Process:
        env = {"NODE_PATH": str(NODE_MODULES), "PYTHONPATH": str(PROGRAMS.parent.parent)}
        return Process(SERVER, argv, self.kit.folder / f"{self.key}.log", env)

    @abstractmethod
    def _argv(self) -> Sequence[Any]: ...

    def targets(self) -> list[Target]:
        """Where the clients go."""
        return [("/", "")]

    @abstractmethod
    def publish(self, numbers: range) -> None:
        """Publishes all of them together."""

    def settle(self) -> None:
        """Returns once what was published has been taken."""
        self.kit.redis.settle()

    def close(self) -> None:
        """Ends it."""
        if hasattr(self, "process"):
            self.process.close()


class Jobcast(System):
    """The hub with everything on. `sessions` are shared by the clients, one after the other;
    `own_tokens` gives each session a token of its own."""

    key = "jobcast"
    label = "**Jobcast**"
    protocol = "jobcast"
    transport = "fast"

    def __init__(self, kit: Kit, sessions: int = 1, *, own_tokens: bool = False) -> None:
        super().__init__(kit)
        # Ids of one length, whatever their number: an event has 200 bytes.
        run = os.urandom(3).hex()
        self.sessions = [f"b{run}:{number:05d}" for number in range(sessions)]
        self.session = self.sessions[0]
        self._shared = None if own_tokens else token([f"b{run}:*"])

    def _argv(self) -> Sequence[Any]:
        return sys.executable, PROGRAMS / "ours.py", self.kit.redis_url, SECRET, self.transport

    def targets(self) -> list[Target]:
        return [(f"/ws/{session}", self._shared or token([session])) for session in self.sessions]

    def publish(self, numbers: range) -> None:
        self.publish_to([self.session], numbers)

    def publish_to(self, sessions: Sequence[str], numbers: range) -> None:
        """Publishes the events to each of several sessions, one number after another."""
        out = [lifecycle(session, number) for number in numbers for session in sessions]
        self.kit.redis.send(b"".join(out), 2 * len(out))


class JobcastAsgi(Jobcast):
    """The same without its own transport, as under any other ASGI server."""

    key = "asgi"
    label = "Jobcast through ASGI"
    transport = "asgi"


class OverRedis(System):
    """Hears one channel of Redis."""

    def publish(self, numbers: range) -> None:
        out = [command(b"PUBLISH", b"bench", body(self.session, number)) for number in numbers]
        self.kit.redis.send(b"".join(out), len(out))


class Textbook(OverRedis):
    key = "textbook"
    label = "Starlette `ConnectionManager`"

    def _argv(self) -> Sequence[Any]:
        return sys.executable, PROGRAMS / "textbook.py", self.kit.redis_url

    def targets(self) -> list[Target]:
        return [("/ws/bench", "")]


class PythonSocketIO(OverRedis):
    key = "python-socketio"
    label = "python-socketio"
    protocol = "socketio"

    def _argv(self) -> Sequence[Any]:
        return self.kit.peers_python(), PROGRAMS / "pysocketio.py", self.kit.redis_url

    def targets(self) -> list[Target]:
        return [("/socket.io/?EIO=4&transport=websocket", "")]


class OverPipe(System):
    """Reads events from its stdin, a line for each: less work than to hear Redis."""

    def publish(self, numbers: range) -> None:
        self.process.tell(b"".join([body(self.session, number) + b"\n" for number in numbers]))


class SocketIO(OverPipe):
    key = "socket.io"
    label = "Socket.IO"
    protocol = "socketio"

    def _argv(self) -> Sequence[Any]:
        return self.kit.node(), PROGRAMS / "socketio.js"

    def targets(self) -> list[Target]:
        return [("/socket.io/?EIO=4&transport=websocket", "")]


class Ws(OverPipe):
    key = "ws"
    label = "Node `ws`"

    def _argv(self) -> Sequence[Any]:
        return self.kit.node(), PROGRAMS / "ws.js"


class Limit(OverPipe):
    key = "c"
    label = "C epoll, the limit"

    def _argv(self) -> Sequence[Any]:
        return (self.kit.compiled("limit"),)


class Listening(System):
    """One that says nothing of being ready, and is asked."""

    def _wait(self, port: int) -> socket.socket:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port))
            time.sleep(0.02)
        raise Failed(f"{self.label} does not listen: see {self.kit.folder}/{self.key}.log")


class Nchan(Listening):
    key = "nchan"
    label = "nchan"

    def start(self) -> None:
        self.port = free_port()
        self.process = self._process(*self._argv())
        self._publisher = self._wait(self.port)
        self._publisher.settimeout(30)
        self._unanswered = 0

    def _argv(self) -> Sequence[Any]:
        nginx, module = self.kit.nginx()
        folder = self.kit.folder / "nginx"
        folder.mkdir(exist_ok=True)
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = folder / "nginx.conf"
        config.write_text(f"""
            load_module {module};
            daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;
            pid {folder}/pid; error_log {folder}/errors;
            events {{ worker_connections 16000; }}
            http {{
                access_log off; {temporary} keepalive_requests 1000000000;
                nchan_shared_memory_size 256M;
                server {{
                    listen 127.0.0.1:{self.port} backlog=1024;
                    location = /sub {{
                        nchan_subscriber websocket; nchan_channel_id bench;
                        nchan_subscriber_first_message newest;
                    }}
                    location = /pub {{
                        nchan_publisher http; nchan_channel_id bench;
                        nchan_message_buffer_length 20;
                    }}
                }}
            }}""")
        return nginx, "-p", folder, "-c", config, "-e", folder / "errors"

    def targets(self) -> list[Target]:
        return [("/sub", "")]

    def publish(self, numbers: range) -> None:
        out = []
        for number in numbers:
            event = body(self.session, number)
            out.append(
                b"POST /pub HTTP/1.1\r\nHost: bench\r\nContent-Type: text/plain\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(event), event)
            )
        self._publisher.sendall(b"".join(out))
        self._unanswered += len(out)

    def settle(self) -> None:
        while self._unanswered > 0:
            data = self._publisher.recv(1 << 16)
            if not data:
                raise Failed("nginx has closed the publisher's connection")
            self._unanswered -= data.count(b"HTTP/1.1 20")

    def close(self) -> None:
        super().close()
        if hasattr(self, "_publisher"):
            self._publisher.close()


class Nats(Listening):
    key = "nats"
    label = "NATS WebSocket"
    protocol = "nats"

    def start(self) -> None:
        self._plain, self.port = free_port(), free_port()
        self.process = self._process(*self._argv())
        self._wait(self.port).close()
        self._publisher = self._wait(self._plain)
        self._publisher.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\n')

    def _argv(self) -> Sequence[Any]:
        config = self.kit.folder / "nats.conf"
        config.write_text(f"""
            listen: "127.0.0.1:{self._plain}"
            websocket {{ listen: "127.0.0.1:{self.port}", no_tls: true, compression: false }}
            """)
        return self.kit.nats(), "-c", config

    def publish(self, numbers: range) -> None:
        out = []
        for number in numbers:
            event = body(self.session, number)
            out.append(b"PUB bench %d\r\n%b\r\n" % (len(event), event))
        self._publisher.sendall(b"".join(out))

    def settle(self) -> None:
        """NATS answers nothing."""

    def close(self) -> None:
        super().close()
        if hasattr(self, "_publisher"):
            self._publisher.close()


SYSTEMS: Final[dict[str, type[System]]] = {
    kind.key: kind
    for kind in (
        Jobcast,
        JobcastAsgi,
        Textbook,
        PythonSocketIO,
        SocketIO,
        Ws,
        Nchan,
        Nats,
        Limit,
    )
}
#: What is not measured unless it is asked for.
OPTIONAL: Final = frozenset({"asgi"})

__all__ = ["OPTIONAL", "SYSTEMS", "Connection", "Jobcast", "System", "Target"]


def token(sessions: list[str]) -> str:
    """A session token as the hub signs it."""
    claims = {"sub": "bench", "sessions": sessions, "scope": "read", "exp": 2**33}
    return jwt.encode(claims, SECRET, "HS256")
