"""What docs/webhooks.md shows verifies what Jobcast sends, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hub.webhooks.signing import derive_secret, sign

TEXT = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8")
SECRETS = [derive_secret(b"h" * 32, "wh_1", generation) for generation in (2, 1)]
BODY = '{"id":"msg_1","data":{"title":"käse"}}'.encode()


def block(language: str) -> str:
    (found,) = [
        text
        for text in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
        if "verify(" in text
    ]
    return str(found)


def headers(*, age: int = 0) -> dict[str, str]:
    at = int(time.time()) - age
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": sign(SECRETS, "msg_1", at, BODY),
    }


def wrong() -> list[tuple[str, dict[str, str], bytes, str]]:
    """What must not verify, and why; signed now, since what is signed early is old by then."""
    return [
        (SECRETS[0], headers(age=400), BODY, "too old"),
        (SECRETS[0], headers(age=-400), BODY, "from the future"),
        (SECRETS[0], headers(), BODY + b" ", "no signature fits"),
        (derive_secret(b"h" * 32, "wh_1", 3), headers(), BODY, "no signature fits"),
        (SECRETS[0], {**headers(), "webhook-id": "msg_2"}, BODY, "no signature fits"),
        (SECRETS[0], {**headers(), "webhook-signature": "v1,é"}, BODY, "no signature fits"),
    ]


def test_the_python_block_verifies() -> None:
    module: dict[str, Any] = {}
    exec(block("python"), module)
    for secret in SECRETS:
        assert module["verify"](secret, headers(), BODY) == "msg_1"
    for secret, sent, body, words in wrong():
        with pytest.raises(ValueError, match=words):
            module["verify"](secret, sent, body)


def test_the_node_block_verifies(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    (tmp_path / "verify.mjs").write_text(block("js"))
    (tmp_path / "run.mjs").write_text(
        """
import { readFileSync } from "node:fs";
import { verify } from "./verify.mjs";
const said = JSON.parse(readFileSync(0)).map(([secret, headers, body]) => {
  try { return verify(secret, headers, Buffer.from(body, "hex")); }
  catch (error) { return error.message; }
});
process.stdout.write(JSON.stringify(said));
"""
    )
    cases = [(secret, headers(), BODY) for secret in SECRETS] + [case[:3] for case in wrong()]
    done = subprocess.run(
        [node, tmp_path / "run.mjs"],
        input=json.dumps([(secret, sent, body.hex()) for secret, sent, body in cases]),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found[:2] == ["msg_1", "msg_1"]
    for (*_, words), said in zip(wrong(), found[2:], strict=True):
        assert words in said
