"""How a confirm and a title are worded."""

from __future__ import annotations

import msgspec
import pytest

from hub.enqueue import filled

SCHEMA = msgspec.json.encode(
    {
        "properties": {
            "env": {"type": "string", "default": "staging"},
            "n": {},
            "off": {"default": False},
        }
    }
)


@pytest.mark.parametrize(
    ("template", "params", "words"),
    [
        ("Deploy to {env}?", {"env": "prod"}, "Deploy to prod?"),
        ("Deploy to {env}?", {}, "Deploy to staging?"),
        ("Deploy to {env}?", {"env": "a\n b\t c"}, "Deploy to a b c?"),
        ("Deploy to {env}?", {"env": "{n}", "n": 1}, "Deploy to {n}?"),
        ("{n} of {env}", {"n": [1, {"a": None}]}, '[1,{"a":null}] of staging'),
        ("{off}", {}, "false"),
        ("{n} {unknown} {} {0}", {}, "{n} {unknown} {} {0}"),
        ("{env}", {"env": "x" * 500}, "x" * 119 + "…"),
        ("{env.__class__} {env!r}", {}, "{env.__class__} {env!r}"),
    ],
)
def test_placeholders(template: str, params: dict[str, object], words: str) -> None:
    assert filled(template, SCHEMA, params) == words
