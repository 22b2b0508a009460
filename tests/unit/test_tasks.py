"""Functions as tasks: their params, results and announcements."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import Registry, Retry, task
from worker.signature import pointer, schema_of
from worker.tasks import InvalidParams, ResultError, Task, TaskError

if TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found]  # only an annotation names it

    from worker import Context


class Report(msgspec.Struct):
    passed: int
    failed: int = 0


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Place:
    street: str
    number: int


@task(timeout=600, retry=Retry(attempts=3, base=30), confirm="Test {selector}?", queue="tests")
async def run_tests(
    ctx: Context,
    selector: Annotated[str, msgspec.Meta(description="What to run")] = "",
    *,
    places: list[Place],
    colour: Colour = Colour.RED,
    tags: list[str] = ["a"],  # noqa: B006  # that a list is copied for each job is what is tested
) -> Report:
    """Run the tests,
    all of them.

    Then tell.
    """
    return Report(passed=len(places))


@task
def add(one: int, two: int = 1) -> int:
    return one + two


def errors_of(made: Task, params: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidParams) as caught:
        made.decode_params(params if isinstance(params, bytes) else json.dumps(params).encode())
    return caught.value.errors


def test_announcement() -> None:
    said = run_tests.announce()
    schema = said.pop("params")
    assert said == {
        "name": "run_tests",
        "description": "Run the tests, all of them.",
        "timeout": 600,
        "max_attempts": 3,
        "confirm": "Test {selector}?",
        "queue": "tests",
        "result": {
            "title": "Report",
            "type": "object",
            "properties": {
                "passed": {"type": "integer"},
                "failed": {"type": "integer", "default": 0},
            },
            "required": ["passed"],
        },
    }
    assert schema["type"] == "object"
    assert schema["required"] == ["places"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["selector"] == {
        "type": "string",
        "description": "What to run",
        "default": "",
    }
    assert list(schema["properties"]) == ["selector", "places", "colour", "tags"]
    json.dumps(said)


def test_the_announced_schema_says_what_decoding_says() -> None:
    schema = jsonschema_rs.validator_for(run_tests.announce()["params"])
    for params, fits in [
        ({"places": []}, True),
        ({"places": [{"street": "High", "number": 1}], "colour": "blue"}, True),
        ({}, False),
        ({"places": [], "colour": "green"}, False),
        ({"places": [{"street": "High"}]}, False),
        ({"places": [], "selector": 1}, False),
        ({"places": [], "more": 1}, False),
    ]:
        assert schema.is_valid(params) is fits
        if fits:
            run_tests.decode_params(json.dumps(params).encode())
        else:
            assert errors_of(run_tests, params)


def test_bare_and_with_options() -> None:
    assert (add.name, add.isolate, add.queue, add.max_attempts) == ("add", "thread", "default", 1)
    assert (run_tests.isolate, run_tests.context) == ("loop", "ctx")
    assert add(2) == 3
    named = task(name="sum.up", title="Sum", description="Adds", labels={"done": "Added"})(
        add.function
    )
    said = named.announce()
    assert (said["name"], said["title"], said["description"]) == ("sum.up", "Sum", "Adds")
    assert said["labels"] == {"done": "Added"}


def test_params_become_arguments() -> None:
    params = run_tests.decode_params(b'{"places": [{"street": "High", "number": 1}]}')
    assert params == {
        "selector": "",
        "places": [Place("High", 1)],
        "colour": Colour.RED,
        "tags": ["a"],
    }
    context = cast("Context", object())
    assert run_tests.arguments(context, params) == {**params, "ctx": context}
    assert add.arguments(context, {"one": 1}) == {"one": 1}


def test_a_default_is_never_shared() -> None:
    run_tests.decode_params(b'{"places": []}')["tags"].append("b")
    assert run_tests.decode_params(b'{"places": []}')["tags"] == ["a"]


def test_every_wrong_field_is_named() -> None:
    wrong = {
        "places": [{"street": "High", "number": 1}, {"street": "Low", "number": "x"}],
        "selector": 1,
        "a/b~c": 1,
    }
    assert errors_of(run_tests, wrong) == [
        ("/places/1/number", "Expected `int`, got `str`"),
        ("/selector", "Expected `str`, got `int`"),
        ("/a~1b~0c", "is not a param of run_tests"),
    ]
    assert errors_of(run_tests, {}) == [("/places", "is required")]


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b"{", b'{"one": }', b"\xff", b"[" * 100_000])
def test_what_is_not_an_object_of_json_is_refused(raw: bytes) -> None:
    ((where, what),) = errors_of(add, raw)
    assert where == ""
    assert what


def test_the_place_of_an_error_in_a_mapping_is_the_mapping() -> None:
    @task
    def scores(table: dict[str, dict[str, int]]) -> None: ...

    assert errors_of(scores, {"table": {"a.b": {"c": "x"}}})[0][0] == "/table"


@given(st.binary(max_size=200))
def test_whatever_comes_in_it_decodes_or_says_what_is_wrong(raw: bytes) -> None:
    errors: list[tuple[str, str]] = []
    try:
        params = add.decode_params(raw)
    except InvalidParams as error:
        errors = error.errors
        params = {}
    assert errors or isinstance(params["one"], int)


@given(st.text(), st.text())
def test_pointers_can_be_read_back(one: str, two: str) -> None:
    steps = pointer(one, two).split("/")[1:]
    assert [step.replace("~1", "/").replace("~0", "~") for step in steps] == [one, two]


def test_unset_is_left_to_the_function() -> None:
    @task
    def maybe(name: str | msgspec.UnsetType = msgspec.UNSET) -> None: ...

    assert maybe.decode_params(b"{}") == {}
    assert maybe.announce()["params"]["properties"] == {"name": {"type": "string"}}


def test_results() -> None:
    assert run_tests.encode_result(Report(47, 2)) == b'{"passed":47,"failed":2}'
    assert run_tests.encode_result({"passed": 1}) == b'{"passed":1}'
    assert add.encode_result(3) == b"3"


@pytest.mark.parametrize("value", [{"passed": "x"}, None, 3, object(), "\ud800"])
def test_results_that_break_the_promise(value: Any) -> None:
    with pytest.raises(ResultError, match="task run_tests returned"):
        run_tests.encode_result(value)


def test_a_result_that_holds_itself() -> None:
    @task
    def anything() -> Any: ...

    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ResultError, match="not JSON"):
        anything.encode_result(endless)
    assert "result" not in anything.announce()


def test_a_function_without_a_return_annotation_returns_anything() -> None:
    made = task(name="anything")(lambda: None)
    assert made.encode_result({"a": [1, None]}) == b'{"a":[1,null]}'
    assert task(name="nothing")(print_nothing).announce()["result"] == {"type": "null"}


def print_nothing() -> None: ...


def test_annotations_of_a_closure_are_found() -> None:
    class Local(msgspec.Struct):
        kind: Literal["x", "y"]

    def make(local: Local) -> Local:
        return Local(local.kind)

    made = task(make)
    assert made.decode_params(b'{"local": {"kind": "x"}}') == {"local": Local("x")}


def no_annotation(one) -> None: ...  # type: ignore[no-untyped-def]
def star(*names: str) -> None: ...
def double_star(**names: str) -> None: ...
def positional(one: int, /) -> None: ...
def unresolved(one: Missing) -> None: ...
def two_contexts(one: Context, two: Context) -> None: ...
def unspeakable(one: object) -> None: ...
def unspeakable_result() -> type:
    return int


def fine(one: int = 1) -> None: ...
async def fine_coroutine() -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (no_annotation, "one: needs a type"),
        (star, "names: params have names"),
        (double_star, "names: params have names"),
        (positional, "one: params come by name"),
        (unresolved, "one: cannot resolve 'Missing'"),
        (two_contexts, "one and two: one Context is enough"),
        (unspeakable, "params: type <class 'object'> is not supported; JSON has str, int"),
        (unspeakable_result, "result: "),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_function_that_cannot_be_a_task(function: Any, said: str) -> None:
    with pytest.raises(TaskError, match=said) as caught:
        task(function)
    assert f"task {function.__name__}" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "1st"}, "a name is"),
        ({"name": ""}, "a name is"),
        ({"name": "x" * 65}, "a name is"),
        ({"queue": "a queue"}, "queue"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"isolate": "prison"}, "isolate"),
        ({"confirm": "Sure about {two}?"}, "no param 'two'"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        task(**options)(fine)


def test_isolation() -> None:
    assert task(isolate="process")(fine).isolate == "process"
    assert task(isolate="process")(fine_coroutine).isolate == "process"
    with pytest.raises(TaskError, match="coroutine"):
        task(isolate="thread")(fine_coroutine)


def test_a_registry_holds_a_name_once() -> None:
    registry = Registry()
    registry.add(add)
    registry.add(add)
    assert list(registry) == ["add"]
    with pytest.raises(TaskError, match="declared twice"):
        registry.add(task(name="add")(fine))
    other = Registry()
    other.add(run_tests)
    registry.update(other)
    assert registry.announce().keys() == {"add", "run_tests"}
    assert registry["run_tests"] is run_tests


class Tree(msgspec.Struct):
    left: Tree | None = None


def test_a_type_that_holds_itself_keeps_its_definition() -> None:
    schema = schema_of(Tree)
    assert schema == {"$ref": "#/$defs/Tree", "$defs": {"Tree": schema["$defs"]["Tree"]}}
    jsonschema_rs.validate(schema, {"left": {"left": None}})
