"""Tasks (of the sample `jobcast.toml`), jobs and scenes to talk to the built-in agent about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from hub.agent.announced import Tasks
from hub.agent.intents import (
    Answer,
    Scene,
    Start,
)
from hub.jobs import Input, Job
from hub.states import Status as JobStatus
from worker.toml_tasks import load_toml

ROOT = Path(__file__).parents[2]


def schema(**params: Any) -> dict[str, Any]:
    required = [name for name, one in params.items() if one.pop("required", False)]
    return {"type": "object", "properties": params, "required": required}


SAMPLE = load_toml(ROOT / "jobcast.toml", allow=["shell"]).announce()
MORE: dict[str, Any] = {
    "load_test": {
        "name": "load_test",
        "labels": {"words": "stress benchmark"},
        "params": schema(
            users={"type": "integer", "required": True},
            rate={"type": "number"},
            verbose={"type": "boolean"},
            hosts={"type": "array", "items": {"type": "string"}},
        ),
    },
}
TASKS = Tasks(SAMPLE)
TESTS = "01991f00-0000-7abc-8000-000000000001"
DEPLOY = "01991f01-0000-7abc-8000-000000000002"
BUILD = "01991f02-0000-7abc-8000-000000000003"


def job(job_id: str, task: str, status: JobStatus, **fields: Any) -> Job:
    for name in ("params", "result"):
        if name in fields:
            fields[name] = msgspec.Raw(msgspec.json.encode(fields[name]))
    at = "2026-11-23T19:20:31.042Z"
    return Job(
        id=job_id,
        session_id="s1",
        task=task,
        status=status,
        rev=1,
        created_at=at,
        updated_at=at,
        **fields,
    )


def confirm(job_id: str = DEPLOY, environment: str = "staging") -> Job:
    asked = Input("confirm", "confirm", f"Deploy to {environment}?", ["yes", "no"])
    return job(job_id, "deploy", "input_required", params={"environment": environment}, input=asked)


RUNNING = job(TESTS, "run_tests", "running")
BUILDING = job(BUILD, "build", "running")
DONE = job(TESTS, "run_tests", "completed", result={"passed": 47, "failed": 2})
BROKEN = job(BUILD, "build", "failed")
YES = Answer(DEPLOY, "confirm", "yes", True)
NO = Answer(DEPLOY, "confirm", "no", True)
STAGING = Start("deploy", {"environment": "staging"})
ALL = Start("run_tests")


def question(**fields: Any) -> Scene:
    asked = Input("q1", "question", "How?", **fields)
    return Scene(TASKS, [job(BUILD, "build", "input_required", input=asked)])
