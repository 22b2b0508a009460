"""`examples/gantz.yaml`: what it says is what the sample's tasks are, and every request works."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from hub.announcements import Announcement
from hub.tools import gantz, tools_of
from tests.running_hub import Hub
from tests.small_yaml import parse
from worker.toml_tasks import load_toml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "gantz.yaml"
HEAD = """\
# Jobcast's tools for gantz, over HTTP: of the sample jobcast.toml, and a hub at 127.0.0.1:8080.
#
#   export JOBCAST_SESSION=chat:main
#   export JOBCAST_TOKEN=$(jobcast token --sub gantz --session chat:main)
#
# A hub writes such a file for its own tasks: GET /tools?format=gantz. The tool run_tests_background
# is run_run_tests_background by a name that reads better.
"""


def made() -> str:
    """The example as it has to be."""
    announced = load_toml(ROOT / "jobcast.toml").announce()
    tasks = {}
    for name, said in announced.items():
        params = Raw(msgspec.json.encode(said["params"]))
        tasks[name] = msgspec.convert({**said, "params": params}, Announcement)
    text = gantz(tools_of(tasks), "http://127.0.0.1:8080")
    return HEAD + text.replace("run_run_tests_background", "run_tests_background")


TOOLS: list[dict[str, Any]] = parse(
    [line for line in EXAMPLE.read_text().splitlines() if not line.startswith("#")]
)["tools"]


def test_the_example_is_up_to_date() -> None:
    assert EXAMPLE.read_text() == made()


def filled(text: str, args: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """The text with arguments pasted as they are, and variables."""
    text = re.sub(r"\{\{(\w+)\}\}", lambda match: str(args[match[1]]), text)
    return re.sub(r"\$\{(\w+)\}", lambda match: env[match[1]], text)


class Gantz:
    """Does what gantz does with a tool: pastes, and sends."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._env = {
            "JOBCAST_TOKEN": hub.token("s1", scope="read cancel enqueue input"),
            "JOBCAST_SESSION": "s1",
        }
        self.left = {tool["name"] for tool in TOOLS}

    async def call(self, name: str, **args: Any) -> tuple[int, Any]:
        [tool] = [tool for tool in TOOLS if tool["name"] == name]
        self.left.discard(name)
        params = tool["parameters"] or []
        assert {p["name"] for p in params if p["required"]} <= set(args)
        assert set(args) <= {p["name"] for p in params}
        known = {p["name"]: p["default"] for p in params if "default" in p} | args
        http = tool["http"]
        headers = {name: filled(value, {}, self._env) for name, value in http["headers"].items()}
        url = filled(http["url"], known, self._env).replace("http://127.0.0.1:8080", self._hub.url)
        body = filled(http["body"], known, self._env) if "body" in http else None
        async with self._hub.as_(None) as client:
            answered = await client.request(http["method"], url, headers=headers, content=body)
        return answered.status_code, answered.json()


@pytest.fixture
async def tools(hub: Hub) -> Gantz:
    await hub.services.transitions.announce(load_toml(ROOT / "jobcast.toml").announce())
    return Gantz(hub)


async def test_every_request_works(hub: Hub, tools: Gantz) -> None:
    status, queued = await tools.call("run_tests_background")
    assert (status, queued["job"]["task"]) == (202, "run_tests")
    job_id = queued["job_id"]
    status, job = await tools.call("check_job_status", job_id=job_id)
    assert (status, job["status"]) == (200, "pending")
    status, job = await tools.call("cancel_job", job_id=job_id)
    assert (status, job["status"]) == (202, "cancelled")
    status, job = await tools.call("check_job_status", job_id=job_id, wait=45)
    assert (status, job["status"]) == (200, "cancelled")

    for name, args, task in (
        ("start_job", {"task": "build", "params": json.dumps({"format": "zip"})}, "build"),
        ("run_build_background", {"format": "zip"}, "build"),
        ("run_report_background", {}, "report"),
        ("run_refactor_background", {"old": "cart", "new": "basket"}, "refactor"),
    ):
        status, queued = await tools.call(name, **args)
        assert (status, queued["job"]["task"]) == (202, task)
    status, queued = await tools.call("run_deploy_background", environment="staging")
    assert (status, queued["status"]) == (202, "input_required")
    asked = queued["job"]["input"]["id"]
    # Its token has no `approve`: the request is right, and refused.
    approve = {"job_id": queued["job_id"], "input_id": asked, "value": "yes"}
    assert (await tools.call("answer_job", **approve))[0] == 403

    claim = (
        await hub.services.transitions.claim(
            "w", "r", queues=["default"], tasks=["build"], lease=30, limit=1
        )
    )[0]
    members = b'"id":"q1","kind":"question","prompt":"Which?","options":["a","b"]'
    await hub.services.transitions.ask(claim.job_id, claim.token, "q1", members)
    answered = await tools.call("answer_job", job_id=claim.job_id, input_id="q1", value="a")
    assert answered == (200, {"status": "running"})

    status, page = await tools.call("list_jobs")
    assert (status, len(page["jobs"])) == (200, 6)
    assert tools.left == set()


async def test_what_is_pasted_badly_is_refused(hub: Hub, tools: Gantz) -> None:
    status, problem = await tools.call("run_tests_background", selector='x", "evil": "y')
    assert (status, problem["errors"][0]["pointer"]) == (422, "/params/evil")
    status, problem = await tools.call("run_tests_background", keyword='"')
    assert status == 400
    status, problem = await tools.call("check_job_status", job_id="../sessions", wait=0)
    assert status in (403, 404)
    assert (await hub.services.store.jobs(session_id="s1")).jobs == []
