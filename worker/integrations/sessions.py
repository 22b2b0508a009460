"""Whose a job of another queue is, where only a function of the user's knows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")

log = logging.getLogger("jobcast.integrations")


def asked(session_of: Callable[P, str | None] | None) -> Callable[P, str | None]:
    """The function, made fit to be called in the middle of somebody's job: what it raises is
    logged, and the job is none of Jobcast's then."""

    def session(*about: P.args, **more: P.kwargs) -> str | None:
        if session_of is None:
            return None
        try:
            return session_of(*about, **more)
        except Exception:
            log.exception("a job is not told of: session_of does not know whose it is")
            return None

    return session
