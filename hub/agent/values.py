"""Values of params, from text and by their JSON Schema. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from hub.agent.announced import Param
from hub.agent.vocabulary import stem


def typed(param: Param, text: str) -> Any:
    """A value of the param's kind. Raises ValueError where the text is none."""
    if param.enum and not param.is_list:
        return of_enum(param, text)
    match param.kind:
        case "integer":
            return int(text)
        case "number":
            value = float(text)
            if value in (float("inf"), float("-inf")) or value != value:
                raise ValueError(text)
            return int(value) if value.is_integer() and "." not in text else value
        case "boolean":
            return _boolean(text)
        case "array":
            return _list(param, text)
        case "object":
            return msgspec.json.decode(text.encode(), type=dict)
    return text


def _boolean(text: str) -> bool:
    word = text.lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError(text)


def _list(param: Param, text: str) -> list[Any]:
    if text.startswith("["):
        try:
            return msgspec.json.decode(text.encode(), type=list)
        except msgspec.DecodeError:
            text = text[1:].removesuffix("]")
    one = Param(param.name, param.items, enum=param.enum)
    return [typed(one, part.strip(" \"'")) for part in text.split(",") if part.strip()]


def of_enum(param: Param, text: str) -> Any:
    """The value of an enum that is meant: also by its beginning, where that is plain. Raises
    ValueError where none is."""
    word = text.lower()
    for value in param.enum:
        if str(value).lower() == word:
            return value
    close = [
        value
        for value in param.enum
        if (len(word) >= 3 and str(value).lower().startswith(word))
        or (len(word) >= 4 and stem(str(value)) == stem(word))
    ]
    if len(close) == 1:
        return close[0]
    if word == "md" and "markdown" in param.enum:
        return "markdown"
    raise ValueError(text)
