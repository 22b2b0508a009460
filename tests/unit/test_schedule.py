"""When schedules fire."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.schedule import Schedule
from worker import schedule, task
from worker.tasks import Registry, TaskError
from worker.toml_tasks import read_tasks

BERLIN = ZoneInfo("Europe/Berlin")


def ms(*date: int, zone: ZoneInfo = BERLIN) -> int:
    return int(datetime(*date, tzinfo=zone).timestamp()) * 1000  # type: ignore[misc, arg-type]


def made(cron: str, **more: str) -> Schedule:
    return Schedule(name="s", task="t", cron=cron, time_zone="Europe/Berlin", **more)  # type: ignore[arg-type]


def test_the_time_zone_is_heeded() -> None:
    nightly = made("0 3 * * *")
    assert nightly.next_after(ms(2026, 1, 1, 2)) == ms(2026, 1, 1, 3)
    assert nightly.latest(ms(2026, 7, 1, 2)) == ms(2026, 6, 30, 3)


def test_the_edges_of_a_firing() -> None:
    hourly, at = made("0 * * * *"), ms(2026, 5, 1, 12)
    assert hourly.latest(at) == hourly.latest(at + 999) == at
    assert hourly.latest(at - 1) == at - 3_600_000
    assert hourly.next_after(at) == at + 3_600_000
    assert hourly.next_after(at - 1) == at


def test_daylight_saving_time_skips_and_doubles_no_job() -> None:
    nightly = made("30 2 * * *")
    assert nightly.next_after(ms(2026, 3, 29, 1)) == ms(2026, 3, 29, 3)
    first = nightly.next_after(ms(2026, 10, 25, 1))
    assert first is not None
    assert nightly.next_after(first) == ms(2026, 10, 26, 2, 30)
    often = made("*/30 * * * *")
    before = ms(2026, 10, 25, 1, 30)
    assert often.next_after(before) == before + 1_800_000


@given(
    st.sampled_from(["*/5 * * * *", "0 3 * * 1", "15 10 1 * *", "*/10 * * * * *"]),
    st.integers(0, 4_000_000_000_000),
)
def test_the_latest_and_the_next_enclose_now(cron: str, now: int) -> None:
    each = Schedule(name="s", task="t", cron=cron)
    following = each.next_after(now)
    assert following is not None
    assert following > now
    latest = each.latest(following)
    assert latest == following
    assert (each.latest(now) or 0) <= now


@pytest.mark.parametrize(
    ("cron", "zone", "said"),
    [
        ("0 25 * * *", "UTC", "Bad hour"),
        ("often", "UTC", "Wrong number of fields"),
        ("0 0 30 2 *", "UTC", "cron"),
        ("0 0 * * *", "Mars/Olympus", "not a zone"),
        ("0 0 * * *", "../etc/passwd", "not a zone"),
    ],
)
def test_what_cannot_be_is_said(cron: str, zone: str, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        schedule(cron, "t", time_zone=zone)


@task(cron="0 3 * * *")
async def nightly(kind: str = "long") -> None: ...


async def needs(kind: str) -> None: ...


def test_a_registry_has_the_schedules_of_its_tasks() -> None:
    registry = Registry()
    registry.add(nightly)
    registry.add_schedule(schedule("0 4 * * *", nightly, {"kind": "short"}, name="short"))
    assert [each.name for each in registry.schedules] == ["nightly", "short"]
    again = Registry()
    again.update(registry)
    assert again.schedules == registry.schedules
    for wrong, said in (
        (schedule("0 4 * * *", "nobody"), "no task"),
        (schedule("0 4 * * *", nightly, {"kind": 1}, name="x"), "kind"),
        (schedule("0 5 * * *", nightly), "twice"),
    ):
        with pytest.raises(TaskError, match=said):
            registry.add_schedule(wrong)
    with pytest.raises(TaskError, match="kind"):
        Registry().add(task(cron="0 3 * * *")(needs))


def test_a_toml_file_has_schedules(tmp_path: Path) -> None:
    text = """
        [tasks.report]
        command = ["true", "{kind}"]
        params.kind = { type = "string", default = "long" }
        cron = "0 3 * * *"
        [tasks.off]
        command = ["true"]
        allow = false
        [schedules.short]
        task = "report"
        cron = "*/15 * * * *"
        params = { kind = "short" }
        session_id = "ops"
        overlap = false
        [schedules.of_what_is_off]
        task = "off"
        cron = "0 0 * * *"
    """
    found = read_tasks(text, tmp_path / "jobcast.toml").schedules
    assert [each.name for each in found] == ["report", "short"]
    assert (found[1].session, found[1].key) == ("ops", "schedule:short")
    assert found[0].session == "schedule:report"
    for old, new, said in (
        ("*/15 * * * *", "75 * * * *", r"schedules.short\]: .*minute"),
        ('task = "report"', 'task = "nope"', r"no task 'nope'"),
        ("overlap = false", "overlaps = false", "overlaps"),
    ):
        with pytest.raises(TaskError, match=said):
            read_tasks(text.replace(old, new), tmp_path / "jobcast.toml")
