"""What plain sentences mean to the built-in agent, with the tasks of the sample `jobcast.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.agent.announced import Tasks
from hub.agent.intent import read
from hub.agent.intents import (
    Answer,
    Ask,
    Cancel,
    Choose,
    Declined,
    Explain,
    Failures,
    Greeting,
    Help,
    Intent,
    NoTask,
    Nothing,
    Scene,
    Start,
    Status,
    Thanks,
    Unknown,
    Unsure,
    Which,
)
from hub.jobs import Input, Job
from hub.states import Status as JobStatus
from worker.toml_tasks import load_toml

ROOT = Path(__file__).parents[2]


def schema(**params: Any) -> dict[str, Any]:
    required = [name for name, one in params.items() if one.pop("required", False)]
    return {"type": "object", "properties": params, "required": required}


SAMPLE = load_toml(ROOT / "jobcast.toml", allow=["shell"]).announce()
MORE: dict[str, Any] = {
    "load_test": {
        "name": "load_test",
        "labels": {"words": "stress benchmark"},
        "params": schema(
            users={"type": "integer", "required": True},
            rate={"type": "number"},
            verbose={"type": "boolean"},
            hosts={"type": "array", "items": {"type": "string"}},
        ),
    },
}
TASKS = Tasks(SAMPLE)

TESTS = "01991f00-0000-7abc-8000-000000000001"
DEPLOY = "01991f01-0000-7abc-8000-000000000002"
BUILD = "01991f02-0000-7abc-8000-000000000003"


def job(job_id: str, task: str, status: JobStatus, **fields: Any) -> Job:
    for name in ("params", "result"):
        if name in fields:
            fields[name] = msgspec.Raw(msgspec.json.encode(fields[name]))
    at = "2026-11-23T19:20:31.042Z"
    return Job(
        id=job_id,
        session_id="s1",
        task=task,
        status=status,
        rev=1,
        created_at=at,
        updated_at=at,
        **fields,
    )


def confirm(job_id: str = DEPLOY, environment: str = "staging") -> Job:
    asked = Input("confirm", "confirm", f"Deploy to {environment}?", ["yes", "no"])
    return job(job_id, "deploy", "input_required", params={"environment": environment}, input=asked)


RUNNING = job(TESTS, "run_tests", "running")
BUILDING = job(BUILD, "build", "running")
DONE = job(TESTS, "run_tests", "completed", result={"passed": 47, "failed": 2})
BROKEN = job(BUILD, "build", "failed")
YES = Answer(DEPLOY, "confirm", "yes", True)
NO = Answer(DEPLOY, "confirm", "no", True)
STAGING = Start("deploy", {"environment": "staging"})
ALL = Start("run_tests")


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        # the tests
        ("Run the full test suite", ALL),
        ("run the tests", ALL),
        ("Run tests.", ALL),
        ("run_tests", ALL),
        ("please run all the tests", ALL),
        ("Could you run the tests, please?", ALL),
        ("can you run the whole test suite again?", ALL),
        ("I'd like to run the tests", ALL),
        ("let's run the tests now", ALL),
        ("start the test suite", ALL),
        ("execute the specs", ALL),
        ("kick off the tests", ALL),
        ("Hey, run the unit tests!", ALL),
        ("test everything", ALL),
        ("rerun the tests", ALL),
        ("RUN THE FULL TEST SUITE!!!", ALL),
        ("ok run the tests", ALL),
        ("run pytest", ALL),
        (
            "run the tests in tests/test_auth.py",
            Start("run_tests", {"selector": "tests/test_auth.py"}),
        ),
        ("run tests/test_auth.py", Unknown()),
        (
            "run the test tests/test_auth.py::test_login[a b]".replace("a b", "a-b"),
            Start("run_tests", {"selector": "tests/test_auth.py::test_login[a-b]"}),
        ),
        ("run the auth tests", Start("run_tests", {"keyword": "auth"})),
        ("run the tests for auth", Start("run_tests", {"keyword": "auth"})),
        ("run tests matching login", Start("run_tests", {"keyword": "login"})),
        (
            'run the tests -k "login and not timeout"',
            Start("run_tests", {"keyword": "login and not timeout"}),
        ),
        ("run the failing tests", Unsure("run_tests", {}, ["failing"])),
        ("run the tests tomorrow", Unsure("run_tests", {}, ["tomorrow"])),
        ("the tests", Unsure("run_tests")),
        ("tests are slow", Unsure("run_tests", {}, ["are", "slow"])),
        ("don't run the tests", Declined()),
        ("please do not run the tests", Declined()),
        ("never run the tests", Declined()),
        ("/run_tests", ALL),
        ("/run-tests", ALL),
        (
            "/run_tests selector=tests/test_auth.py",
            Start("run_tests", {"selector": "tests/test_auth.py"}),
        ),
        ("/run_tests tests/test_auth.py", Start("run_tests", {"selector": "tests/test_auth.py"})),
        (
            "/run_tests selector='tests/test_auth.py' keyword=\"login or out\"",
            Start("run_tests", {"selector": "tests/test_auth.py", "keyword": "login or out"}),
        ),
        ('/run_tests {"keyword": "auth"}', Start("run_tests", {"keyword": "auth"})),
        ("run_tests keyword=auth", Start("run_tests", {"keyword": "auth"})),
        ("/run_tests colour=red", Ask("run_tests", {}, strange=["colour"])),
        # deploy
        ("Deploy to staging", STAGING),
        ("deploy to Staging please", STAGING),
        ("ship it to staging", STAGING),
        ("Can we deploy the app to staging now?", STAGING),
        (
            "roll it out, i.e. deploy staging",
            Unsure("deploy", {"environment": "staging"}, ["roll", "i.e"]),
        ),
        ("release to prod", Start("deploy", {"environment": "production"})),
        ("deploy on production", Start("deploy", {"environment": "production"})),
        ("/deploy environment=staging", STAGING),
        ("/deploy staging", STAGING),
        ("/deploy environment = staging", STAGING),
        ("deploy --environment=staging", STAGING),
        ('/deploy environment="staging"', STAGING),
        ("deploy", Ask("deploy", {}, ["environment"])),
        ("I want to deploy", Ask("deploy", {}, ["environment"])),
        ("deploy to mars", Ask("deploy", {}, [], {"environment": "mars"})),
        ("/deploy environment=mars", Ask("deploy", {}, [], {"environment": "mars"})),
        ("deploy to staging tomorrow", Unsure("deploy", {"environment": "staging"}, ["tomorrow"])),
        ("don't deploy to staging", Declined()),
        ("should I deploy to staging?", Explain("deploy")),
        ("if the build is green, deploy to staging", Choose(["build", "deploy"])),
        # the others
        ("build it", Start("build")),
        ("build the project as a zip", Start("build", {"format": "zip"})),
        ("package the app as zip", Start("build", {"format": "zip"})),
        ("/build format=zip", Start("build", {"format": "zip"})),
        ("make a build", Start("build")),
        ("write me a report", Start("report")),
        ("I want a report", Start("report")),
        ("Give me an html report", Start("report", {"format": "html"})),
        ("create a report in markdown", Start("report", {"format": "markdown"})),
        ("summarise the project", Start("report")),
        (
            "rename load_user to fetch_user",
            Start("refactor", {"old": "load_user", "new": "fetch_user"}),
        ),
        ("refactor Cart -> Basket", Start("refactor", {"old": "Cart", "new": "Basket"})),
        ("refactor Cart → Basket", Start("refactor", {"old": "Cart", "new": "Basket"})),
        (
            "Please rename the function total into grand_total.",
            Start("refactor", {"old": "total", "new": "grand_total"}),
        ),
        ("rename `total` to `sum_up`", Start("refactor", {"old": "total", "new": "sum_up"})),
        ("/refactor old=a new=b", Start("refactor", {"old": "a", "new": "b"})),
        ("/refactor a b", Start("refactor", {"old": "a", "new": "b"})),
        ("refactor", Ask("refactor", {}, ["old", "new"])),
        ("/refactor old=a", Ask("refactor", {"old": "a"}, ["new"])),
        ('run the shell command "ls -la"', Start("shell", {"command": "ls -la"})),
        ("/shell command='echo hi'", Start("shell", {"command": "echo hi"})),
        ("publish the report", Choose(["deploy", "report"])),
        ("run the tests and deploy to staging", Choose(["run_tests", "deploy"])),
        # talk
        ("What can you do?", Help()),
        ("help", Help()),
        ("/help", Help()),
        ("what tasks are there?", Help()),
        ("which commands do you know?", Help()),
        ("what does deploy do?", Explain("deploy")),
        ("how do I run the tests?", Explain("run_tests")),
        ("/help report", Explain("report")),
        ("tell me about the report task", Explain("report")),
        ("Hello!", Greeting()),
        ("good morning", Greeting()),
        ("thanks", Thanks()),
        ("Great, thank you very much!", Thanks()),
        ("no problem", Thanks()),
        ("/frobnicate now", NoTask("frobnicate")),
        ("what is the weather like?", Unknown()),
        ("order me a pizza", Unknown()),
        ("", Unknown()),
        ("???", Unknown()),
        ("asdf qwer", Unknown()),
        # nothing is there
        ("stop it", Nothing("cancel")),
        ("Are the tests done?", Status([], "run_tests")),
        ("status", Status([])),
        ("yes", Nothing("answer")),
        ("no", Declined()),
        ("look at the failures", Nothing("failures")),
        ("try again", Nothing("again")),
    ],
)
def test_alone(text: str, intent: Intent) -> None:
    assert read(text, Scene(TASKS)) == intent


@pytest.mark.parametrize(
    ("text", "jobs", "intent"),
    [
        ("Are the tests done?", [RUNNING], Status([TESTS], "run_tests")),
        ("are the tests finished yet?", [BUILDING, RUNNING], Status([TESTS], "run_tests")),
        ("did the tests pass?", [DONE], Status([TESTS], "run_tests")),
        ("how did the tests go?", [DONE], Status([TESTS], "run_tests")),
        ("How far are the tests?", [RUNNING], Status([TESTS], "run_tests")),
        ("how is it going?", [RUNNING], Status([TESTS])),
        ("is it done?", [RUNNING, BROKEN], Status([TESTS])),
        ("done?", [RUNNING], Status([TESTS])),
        ("what's running?", [BUILDING, RUNNING], Status([BUILD, TESTS])),
        ("status", [DONE], Status([TESTS])),
        ("/status build", [RUNNING, BROKEN], Status([BUILD], "build")),
        ("is the build ok?", [RUNNING, BROKEN], Status([BUILD], "build")),
        ("any news on the deploy?", [confirm()], Status([DEPLOY], "deploy")),
        (f"how is {TESTS[:13]}", [BUILDING, RUNNING], Status([TESTS])),
        ("the tests?", [RUNNING], Status([TESTS], "run_tests")),
        ("Stop it", [RUNNING], Cancel([TESTS])),
        ("please stop the tests", [BUILDING, RUNNING], Cancel([TESTS])),
        ("cancel", [RUNNING, BROKEN], Cancel([TESTS])),
        ("can you cancel that please?", [RUNNING], Cancel([TESTS])),
        ("no stop it", [RUNNING], Cancel([TESTS])),
        ("stop it", [BUILDING, RUNNING], Which("cancel", [BUILD, TESTS])),
        ("stop the last one", [BUILDING, RUNNING], Cancel([BUILD])),
        ("stop everything", [BUILDING, RUNNING], Cancel([BUILD, TESTS])),
        ("cancel all jobs", [BUILDING, RUNNING], Cancel([BUILD, TESTS])),
        ("cancel the staging deploy", [confirm(), RUNNING], Cancel([DEPLOY])),
        ("/cancel build", [BUILDING, RUNNING], Cancel([BUILD])),
        (f"/cancel {TESTS}", [BUILDING, RUNNING], Cancel([TESTS])),
        ("stop the deploy", [RUNNING], Nothing("cancel", "deploy")),
        ("stop the music", [RUNNING], Unknown()),
        ("don't stop", [RUNNING], Declined()),
        ("don't stop", [confirm()], Declined()),
        ("Look at the failures", [DONE], Failures(TESTS)),
        ("what failed?", [DONE], Failures(TESTS)),
        ("which tests failed?", [DONE], Failures(TESTS)),
        ("why did the build fail?", [DONE, BROKEN], Failures(BUILD)),
        ("show me the errors", [BROKEN], Failures(BUILD)),
        ("/failures", [RUNNING, DONE], Failures(TESTS)),
        ("run it again", [DONE], ALL),
        ("retry", [RUNNING, BROKEN], Start("build")),
        (
            "once more",
            [job(DEPLOY, "deploy", "cancelled", params={"environment": "staging"})],
            STAGING,
        ),
        # approvals
        ("yes", [confirm()], YES),
        ("Yes!", [confirm(), RUNNING], YES),
        ("yes please", [confirm()], YES),
        ("go ahead", [confirm()], YES),
        ("approve", [confirm()], YES),
        ("Yes, deploy to staging", [confirm()], YES),
        ("yes do it now", [confirm()], YES),
        ("/yes", [confirm()], YES),
        ("no", [confirm()], NO),
        ("No thanks", [confirm()], NO),
        ("don't", [confirm()], NO),
        ("don't deploy", [confirm()], NO),
        ("don't deploy that", [confirm()], NO),
        ("nope, not today", [confirm()], NO),
        ("ok", [confirm()], Which("answer", [DEPLOY])),
        ("ok", [RUNNING], Declined()),
        ("wait", [confirm()], Declined()),
        ("yes, but to production", [confirm()], Unknown()),
        ("yes deploy to production", [confirm()], Start("deploy", {"environment": "production"})),
        ("ok run the tests", [confirm()], ALL),
        ("no, run the tests", [confirm()], ALL),
        ("yes", [confirm(), confirm(BUILD, "production")], Which("answer", [DEPLOY, BUILD])),
        ("yes, staging", [confirm(), confirm(BUILD, "production")], YES),
        ("no problem", [confirm()], Thanks()),
        ("don't run the tests", [confirm()], Declined()),
    ],
)
def test_with_jobs(text: str, jobs: list[Job], intent: Intent) -> None:
    assert read(text, Scene(TASKS, jobs)) == intent


@pytest.mark.parametrize(
    ("text", "scene", "intent"),
    [
        ("yes", Scene(TASKS, [DONE], offered=TESTS), Failures(TESTS)),
        ("ok please do", Scene(TASKS, [DONE], offered=TESTS), Failures(TESTS)),
        ("look at them", Scene(TASKS, [DONE], offered=TESTS), Failures(TESTS)),
        ("no", Scene(TASKS, [DONE], offered=TESTS), Declined()),
        # A yes to one of two things approves nothing.
        ("yes", Scene(TASKS, [confirm(), DONE], offered=TESTS), Which("answer", [DEPLOY], TESTS)),
        ("yes, deploy it", Scene(TASKS, [confirm(), DONE], offered=TESTS), YES),
        (
            "yes",
            Scene(TASKS, before=Unsure("run_tests", {"keyword": "x"})),
            Start("run_tests", {"keyword": "x"}),
        ),
        ("staging", Scene(TASKS, before=Ask("deploy", {}, ["environment"])), STAGING),
        ("to staging please", Scene(TASKS, before=Ask("deploy", {}, ["environment"])), STAGING),
        (
            "mars",
            Scene(TASKS, before=Ask("deploy", {}, ["environment"])),
            Ask("deploy", {}, [], {"environment": "mars"}),
        ),
        (
            "Basket",
            Scene(TASKS, before=Ask("refactor", {"old": "Cart"}, ["new"])),
            Start("refactor", {"old": "Cart", "new": "Basket"}),
        ),
        (
            "Cart to Basket",
            Scene(TASKS, before=Ask("refactor", {}, ["old", "new"])),
            Start("refactor", {"old": "Cart", "new": "Basket"}),
        ),
        ("what can you do?", Scene(TASKS, before=Ask("deploy", {}, ["environment"])), Help()),
        ("the report", Scene(TASKS, before=Choose(["deploy", "report"])), Start("report")),
        (
            "the tests",
            Scene(TASKS, [BUILDING, RUNNING], before=Which("cancel", [BUILD, TESTS])),
            Cancel([TESTS]),
        ),
        (
            "both",
            Scene(TASKS, [BUILDING, RUNNING], before=Which("cancel", [BUILD, TESTS])),
            Cancel([BUILD, TESTS]),
        ),
    ],
)
def test_in_a_conversation(text: str, scene: Scene, intent: Intent) -> None:
    assert read(text, scene) == intent


def question(**fields: Any) -> Scene:
    asked = Input("q1", "question", "How?", **fields)
    return Scene(TASKS, [job(BUILD, "build", "input_required", input=asked)])


@pytest.mark.parametrize(
    ("text", "scene", "value"),
    [
        ("Blue", question(options=["red", "blue"]), "blue"),
        ("2", question(options=["red", "blue"]), "blue"),
        ("yes", question(options=["Yes, all", "Yes"]), "Yes"),
        ("my own words, 3 of them", question(), "my own words, 3 of them"),
        ("/answer run the tests", question(), "run the tests"),
        ("42", question(schema=msgspec.Raw(b'{"type":"integer"}')), 42),
    ],
)
def test_questions_of_jobs(text: str, scene: Scene, value: Any) -> None:
    assert read(text, scene) == Answer(BUILD, "q1", value, False)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("/load_test users=5", Start("load_test", {"users": 5})),
        ("stress test with 20 users", Start("load_test", {"users": 20})),
        ("run the load test with users 20", Start("load_test", {"users": 20})),
        (
            "/load_test users=5 rate=1.5 verbose=yes",
            Start("load_test", {"users": 5, "rate": 1.5, "verbose": True}),
        ),
        ("/load_test users=5 hosts=a,b", Start("load_test", {"users": 5, "hosts": ["a", "b"]})),
        (
            '/load_test users=5 hosts=["a","b"]',
            Start("load_test", {"users": 5, "hosts": ["a", "b"]}),
        ),
        ("/load_test users=many", Ask("load_test", {}, [], {"users": "many"})),
        ("run the benchmark", Ask("load_test", {}, ["users"])),
    ],
)
def test_typed_values(text: str, intent: Intent) -> None:
    assert read(text, Scene(Tasks(MORE))) == intent


SCENES = [
    Scene(TASKS),
    Scene(Tasks({})),
    Scene(Tasks({"x": {"params": {"properties": {"a": 1, "b": {"enum": None}}}, "labels": 3}})),
    Scene(TASKS, [confirm(), RUNNING, DONE, BROKEN], offered=TESTS),
    Scene(Tasks(MORE), before=Ask("load_test", {}, ["users"])),
    question(schema=msgspec.Raw(b'{"type":"object"}')),
]
PIECES = (
    "run the tests deploy to staging yes no stop it -k = / {} [ \" ' ` users 5 cancel all not what "
    "is fail again a->b 01991f00 env=x :: .py →"
)
WORDS = st.sampled_from(PIECES.split())


@given(st.sampled_from(SCENES), st.text() | st.lists(WORDS).map(" ".join))
def test_never_raises(scene: Scene, text: str) -> None:
    intent = read(text, scene)
    assert msgspec.json.decode(msgspec.json.encode(intent), type=Intent) == intent


@given(st.lists(WORDS).map(" ".join))
def test_starts_only_what_fits(text: str) -> None:
    intent = read(text, Scene(TASKS))
    if isinstance(intent, Start):
        task = TASKS.named(intent.task)
        assert task is not None
        assert task.missing(intent.params) == []
