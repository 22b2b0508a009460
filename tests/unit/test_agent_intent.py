"""What plain sentences mean to the built-in agent, with the tasks of the sample `jobcast.toml`."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.agent.announced import Tasks
from hub.agent.intent import read
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
    Status,
    Thanks,
    Unknown,
    Unsure,
)
from tests.unit.agent_scenes import (
    ALL,
    BROKEN,
    DONE,
    MORE,
    RUNNING,
    STAGING,
    TASKS,
    TESTS,
    confirm,
    question,
)


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
