"""People: their addresses, the links that confirm them, and the letters that wait to be sent."""

import re
import secrets
import threading
import time

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[a-z]{2,}", re.IGNORECASE)


class Outbox:
    """Sends letters in batches, every `interval` seconds, from a thread of its own."""

    def __init__(self, *, interval: float = 0.2) -> None:
        self.interval = interval
        self.sent: list[tuple[str, str]] = []
        self._waiting: list[tuple[str, str]] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Outbox":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def send(self, to: str, text: str) -> None:
        with self._changed:
            self._waiting.append((to, text))

    def wait_for(self, count: int, timeout: float = 10.0) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.sent) >= count, timeout)

    def _run(self) -> None:
        while not self._stop.wait(self.interval):
            with self._changed:
                self.sent += self._waiting
                self._waiting = []
                self._changed.notify_all()


class Users:
    """Everybody who signed up. A confirmation link works once, for `lasts` seconds."""

    def __init__(self, outbox: Outbox, *, lasts: float = 3600.0) -> None:
        self.outbox = outbox
        self.lasts = lasts
        self.confirmed: set[str] = set()
        self._links: dict[str, tuple[str, float]] = {}

    def sign_up(self, address: str) -> str:
        if not ADDRESS.fullmatch(address):
            raise ValueError(f"not an address: {address}")
        link = secrets.token_urlsafe(16)
        self._links[link] = (address.lower(), time.monotonic() + self.lasts)
        self.outbox.send(address, f"Confirm: /confirm/{link}")
        return link

    def confirm(self, link: str) -> bool:
        address, until = self._links.pop(link, ("", 0.0))
        if not address or time.monotonic() > until:
            return False
        self.confirmed.add(address)
        return True
