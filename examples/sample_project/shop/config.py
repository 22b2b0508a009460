"""Settings from a file, read again when it changes."""

import threading
import time
import tomllib
from pathlib import Path
from typing import Any

DEFAULTS: dict[str, Any] = {"currency": "EUR", "tax": 0.19, "features": []}


class ConfigError(Exception):
    """The settings file cannot be used."""


def parse(text: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(error)) from error
    if unknown := set(values) - set(DEFAULTS):
        raise ConfigError(f"unknown: {', '.join(sorted(unknown))}")
    if not 0 <= values.get("tax", 0) < 1:
        raise ConfigError("tax: from 0 to 1")
    return {**DEFAULTS, **values}


class Config:
    """The settings of a file; `poll` seconds after it changed they are the new ones. A change that
    cannot be used is kept in `problem`, and the settings stay as they were."""

    def __init__(self, path: Path, *, poll: float = 0.1) -> None:
        self.path = path
        self.poll = poll
        self.problem: ConfigError | None = None
        self._text = path.read_text()
        self.values = parse(self._text)
        self.reads = 1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Config":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_read(self, number: int, timeout: float = 10.0) -> bool:
        until = time.monotonic() + timeout
        while self.reads < number and time.monotonic() < until:
            time.sleep(self.poll / 10)
        return self.reads >= number

    def _watch(self) -> None:
        while not self._stop.wait(self.poll):
            text = self.path.read_text()
            if text == self._text:
                continue
            self._text = text
            try:
                self.values, self.problem = parse(text), None
            except ConfigError as error:
                self.problem = error
            self.reads += 1
