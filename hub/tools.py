"""The agent's tools, made of what workers announced, in the formats that agents read. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from hub.announcements import Announcement
from hub.states import STATUSES

#: Agents end a tool call after a minute; a wait ends before.
TOOL_WAIT: Final = 45
#: Of a task's name in a tool's, which may have 64 characters.
_TASK_CHARS: Final = 49
_SCALARS: Final = frozenset({"string", "integer", "number", "boolean"})


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool: its arguments as a JSON Schema, and the HTTP call that it stands for. `body` is
    the call's JSON, in which an argument is written as `{"$arg": name}`."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    method: str
    path: str
    body: Mapping[str, Any] | None = None


def tools_of(tasks: Mapping[str, Announcement], *, wait: bool = True) -> list[Tool]:
    """The tools for these tasks: five for any job, and one a task that starts it. Of tasks whose
    tools would be called the same, the first has it; `start_job` starts them all. `wait`: whether
    `check_job_status` may wait for the job's end."""
    made = [*_common(tasks, wait), *(_run(task) for task in tasks.values())]
    return list({tool.name: tool for tool in reversed(made)}.values())[::-1]


def task_of(tool: Tool) -> str | None:
    """The task that a tool starts; None for the five."""
    task = tool.body.get("task") if tool.body else None
    return task if isinstance(task, str) else None


def rendered(tools: Iterable[Tool], format: Literal["openai", "mcp", "gantz"], url: str) -> Any:
    """Tools in one of the formats; `url` is the hub's, for gantz."""
    if format == "gantz":
        return gantz(tools, url)
    return mcp(tools) if format == "mcp" else openai(tools)


def openai(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Tools as function definitions of OpenAI's chat API, which most agents read."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in tools
    ]


def mcp(tools: Iterable[Tool]) -> dict[str, Any]:
    """Tools as the result of MCP's `tools/list`."""
    return {
        "tools": [
            {
                "name": tool.name,
                "description": tool.description,
                "inputSchema": tool.parameters,
                "annotations": {"readOnlyHint": tool.method == "GET"},
            }
            for tool in tools
        ]
    }


def gantz(tools: Iterable[Tool], url: str) -> str:
    """Tools as a `gantz.yaml` that calls the hub at `url`. It takes the credential and the
    session from its environment: `JOBCAST_TOKEN` and `JOBCAST_SESSION`.

    Gantz pastes arguments as raw text, so only plain ones are offered, and the hub checks them."""
    return "\n".join(_yaml({"tools": [_gantz(tool, url.rstrip("/")) for tool in tools]})) + "\n"


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _common(tasks: Mapping[str, Announcement], wait: bool) -> list[Tool]:
    job_id = {"job_id": {"type": "string", "description": "The job's id."}}
    waits = {
        "wait": {
            "type": "number",
            "minimum": 0,
            "maximum": TOOL_WAIT,
            "default": 0,
            "description": "Wait up to so many seconds for its end, or for a question.",
        }
    }
    return [
        Tool(
            name="start_job",
            description="Start a background job and get its id at once. The person is told when"
            " it ends: do not wait for it. Tasks: " + (", ".join(tasks) or "none yet") + ".",
            parameters=_object(
                {
                    "task": {"type": "string", "enum": list(tasks)}
                    if tasks
                    else {"type": "string"},
                    "params": {"type": "object", "description": "What the task needs."},
                },
                "task",
                "params",
            ),
            method="POST",
            path="/jobs",
            body={"task": {"$arg": "task"}, "params": {"$arg": "params"}},
        ),
        Tool(
            name="check_job_status",
            description="How a job is: its status, progress, result or error, and its question"
            " where it asks one.",
            parameters=_object({**job_id, **(waits if wait else {})}, "job_id"),
            method="GET",
            path="/jobs/{job_id}" + ("?wait={wait}" if wait else ""),
        ),
        Tool(
            name="cancel_job",
            description="Ask for a job's end.",
            parameters=_object(job_id, "job_id"),
            method="POST",
            path="/jobs/{job_id}/cancel",
            body={},
        ),
        Tool(
            name="list_jobs",
            description="The jobs of this conversation, newest first.",
            parameters=_object({"status": {"type": "string", "enum": list(STATUSES)}}),
            method="GET",
            path="/jobs",
        ),
        Tool(
            name="answer_job",
            description="Answer a question that a job asks. Ask the person first; what needs their"
            " approval (kind confirm) is for them alone.",
            parameters=_object(
                {
                    **job_id,
                    "input_id": {"type": "string", "description": "input.id of the job."},
                    "value": {"type": "string", "description": "One of input.options, if any."},
                },
                *job_id,
                "input_id",
                "value",
            ),
            method="POST",
            path="/jobs/{job_id}/input",
            body={"input_id": {"$arg": "input_id"}, "value": {"$arg": "value"}},
        ),
    ]


