"""Finds the params of a task in what a person wrote. Pure.

Conservative: a value is taken only where a param's schema says that it fits, and the words that
were not understood are given back, so that the agent can ask instead of guessing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from hub.agent.announced import Announced, Param
from hub.agent.values import of_enum, typed
from hub.agent.vocabulary import (
    FILLERS,
    MAX_TEXT,
    VERBS,
    lowered,
    meaning,
    name_words,
    quoted,
    raw_words,
    stem,
    without_quotes,
    word_set,
)

_PAIR = re.compile(
    r"(?<!\S)--?(?P<flag>[A-Za-z_][\w-]*)=|(?<![^\s,{(])(?P<key>[A-Za-z_][\w-]*)\s?=\s?(?!=)"
)
_VALUE = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|`([^`]*)`|(\[[^\]]*\])|(\S+)")
_CHANGE = re.compile(
    r"(?:^|\s)[\"'`“]?(?P<old>[\w.]+)[\"'`”]?"
    r"\s*(?:->|=>|→|\bto be\b|\bto\b|\binto\b|\bas\b|\bwith\b)\s*"
    r"[\"'`“]?(?P<new>[\w.]+)[\"'`”]?"
)
_K = re.compile(
    r"(?:(?<!\S)-k\s+|\b(?:matching|named|called|containing|about)\s+)"
    r"(?:\"([^\"]+)\"|'([^']+)'|`([^`]+)`|(\S+))"
)
_PATH = re.compile(
    r"[\w.@+-]*(?:/|::|\.(?:py|js|ts|go|rs|rb|java|c|h|md|toml|json|ya?ml|txt)\b)\S*"
)

# A pair of params that a change goes from and to.
_FROM: Final = ("old", "from", "source", "src", "before")
_TO: Final = ("new", "to", "target", "dst", "after")
_PATH_NAMES: Final = frozenset({"selector", "path", "paths", "file", "files", "target", "targets"})
_FILTER_NAMES: Final = frozenset({"keyword", "filter", "match", "pattern", "k", "only"})
#: What tells of a state or a kind, and is no part of a name that could be looked for.
_NO_NAME: Final = word_set("""
    fail failing failed fails broken pass passing passed last previous same other others rest
    remaining slow slowest fast quick skipped integration e2e smoke end-to-end first
""")
_IDLE: Final = frozenset({"without", "no", "only"})
_PLACES: Final = frozenset({"to", "on", "in", "into", "onto", "for", "at", "as", "environment"})


@dataclass
class Filled:
    """What was found. `unknown` are words that nothing explains; `wrong` holds, by the param's
    name, a value that does not fit it; `strange` are keys that are no params."""

    params: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)


def fill(
    task: Announced, text: str, *, named: bool = False, known: Mapping[str, Any] | None = None
) -> Filled:
    """The params of `task` in `text`, added to those that are `known`. `named` says that the
    task's name stands apart (as in `/task …`), so that every word is a value."""
    found = Filled(dict(known or {}))
    rest = _pairs(task, text[:MAX_TEXT], found)
    rest = _change(task, rest, found)
    rest = _filter(task, rest, found)
    rest = _quotes(task, rest, found)
    words = raw_words(rest)
    if not (named and _in_order(task, words, found)):
        _plain(task, words, found)
    return found


def _take(param: Param, text: str, found: Filled) -> None:
    try:
        found.params[param.name] = typed(param, text)
    except (ValueError, OverflowError, RecursionError, msgspec.DecodeError):
        found.wrong[param.name] = text


