"""Tasks declared in toml: what may be written, what is announced, and what params may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.tasks import InvalidParams, Registry, Task, TaskError
from worker.toml_tasks import load_toml, read_tasks

ROOT = Path(__file__).parents[2]


def read(text: str, home: Path = ROOT, allow: tuple[str, ...] = ()) -> Registry:
    return read_tasks(text, home / "tasks.toml", allow=allow)


def one(params: str, command: str = '["x", "{p}"]', home: Path = ROOT) -> Task:
    return read(f"[tasks.t]\ncommand = {command}\nparams.p = {{ {params} }}", home)["t"]


def errors_of(task: Task, **params: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidParams) as caught:
        task.decode_params(json.dumps(params).encode())
    return caught.value.errors


def takes(task: Task, value: Any) -> bool:
    try:
        task.decode_params(json.dumps({"p": value}).encode())
    except InvalidParams:
        return False
    return True


def test_announcement() -> None:
    task = read(
        """
        [tasks.deploy]
        title = "Deploy"
        description = '''
        Deploy the project
        to an environment.'''
        command = ["deploy.sh", "{environment}", "{force}"]
        confirm = "Deploy to {environment}?"
        timeout = 300
        queue = "slow"
        retry = { attempts = 3, base = 5 }
        labels = { done = "Deployed" }

        [tasks.deploy.params]
        environment = { type = "enum", enum = ["staging", "production"], description = "Where" }
        force = { type = "boolean", flag = "--force" }
        """
    )["deploy"]
    assert task.announce() == {
        "name": "deploy",
        "title": "Deploy",
        "description": "Deploy the project to an environment.",
        "timeout": 300,
        "max_attempts": 3,
        "confirm": "Deploy to {environment}?",
        "queue": "slow",
        "labels": {"done": "Deployed"},
        "params": {
            "type": "object",
            "properties": {
                "environment": {"enum": ["production", "staging"], "description": "Where"},
                "force": {"type": "boolean", "default": False},
            },
            "required": ["environment"],
            "additionalProperties": False,
        },
    }
    assert task.retry is not None
    assert task.retry.base == 5


@pytest.mark.parametrize(
    ("params", "good", "bad"),
    [
        ('type = "string"', ["", "a b", "é"], ["-x", 1, None, ["a"], "a\0b"]),
        ('type = "string", allow_dash = true', ["-x", "--"], [1]),
        ('type = "string", pattern = "^[a-z]+$"', ["abc"], ["", "Abc", "-a"]),
        ('type = "string", min = 2, max = 3', ["ab", "abc"], ["a", "abcd"]),
        ('type = "string", enum = ["a", "b"]', ["a"], ["c", ""]),
        ('type = "integer"', [0, 7], [-1, 1.5, "1", True]),
        ('type = "integer", min = -5, max = 5', [-5, 5], [-6, 6]),
        ('type = "integer", allow_dash = true', [-1], [0.5]),
        ('type = "integer", enum = [1, 2]', [1], [3, "1"]),
        ('type = "number", max = 0.5', [0, 0.25], [-0.1, 0.6, "0"]),
        ('type = "boolean"', [True, False], ["true", 1]),
        ('type = "enum", enum = ["a"]', ["a"], ["b"]),
        ('type = "list of string", min = 1, max = 2', [["a"], ["a", "b"]], [[], ["a"] * 3, ["-a"]]),
        ('type = "list of integer"', [[], [1]], [[-1], ["a"], 1]),
        ('type = "list of enum", enum = ["a", "b"]', [["a", "b"]], [["c"]]),
        ('type = "list of path"', [["hub", "worker"]], [["hub", ".."]]),
        ('type = "path"', ["hub", "hub/../worker", "not/there", "."], ["..", "/etc/passwd", "-x"]),
        ('type = "path", until = "::"', ["tests/a.py::b", "::"], ["../a.py::b", "/a::b"]),
    ],
)
def test_what_values_params_take(params: str, good: list[Any], bad: list[Any]) -> None:
    task = one(params)
    schema = jsonschema_rs.validator_for(task.announce()["params"])
    for value in good:
        assert takes(task, value), value
        assert schema.is_valid({"p": value}), value
    for value in bad:
        assert not takes(task, value), value


@pytest.mark.parametrize("value", ["-x", "-", "--selector=y"])
def test_the_announced_schema_refuses_a_dash_too(value: str) -> None:
    schema = jsonschema_rs.validator_for(one('type = "string"').announce()["params"])
    assert not schema.is_valid({"p": value})


@given(st.text())
def test_no_word_of_a_param_is_taken_for_an_option(value: str) -> None:
    task = one('type = "string"')
    assert takes(task, value) is not (value.startswith("-") or "\0" in value)


def test_a_path_stays_inside_whatever_its_links_say(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("")
    (root / "out").symlink_to(tmp_path)
    (root / "in").symlink_to(root)
    (root / "round").symlink_to(root / "round")
    task = one('type = "path"', home=root)
    assert takes(task, "in/in/new")
    assert errors_of(task, p="out/secret") == [("/p", "leads out of the task's directory")]
    assert errors_of(task, p=str(tmp_path / "secret"))
    assert takes(task, str(root / "new"))
    assert takes(task, "x" * 5000) in (True, False)


def test_errors_point_at_their_field() -> None:
    task = read(
        """
        [tasks.t]
        command = ["x", "{one}", "{two}"]
        params.one = { type = "list of string" }
        params.two = { type = "path", default = "" }
        """
    )["t"]
    assert errors_of(task, one=["a", "-b"], two="../x") == [
        ("/one/1", "must not start with '-'"),
        ("/two", "leads out of the task's directory"),
    ]
    assert errors_of(task, two=1, three=2) == [
        ("/one", "is required"),
        ("/two", "Expected `str`, got `int`"),
        ("/three", "is not a param of t"),
    ]


def test_optional_without_a_default() -> None:
    task = one('type = "integer", optional = true')
    assert task.decode_params(b"{}") == {}
    assert task.announce()["params"]["required"] == []
    assert "default" not in task.announce()["params"]["properties"]["p"]


T = "[tasks.t]\ncommand = ['x']\n"
P = "[tasks.t]\ncommand = ['x', '{p}']\nparams.p = "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks = ?", "Invalid value (at line 1, column 9)"),
        ("[task.t]", "task: unknown; tasks are declared as [tasks.NAME]"),
        ("tasks = 1", "tasks: must be tables"),
        ("[tasks]\nt = 1", "[tasks.t]: Expected `object`, got `int`"),
        ("[tasks.t]", "[tasks.t]: Object missing required field `command`"),
        (
            "[tasks.t]\ncomand = ['x']\ncommand=['x']",
            "[tasks.t]: Object contains unknown field `comand`",
        ),
        ("[tasks.t]\ncommand = 'x'", "[tasks.t]: command: a list"),
        ("[tasks.t]\ncommand = ['x', 1]", "[tasks.t]: command[1]: Expected `str`, got `int`"),
        ("[tasks.t]\ncommand = ['x', '{y}']", "[tasks.t]: command: '{y}': {y} names no param"),
        ("[tasks.'a b']\ncommand = ['x']", "[tasks.a b]: task 'a b': a name is"),
        (T + "cwd = 'nowhere'", "[tasks.t]: cwd: 'nowhere' is not a directory"),
        (T + "timeout = -1", "[tasks.t]: task t: timeout -1.0"),
        (T + "queue = 'a b'", "queue 'a b'"),
        (T + "output = 'xml'", "[tasks.t]: output: 'xml': one of plain, jobcast, pytest"),
        (T + "retry = { attempts = 0 }", "[tasks.t]: retry: Retry(attempts=0)"),
        (T + "retry = { tries = 0 }", "[tasks.t]: retry: Object contains unknown field `tries`"),
        (T + "confirm = 'Use {p}?'", "confirm: there is no param 'p'"),
        (T + "env = { JOBCAST_SECRET = 'x' }", "[tasks.t]: env.JOBCAST_SECRET: "),
        (T + "env = { 'A=B' = 'x' }", "[tasks.t]: env.A=B: "),
        (T + "env = { A = 1 }", "[tasks.t]: env"),
        (P + "1", "[tasks.t]: params.p: Expected `object`, got `int`"),
        (P + "{ kind = 'string' }", "params.p: Object contains unknown field `kind`"),
        (P + "{ type = 'text' }", "params.p.type: 'text': one of string, integer"),
        (P + "{ type = 'list of boolean' }", "params.p.type: 'list of boolean'"),
        (P + "{ type = 'enum' }", "params.p.enum: what values may it have?"),
        (P + "{ type = 'boolean', enum = ['a'] }", "params.p: a boolean has no enum"),
        (P + "{ type = 'integer', enum = ['a'] }", "params.p: Expected `int`, got `str`"),
        (P + "{ type = 'integer', pattern = 'a' }", "params.p: pattern is for a string"),
        (P + "{ type = 'integer', min = 0.5 }", "params.p: min must be a whole number"),
        (P + "{ type = 'boolean', min = 1 }", "params.p: a boolean has no min or max"),
        (P + "{ pattern = '(' }", "params.p: "),
        (P + "{ default = 1 }", "params.p: Expected `str`, got `int`"),
        (P + "{ default = '-x' }", "params.p: default: must not start with '-'"),
        (P + "{ type = 'path', default = '..' }", "params.p: default: leads out"),
        (P + "{ until = '::' }", "params.p.until: only a path"),
        ("[tasks.t]\ncommand=['x']\nparams.'a-b' = {}", "params.a-b: a name is"),
        ("[tasks.t]\ncommand=['x']\nparams.context = {}", "params.context: a name is"),
        ("[tasks.t]\nshell = true\ncommand=['x']", "command: with shell = true it is one string"),
        (
            "[tasks.t]\nshell = true\ncommand='ls {p}'\nparams.p = {}",
            'command: {p}: params are never pasted into a script; write "$PARAM_P"',
        ),
        (
            "[tasks.t]\nshell = true\ncommand='ls'\nparams.p = { type = 'list of string' }",
            "params.p: with shell = true there are no lists",
        ),
        (
            "[tasks.t]\nshell = true\ncommand='ls'\nparams.p = {}\nparams.P = {}",
            "params.P: would be the same variable as p",
        ),
    ],
)
def test_mistakes_are_named_with_file_table_and_key(text: str, said: str) -> None:
    with pytest.raises(TaskError) as caught:
        read(text)
    assert str(caught.value).startswith(f"{ROOT / 'tasks.toml'}: ")
    assert said in str(caught.value)


def test_tasks_that_are_off() -> None:
    text = """
        [tasks.on]
        command = ["x"]
        [tasks.off]
        command = ["x"]
        allow = false
        [tasks.shell]
        command = ["x"]
    """
    assert list(read(text)) == ["on"]
    assert list(read(text, allow=("off", "shell"))) == ["on", "off", "shell"]
    assert "shell" in read(text + "\nallow = true")
    with pytest.raises(TaskError, match="timeout"):
        read(text + "\ntimeout = -1")


def test_the_sample_file() -> None:
    registry = load_toml(ROOT / "jobcast.toml")
    assert set(registry) == {"run_tests", "build", "deploy", "refactor", "report"}
    deploy = registry["deploy"].announce()
    assert deploy["confirm"] == "Deploy to {environment}?"
    assert deploy["params"]["required"] == ["environment"]
    tests = registry["run_tests"]
    assert tests.decode_params(b"{}") == {"selector": "", "keyword": ""}
    assert takes_selector(tests, "tests/test_auth.py::test_login_timeout")
    assert not takes_selector(tests, "../../tests")
    assert not takes_selector(tests, "--pdb")


def test_whoever_allows_a_shell_command_has_seen_all_of_it() -> None:
    shell = load_toml(ROOT / "jobcast.toml", allow=["shell"])["shell"]
    assert shell.confirm == "Run this command: {command}"
    assert shell.decode_params(json.dumps({"command": "ls -l | wc"}).encode())
    for hidden in ("ls\nrm x", "ls \u202e x", "x" * 121, ""):
        assert errors_of(shell, command=hidden)


def takes_selector(task: Task, selector: str) -> bool:
    try:
        task.decode_params(json.dumps({"selector": selector}).encode())
    except InvalidParams:
        return False
    return True
