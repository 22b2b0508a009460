"""From a person's words to what they mean. Pure, and never raises on any text.

Two rules keep it from doing harm: nothing is started unless the words ask for it and all of them
are understood; and nothing is approved unless it is plain what is approved.
"""

from __future__ import annotations

import re

from hub.agent import meant
from hub.agent.announced import Announced
from hub.agent.fill import Filled, fill
from hub.agent.intents import (
    Ask,
    Choose,
    Declined,
    Explain,
    Greeting,
    Help,
    Intent,
    NoTask,
    Nothing,
    Scene,
    Start,
    Thanks,
    Unknown,
    Unsure,
    Which,
)
from hub.agent.replies import free_text, reply
from hub.agent.vocabulary import FILLERS, MAX_TEXT, VERBS, lowered, meaning, without_quotes

_COMMAND = re.compile(r"\s*/([A-Za-z_][\w.-]*)\s*(.*)", re.DOTALL)
_POLITE = re.compile(
    r"(?:please|hey|hi|hello|ok|okay|so|well|now|and|then|just|alright|great|thanks|also|actually|"
    r"jobcast|agent|yes|no|yeah|you can|you should|we should|we can|quickly|kindly|first)\s+"
)
_WISH = re.compile(
    r"(?:(?:can|could|would|will) (?:you|we)(?: please| kindly| now)?|would you mind|let us|"
    r"i (?:would like|want|need|wish)(?: you| us)?(?: to)?|go ahead and|(?:it is )?time to|"
    r"we (?:need|have|want) to|i am going to|you (?:need|have) to|how about|let me have)\s+"
)
_GREETING = re.compile(
    r"(?:hi|hello|hey|yo|moin|greetings|good (?:morning|afternoon|evening|day))"
    r"(?: there| jobcast| agent| everyone| all| again)?"
)
_THANKS = re.compile(
    r"(?:thanks|thank you|thx|cheers|great|nice|cool|perfect|awesome|excellent|good(?: job)?|"
    r"well done|wonderful|lovely)(?: (?:thanks|thank you|so much|a lot|very much|job|work|then))*"
)
_HELP = re.compile(
    r"(?:help(?: me)?(?: out)?|commands|tasks|menu|usage|who are you|what are you|"
    r"what (?:can|could|do) (?:you|i|we) (?:do|run|say|ask|start)\b.*|"
    r"(?:what|which) (?:tasks|jobs|commands|things) .*|what is possible|how does this work|"
    r"(?:list|show)(?: me)?(?: the| all| your)* (?:tasks|commands)|what else can you do)"
)
_EXPLAIN = re.compile(
    r"(?:what (?:does|is|are|happens)|how (?:do|can|could|should|would) (?:i|we|you|one)|"
    r"help(?: me)?(?: with)?|tell me (?:about|more)|explain|describe|should (?:i|we|you)|"
    r"what (?:params|parameters|options|arguments)|why (?:should|would))\b"
)
_CANCEL = re.compile(
    r"(?:stop|cancel|abort|kill|halt|terminate|interrupt|end|quit)(?:ping|ling)?\b(?P<rest>.*)"
)
_FAILURES = re.compile(
    r"(?:failures?|errors?|details|why)$|"
    r"(?:look|see|check|show|list|explain|tell|give|display|inspect|describe|any|let me see)\b"
    r".*\b(?:fail\w*|errors?|wrong|details|broke\w*)\b.*|"
    r"(?:what|which|why|who|how come|where)\b.*\b(?:fail\w*|wrong|broke\w*|errors?)\b.*|"
    r"(?:look|dig) (?:at|into) (?:it|them|that|those)|show (?:me )?(?:them|those)|"
    r"did (?:anything|something|any)\b.*\bfail\w*.*"
)
_STATUS = re.compile(
    r"(?:/?status|progress|eta|news|update)\b.*|"
    r"(?:what|how|give|show|any|tell|check)\b.*\b(?:status|progress|news|updates?|eta)\b.*|"
    r"(?:is|are|was|were|did|has|have|how|when|what|where|which)\b.*"
    r"\b(?:finish\w*|done|ready|complete[d]?|running|pass\w*|still|going|happening|far|long|over|"
    r"result\w*|outcome|left|queued|waiting|through|doing|succeed\w*|work\w*)\b.*|"
    r"(?:done|finished|ready|still running|and|well)"
)
_ASKING = re.compile(r"(?:is|are|was|were|did|does|has|have|when|how)\b")
_AGAIN = re.compile(
    r"(?:re-?run|retry|repeat|run|do|start|try)(?: (?:it|that|this|the same|the last one))?"
    r"(?: all)?(?: over)? (?:again|once more|one more time)|"
    r"(?:re-?run|retry|repeat|redo)(?: (?:it|that|this|the same|the last one|the job))?|"
    r"again|once more|one more time"
)
_NEGATED = re.compile(r"(?:\S+ ){0,3}(?:not|never)\b")
_IF = re.compile(r"(?:should|why|what|which|when|where|who|would|if|unless)\b")
_MARKS = re.compile(r"\?+$")


def read(text: str, scene: Scene) -> Intent:
    """What a person means by `text`. What is past 4,000 characters is not looked at."""
    text = text[:MAX_TEXT]
    if command := _COMMAND.fullmatch(text):
        return _command(command[1], command[2], scene)
    flat = lowered(without_quotes(text))
    if not flat:
        return _understood(text, "", scene)
    if (found := reply(lowered(text), scene)) is not None:
        return found
    if _GREETING.fullmatch(flat):
        return Greeting()
    if _THANKS.fullmatch(flat):
        return Thanks()
    if _HELP.fullmatch(flat):
        return Help()
    return _understood(text, flat, scene)


