"""From a command with placeholders, and the values of params, to the words of an argv. Pure.

Every element of the command stays one word, whatever the values hold: nothing is split, expanded or
read by a shell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from worker.tasks import TaskError
from worker.toml_params import Param, as_text

__all__ = ["CommandLine"]

_PIECES = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|[{}])")


class CommandLine:
    """``["pytest", "-v", "{selector}"]`` and the params it may use.

    ``{name}`` stands for a value, ``{{`` and ``}}`` for braces. An element that is one placeholder
    becomes no word (absent, or an empty string for an optional param), one word, a flag and its
    word, or these for every item of a list. In a longer element the value stands in its place; if
    it is absent there is no such word, and a list makes one word an item.

    Raises TaskError, naming the element: an unknown or malformed placeholder, a placeholder in the
    program's name, a declared param that is not used.
    """

    def __init__(self, command: Sequence[str], params: Mapping[str, Param]) -> None:
        if not command or not command[0]:
            raise TaskError("command: needs the name of a program")
        self._params = params
        self._elements = [self._parse(element) for element in command]
        if any(isinstance(piece, Param) for piece in self._elements[0]):
            raise TaskError(f"command: {command[0]!r}: the program is not up to a param")
        used = {
            piece.name for pieces in self._elements for piece in pieces if isinstance(piece, Param)
        }
        if unused := sorted(params.keys() - used):
            raise TaskError(f"command: uses no {{{unused[0]}}}, which params declares")

    def argv(self, values: Mapping[str, Any]) -> list[str]:
        """The words to run, for params that have been checked."""
        return [word for pieces in self._elements for word in self._words(pieces, values)]

    def _parse(self, element: str) -> list[str | Param]:
        pieces: list[str | Param] = []
        for piece in filter(None, _PIECES.split(element)):
            if piece in ("{{", "}}"):
                pieces.append(piece[0])
            elif piece[0] in "{}":
                param = self._params.get(piece[1:-1])
                if param is None:
                    raise TaskError(
                        f"command: {element!r}: {piece} names no param; a brace is written twice"
                    )
                pieces.append(param)
            else:
                pieces.append(piece)
        if len(pieces) > 1:
            inside = [piece for piece in pieces if isinstance(piece, Param)]
            if flagged := next((param for param in inside if param.flag), None):
                raise TaskError(
                    f"command: {element!r}: {flagged.name} has a flag: let it stand alone"
                )
            if sum(param.is_list for param in inside) > 1:
                raise TaskError(f"command: {element!r}: two lists in one word")
        return pieces

    def _words(self, pieces: list[str | Param], values: Mapping[str, Any]) -> list[str]:
        params = [piece for piece in pieces if isinstance(piece, Param)]
        if any(_is_absent(param, values) for param in params):
            return []
        if len(pieces) == 1 and params:
            return _alone(params[0], values[params[0].name])
        items = next((values[param.name] for param in params if param.is_list), [None])
        return [
            "".join(
                piece
                if isinstance(piece, str)
                else as_text(item if piece.is_list else values[piece.name])
                for piece in pieces
            )
            for item in items
        ]


def _is_absent(param: Param, values: Mapping[str, Any]) -> bool:
    if param.name not in values:
        return True
    # Agents say "no selector" as "" more often than not.
    return param.optional and values[param.name] == ""


def _alone(param: Param, value: Any) -> list[str]:
    if isinstance(value, bool) and param.flag:
        return [param.flag] if value else []
    words: list[str] = []
    for item in value if param.is_list else [value]:
        words += [param.flag, as_text(item)] if param.flag else [as_text(item)]
    return words
