"""`jobcast webhooks …`, against a real hub and a real endpoint."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier

from hub.client import Client
from hub.requests import ForeignCompleted
from hub.settings import Settings
from tests.conftest import API_KEY, wait_until
from tests.integration.test_cli import Shell
from tests.integration.webhooks.steps import OK
from tests.receiver import answer, serving
from tests.running_hub import Hub


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, webhook_allow_http=True, webhook_allow_nets="127.0.0.1")


@pytest.fixture
def shell(hub: Hub, tmp_path: Path) -> Shell:
    return Shell(tmp_path, JOBCAST_URL=hub.url, JOBCAST_API_KEY=API_KEY)


async def test_a_webhook_is_registered_rotated_tested_changed_and_removed(shell: Shell) -> None:
    async with serving(None, OK) as receiver:
        added = await shell.run("webhooks", "add", receiver.url, "-s", "s1")
        hook, secret = added.out.splitlines()[1].split()
        rotated = await shell.run("webhooks", "rotate", hook, "--overlap", "60")
        fresh = rotated.out.splitlines()[1].split()[1]
        assert "Secret 1 signs too, until" in rotated.out
        tested = await shell.run("webhooks", "test", hook)
        assert (tested.status, '"type": "webhook.test"' in tested.out) == (0, True)
        example = await shell.run("webhooks", "test", hook, "--type", "job.failed", "--json")
        assert example.json["body"]["data"]["error"]["code"] == "error"
        for request in receiver.requests:
            for one in (secret, fresh):
                Verifier(one).verify(request.body, request.headers)
    edited = await shell.run(
        *("webhooks", "edit", hook, "--type", "job.failed", "--description", "mine", "--disable")
    )
    for said in ("job.failed", "mine", "disabled: test disabled it", fresh):
        assert said in edited.out
    assert "disabled: test disabled it" in (await shell.run("webhooks", "list")).out
    assert hook in (await shell.run("webhooks", "list", "--disabled")).out
    assert (await shell.run("webhooks", "list", "--enabled")).out == "No webhooks.\n"
    refused = await shell.run("webhooks", "test", hook)
    assert (refused.status, "Enable it first" in refused.err) == (3, True)
    enabled = await shell.run("webhooks", "edit", hook, "--enable", "--json")
    assert (enabled.json["disabled"], enabled.json["description"]) == (None, "mine")
    assert (await shell.run("webhooks", "show", hook)).out.count("\n") == 10
    removed = await shell.run("webhooks", "remove", hook)
    assert removed.out == f"Removed {hook}.\n"
    gone = await shell.run("webhooks", "deliveries", hook)
    assert (gone.status, gone.err) == (3, f"jobcast: There is no webhook {hook}.\n")


async def test_what_failed_is_found_and_sent_again(hub: Hub, shell: Shell) -> None:
    answers = [answer("410 Gone", body=b"moved\n  away"), OK, answer("500 No")]

    async def reply(writer: asyncio.StreamWriter) -> None:
        await answers.pop(0)(writer)

    async with serving(None, reply) as receiver, Client(hub.url, API_KEY) as client:
        hook = (await client.create_webhook(receiver.url)).id
        job = await client.enqueue("theirs", session_id="s1", queue=None)
        assert job.token is not None
        await client.tell(job.job_id, job.token, [ForeignCompleted()])

        async def dead() -> bool:
            return bool((await client.deliveries(hook, status="dead")).deliveries)

        await wait_until(dead, "the delivery is dead")
        listed = await shell.run("webhooks", "deliveries", hook, "--job", job.job_id)
        assert "410 moved away" in listed.out
        assert (await shell.run("webhooks", "deliveries", job.job_id)).out == listed.out
        delivery = listed.out.splitlines()[1].split()[0]
        shown = await shell.run("webhooks", "deliveries", delivery)
        assert f'"id": "{job.job_id}"' in shown.out, "its body"
        assert receiver.url in shown.out
        await shell.run("webhooks", "edit", hook, "--enable")
        again = await shell.run("webhooks", "replay", delivery)
        assert (again.status, "200" in again.out) == (0, True)
        none = await shell.run("webhooks", "replay", hook, "--since", "2026-01-31T08:00Z")
        assert none.out == "0 are sent again.\n"
        assert (await shell.run("webhooks", "deliveries", hook, "--status", "dead")).out == (
            "No deliveries.\n"
        )
        wrong = await shell.run("webhooks", "deliveries", hook, "--status", "lost")
        assert "status: must be one of: waiting sending done dead" in wrong.err
        failed = await shell.run("webhooks", "test", hook, "--json")
        assert (failed.status, failed.json["status"]) == (1, "dead")
    for words in (["replay", hook], ["replay", delivery, "--since", "2026-01-31T08:00Z"]):
        assert (await shell.run("webhooks", *words)).status == 2
    zoneless = await shell.run("webhooks", "replay", hook, "--since", "2026-01-31T08:00")
    assert zoneless.status == 2