def _understood(text: str, flat: str, scene: Scene) -> Intent:
    bare, wished, dropped = _plainly(flat)
    for found in (
        _about_jobs(bare, scene),
        _explain(bare, scene),
        _again(bare, scene),
        _follow(text, bare, scene),
        _start(text, bare, wished, dropped, scene),
        free_text(text, scene),
    ):
        if found is not None:
            return found
    return Help() if _HELP.fullmatch(bare) else Unknown()


def _plainly(flat: str) -> tuple[str, bool, set[str]]:
    """(The words without their courtesies, whether they were a wish, the words left out)."""
    rest, wished = flat, False
    while True:
        if match := _WISH.match(rest):
            wished = True
        elif not (match := _POLITE.match(rest)):
            break
        rest = rest[match.end() :]
    return rest, wished, set(flat[: len(flat) - len(rest)].split())


def _command(name: str, rest: str, scene: Scene) -> Intent:
    """A line `/name …`: a task, or one of the agent's own words."""
    if task := scene.tasks.named(name):
        return _begin(task, fill(task, rest, named=True), asked=True)
    words = lowered(rest).split()
    match name.lower():
        case "help" | "tasks":
            fits = scene.tasks.fitting(words)
            return Explain(fits[0].name) if len(fits) == 1 else Help()
        case "status":
            return meant.status(scene, words)
        case "cancel" | "stop":
            return meant.cancel(scene, words)
        case "failures":
            return meant.failures(scene, words)
        case "yes" | "no" | "approve" | "reject":
            return reply(f"{name.lower()} {lowered(rest)}".strip(), scene) or Unknown()
        case "answer":
            return reply(lowered(rest), scene) or free_text(rest, scene) or Nothing("answer")
    return NoTask(name)


def _about_jobs(bare: str, scene: Scene) -> Intent | None:
    if match := _CANCEL.fullmatch(bare):
        return meant.cancel(scene, match["rest"].split())
    if _FAILURES.fullmatch(bare):
        return meant.failures(scene, [w for w in bare.split() if not w.startswith("fail")])
    if _EXPLAIN.match(bare) and scene.tasks.fitting(bare.split()) and not _STATUS.fullmatch(bare):
        return None
    asking = _ASKING.match(bare) and scene.tasks.fitting(bare.split())
    if _STATUS.fullmatch(bare) or asking or meant.by_id(scene, bare.split()):
        return meant.status(scene, bare.split())
    return None


def _explain(bare: str, scene: Scene) -> Intent | None:
    if not (_EXPLAIN.match(bare) or _IF.match(bare)):
        return None
    fits = scene.tasks.fitting(bare.split())
    if not fits:
        return None
    return Explain(fits[0].name) if len(fits) == 1 else Choose([task.name for task in fits])


def _again(bare: str, scene: Scene) -> Intent | None:
    if not _AGAIN.fullmatch(bare):
        return None
    for job in scene.jobs:
        if job.terminal and not job.params_truncated and scene.tasks.named(job.task):
            return Start(job.task, meant.params_of(job))
    return Nothing("again")


def _follow(text: str, bare: str, scene: Scene) -> Intent | None:
    """Words that only say what the agent has just asked for."""
    before = scene.before
    words = bare.split()
    if isinstance(before, Which) and before.action == "cancel":
        among = Scene(scene.tasks, [job for job in scene.jobs if job.id in before.jobs])
        ended = meant.cancel(among, words)
        return None if isinstance(ended, Unknown | Which) or words[:1] == ["run"] else ended
    if isinstance(before, Choose):
        named = {task.name for task in scene.tasks.fitting(words)}
        fits = [name for name in before.tasks if name in named]
        task = scene.tasks.named(fits[0]) if len(fits) == 1 and len(named) == 1 else None
        return _begin(task, fill(task, text), asked=True) if task else None
    if isinstance(before, Ask) and (task := scene.tasks.named(before.task)):
        found = fill(task, text, named=True, known=before.params)
        gaps = task.missing(before.params)
        if found.params == before.params and len(gaps) == 1 and len(found.unknown) == 1:
            found.wrong[gaps[0]] = found.unknown.pop()
        if (found.params != before.params or found.wrong) and not found.unknown:
            return _begin(task, found, asked=True)
    return None


def _start(text: str, bare: str, wished: bool, dropped: set[str], scene: Scene) -> Intent | None:
    words = bare.split()
    if not words:
        return None
    named = scene.tasks.named(words[0])
    fits = [named] if named and "_" in words[0] else scene.tasks.fitting(words)
    if not fits:
        return None
    if _NEGATED.match(bare):
        return Declined()
    if len(fits) > 1:
        return Choose([task.name for task in fits])
    task = fits[0]
    body = re.sub(rf"^\s*{re.escape(words[0])}\b", "", text) if named is task else text
    found = fill(task, body)
    found.unknown = [word for word in found.unknown if word.lower() not in dropped]
    first = words[0]
    asked = wished or named is task or first in VERBS or meaning(first) in task.names | task.labels
    if not asked and first in FILLERS and _MARKS.search(text.strip()):
        return meant.status(scene, words)
    return _begin(task, found, asked=asked)


def _begin(task: Announced, found: Filled, *, asked: bool) -> Intent:
    """Start it when everything is there and clear; else say what is not."""
    missing = [name for name in task.missing(found.params) if name not in found.wrong]
    if missing or found.wrong or found.strange:
        return Ask(task.name, found.params, missing, found.wrong, found.strange)
    if found.unknown or not asked:
        return Unsure(task.name, found.params, found.unknown[:8])
    return Start(task.name, found.params)
