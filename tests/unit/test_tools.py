"""The agent's tools in three formats."""

from __future__ import annotations

import json

import jsonschema_rs
import msgspec
import pytest
from msgspec import Raw

from hub.announcements import Announcement
from hub.tools import Tool, gantz, mcp, openai, tools_of
from tests.small_yaml import parse

SCHEMA = {
    "type": "object",
    "properties": {
        "environment": {
            "type": "string",
            "enum": ["staging", "production"],
            "description": "Where.",
        },
        "count": {"type": "integer", "default": 3},
        "size": {"enum": ["big", "small"], "default": "big"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["environment"],
    "additionalProperties": False,
}
DEPLOY = Announcement(
    name="ops.deploy",
    description='Deploy it: "now".',
    params=Raw(msgspec.json.encode(SCHEMA)),
    confirm="Deploy to {environment}?",
)
TOOLS = tools_of({"ops.deploy": DEPLOY})


def named(name: str) -> Tool:
    [found] = [tool for tool in TOOLS if tool.name == name]
    return found


def test_there_are_five_for_any_job_and_one_a_task() -> None:
    assert [tool.name for tool in TOOLS] == [
        "start_job",
        "check_job_status",
        "cancel_job",
        "list_jobs",
        "answer_job",
        "run_ops_deploy_background",
    ]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_arguments_are_valid_json_schemas_of_objects(tool: Tool) -> None:
    assert jsonschema_rs.meta.is_valid(dict(tool.parameters))
    assert tool.parameters["type"] == "object"


def test_openai() -> None:
    [found] = [t for t in openai(TOOLS) if t["function"]["name"] == "run_ops_deploy_background"]
    assert found["type"] == "function"
    assert found["function"]["parameters"] == SCHEMA
    assert "approval" in found["function"]["description"]
    [start] = [t for t in openai(TOOLS) if t["function"]["name"] == "start_job"]
    assert start["function"]["parameters"]["properties"]["task"]["enum"] == ["ops.deploy"]


def test_mcp() -> None:
    found = mcp(TOOLS)["tools"]
    assert found[-1]["inputSchema"] == SCHEMA
    assert {tool["name"]: tool["annotations"]["readOnlyHint"] for tool in found}["list_jobs"]


def test_without_tasks_there_are_the_five() -> None:
    assert len(openai(tools_of({}))) == 5


def lines_of(text: str, name: str) -> list[str]:
    """The lines of one tool."""
    blocks = text.split("\n  - name: ")
    [found] = [block for block in blocks if block.startswith(json.dumps(name))]
    return [line.strip() for line in found.splitlines()]


def test_gantz() -> None:
    text = gantz(TOOLS, "http://hub:8080/")
    assert text.startswith('tools:\n  - name: "start_job"\n    description: "Start')
    lines = lines_of(text, "run_ops_deploy_background")
    assert 'url: "http://hub:8080/jobs"' in lines
    [body] = [line for line in lines if line.startswith("body: ")]
    pasted = json.loads(body.removeprefix("body: "))
    filled = pasted.replace("{{environment}}", "staging").replace("{{count}}", "7")
    filled = filled.replace("{{size}}", "small")
    assert json.loads(filled) == {
        "task": "ops.deploy",
        "params": {"environment": "staging", "count": 7, "size": "small"},
        "session_id": "${JOBCAST_SESSION}",
    }
    assert 'Authorization: "Bearer ${JOBCAST_TOKEN}"' in lines
    assert "tags" not in text
    check = lines_of(text, "check_job_status")
    assert 'url: "http://hub:8080/jobs/{{job_id}}?wait={{wait}}"' in check
    start = json.loads(
        next(line for line in lines_of(text, "start_job") if line.startswith("body: "))[6:]
    )
    assert json.loads(start.replace("{{task}}", "t").replace("{{params}}", '{"a":1}')) == {
        "task": "t",
        "params": {"a": 1},
        "session_id": "${JOBCAST_SESSION}",
    }


def test_gantz_is_yaml_of_the_expected_shape() -> None:
    parsed = parse(gantz(TOOLS, "http://hub").splitlines())
    tools = parsed["tools"]
    assert [tool["name"] for tool in tools] == [tool.name for tool in TOOLS]
    for tool in tools:
        assert set(tool) == {"name", "description", "parameters", "http"}
        assert {"method", "url", "headers", "timeout"} <= set(tool["http"])
