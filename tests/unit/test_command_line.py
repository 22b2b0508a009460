"""From a declared command and params to an argv."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.command_line import CommandLine
from worker.tasks import TaskError
from worker.toml_params import Param, ParamTable


def line(*command: str, **params: dict[str, Any]) -> CommandLine:
    tables = {name: msgspec.convert(table, ParamTable) for name, table in params.items()}
    made = {name: Param(name, table, Path("/nowhere")) for name, table in tables.items()}
    return CommandLine(command, made)


STRING = {"type": "string"}
STRINGS = {"type": "list of string"}
OPTIONAL = {"type": "string", "default": ""}


def test_a_placeholder_is_one_word() -> None:
    command = line("grep", "-r", "{what}", ".", what=STRING)
    assert command.argv({"what": "a b; $(c) 'd' *"}) == ["grep", "-r", "a b; $(c) 'd' *", "."]


def test_a_placeholder_within_a_word() -> None:
    command = line("x", "--only={what}/{n}!", what=STRING, n={"type": "integer"})
    assert command.argv({"what": "a b", "n": 3}) == ["x", "--only=a b/3!"]


def test_values_that_look_like_placeholders_stay_as_they_are() -> None:
    command = line("x", "{one}", "{two}", one=STRING, two=STRING)
    assert command.argv({"one": "{two}", "two": "{{"}) == ["x", "{two}", "{{"]


def test_what_is_absent_is_no_word() -> None:
    command = line("x", "{one}", "--one={one}", "y", one=OPTIONAL)
    assert command.argv({"one": ""}) == ["x", "y"]
    assert command.argv({}) == ["x", "y"]
    assert command.argv({"one": "z"}) == ["x", "z", "--one=z", "y"]


def test_an_empty_value_of_a_required_param_is_an_empty_word() -> None:
    assert line("x", "{one}", one=STRING).argv({"one": ""}) == ["x", ""]


def test_flags() -> None:
    command = line(
        "x",
        "{fast}",
        "{keyword}",
        "{file}",
        fast={"type": "boolean", "flag": "--fast"},
        keyword={**OPTIONAL, "flag": "-k"},
        file={**STRINGS, "flag": "--file"},
    )
    everything = {"fast": True, "keyword": "login", "file": ["a", "b"]}
    assert command.argv(everything) == ["x", "--fast", "-k", "login", "--file", "a", "--file", "b"]
    assert command.argv({"fast": False, "keyword": "", "file": []}) == ["x"]


def test_lists() -> None:
    command = line("x", "{names}", "--name={names}", names=STRINGS)
    assert command.argv({"names": ["a", "b c"]}) == ["x", "a", "b c", "--name=a", "--name=b c"]
    assert command.argv({"names": []}) == ["x"]


@pytest.mark.parametrize(
    ("kind", "value", "word"),
    [
        ("boolean", True, "true"),
        ("boolean", False, "false"),
        ("integer", 10**15, "1000000000000000"),
        ("number", 5.0, "5"),
        ("number", 0.25, "0.25"),
        ("number", 1e300, str(int(1e300))),
    ],
)
def test_values_as_words(kind: str, value: Any, word: str) -> None:
    assert line("x", "{value}", value={"type": kind}).argv({"value": value}) == ["x", word]


def test_braces_are_written_twice() -> None:
    command = line("x", '{{"a": "{one}"}}', one=STRING)
    assert command.argv({"one": "b"}) == ["x", '{"a": "b"}']


@pytest.mark.parametrize(
    ("command", "params", "said"),
    [
        ([], {}, "needs the name of a program"),
        ([""], {}, "needs the name of a program"),
        (["{one}"], {"one": STRING}, "the program is not up to a param"),
        (["x", "{two}"], {"one": STRING}, "{two} names no param"),
        (["x", "{one"], {"one": STRING}, "{ names no param"),
        (["x", "}"], {}, "} names no param"),
        (["x", "{}"], {}, "{} names no param"),
        (["x"], {"one": STRING}, "uses no {one}"),
        (["x", "-{one}"], {"one": {**STRING, "flag": "-o"}}, "one has a flag"),
        (["x", "{one}{two}"], {"one": STRINGS, "two": STRINGS}, "two lists"),
    ],
    ids=str,
)
def test_commands_that_make_no_sense(
    command: list[str], params: dict[str, dict[str, Any]], said: str
) -> None:
    with pytest.raises(TaskError) as caught:
        line(*command, **params)
    assert said in str(caught.value)
    assert str(caught.value).startswith("command: ")


@given(st.lists(st.text(min_size=1), min_size=3, max_size=3))
def test_whatever_the_values_hold_the_words_stay_the_same_in_number(values: list[str]) -> None:
    command = line("x", "{a}", "fixed", "--b={b}", "{c}", a=STRING, b=STRING, c=STRING)
    a, b, c = values
    assert command.argv({"a": a, "b": b, "c": c}) == ["x", a, "fixed", f"--b={b}", c]


@given(st.text(min_size=1))
def test_any_fixed_word_can_be_written(word: str) -> None:
    assert line("x", word.replace("{", "{{").replace("}", "}}")).argv({}) == ["x", word]