def _pairs(task: Announced, text: str, found: Filled) -> str:
    """`key=value`, `--key=value`, and a JSON object."""
    opening = text.find("{")
    if opening >= 0:
        try:
            values = msgspec.json.decode(text[opening:].strip().encode(), type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            pass
        else:
            for name, value in values.items():
                param = task.param(name)
                if param is None:
                    found.strange.append(name)
                else:
                    found.params[param.name] = value
            text = text[:opening]
    kept, at = [], 0
    while match := _PAIR.search(text, at):
        key = match["flag"] or match["key"]
        value = _VALUE.match(text, match.end())
        kept.append(text[at : match.start()])
        at = value.end() if value else match.end()
        param = task.param(key)
        if param is None:
            found.strange.append(key)
            continue
        whole = next((g for g in value.groups() if g is not None), "") if value else ""
        if value and value[1] is not None:
            whole = re.sub(r"\\(.)", r"\1", whole)
        elif value and value[5] is not None and not param.is_list:
            whole = whole.rstrip(",;")
        _take(param, whole, found)
    kept.append(text[at:])
    return " ".join(kept)


def _change(task: Announced, text: str, found: Filled) -> str:
    """`X to Y`, `X -> Y`, for a task that has an old and a new of something."""
    old = next((p for name in _FROM if (p := task.param(name)) and p.is_text), None)
    new = next((p for name in _TO if (p := task.param(name)) and p.is_text), None)
    if old is None or new is None or old.name in found.params or new.name in found.params:
        return text
    changes = [m for m in _CHANGE.finditer(text) if meaning(m["old"]) not in task.names]
    if not changes:
        return text
    # In "rename the function load to fetch" the last pair is the change itself.
    change = changes[-1]
    found.params[old.name] = change["old"]
    found.params[new.name] = change["new"].rstrip(".")
    kinds = r"\b(?:function|method|class|variable|symbol|name|module|from)\b"
    return re.sub(kinds, " ", text[: change.start()] + " " + text[change.end() :])


def _filter(task: Announced, text: str, found: Filled) -> str:
    """`-k words`, `matching words`, for a task that can be told to look for a name."""
    param = _filter_param(task, found)
    match = _K.search(text)
    if param is None or match is None:
        return text
    found.params[param.name] = next(g for g in match.groups() if g is not None).strip(".,;!?")
    return text[: match.start()] + " " + text[match.end() :]


def _filter_param(task: Announced, found: Filled) -> Param | None:
    for param in task.params:
        if param.name.lower() in _FILTER_NAMES and param.is_text and not param.is_list:
            return None if param.name in found.params else param
    return None


def _quotes(task: Announced, text: str, found: Filled) -> str:
    """Quoted text is the value of the one text param that is required and still open."""
    values = quoted(text)
    if not values:
        return text
    open_params = [
        param
        for param in task.params
        if param.is_text and param.required and param.name not in found.params
    ]
    if len(open_params) == len(values):
        for param, value in zip(open_params, values, strict=True):
            _take(param, value, found)
        return without_quotes(text)
    return re.sub(r"[\"`“”]", " ", text)


def _plain(task: Announced, words: list[str], found: Filled) -> None:
    """What single words tell: values of enums, paths, flags, numbers, names to look for."""
    skip = -1
    for at, word in enumerate(words):
        if at <= skip:
            continue
        lower = word.lower()
        before = words[at - 1].lower() if at else ""
        after = words[at + 1] if at + 1 < len(words) else ""
        if _enum_word(task, word, found) or _path_word(task, word, found):
            continue
        param = _param_called(task, lower)
        if param is not None and param.name not in found.params:
            if param.kind == "boolean":
                found.params[param.name] = before not in ("without", "no", "not")
            elif param.kind in ("integer", "number"):
                number = next((n for n in (before, after) if re.fullmatch(r"-?\d+(\.\d+)?", n)), "")
                skip = at + 1 if number and number == after else skip
                if number:
                    _take(param, number, found)
            elif param.is_text and after and not param.is_list and _names_value(param, after):
                skip = at + 1
                _take(param, after, found)
            continue
        if re.fullmatch(r"-?\d+(\.\d+)?", word) and _param_called(task, after.lower()):
            continue
        idle = all(part in FILLERS | VERBS | _IDLE for part in lowered(word).split())
        if idle or meaning(lower) in task.names | task.labels:
            continue
        if _place(task, before, word, found) or _name_word(task, word, before, after, found):
            continue
        found.unknown.append(word)


def _param_called(task: Announced, word: str) -> Param | None:
    """The param whose name is this word, or ends in it ("coverage" is `with_coverage`)."""
    if len(word) < 3:
        return None
    for param in task.params:
        parts = name_words(param.name)
        if param.name.lower() == word or (parts and stem(parts[-1]) == stem(word)):
            return param
    return None


def _names_value(param: Param, word: str) -> bool:
    return word.lower() not in FILLERS | VERBS and (
        not param.pattern or re.search(r"\w", word) is not None
    )


def _enum_word(task: Announced, word: str, found: Filled) -> bool:
    for param in task.params:
        if not param.enum or (param.name in found.params and not param.is_list):
            continue
        one = Param(param.name, param.items, enum=param.enum) if param.is_list else param
        try:
            value = of_enum(one, word)
        except ValueError:
            continue
        if word.lower() in FILLERS | VERBS and str(value).lower() != word.lower():
            continue
        if param.is_list:
            found.params.setdefault(param.name, []).append(value)
        else:
            found.params[param.name] = value
        return True
    return False


def _path_word(task: Announced, word: str, found: Filled) -> bool:
    if not _PATH.fullmatch(word):
        return False
    for param in task.params:
        if not param.is_text or (param.name in found.params and not param.is_list):
            continue
        described = param.description.lower()
        if param.name.lower() in _PATH_NAMES or "file" in described or "path" in described:
            if param.is_list:
                found.params.setdefault(param.name, []).append(word)
            else:
                found.params[param.name] = word
            return True
    return False


def _place(task: Announced, before: str, word: str, found: Filled) -> bool:
    """`to mars`: a value, though none that fits, for the one required enum that is still open."""
    if before not in _PLACES:
        return False
    enums = [p for p in task.params if p.enum and p.required and p.name not in found.params]
    if len(enums) != 1 or enums[0].name in found.wrong:
        return False
    found.wrong[enums[0].name] = word
    return True


def _name_word(task: Announced, word: str, before: str, after: str, found: Filled) -> bool:
    """`the auth tests`, `tests for auth`: the name of what is looked for."""
    param = _filter_param(task, found)
    beside = meaning(after) in task.names or (
        before in ("for", "of") and not re.search(r"\W", word)
    )
    if param is None or not beside or word.lower() in _NO_NAME or not word.isidentifier():
        return False
    found.params[param.name] = word
    return True


def _in_order(task: Announced, words: list[str], found: Filled) -> bool:
    """As many words after `/task` as required params are open are their values, in their order."""
    gaps = [
        param
        for param in task.params
        if param.required and param.name not in found.params and param.name not in found.wrong
    ]
    if not words or len(words) != len(gaps) or any(param.kind == "boolean" for param in gaps):
        return False
    for param, word in zip(gaps, words, strict=True):
        _take(param, word, found)
    return True
