"""What plain sentences mean to the built-in agent after other words, and where jobs are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hub.agent.intent import read
from hub.agent.intents import (
    Answer,
    Ask,
    Cancel,
    Choose,
    Declined,
    Failures,
    Help,
    Intent,
    Nothing,
    Scene,
    Start,
    Status,
    Thanks,
    Unknown,
    Unsure,
    Which,
)
from hub.jobs import Job
from tests.unit.agent_scenes import (
    ALL,
    BROKEN,
    BUILD,
    BUILDING,
    DEPLOY,
    DONE,
    NO,
    RUNNING,
    STAGING,
    TASKS,
    TESTS,
    YES,
    confirm,
    job,
    question,
)


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
