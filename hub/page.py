"""The page: static files, served with a policy under which nothing foreign can run.

Everything in ``index.html`` and in the modules is addressed relatively, so the page also works
under a path prefix, as long as that prefix ends in a slash.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

__all__ = ["CONTENT_SECURITY_POLICY", "page_routes", "web_root"]

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS = {
    # Revalidated every time: a page of one version must not meet modules of another.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

# Not `mimetypes`, which reads the machine's own tables: a wrong one there stops every module.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
}


def web_root() -> Path:
    """The directory of the page's files: the one in the wheel, else the one in the checkout."""
    packaged = Path(__file__).with_name("_web")
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "web"


def page_routes() -> list[BaseRoute]:
    """Routes of ``/`` and ``/assets/…`` (GET and HEAD). They need no credential."""
    return [Route("/", _index), Route("/assets/{path:path}", _asset)]


# Plain functions, not coroutines: Starlette runs them in a thread, for they touch the disk.
def _index(request: Request) -> Response:
    return _file(request, web_root() / "index.html")


def _asset(request: Request) -> Response:
    root = web_root().resolve()
    try:
        path = (root / request.path_params["path"]).resolve()
    except (OSError, ValueError):
        return _missing()
    return _file(request, path) if path.is_relative_to(root) else _missing()


def _file(request: Request, path: Path) -> Response:
    media_type = _TYPES.get(path.suffix)
    try:
        stat = path.stat()
        if media_type is None or not path.is_file():
            return _missing()
        body, etag = _read(path, stat.st_mtime_ns, stat.st_size)
    except OSError:
        return _missing()
    headers = {**_HEADERS, "ETag": etag}
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or f"W/{etag}" in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


# The files of the page are some fifty; a changed one has another key and is read anew.
@lru_cache(maxsize=128)
def _read(path: Path, _mtime_ns: int, _size: int) -> tuple[bytes, str]:
    body = path.read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _missing() -> Response:
    return PlainTextResponse("Not found\n", status_code=404, headers=_HEADERS)
