"""What commands get to see of the worker's environment."""

from __future__ import annotations

import pytest

from worker.environment import child_env

SOURCE = {
    "PATH": "/bin",
    "HOME": "/home/x",
    "LC_ALL": "C.UTF-8",
    "VIRTUAL_ENV": "/venv",
    "JOBCAST_SECRET": "s3cret",
    "AWS_SECRET_ACCESS_KEY": "k",
    "DATABASE_URL": "postgres://",
}


def test_secrets_stay_here() -> None:
    assert child_env(source=SOURCE) == {
        "PATH": "/bin",
        "HOME": "/home/x",
        "LC_ALL": "C.UTF-8",
        "VIRTUAL_ENV": "/venv",
        "PYTHONUNBUFFERED": "1",
    }


def test_declared_names_are_passed() -> None:
    env = child_env(passed=["DATABASE_URL", "NOT_SET"], source=SOURCE)

    assert env["DATABASE_URL"] == "postgres://"
    assert "NOT_SET" not in env


def test_extra_values_win() -> None:
    env = child_env({"PATH": "/opt", "NEW": "1", "PYTHONUNBUFFERED": ""}, source=SOURCE)

    assert (env["PATH"], env["NEW"], env["PYTHONUNBUFFERED"]) == ("/opt", "1", "")


@pytest.mark.parametrize("name", ["JOBCAST_SECRET", "JOBCAST_ANYTHING"])
def test_our_own_settings_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        child_env(passed=[name], source=SOURCE)
    with pytest.raises(ValueError, match=name):
        child_env({name: "x"}, source=SOURCE)


def test_the_workers_own_environment_is_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Mars/Olympus")
    monkeypatch.setenv("JOBCAST_SECRET", "s3cret")

    env = child_env()

    assert env["TZ"] == "Mars/Olympus"
    assert "s3cret" not in env.values()
