"""`jobcast hub`: serves."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer

from hub.cli.flags import with_settings
from hub.connection import check_server, connect
from hub.prefork import Prefork
from hub.server import Server
from hub.settings import Settings


@with_settings
def hub(
    settings: Settings,
    workers: Annotated[
        int,
        typer.Option(help="Hub processes that share the port.", envvar="JOBCAST_WORKERS"),
    ] = 1,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error")] = "info",
) -> None:
    """Serve the HTTP API, the event streams, the webhooks and the page.

    Every setting is a flag and a variable JOBCAST_… of the same name. Without a secret of 32 bytes
    or more (JOBCAST_SECRET) it does not start."""
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    server = Server(settings, ready=_say)
    # Once before the server starts, where what is wrong can still be said in one line.
    asyncio.run(_check(settings))
    if workers == 1:
        server.run()
    else:
        raise typer.Exit(Prefork(settings, workers, _say).run())


async def _check(settings: Settings) -> None:
    redis = connect(settings.redis_url)
    try:
        await check_server(redis)
    finally:
        await redis.aclose()


def _say(url: str) -> None:
    print(f"Jobcast hub on {url}", flush=True)
