"""What is told of a job of another queue, made of whatever that queue has. No I/O.

Nothing here raises for what a user's job brings along: what cannot be shown is shown as its
`repr`, and what is too large is left out."""

from __future__ import annotations

import hashlib
import logging
import re
import traceback as traceback_module
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hub.foreign import ForeignJob
from hub.jobs import SESSION_ID
from worker.reporter import cut

log = logging.getLogger("jobcast.integrations")

REF_CHARS: Final = 200
REPR_CHARS: Final = 200
TITLE_CHARS: Final = 200
MESSAGE_BYTES: Final = 2 * 1024
TRACEBACK_BYTES: Final = 32 * 1024


def ref_of(source: str, job_id: str) -> str:
    """The ref of the job that the queue `source` calls `job_id`."""
    ref = f"{source}:{job_id}"
    if len(ref) <= REF_CHARS:
        return ref
    return f"{source}:sha256:{hashlib.sha256(job_id.encode()).hexdigest()}"


def foreign_job(
    source: str,
    job_id: str,
    task: str,
    session_id: object,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    title: str | None = None,
    max_attempts: int | None = None,
    redelivers: float | None = None,
    params_bytes: int = 64 * 1024,
    show_params: bool = True,
) -> ForeignJob | None:
    """The job as Jobcast shows it, with a title made of the task's name unless there is one; None
    (and a warning) where `session_id` is none. Its params are `kwargs`, and `args` as a list where
    there are any; its metadata says where it comes from."""
    if not isinstance(session_id, str) or not SESSION_ID.fullmatch(session_id):
        log.warning("%s job %s is not told of: %r is no session", source, job_id, session_id)
        return None
    params: dict[str, Any] = {}
    if show_params:
        params = {**({"args": list(args)} if args else {}), **(kwargs or {})}
    return ForeignJob(
        session_id=session_id,
        task=task_name(task),
        params=as_json(params, params_bytes) or b"{}",
        title=(title or title_of(task))[:TITLE_CHARS],
        max_attempts=min(max(1, max_attempts or 1), 1_000_000),
        metadata=msgspec.json.encode({"source": source, "id": job_id[:REF_CHARS]}),
        redelivers=redelivers,
    )


def task_name(name: str) -> str:
    """A task's name as Jobcast may have it: of a long one the end, which says most."""
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    if len(clean) > 64 or not re.match(r"[A-Za-z_]", clean):
        clean = re.sub(r"^[^A-Za-z_]+", "", clean[-64:]) or "_"
    return clean


def title_of(name: str) -> str:
    """What people call a task: of `shop.mail.send_newsletter`, `Send newsletter`."""
    words = " ".join(re.split(r"[\W_]+", name.rpartition(".")[2])).strip() or name
    return words[:1].upper() + words[1:]


def worker_name(name: str) -> str:
    """A worker's name as Jobcast may have it."""
    return re.sub(r"[^A-Za-z0-9_.:@-]", "_", name)[:128]


def as_json(value: Any, limit: int) -> bytes | None:
    """A value as JSON; what JSON does not know is its `repr`. None when it is longer than `limit`
    bytes, or cannot be written at all."""
    try:
        encoded = msgspec.json.encode(value, enc_hook=_shown)
    except Exception as error:  # noqa: BLE001 (a user's object may raise anything)
        log.debug("not told of a value: %r", error)
        return None
    return encoded if len(encoded) <= limit else None


def error_json(
    error: BaseException | str,
    *,
    code: str = "error",
    kind: str | None = None,
    traceback: str | None = None,
) -> tuple[bytes, bytes]:
    """An error as a job has it, and its traceback as a JSON string (or nothing). `code` is one of
    `error permanent timeout lost expired`, `kind` the exception's type where `error` is text."""
    if isinstance(error, BaseException):
        kind = kind or type(error).__qualname__
        if traceback is None and error.__traceback__ is not None:
            traceback = "".join(traceback_module.format_exception(error))
    shown: dict[str, str] = {
        "code": code,
        "message": cut(_text(error) or kind or "", MESSAGE_BYTES),
    }
    if kind:
        shown["type"] = cut(kind, 200)
    trace = b"" if not traceback else msgspec.json.encode(cut(traceback, TRACEBACK_BYTES))
    return msgspec.json.encode(shown), trace


def progress_json(
    value: float | None = None,
    of: float | None = None,
    /,
    *,
    percent: float | None = None,
    current: float | None = None,
    total: float | None = None,
    message: str | None = None,
) -> bytes:
    """How far a job is, as `worker.Context.progress` takes it. What is no finite number is left
    out, and a percentage is brought between 0 and 100."""
    if value is not None:
        percent, current, total = (value, current, total) if of is None else (percent, value, of)
    if percent is None and current is not None and total:
        percent = 100.0 * current / total
    told: dict[str, Any] = {}
    for name, number in (("percent", percent), ("current", current), ("total", total)):
        if isinstance(number, int | float) and abs(number) < float("inf"):
            told[name] = round(min(100.0, max(0.0, number)), 1) if name == "percent" else number
    if message is not None:
        told["message"] = cut(str(message), 1024)
    return msgspec.json.encode(told)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= REPR_CHARS else text[: REPR_CHARS - 1] + "…"


def _text(error: BaseException | str) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (a user's exception may raise anything)
        return ""
