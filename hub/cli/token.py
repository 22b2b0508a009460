"""`jobcast token`: mints a session token with the hub's secret."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.auth import DEFAULT_SCOPE, DEFAULT_TTL, Authenticator
from hub.cli.flags import plain_errors
from hub.settings import Settings


def token(
    sub: Annotated[str, typer.Option(help="Who it is for.")],
    session: Annotated[
        list[str] | None,
        typer.Option(help="A session id, or prefix:* for all that start so. Repeat for more."),
    ] = None,
    scope: Annotated[
        str, typer.Option(help="Some of: read cancel enqueue input approve admin.")
    ] = DEFAULT_SCOPE,
    ttl: Annotated[float, typer.Option(help="Seconds that it lasts.")] = DEFAULT_TTL,
) -> None:
    """Mint a session token. Needs JOBCAST_SECRET, the one that the hub has."""
    with plain_errors():
        auth = Authenticator(Settings.from_env())
        print(auth.mint(sub, session or [], scope, ttl).token)
