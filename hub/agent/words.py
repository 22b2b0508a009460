"""What the agent says in answer. Pure; Markdown, short and plain."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hub.agent.announced import Announced, Param, Tasks
from hub.agent.markdown import code, listed, plain, title
from hub.errors import BadInput
from hub.jobs import Input, Job, JobError

#: Ends what the agent says when it has found failures; a yes to it shows them.
OFFER: Final = "Shall I look at the failures?"

_SCOPES: Final = {
    "enqueue": "start jobs",
    "cancel": "cancel jobs",
    "approve": "approve anything",
    "input": "answer questions",
}


# ---------------------------------------------------------------- jobs that begin


def started(job: Job, tasks: Tasks) -> str:
    """A job was queued; or it asks first."""
    name, job_id = title(job, tasks), code(job.id)
    if job.status == "input_required" and job.input is not None:
        return (
            f"{name} needs your approval: {plain(job.input.prompt)} Nothing runs before that. "
            f"Say **yes** or **no**, here or on the card. Job {job_id}."
        )
    return f"I started {name}. Job {job_id}; its card shows how it goes."


def lacking(task: Announced, params: Mapping[str, Any], intent_missing: Sequence[str]) -> str:
    """Which params a task still needs, and what would fit."""
    wanted = [task.param(name) for name in intent_missing]
    known = [param for param in wanted if param is not None]
    if len(known) == 1:
        ask = f"What {code(known[0].name)} shall I use for **{plain(task.title)}**?"
        return f"{ask} {would_fit(known[0])}\n\n{example(task, params)}"
    lines = "\n".join(f"- {code(param.name)}: {would_fit(param)}" for param in known)
    return f"**{plain(task.title)}** needs more from you:\n\n{lines}\n\n{example(task, params)}"


def wrong(task: Announced, values: Mapping[str, str]) -> str:
    """Which values do not fit, and what would."""
    lines = []
    for name, value in values.items():
        param = task.param(name)
        fits = would_fit(param) if param else ""
        lines.append(f"{code(value)} does not fit {code(name)}. {fits}")
    return "\n\n".join(lines)


def strange(task: Announced, names: Sequence[str]) -> str:
    """Which params a task does not have, and which it has."""
    have = [code(param.name) for param in task.params]
    takes = f"it takes {listed(have)}" if have else "it takes none"
    what = listed([code(name) for name in names[:8]])
    return f"**{plain(task.title)}** has no param {what}; {takes}."


def would_fit(param: Param) -> str:
    """What a param takes."""
    told = plain(param.description, 300)
    if param.enum:
        return f"{told} It can be {listed([code(v) for v in param.enum[:12]], 'or')}.".strip()
    kind = {
        "integer": "A whole number.",
        "number": "A number.",
        "boolean": "`true` or `false`.",
        "array": "A list, such as `a,b`.",
        "object": "A JSON object.",
    }.get(param.kind, "")
    shape = f" It has to match {code(param.pattern)}." if param.pattern else ""
    return f"{told} {kind}{shape}".strip() or "Any text."


def example(task: Announced, params: Mapping[str, Any] | None = None) -> str:
    """A line that would start a task."""
    return f"For example: {code(command(task, params or {}))}"


def command(task: Announced, params: Mapping[str, Any]) -> str:
    """The line `/task key=value` that starts a task with params, or with some that would fit."""
    parts = []
    for param in task.params:
        value = params.get(param.name)
        if value is None:
            if not param.required:
                continue
            fallback: Mapping[str, Any] = {"integer": 1, "number": 1.5, "boolean": "true"}
            value = param.enum[0] if param.enum else fallback.get(param.kind, "…")
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        quote = '"' if re.search(r"\s", shown) else ""
        parts.append(f"{param.name}={quote}{shown}{quote}")
    return " ".join([f"/{task.name}", *parts])


def unsure(task: Announced, params: Mapping[str, Any], words: Sequence[str]) -> str:
    """A task may be meant."""
    doubt = f"I do not know what to make of {listed([code(w, 40) for w in words])}. "
    without = " without that" if words else ""
    with_it = f" ({code(command(task, params))})" if params else ""
    options = [param for param in task.params if param.name not in params]
    hint = (
        "\n\nIt also takes "
        + listed([f"{code(param.name)}" for param in options[:6]])
        + f": {code(f'/{task.name} {options[0].name}=…')}"
        if options and words
        else ""
    )
    ask = f"Shall I start **{plain(task.title)}**{with_it}{without}? Say **yes**."
    return (doubt if words else "") + ask + hint


def choose(tasks: Sequence[Announced]) -> str:
    """Several tasks may be meant."""
    lines = "\n".join(f"- {code(command(task, {}))}: {plain(task.title)}" for task in tasks[:8])
    return f"Which of these do you mean? I start one at a time.\n\n{lines}"


# ---------------------------------------------------------------- talk


def helped(tasks: Tasks) -> str:
    """What the agent can do."""
    if not tasks:
        return (
            "No worker has announced a task yet, so there is nothing that I can start. "
            "Start one with `jobcast worker`, and ask me again."
        )
    lines = [
        f"- **{plain(task.title)}**: {plain(task.description, 200) or 'no description.'} "
        f"{code(command(task, {}))}"
        for task in tasks.all[:20]
    ]
    more = len(tasks.all) - len(lines)
    rest = [f"- … and {more} more"] if more else []
    return (
        "This is what I can start:\n\n"
        + "\n".join(lines + rest)
        + "\n\nSay it in plain words, or write a line like those. While something runs, ask how "
        "far it is, or say **stop it**; I tell you when it has ended."
    )


def explained(task: Announced) -> str:
    """What a task is and takes."""
    parts = [f"**{plain(task.title)}**: {plain(task.description) or 'it has no description.'}"]
    if task.params:
        parts.append(
            "\n".join(
                f"- {code(param.name)}{' (needed)' if param.required else ''}: {would_fit(param)}"
                for param in task.params
            )
        )
    asks = " It asks for approval before it runs." if task.confirm else ""
    return "\n\n".join([*parts, example(task) + asks])


def unknown(tasks: Tasks) -> str:
    """The words were not understood."""
    named = [code(f"/{task.name}") for task in tasks.all[:8]]
    can = f" I can start {listed(named)}." if named else ""
    return f"I did not understand that.{can} Ask **what can you do?** for more."


def no_task(name: str, tasks: Tasks) -> str:
    """There is no such task."""
    named = [code(f"/{task.name}") for task in tasks.all[:12]]
    has = f"There are {listed(named)}." if named else "No worker has announced any task."
    return f"There is no task {code(name)}. {has}"


def not_allowed(scope: str) -> str:
    """The speaker's token lacks a scope."""
    what = _SCOPES.get(scope, "do that")
    return f"Your token does not allow you to {what} (it lacks the scope {code(scope)})."


