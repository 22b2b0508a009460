"""A search index whose changes are found after its next refresh, made by a thread of its own."""

import re
import threading


class Index:
    """Documents by word. Use it as a context manager: the refreshing thread ends with it."""

    def __init__(self, *, refresh: float = 0.2) -> None:
        self.refresh = refresh
        self._new: list[tuple[str, str | None]] = []
        self._words: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._refreshed = threading.Condition(self._lock)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Index":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def put(self, name: str, text: str) -> None:
        with self._lock:
            self._new.append((name, text))

    def drop(self, name: str) -> None:
        with self._lock:
            self._new.append((name, None))

    def find(self, query: str) -> list[str]:
        """Names of the documents that hold every word of the query, in order."""
        with self._lock:
            hits = [self._words.get(word, set()) for word in _words(query)]
        return sorted(set.intersection(*hits)) if hits else []

    def wait(self, timeout: float = 10.0) -> bool:
        """Wait until everything put so far can be found."""
        with self._refreshed:
            return self._refreshed.wait_for(lambda: not self._new, timeout)

    def _run(self) -> None:
        while not self._stop.wait(self.refresh):
            with self._refreshed:
                for name, text in self._new:
                    for names in self._words.values():
                        names.discard(name)
                    for word in _words(text or ""):
                        self._words.setdefault(word, set()).add(name)
                self._new.clear()
                self._refreshed.notify_all()


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
