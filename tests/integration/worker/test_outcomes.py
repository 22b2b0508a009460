"""What becomes of a job: results, errors, retries, progress and logs."""

from __future__ import annotations

from hub.states import TERMINAL
from tests.integration import worker_tasks
from tests.integration.worker.shop import Shop, result


async def test_typed_params_and_a_typed_result(shop: Shop) -> None:
    job = await shop.run("add", {"a": 2})

    assert result(job) == {"total": 3}
    assert job.worker == shop.runner.worker_id
    types = [event["type"] for event in await shop.events(job.id)]
    assert types == ["job.pending", "job.running", "job.completed"]


async def test_wrong_params_fail_for_good(shop: Shop) -> None:
    job = await shop.run("add", {"a": "two", "c": 1}, max_attempts=3)

    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.code, job.attempt) == ("invalid_params", 1)
    assert "/a" in job.error.message
    assert "/c" in job.error.message


async def test_progress_and_log_are_whole_before_the_end(shop: Shop) -> None:
    job = await shop.run("talk", {"lines": 3})

    assert job.progress is not None
    assert job.progress.percent == 100
    assert await shop.log(job.id) == [
        *(("stdout", f"line {n}") for n in range(3)),
        ("stderr", "one"),
        ("stderr", "two"),
    ]
    last = (await shop.events(job.id))[-1]
    assert last["data"]["log_lines"] == 5
    assert last["data"]["progress"] == {"percent": 100}


async def test_progress_is_told_now_and_then_and_in_the_end(shop: Shop) -> None:
    job = await shop.run("hurry", {"times": 2_000})

    assert job.progress is not None
    assert (job.progress.current, job.progress.percent) == (2_000, 100)
    # Each time that it is told, its rev rises; besides there are pending, running, completed.
    assert job.rev < 200


async def test_a_flood_of_lines_is_held_up_and_not_lost(shop: Shop) -> None:
    job = await shop.run("flood", {"lines": 5_000})

    assert job.log_lines == 5_000
    last = (await shop.store.logs(job.id, after=4_999)).lines
    assert last[0].text.startswith("4999 ")


async def test_a_long_line_is_cut(shop: Shop) -> None:
    job = await shop.run("flood", {"lines": 1, "width": 20_000})

    [(_, text)] = await shop.log(job.id)
    assert len(text.encode()) <= 8 * 1024
    assert text.endswith("more bytes]")


async def test_a_step_is_done_once(shop: Shop) -> None:
    job = await shop.run("stepped")

    assert result(job) == [5, 5]
    assert job.attempt == 3
    assert worker_tasks.runs.pop(job.id) == ["charge 1"]


async def test_a_retryable_error_and_its_traceback(shop: Shop) -> None:
    job = await shop.run("flaky")
    assert (result(job), job.attempt, job.error) == (2, 2, None)

    failed = await shop.run("broken")
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.code, failed.error.type) == ("error", "ValueError")
    assert failed.error.message == "it broke"
    assert "worker_tasks.py" in (failed.error.traceback or "")


async def test_sys_exit_ends_the_job_only(shop: Shop) -> None:
    job = await shop.run("leaving")

    assert job.error is not None
    assert job.error.type == "SystemExit"
    assert result(await shop.run("add", {"a": 1})) == {"total": 2}


async def test_fail_and_retry_decide(shop: Shop) -> None:
    job = await shop.run("refused", max_attempts=3)
    assert job.error is not None
    assert (job.error.code, job.error.type, job.attempt) == ("permanent", "NotApproved", 1)

    assert result(await shop.run("busy")) == 2


async def test_a_timeout_is_tried_again(shop: Shop) -> None:
    job = await shop.run("late")

    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.code, job.attempt) == ("timeout", 2)


async def test_a_jobs_own_timeout_counts(shop: Shop) -> None:
    job = await shop.run("forever", timeout=0.2)

    assert job.error is not None
    assert job.error.code == "timeout"
    assert "0.2 s" in job.error.message


async def test_a_big_result(shop: Shop) -> None:
    assert len(result(await shop.run("big", {"size": 1_000_000}))) == 1_000_000

    job = await shop.run("big", {"size": 2_000_000}, max_attempts=3)
    assert job.error is not None
    assert (job.error.code, job.error.type) == ("permanent", "ResultTooLarge")
    assert (await shop.run("not_json")).error is not None


async def test_many_jobs(shop: Shop) -> None:
    ids = [await shop.queue("add", {"a": n}) for n in range(200)]

    for n, job_id in enumerate(ids):
        assert result(await shop.until(job_id, *TERMINAL)) == {"total": n + 1}


async def test_the_idempotency_key_is_the_jobs(shop: Shop) -> None:
    job = await shop.run("idempotent")
    assert result(job) == job.id
