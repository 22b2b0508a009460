"""The announced tasks as the agent knows them, and how well words fit one of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hub.agent.vocabulary import FILLERS, VERBS, meaning, name_words, raw_words

#: How much a word tells that is in a task's name or title; in its labels; in its description.
NAMED: Final = 3.0
LABELLED: Final = 2.0
DESCRIBED: Final = 0.5
#: A task fits from here on; and two tasks fit alike when they are closer than this.
FITS: Final = 2.0
ALIKE: Final = 1.0


@dataclass(frozen=True)
class Param:
    """One param of a task, from its JSON Schema. `kind` is string, integer, number, boolean or
    array (of `items`, a kind)."""

    name: str
    kind: str
    items: str = "string"
    enum: tuple[Any, ...] = ()
    required: bool = False
    title: str = ""
    description: str = ""
    pattern: str = ""

    @property
    def is_text(self) -> bool:
        """Whether a value may be any text."""
        return not self.enum and "string" in (self.kind, self.items if self.is_list else "")

    @property
    def is_list(self) -> bool:
        return self.kind == "array"


@dataclass(frozen=True)
class Announced:
    """One announced task. `names`, `labels` and `hints` are meanings (see `vocabulary`)."""

    name: str
    title: str
    description: str
    confirm: bool
    params: tuple[Param, ...]
    names: frozenset[str]
    labels: frozenset[str]
    hints: frozenset[str]

    def param(self, name: str) -> Param | None:
        """The param of this name, however it is written."""
        folded = name.lower().replace("-", "_")
        return next((p for p in self.params if p.name.lower() == folded), None)

    def missing(self, params: Mapping[str, Any]) -> list[str]:
        """The required params that are not among these."""
        return [p.name for p in self.params if p.required and p.name not in params]

    def score(self, meanings: Iterable[str]) -> float:
        """How well a set of meanings fits."""
        return sum(
            NAMED
            if word in self.names
            else LABELLED
            if word in self.labels
            else DESCRIBED
            if word in self.hints
            else 0.0
            for word in set(meanings)
        )


class Tasks:
    """All announced tasks. What a task is announced with is not trusted: what does not fit the
    form of an announcement is taken for absent."""

    def __init__(self, announced: Mapping[str, Mapping[str, Any]]) -> None:
        self.all: tuple[Announced, ...] = tuple(
            _read(name, said) for name, said in announced.items() if not name.startswith("agent.")
        )

    def __bool__(self) -> bool:
        return bool(self.all)

    def named(self, name: str) -> Announced | None:
        """The task that is called just this (in any case, with `-` for `_`)."""
        folded = name.lower().replace("-", "_")
        return next((t for t in self.all if t.name.lower().replace("-", "_") == folded), None)

    def fitting(self, words: Sequence[str]) -> list[Announced]:
        """The tasks that these words fit best: none, one, or several that fit alike."""
        meanings = [meaning(word) for word in words if word not in FILLERS]
        scored = [(task.score(meanings), task) for task in self.all]
        best = max((score for score, _ in scored), default=0.0)
        if best < FITS:
            return []
        return [task for score, task in scored if score > best - ALIKE]


def _read(name: str, said: Mapping[str, Any]) -> Announced:
    title, description = _text(said.get("title")), _text(said.get("description"))
    labels = said.get("labels")
    label_words = (
        [word for value in labels.values() for word in raw_words(_text(value))]
        if isinstance(labels, Mapping)
        else []
    )
    own = [word for word in name_words(name) + name_words(title) if word not in FILLERS]
    # "run" in `run_tests` tells nothing, unless the name has nothing else.
    telling = [word for word in own if word not in VERBS] or own
    return Announced(
        name=name,
        title=title or name,
        description=description,
        confirm=bool(said.get("confirm")),
        params=_params(said.get("params")),
        names=frozenset(map(meaning, telling)),
        labels=frozenset(map(meaning, label_words)),
        hints=frozenset(
            meaning(word)
            for word in map(str.lower, raw_words(description))
            if word not in FILLERS | VERBS
        ),
    )


def _params(schema: Any) -> tuple[Param, ...]:
    if not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), Mapping):
        return ()
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return tuple(
        _param(str(name), one, name in names)
        for name, one in schema["properties"].items()
        if isinstance(one, Mapping)
    )


def _param(name: str, schema: Mapping[str, Any], required: bool) -> Param:
    described = schema
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            options = [
                option
                for option in schema[key]
                if isinstance(option, Mapping) and option.get("type") != "null"
            ]
            if options:
                schema = options[0]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "string")
    enum = schema.get("enum")
    items = schema.get("items")
    items = items if isinstance(items, Mapping) else {}
    if not isinstance(enum, list):
        enum = items.get("enum") if kind == "array" else None
    if not isinstance(kind, str):
        kind = "integer" if enum and all(isinstance(one, int) for one in enum) else "string"
    return Param(
        name=name,
        kind=kind,
        items=_text(items.get("type")) or "string",
        enum=tuple(enum) if isinstance(enum, list) else (),
        required=required,
        title=_text(described.get("title")),
        description=_text(described.get("description")),
        pattern=_text(schema.get("pattern")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
