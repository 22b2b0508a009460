"""uvicorn, with a drain before it shuts down and a log that tells no tokens."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast
from urllib.parse import unquote

import uvicorn

from hub.app import create_app
from hub.metrics.board import Board
from hub.services import Services
from hub.settings import Settings

log = logging.getLogger("jobcast")

#: Seconds for requests under way, after the drain.
SHUTDOWN_GRACE: Final = 10
#: Seconds for the hub's own tasks after that. One that does not end must not keep the process.
TASKS_GRACE: Final = 4
KEEP_ALIVE: Final = 75
#: How many objects more than before make the garbage collector look at the young ones. Its own
#: 700 are for programs that keep less.
YOUNG: Final = 5_000
#: Seconds between pings, which find out that a client is gone without a word.
PING_INTERVAL: Final = 20
#: The one implementation of uvicorn's own that is not deprecated upstream.
PLAIN: Final = "websockets-sansio"
#: What the kernel takes of a slow client before the hub sees that it is slow: megabytes, unless
#: told. Python knows the option's number from 3.12 on, and no system but Linux passes it on.
NOTSENT_LOWAT: Final = 32 * 1024
_TCP_NOTSENT_LOWAT: Final = 25
_PARAMETER: Final = re.compile(r"(?<=[?&])([^=&\s]+)=([^&\s\"]*)")


class Server(uvicorn.Server):
    """Serves the hub. `ready` is called with its address once it answers there.

    Among processes that share a port, `board` adds up their metrics, and the end of what can be
    read from the file descriptor `lifeline` means that the parent is gone: the server drains.
    WebSockets are served on their transports (`hub.transport`), or through ASGI where `fast` is
    False or the uvicorn that is installed does not fit: the same, but slower."""

    def __init__(
        self,
        settings: Settings,
        ready: Callable[[str], None] = lambda _: None,
        *,
        board: Board | None = None,
        lifeline: int | None = None,
        fast: bool = True,
    ) -> None:
        self.app = create_app(settings, board)
        self.url = ""
        self._ready = ready
        self._lifeline = lifeline
        self._alone = False
        super().__init__(
            uvicorn.Config(
                self.app,
                host=settings.host,
                port=settings.port,
                ws=PLAIN,
                ws_max_size=settings.ws_message_bytes,
                # A client that is slow cannot answer pings: how slow it may be is `stall_close`.
                ws_ping_interval=PING_INTERVAL,
                ws_ping_timeout=settings.stall_close + PING_INTERVAL,
                # Compression would cost each idle socket more memory than it saves bytes.
                ws_per_message_deflate=False,
                lifespan="on",
                log_config=None,
                server_header=False,
                forwarded_allow_ips=settings.trusted_proxies,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=SHUTDOWN_GRACE,
            )
        )
        if fast:
            self._take_websockets(settings)
        for name in ("uvicorn.access", "uvicorn.error"):
            logger = logging.getLogger(name)
            if not any(isinstance(known, Redact) for known in logger.filters):
                logger.addFilter(Redact())

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until it is told to stop, in a process that is the hub's alone."""
        self._alone = True
        super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.url = url_of(self.servers[0].sockets[0])
            self._bound_kernel()
            if self._alone:
                _spare_the_collector()
            self._ready(self.url)
        if self._lifeline is not None:
            asyncio.get_running_loop().add_reader(self._lifeline, self._orphaned, self._lifeline)

    def _take_websockets(self, settings: Settings) -> None:
        try:
            from hub.gate import Gate
            from hub.transport.upgrade import Arrival, Upgrade, unfit

            why = unfit(self.config, self.server_state)
        except ImportError as error:
            why = str(error)
        if why:
            log.warning("WebSockets go through ASGI, which is slower: %s", why)
            return
        gate = Gate(self.app, settings.trusted_proxies)
        # uvicorn's types ask for classes, and it only calls them.
        self.config.http = cast(Any, partial(Arrival, gate))
        self.config.ws = cast(Any, partial(Upgrade, gate))

    def _bound_kernel(self) -> None:
        for server in self.servers:
            for listener in server.sockets:
                if sys.platform == "linux" and listener.family != socket.AF_UNIX:
                    # Connections inherit it.
                    listener.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)

    def _orphaned(self, lifeline: int) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        log.error("the process that started this one is gone: draining")
        # By the signal, which also ends a process whose tasks do not end.
        signal.raise_signal(signal.SIGTERM)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn waits for its connections before it tells the app, and streams would never end.
        for server in self.servers:
            server.close()
        services: Services | None = getattr(self.app.state, "services", None)
        if services is not None and not self.force_exit:
            await services.drain()
        ending = asyncio.timeout(SHUTDOWN_GRACE + TASKS_GRACE)
        with suppress(TimeoutError):
            async with ending:
                await super().shutdown(sockets)
        if ending.expired():
            log.error("ending, though this does not end: %s", _still_running())


def _spare_the_collector() -> None:
    """What is there now stays, and what comes later is freed without the collector: it is kept for
    what cycles others make, and would take a fifth of the time of a busy hub."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def _still_running() -> str:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return "; ".join(sorted(f"{task.get_name()}: {task.get_coro()}" for task in others))


def url_of(listener: socket.socket) -> str:
    """The address of a hub that listens there."""
    address = listener.getsockname()
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"


class Redact(logging.Filter):
    """Takes the values of `token` out of the addresses that uvicorn logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                redacted(arg) if isinstance(arg, str) else arg for arg in record.args
            )
        return True


def redacted(text: str) -> str:
    """The text with the value of every query parameter `token` replaced, however it is spelt."""

    def hide(match: re.Match[str]) -> str:
        is_token = unquote(match[1]).lower() == "token"
        return f"{match[1]}=(hidden)" if is_token else match[0]

    return _PARAMETER.sub(hide, text)