def _run(task: Announcement) -> Tool:
    schema: dict[str, Any] = msgspec.json.decode(task.params)
    words = [task.description or task.title or f"Runs {task.name}."]
    if task.confirm is not None:
        words.append("A person is asked for approval before it starts.")
    words.append(
        "It runs in the background: you get its id at once, the person is told of its end."
    )
    return Tool(
        name=f"run_{task.name.replace('.', '_')[:_TASK_CHARS]}_background",
        description=" ".join(words),
        parameters={"type": "object", "properties": {}, **schema},
        method="POST",
        path="/jobs",
        body={
            "task": task.name,
            "params": {name: {"$arg": name} for name in schema.get("properties", {})},
        },
    )


def _gantz(tool: Tool, url: str) -> dict[str, Any]:
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    required = set(tool.parameters.get("required", []))
    arguments = {
        name: schema
        for name, schema in properties.items()
        if (name in required or "default" in schema)
        and (_kind(schema) is not None or (name, tool.name) == ("params", "start_job"))
    }
    path = tool.path.replace("{", "{{").replace("}", "}}")
    if tool.name == "list_jobs":
        path += "?session_id=${JOBCAST_SESSION}"
    http: dict[str, Any] = {
        "method": tool.method,
        "url": url + path,
        "headers": {
            "Authorization": "Bearer ${JOBCAST_TOKEN}",
            "Content-Type": "application/json",
        },
        "timeout": f"{TOOL_WAIT + 10}s",
    }
    if tool.body is not None:
        body = dict(tool.body)
        if tool.path == "/jobs":
            body["session_id"] = "${JOBCAST_SESSION}"
        http["body"] = _pasted(body, arguments)
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": [
            {
                "name": name,
                "type": _kind(schema) or "object",
                "required": name in required,
                **({"default": schema["default"]} if "default" in schema else {}),
            }
            for name, schema in arguments.items()
        ],
        "http": http,
    }


def _kind(schema: Mapping[str, Any]) -> str | None:
    """The type of a plain argument, which a list of choices need not name; None for others."""
    kind = schema.get("type")
    if kind is None and all(isinstance(choice, str) for choice in schema.get("enum", [0])):
        return "string"
    return kind if kind in _SCALARS else None


def _pasted(value: Any, arguments: Mapping[str, Any]) -> str:
    """JSON into which Gantz pastes: strings within quotes, the rest as it is."""
    if isinstance(value, Mapping):
        if "$arg" in value:
            name = value["$arg"]
            quoted = _kind(arguments[name]) == "string"
            return f'"{{{{{name}}}}}"' if quoted else f"{{{{{name}}}}}"
        members = [
            f"{_json(name)}: {_pasted(member, arguments)}"
            for name, member in value.items()
            if not (isinstance(member, Mapping) and member.get("$arg", name) not in arguments)
            or (isinstance(member, Mapping) and "$arg" not in member)
        ]
        return "{" + ", ".join(members) + "}"
    return _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _yaml(value: Any, indent: str = "") -> list[str]:
    """Block YAML of maps and lists; scalars are written as JSON, which YAML contains."""
    lines: list[str] = []
    if isinstance(value, Mapping):
        for name, member in value.items():
            if isinstance(member, Mapping | list) and member:
                lines.append(f"{indent}{name}:")
                lines += _yaml(member, indent + "  ")
            else:
                lines.append(f"{indent}{name}: {_json(member)}")
        return lines
    for member in value:
        first, *rest = _yaml(member, indent + "  ")
        lines.append(f"{indent}- {first.lstrip()}")
        lines += rest
    return lines
