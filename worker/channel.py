"""JSON lines to and from the warden, with descriptors; any thread may send."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from worker.custody import MAX_MESSAGE

_SEND_TIMEOUT = 5.0


class Channel:
    """The worker's end of the socket to its warden."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._lock = threading.Lock()
        self._received = bytearray()

    def fileno(self) -> int:
        """The descriptor to wait on; -1 when closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket, after which the warden kills every job. Idempotent."""
        with self._lock:
            self._sock.close()

    def send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Send one message, and copies of `fds` with it. Thread-safe.

        The warden always reads, so this waits only when it is stopped: for 5 s, then TimeoutError.
        Raises ValueError for more than 4 MiB; OSError when the warden is gone. After an OSError
        half a message may be under way, so the channel is shut, and the warden takes us for gone.
        """
        view = memoryview(json.dumps(message).encode() + b"\n")
        if len(view) > MAX_MESSAGE:
            raise ValueError(f"argv and env exceed {MAX_MESSAGE} bytes")
        with self._lock:
            try:
                self._send_all(view, fds)
            except OSError:
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)
                raise

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that have come; None when the warden is gone. Does not block."""
        try:
            data = self._sock.recv(64 * 1024)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *messages, self._received = (self._received + data).split(b"\n")
        return [json.loads(message) for message in messages]

    def _send_all(self, view: memoryview, fds: Sequence[int]) -> None:
        while view:
            try:
                if fds:
                    sent = socket.send_fds(self._sock, [view], list(fds))
                else:
                    sent = self._sock.send(view)
            except BlockingIOError:
                self._wait_until_writable()
            else:
                view, fds = view[sent:], ()

    def _wait_until_writable(self) -> None:
        poller = select.poll()
        poller.register(self._sock, select.POLLOUT)
        if not poller.poll(_SEND_TIMEOUT * 1000):
            raise TimeoutError(f"the warden has read nothing for {_SEND_TIMEOUT:g} s")
