"""No token in any log."""

from __future__ import annotations

import logging

import pytest

from hub.server import Redact, redacted


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("/ws?token=abc.def", "/ws?token=(hidden)"),
        ("/ws?after=1-2&token=abc&x=1", "/ws?after=1-2&token=(hidden)&x=1"),
        ("/ws?to%6ben=abc", "/ws?to%6ben=(hidden)"),
        ("/ws?TOKEN=abc", "/ws?TOKEN=(hidden)"),
        ("/ws?token=a&token=b", "/ws?token=(hidden)&token=(hidden)"),
        ("/jobs?task=token", "/jobs?task=token"),
        ("/token=abc", "/token=abc"),
    ],
)
def test_addresses(address: str, shown: str) -> None:
    assert redacted(address) == shown


def test_records_keep_their_other_arguments() -> None:
    args = ("127.0.0.1:1", "GET", "/ws?token=abc", "1.1", 200)
    record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, "%s %s %s %s %d", args, None)
    assert Redact().filter(record)
    assert record.getMessage() == "127.0.0.1:1 GET /ws?token=(hidden) 1.1 200"
