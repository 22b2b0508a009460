"""A claim: what is asked of the script `claim`, and the jobs that it hands out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from hub.scripts import Arg, names_arg, text


class Claim(NamedTuple):
    """A job in a worker's hands. `timeout` is in seconds; `log_lines` is the number of the last
    line that is kept; `memo` says that answers or step results of an earlier run are there;
    `waited` is for how many seconds it had been due."""

    job_id: str
    token: str
    session_id: str
    task: str
    params: bytes
    attempt: int
    max_attempts: int
    timeout: float | None
    log_lines: int
    lost: int
    memo: bool
    queue: str
    waited: float = 0.0


def claim_args(
    worker_id: str,
    request_id: str,
    *,
    queues: Sequence[str],
    tasks: Iterable[str],
    lease: float,
    limit: int,
) -> list[Arg]:
    """The arguments of the script `claim`; `lease` is in seconds."""
    return [worker_id, request_id, int(lease * 1000), limit, names_arg(tasks), *queues]


def read_claims(reply: Any) -> list[Claim]:
    """What the script answered."""
    return [
        Claim(
            job_id=text(r[0]),
            token=text(r[1]),
            session_id=text(r[2]),
            task=text(r[3]),
            params=r[4],
            attempt=int(r[5]),
            max_attempts=int(r[6]),
            timeout=float(r[7]) if r[7] else None,
            log_lines=int(r[8]),
            lost=int(r[9]),
            memo=r[10] == b"1",
            queue=text(r[11]),
            waited=int(r[12]) / 1000,
        )
        for r in reply
    ]
