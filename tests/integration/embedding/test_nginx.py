"""The hub behind nginx, set up as docs/deploy.md says: under a path that nginx strips, with TLS."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from hub.client import Client
from hub.settings import Settings
from tests.announced import TASKS
from tests.conftest import API_KEY, free_port, wait_until
from tests.running_hub import Hub, running

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[3] / "docs" / "deploy.md"
JOB = {"task": "echo", "params": {"text": "hi"}, "session_id": "s1"}
HEADERS = {"Authorization": f"Bearer {API_KEY}"}
AROUND = """
daemon off;
error_log {folder}/error.log;
pid {folder}/nginx.pid;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    access_log off;
    {site}
}}
"""


@dataclass
class Proxied:
    """A hub as clients of nginx see it: `url` has a slash at its end."""

    hub: Hub
    url: str
    tls: ssl.SSLContext
    access_log: Path

    @property
    def origin(self) -> str:
        return self.url.removesuffix("/jobs/")

    def client(self, address: str = "127.0.0.1") -> httpx2.AsyncClient:
        """One that calls from this loopback address."""
        transport = httpx2.AsyncHTTPTransport(verify=self.tls, local_address=address)
        return httpx2.AsyncClient(
            base_url=self.url, transport=transport, headers=HEADERS, timeout=60
        )


def site(hub: str, port: int, folder: Path) -> str:
    """The nginx block of docs/deploy.md, with what is different here."""
    [text] = re.findall(r"```nginx\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    for shown, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("http://127.0.0.1:8080/", f"{hub}/"),
        ("app.example.com;", "localhost;"),
        ("/etc/ssl/app.example.com.pem", str(folder / "chain.pem")),
        ("/etc/ssl/app.example.com.key", str(folder / "key.pem")),
        ("/var/log/nginx/jobcast.log", str(folder / "access.log")),
    ):
        assert text.count(shown) == 1, shown
        text = text.replace(shown, here)
    return str(text)


@pytest.fixture
async def proxied(settings: Settings, tmp_path: Path) -> AsyncIterator[Proxied]:
    port = free_port()
    public = f"https://localhost:{port}/jobs/"
    # One new stream at once, and then one in four seconds.
    settings = dataclasses.replace(settings, public_url=public, connect_rate=0.25)
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(tmp_path / "chain.pem"), append=True)
    tls = ssl.create_default_context()
    ca.configure_trust(tls)
    async with running(settings, API_KEY) as hub:
        await hub.services.transitions.announce(TASKS)
        config = AROUND.format(folder=tmp_path, site=site(hub.url, port, tmp_path))
        async with nginx(config, port, tmp_path):
            yield Proxied(hub, public, tls, tmp_path / "access.log")


@asynccontextmanager
async def nginx(config: str, port: int, folder: Path) -> AsyncIterator[None]:
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        reason = "nginx is not installed: apt-get install nginx-light"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    (folder / "nginx.conf").write_text(config)
    # Workers drop their rights, and have to reach what is theirs.
    folder.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        *(binary, "-p", folder, "-c", folder / "nginx.conf", "-g", "master_process off;"),
        stderr=asyncio.subprocess.PIPE,
    )

    async def answers() -> bool:
        if process.returncode is not None:
            _, said = await process.communicate()
            raise AssertionError(f"nginx ended: {said.decode()}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await wait_until(answers, "nginx answers")
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_page_and_calls_are_found_below_the_path(proxied: Proxied) -> None:
    async with proxied.client() as client:
        page = await client.get("")
        assert page.status_code == 200
        for asset in re.findall(r'(?:src|href)="(assets/[^"]+)"', page.text):
            assert (await client.get(asset)).status_code == 200, asset
        assert (await client.get(proxied.url.rstrip("/"))).headers["location"] == proxied.url
        document = (await client.get("openapi.json")).json()
        assert document["servers"] == [{"url": "/jobs"}]
        queued = await client.post("jobs", json=JOB, headers={"Origin": proxied.origin})
        assert queued.status_code == 202
        job = await client.get(f"{proxied.origin}{queued.headers['location']}")
        assert job.json()["id"] == queued.json()["job_id"]
        foreign = {"Origin": "https://evil.example"}
        assert (await client.get("jobs", headers=foreign)).status_code == 403
        assert (await client.get("readyz", headers={"Host": "evil.example"})).status_code == 403


async def test_websocket(proxied: Proxied) -> None:
    url = proxied.url.replace("https", "wss") + "ws/s1"
    token = proxied.hub.token("s1")
    async with connect(
        f"{url}?token={token}",
        ssl=proxied.tls,
        proxy=None,
        origin=Origin(proxied.origin),
    ) as ws:
        assert json.loads(await ws.recv())["type"] == "hello"
        async with proxied.client() as client:
            await client.post("jobs", json=JOB)
        assert json.loads(await ws.recv())["type"] == "job.pending"
    with pytest.raises(InvalidStatus, match="403"):
        await connect(url, ssl=proxied.tls, proxy=None, origin=Origin("https://evil.example"))

    async def logged() -> bool:
        return "/jobs/ws/s1" in proxied.access_log.read_text()

    await wait_until(logged, "a line in nginx's log")
    assert token not in proxied.access_log.read_text()


async def test_sse_is_not_held_back(proxied: Proxied) -> None:
    async with proxied.client() as client, client.stream("GET", "sessions/s1/events") as stream:
        lines = stream.aiter_lines()
        async with asyncio.timeout(60):
            async for line in lines:
                if '"hello"' in line:
                    break
            # Nothing more will come before this: a buffered stream would never get here.
            await client.post("jobs", json=JOB)
            async for line in lines:
                if "job.pending" in line:
                    return
    raise AssertionError("the stream ended")


async def test_limits_go_by_the_client_and_not_by_the_proxy(proxied: Proxied) -> None:
    wrong = {"code": "x" * 43}
    async with proxied.client("127.0.0.2") as one, proxied.client("127.0.0.3") as other:
        # It cannot say that it is somebody else either.
        spoofed = {"X-Forwarded-For": "203.0.113.7"}
        said = [(await one.post("tokens", json=wrong)).status_code for _ in range(2)]
        assert said == [401, 429]
        assert (await one.post("tokens", json=wrong, headers=spoofed)).status_code == 429
        assert (await other.post("tokens", json=wrong)).status_code == 401


async def test_the_python_client_below_a_path(proxied: Proxied) -> None:
    address = urlsplit(proxied.url).geturl()
    async with Client(address, API_KEY, ssl_context=proxied.tls) as client:
        queued = await client.enqueue("echo", {"text": "hi"}, session_id="s1")
        async for event in client.subscribe("s1", after="0-0"):
            if getattr(event, "job_id", None) == queued.job_id:
                return
    raise AssertionError("no event")
