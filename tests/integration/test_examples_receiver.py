"""examples/webhook_receiver.py, fed by a hub, and by others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx2
import pytest
from standardwebhooks import Webhook

from hub.settings import Settings
from tests.conftest import API_KEY, free_port
from tests.example import Example, running_example
from tests.running_hub import Hub, running

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"type":"job.completed","data":{"id":"j1","result":[1]}}'


@pytest.fixture
async def hub(settings: Settings) -> AsyncIterator[Hub]:
    allowing = replace(settings, webhook_allow_http=True, webhook_allow_nets="127.0.0.1")
    async with running(allowing, API_KEY) as hub:
        yield hub


async def address(receiver: Example) -> str:
    return (await receiver.says("Listening on")).removeprefix("Listening on ")


async def test_what_a_hub_sends_is_handled_once(hub: Hub) -> None:
    # The secret is known once there is a webhook, and the webhook needs the address.
    port = free_port()
    hook = (await hub.client.post("/webhooks", json={"url": f"http://127.0.0.1:{port}/"})).json()
    async with running_example(
        "webhook_receiver.py", PORT=str(port), WEBHOOK_SECRET=f"{SECRET} {hook['secret']}"
    ) as receiver:
        await address(receiver)
        job = {"session_id": "s1", "task": "theirs", "queue": None}
        queued = (await hub.client.post("/jobs", json=job)).json()
        done = {"token": queued["token"], "events": [{"type": "completed", "result": [1]}]}
        path = f"/jobs/{queued['job_id']}/events"
        assert (await hub.client.post(path, json=done)).status_code == 200
        await receiver.says(f"job.completed {queued['job_id']} [1]")
        [sent] = (await hub.client.get(f"/webhooks/{hook['id']}/deliveries")).json()["deliveries"]
        assert (await hub.client.post(f"/deliveries/{sent['id']}/replay")).status_code == 202
        # What follows the replayed one shows that that one was not handled again.
        assert (await hub.client.post(f"/webhooks/{hook['id']}/test")).status_code in (200, 202)
        await receiver.says("")
        assert len([line for line in receiver.lines if queued["job_id"] in line]) == 1


def signed(*, at: datetime, secret: str = SECRET, body: str = BODY) -> dict[str, str]:
    """The headers of a delivery, made by the package of Standard Webhooks."""
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": "v1,bm90IHRoaXMgb25l " + Webhook(secret).sign("msg_1", at, body),
    }


async def head(url: str, length: str) -> str:
    """What is answered to a request that announces a body, before it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    writer.write(f"POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode())
    async with asyncio.timeout(20):
        answered = await reader.readline()
    writer.close()
    return answered.decode()


async def test_what_nobody_may_send_is_refused() -> None:
    now, other = datetime.now(UTC), "whsec_" + "QUJD" * 8
    async with (
        running_example("webhook_receiver.py", PORT="0", WEBHOOK_SECRET=SECRET) as receiver,
        httpx2.AsyncClient() as client,
    ):
        url = await address(receiver)

        async def post(headers: dict[str, str], body: str = BODY) -> int:
            raw = [(name.encode(), value.encode()) for name, value in headers.items()]
            return (await client.post(url, content=body, headers=raw)).status_code

        assert await post(signed(at=now), BODY.replace("j1", "j2")) == 400
        await receiver.says("refused: no signature fits")
        assert await post(signed(at=now, secret=other)) == 400
        assert await post(signed(at=now - timedelta(minutes=6))) == 400
        await receiver.says("refused: too old, or from the future")
        assert await post(signed(at=now + timedelta(minutes=6))) == 400
        assert await post({}) == 400
        assert await post({**signed(at=now), "webhook-signature": "v1,ä"}) == 400
        for length in ("1048577", "-1", "much"):
            assert "413" in await head(url, length)
        assert await post(signed(at=now)) == 204
        assert await post(signed(at=now)) == 204
        await receiver.says("job.completed j1 [1]")
        receiver.process.terminate()
        await receiver.ends()
        assert len([line for line in receiver.lines if "job.completed" in line]) == 1
