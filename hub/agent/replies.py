"""Yes, no, and other answers to what is open. Pure.

A yes may deploy something. So it counts only when it is plain what it is a yes to, and when the
words beside it do not say anything else.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from hub.agent.intents import (
    Answer,
    Choose,
    Declined,
    Failures,
    Intent,
    Nothing,
    Scene,
    Start,
    Thanks,
    Unsure,
    Which,
)
from hub.agent.meant import about, telling
from hub.agent.vocabulary import MAX_TEXT, meaning
from hub.jobs import Input, Job

_YES = re.compile(
    r"(?:yes|yep|yeah|yup|y|aye|sure(?: thing)?|ok|okay|go ahead|go for it|go|do it|do that|"
    r"i approve|approved?|i confirm|confirm(?:ed)?|of course|absolutely|definitely|proceed|"
    r"sounds good|looks good|lgtm|alright|all right|please do|continue|make it so)(?:\s+|$)"
)
_NO = re.compile(
    r"(?:no thanks|no thank you|no way|nope|nah|no|n|do not|never ?mind|negative|reject(?:ed)?|"
    r"deny|denied|decline[d]?|refuse[d]?|forget (?:it|that)|better not|i would rather not|"
    r"rather not)(?:\s+|$)"
)
_LATER = re.compile(r"(?:wait|hold on|hold off|not yet|not now|later|one moment)\b")
_NOT_A_NO = re.compile(r"no (?:problem|worries|rush|hurry|idea|clue|matter)\b")
_END = re.compile(r"(?:please|thanks|thank you|now|then)$")
_STOP = re.compile(r"\b(?:stop|cancel|abort|kill|halt)\b")
#: Too little to approve something with: it may only say that one has read.
_WEAK: Final = frozenset({"ok", "okay", "alright", "all right", "go", "sure"})


def questions(scene: Scene) -> list[tuple[Job, Input]]:
    """What jobs ask now, newest first."""
    return [(job, job.input) for job in scene.jobs if job.status == "input_required" and job.input]


def reply(flat: str, scene: Scene) -> Intent | None:
    """What a yes, a no or one of the options answers; None when the words are none of these."""
    chosen = [
        _answer(job, asked, value)
        for job, asked in questions(scene)
        if (value := _option(asked, flat)) is not None
    ]
    if len(chosen) == 1 and not (_YES.fullmatch(flat) or _NO.fullmatch(flat)):
        return chosen[0]
    if _NOT_A_NO.match(flat):
        return Thanks()
    if _LATER.match(flat):
        return Declined()
    said, rest = _head(_YES, flat)
    if said:
        return _yes(said, rest, scene)
    said, rest = _head(_NO, flat)
    return _no(said, rest, scene) if said else None


def free_text(text: str, scene: Scene) -> Intent | None:
    """Any words answer the one open question that leaves the answer free."""
    open_ones = [
        (job, asked)
        for job, asked in questions(scene)
        if asked.kind == "question" and not asked.options
    ]
    if len(open_ones) != 1:
        return None
    job, asked = open_ones[0]
    return _answer(job, asked, _by_schema(asked, text.strip()[:MAX_TEXT]))


def _head(pattern: re.Pattern[str], flat: str) -> tuple[list[str], str]:
    """The words at the beginning that the pattern takes, as long as it takes any, and the rest."""
    said, at = [], 0
    while (match := pattern.match(flat, at)) and match.end() > at:
        said.append(match.group().strip())
        at = match.end()
    rest = flat[at:]
    while said and (shorter := _END.sub("", rest).strip()) != rest:
        rest = shorter
    return said, rest


def _yes(said: list[str], rest: str, scene: Scene) -> Intent | None:
    words = rest.split()
    asked = questions(scene)
    own = _own(scene)
    if rest:
        fits = [(job, one) for job, one in asked if about(scene, job, words) == (True, True)]
        if not fits and not telling(words):
            fits = asked
        if len(fits) == 1 and (value := _yes_of(fits[0][1])) is not None:
            if len(asked) > 1 or not own or telling(words):
                return _answer(*fits[0], value)
            return Which("answer", [fits[0][0].id], scene.offered)
        if own is None or telling(words) or asked:
            return None
        return own
    if len(asked) + (own is not None) > 1:
        return Which("answer", [job.id for job, _ in asked], scene.offered)
    if own is not None:
        return own
    if not asked:
        return Declined() if set(said) <= _WEAK else Nothing("answer")
    job, one = asked[0]
    value = _yes_of(one)
    if value is None or (one.kind == "confirm" and set(said) <= _WEAK):
        return Which("answer", [job.id])
    return _answer(job, one, value)


def _no(said: list[str], rest: str, scene: Scene) -> Intent | None:
    asked = questions(scene)
    words = rest.split()
    if _STOP.search(rest):
        return Declined() if "do not" in said else None
    fitting = {task.name for task in scene.tasks.fitting(telling(words))}
    named = [(job, one) for job, one in asked if about(scene, job, words)[0]]
    if fitting and not named:
        return Declined() if "do not" in said else None
    asked = named or asked
    if not asked:
        return Declined()
    if len(asked) > 1 or (_own(scene) is not None and not named):
        return Which("answer", [job.id for job, _ in asked], scene.offered)
    job, one = asked[0]
    value = _no_of(one)
    return Which("answer", [job.id]) if value is None else _answer(job, one, value)


def _own(scene: Scene) -> Intent | None:
    """What a yes to the agent's own last words means."""
    before = scene.before
    if isinstance(before, Unsure):
        return Start(before.task, before.params)
    if isinstance(before, Choose) and len(before.tasks) == 1:
        return Start(before.tasks[0])
    return Failures(scene.offered) if scene.offered else None


def _answer(job: Job, asked: Input, value: Any) -> Answer:
    return Answer(job.id, asked.id, value, asked.kind == "confirm")


def _option(asked: Input, flat: str) -> str | None:
    """The option that was said, by its own words or by its number."""
    options = asked.options or []
    for option in options:
        if option.lower().strip(" .!?") == flat:
            return option
    number = re.fullmatch(r"(?:option |number |#)?([1-9])", flat)
    if number and asked.kind == "question" and int(number[1]) <= len(options):
        return options[int(number[1]) - 1]
    return None


def _yes_of(asked: Input) -> Any:
    if asked.kind == "confirm":
        return "yes"
    if not asked.options:
        return _by_schema(asked, "yes")
    return next((o for o in asked.options if _YES.fullmatch(o.lower().strip(" .!"))), None)


def _no_of(asked: Input) -> Any:
    if asked.kind == "confirm":
        return "no"
    if not asked.options:
        return _by_schema(asked, "no")
    return next((o for o in asked.options if _NO.fullmatch(o.lower().strip(" .!"))), None)


def _by_schema(asked: Input, text: str) -> Any:
    """The text as the question's schema wants it; as it is where that does not work."""
    schema = msgspec.json.decode(asked.schema) if asked.schema is not None else {}
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind == "boolean" and meaning(text) in ("yes", "no", "true", "fals"):
        return meaning(text) in ("yes", "true")
    if kind in ("integer", "number", "boolean", "array", "object"):
        try:
            return msgspec.json.decode(text.encode())
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return text
    return text
