"""How the page's files are served."""

import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.applications import Starlette

from hub.page import CONTENT_SECURITY_POLICY, page_routes, web_root


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=Starlette(routes=page_routes()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub.test") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/assets/app.js", "text/javascript; charset=utf-8"),
        ("/assets/css/theme.css", "text/css; charset=utf-8"),
        ("/assets/vendor/purify.js", "text/javascript; charset=utf-8"),
    ],
)
async def test_files_have_their_type_and_the_policy(
    client: httpx2.AsyncClient, path: str, media_type: str
) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-cache"
    assert (await client.head(path)).content == b""


def test_the_policy_allows_nothing_inline_and_nothing_foreign() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'")


async def test_a_known_file_is_not_sent_again(client: httpx2.AsyncClient) -> None:
    first = await client.get("/assets/app.js")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get("/assets/app.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    changed = await client.get("/assets/app.js", headers={"If-None-Match": '"other"'})
    assert changed.content == first.content


@pytest.mark.parametrize(
    "path",
    [
        "/assets/nothing.js",
        "/assets/",
        "/assets/css",
        "/assets/../pyproject.toml",
        "/assets/%2e%2e/hub/page.py",
        "/assets/%2e%2e%2f%2e%2e%2fetc/passwd",
        "/assets//etc/passwd",
        "/assets/a%00b.js",
        f"/assets/{'x' * 5000}.js",
    ],
)
async def test_nothing_else_is_served(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert b"[project]" not in response.content


def test_every_file_is_addressed_relatively_and_exists() -> None:
    root = web_root()
    page = (root / "index.html").read_text()
    addresses = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page)
    assert addresses
    for address in addresses:
        assert (root / address.removeprefix("assets/")).is_file(), address
    for module in root.rglob("*.js"):
        if module.parent.name == "vendor":
            continue
        for target in re.findall(r'^import\b[^;]*?"([^"]+)";', module.read_text(), re.M):
            assert target.startswith("."), f"{module.name} imports {target}"
            assert (module.parent / target).is_file(), f"{module.name} imports {target}"
