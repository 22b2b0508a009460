"""The hub, on its transports (`fast`) or through ASGI (`asgi`)."""

from __future__ import annotations

import sys

from hub.server import Server
from hub.settings import Settings


def main() -> None:
    redis_url, secret, way = sys.argv[1:]
    settings = Settings(
        redis_url=redis_url,
        secret=secret,
        port=0,
        connections_per_session=100_000,
        connect_rate=1e9,
    )

    def ready(url: str) -> None:
        print(url.rpartition(":")[2], flush=True)

    Server(settings, ready, fast=way == "fast").run()


main()
