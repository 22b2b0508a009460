"""Credentials: what is let in, what it covers, and what is refused."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.auth import (
    LEEWAY,
    MAX_TTL,
    RENEWABLE,
    SCOPES,
    Authenticator,
    Principal,
    bearer,
    bearer_of_subprotocols,
    is_pattern,
)
from hub.errors import BadInput, Refused, SettingsError, Unauthenticated
from hub.settings import Settings

SECRET = "a secret for tests, of 32 bytes and more"
KEY = "a-key-0123456789abcdef"


class Clock:
    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def auth(clock: Clock) -> Authenticator:
    return Authenticator(Settings(secret=SECRET, api_keys=f"ci:{KEY},app:{KEY}x"), clock)


def signed(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, secret, algorithm=algorithm)


def claims(**more: Any) -> dict[str, Any]:
    return {
        "sub": "ada",
        "sessions": ["s1"],
        "scope": "read",
        "exp": int(time.time()) + 600,
        **more,
    }


def test_a_key_is_known_by_its_name_and_covers_everything(auth: Authenticator) -> None:
    principal = auth.authenticate(KEY)
    assert (principal.kind, principal.name, principal.credential) == ("key", "ci", "ci")
    assert principal.is_key
    assert principal.is_admin
    assert principal.may("enqueue", "any:session")
    assert auth.authenticate(KEY + "x").name == "app"


def test_a_key_may_do_everything(auth: Authenticator) -> None:
    for scope in SCOPES:
        auth.authenticate(KEY).require(scope, "s1")


def test_keys_are_not_kept(auth: Authenticator) -> None:
    assert KEY not in repr(vars(auth))


def test_a_key_does_not_travel_in_urls(auth: Authenticator) -> None:
    with pytest.raises(Unauthenticated, match="header"):
        auth.authenticate(KEY, in_url=True)


def test_a_token_covers_what_it_says(auth: Authenticator) -> None:
    minted = auth.mint("ada", ["s1", "team:a:*"], "read cancel", 60)
    principal = auth.authenticate(minted.token, in_url=True)
    assert principal == minted.principal
    assert principal.credential == "sub:ada"
    assert not principal.is_admin
    assert principal.may("read", "s1")
    assert principal.may("cancel", "team:a:x:y")
    assert not principal.may("enqueue", "s1")
    for other in ("s2", "s1:x", "team:a", "team:b:x", "xteam:a:x"):
        assert not principal.covers(other)


def test_admin_covers_everything_but_does_not_approve(auth: Authenticator) -> None:
    principal = auth.mint("ada", [], "admin").principal
    assert principal.may("cancel", "anything")
    assert not principal.has("approve")
    assert auth.mint("ada", [], "admin approve").principal.may("approve", "anything")


def test_what_is_missing_is_said(auth: Authenticator) -> None:
    principal = auth.mint("ada", ["s1"], "read").principal
    with pytest.raises(Refused, match="scope cancel"):
        principal.require("cancel", "s1")
    with pytest.raises(Refused, match="does not cover"):
        principal.require("read", "s2")
    principal.require("read", "s1")


@pytest.mark.parametrize("missing", [None, ""])
def test_missing(auth: Authenticator, missing: str | None) -> None:
    with pytest.raises(Unauthenticated, match="missing"):
        auth.authenticate(missing)


def test_expiry_with_its_leeway(auth: Authenticator, clock: Clock) -> None:
    token = auth.mint("ada", ["s1"], "read", 60).token
    clock.now += 60 + LEEWAY - 1
    auth.authenticate(token)
    clock.now += 1
    with pytest.raises(Unauthenticated, match="expired"):
        auth.authenticate(token)


def unsigned(body: dict[str, Any]) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, body)
    return (
        ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in parts
        )
        + "."
    )


# Made when the test runs: a token that was made when tests were collected may be over by then.
STRANGE: list[tuple[Callable[[], str], str]] = [
    (lambda: "nonsense", "signed"),
    (lambda: "a.b.c", "signed"),
    (lambda: "\ud800", "signed"),
    (lambda: "x" * 10_000, "characters"),
    (lambda: unsigned(claims()), "signed"),
    (lambda: signed(claims(), "another secret, of 32 bytes and more"), "signed"),
    (lambda: signed(claims(), SECRET + SECRET, "HS512"), "signed"),
    (lambda: signed({k: v for k, v in claims().items() if k != "exp"}), "exp"),
    (lambda: signed({k: v for k, v in claims().items() if k != "sub"}), "sub"),
    (lambda: signed(claims(exp=int(time.time()) - 3600)), "expired"),
    (lambda: signed(claims(nbf=int(time.time()) + 3600)), "signed"),
    (lambda: signed(claims(sub="")), "sub"),
    (lambda: signed(claims(scope=["read"])), "scope"),
    (lambda: signed(claims(sessions="s1")), "sessions"),
    (lambda: signed(claims(sessions=[1])), "sessions"),
]


@pytest.mark.parametrize(("make", "why"), STRANGE, ids=range(len(STRANGE)))
def test_what_is_not_a_token_of_ours(
    auth: Authenticator, make: Callable[[], str], why: str
) -> None:
    token = make()
    with pytest.raises(Unauthenticated, match=why) as caught:
        auth.authenticate(token)
    assert token not in str(caught.value) or len(token) < 4


def test_a_token_of_another_algorithm_is_refused_with_the_right_secret(
    auth: Authenticator,
) -> None:
    for algorithm in ("HS384", "HS512"):
        with pytest.raises(Unauthenticated):
            auth.authenticate(signed(claims(), SECRET * 2, algorithm))


def test_unknown_scopes_and_patterns_give_nothing(auth: Authenticator) -> None:
    principal = auth.authenticate(signed(claims(scope="read root", sessions=["*", "s1", "a*"])))
    assert principal.scopes == {"read"}
    assert principal.sessions == ("s1",)
    assert not principal.covers("abc")


@pytest.mark.parametrize(
    ("pointer", "sub", "sessions", "scope", "ttl"),
    [
        ("/sub", "", ["s"], "read", 60),
        ("/sub", "a\nb", ["s"], "read", 60),
        ("/sessions", "a", [], "read", 60),
        ("/sessions/1", "a", ["s", "no spaces"], "read", 60),
        ("/sessions/0", "a", ["*"], "read", 60),
        ("/sessions", "a", ["s"] * 129, "read", 60),
        ("/scope", "a", ["s"], "read everything", 60),
        ("/scope", "a", ["s"], "", 60),
        ("/ttl", "a", ["s"], "read", 0),
        ("/ttl", "a", ["s"], "read", MAX_TTL + 1),
    ],
)
def test_what_cannot_be_minted(
    auth: Authenticator, pointer: str, sub: str, sessions: list[str], scope: str, ttl: float
) -> None:
    with pytest.raises(BadInput) as caught:
        auth.mint(sub, sessions, scope, ttl)
    assert pointer in [where for where, _ in caught.value.errors]


def test_renewing_lasts_twelve_hours_after_sign_in(auth: Authenticator, clock: Clock) -> None:
    held = auth.mint("ada", ["s1"], "read input", 3600).principal
    clock.now += RENEWABLE - 600
    fresh = auth.renew(held)
    assert fresh.expires_at == clock.now + 600
    assert fresh.principal.sessions == held.sessions
    assert fresh.principal.scopes == held.scopes
    assert fresh.principal.auth_time == held.auth_time
    clock.now += 600
    with pytest.raises(Refused, match="sign in"):
        auth.renew(fresh.principal)


def test_renewing_may_narrow_and_never_widens(auth: Authenticator) -> None:
    held = auth.mint("ada", ["team:*", "s1"], "read input", 3600).principal
    fresh = auth.renew(held, sessions=["team:a:*", "team:b"], scope="read", ttl=60).principal
    assert fresh.sessions == ("team:a:*", "team:b")
    assert fresh.scopes == {"read"}
    for wider in (
        {"sessions": ["s2"]},
        {"sessions": ["s1:*"]},
        {"sessions": ["tea:*"]},
        {"scope": "read approve"},
        {"sub": "eve"},
    ):
        with pytest.raises(Refused):
            auth.renew(held, **wider)
    with pytest.raises(BadInput):
        auth.renew(held, ttl=0)


def test_a_token_of_others_without_times_is_not_renewed(auth: Authenticator) -> None:
    with pytest.raises(Refused, match="auth_time"):
        auth.renew(auth.authenticate(signed(claims())))
    stale = int(time.time()) - RENEWABLE
    with pytest.raises(Refused, match="sign in"):
        auth.renew(auth.authenticate(signed(claims(iat=stale))))


def test_the_same_holder() -> None:
    ada = Principal("token", "ada")
    assert ada.same_holder(Principal("token", "ada", ("s1",)))
    assert not ada.same_holder(Principal("token", "eve"))
    assert not ada.same_holder(Principal("key", "ada"))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("", None),
        (None, None),
    ],
)
def test_the_header(header: str | None, found: str | None) -> None:
    assert bearer(header) == found


@pytest.mark.parametrize(
    ("offered", "found"),
    [
        (["jobcast.v1", "bearer.abc"], "abc"),
        (["bearer.abc", "jobcast.v1"], "abc"),
        (["bearer.abc"], None),
        (["jobcast.v1"], None),
        (["jobcast.v1", "bearer."], None),
        ([], None),
    ],
)
def test_the_subprotocol_pair(offered: list[str], found: str | None) -> None:
    assert bearer_of_subprotocols(offered) == found


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match="32"):
        Authenticator(Settings(secret="short"))


@given(st.text(max_size=20))
def test_any_text_is_refused_but_never_a_crash(text: str) -> None:
    with pytest.raises(Unauthenticated):
        Authenticator(Settings(secret=SECRET)).authenticate(text)


@given(st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True), st.text(max_size=5))
def test_a_pattern_covers_exactly_what_starts_with_it(prefix: str, rest: str) -> None:
    principal = Principal("token", "a", (f"{prefix}:*",))
    assert is_pattern(f"{prefix}:*")
    assert principal.covers(f"{prefix}:{rest}")
    assert not principal.covers(prefix)
