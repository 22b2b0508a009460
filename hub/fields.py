"""The fields that requests are made of: their charsets and bounds, once for decoding and for
`/openapi.json`."""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import Meta, Raw

from hub import jobs
from hub.events import seq

#: What a regular expression in a decoder's error means.
WORDS: Final[dict[str, str]] = {}


#: Python's `$` lets a newline through at the end; other engines need this not.
NO_NEWLINE: Final = r"(?!\n)"


def _text(pattern: re.Pattern[str], words: str, example: str) -> Meta:
    strict = f"^{pattern.pattern}${NO_NEWLINE}"
    WORDS[strict] = words
    return Meta(
        pattern=strict,
        description=words[:1].upper() + words[1:],
        examples=[example],
    )


SessionId = Annotated[str, _text(jobs.SESSION_ID, "1 to 128 of A-Z a-z 0-9 _ . : -", "chat:main")]
TaskName = Annotated[
    str,
    _text(jobs.TASK_NAME, "1 to 64 of A-Z a-z 0-9 _ . -, first a letter or _", "run_tests"),
]
QueueName = Annotated[str, _text(jobs.QUEUE_NAME, "1 to 64 of A-Z a-z 0-9 _ . -", "default")]
KeyName = Annotated[
    str, _text(jobs.KEY_NAME, "1 to 128 of A-Z a-z 0-9 _ . : / @ -", "deploy:staging")
]
MessageId = Annotated[str, _text(jobs.ID_NAME, "1 to 128 of A-Z a-z 0-9 _ . : -", "m-17")]
InputId = Annotated[str, _text(jobs.ID_NAME, "1 to 128 of A-Z a-z 0-9 _ . : -", "confirm")]
JobId = Annotated[
    str,
    _text(
        jobs.JOB_ID, "the id of a job, a UUID in lower case", "01991f7c-2b6a-7c3d-8e4f-0123456789ab"
    ),
]
Cursor = Annotated[
    str,
    _text(re.compile(r"[0-9]{1,16}-[0-9]{1,16}"), "a cursor, <seq>-<nonce>", "17-83920174"),
]
Object = Annotated[Raw, Meta(description="A JSON object.", extra_json_schema={"type": "object"})]
AnyJson = Annotated[Raw, Meta(description="Any JSON value.")]
Limit = Annotated[int, Meta(ge=1, le=200, description="How many at most.")]
Seconds = Annotated[float, Meta(ge=0, description="Seconds.")]


def is_cursor(text: str) -> bool:
    """Whether `text` has the form of a cursor."""
    try:
        seq(text.encode())
    except ValueError:
        return False
    return True