def bad_input(error: BadInput, task: Announced | None) -> str:
    """What the hub refused, by param."""
    lines = []
    for pointer, message in error.errors[:8]:
        name = pointer.removeprefix("/params").strip("/")
        param = task.param(name.split("/")[0]) if task and name else None
        fits = f" {would_fit(param)}" if param else ""
        lines.append(
            f"- {code(name or pointer or 'it')}: {plain(message)}.{fits}".replace("..", ".")
        )
    return "I could not start that:\n\n" + "\n".join(lines)


def which(action: str, jobs: Sequence[Job], tasks: Tasks, offered: Job | None) -> str:
    """Several jobs may be meant."""
    if action == "cancel":
        lines = "\n".join(f"- {title(job, tasks)}, {code(job.id)}" for job in jobs)
        return (
            f"Several jobs are live:\n\n{lines}\n\nWhich one shall I stop? Name it, or say "
            "**stop all**."
        )
    asks = [
        f"- {title(job, tasks)} asks: {plain(job.input.prompt)}{_options(job.input)}"
        for job in jobs
        if job.input is not None
    ]
    if offered is not None:
        asks.append("- I offered to show you the failures: say **show the failures**")
    if len(asks) == 1:
        return f"This waits for a plain answer:\n\n{asks[0]}"
    return (
        "I am not sure which question you answer:\n\n"
        + "\n".join(asks)
        + "\n\nSay which, as in **yes, deploy**, or use the card."
    )


def _options(asked: Input) -> str:
    options = [code(option, 60) for option in asked.options or []]
    return f" ({listed(options, 'or')})" if options else ""


def nothing(action: str, task: Announced | None) -> str:
    """There is nothing to do that with."""
    name = f"**{plain(task.title)}**" if task else ""
    match action:
        case "cancel":
            return f"{name} is not running." if task else "Nothing is running."
        case "failures":
            return "There are no failures to look at."
        case "again":
            return "Nothing has ended yet that I could run again."
    return "Nothing waits for an answer."


def trouble(error: JobError | None) -> str:
    """Why a job failed, in a sentence."""
    if error is None:
        return "It failed."
    kinds = {
        "timeout": "It took longer than it may.",
        "lost": "Its worker died, more than once.",
        "expired": "No worker was free for it in time.",
        "unknown_task": "No worker knows its task.",
    }
    said = plain(error.message, 700)
    head = kinds.get(error.code, "")
    return f"{head} {said}".strip()
