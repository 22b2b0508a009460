"""Tokens that are verified, beside the library that signs them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.hs256 import NotSigned, claims_of

SECRET = b"a secret for tests, of 32 bytes and more"
RIGHT: dict[str, Any] = {"alg": "HS256", "typ": "JWT"}
CLAIMS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name not in ("exp", "nbf", "iat", "iss", "sub", "jti")),
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.lists(st.text()),
    max_size=4,
)


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def signed(header: object, payload: bytes) -> str:
    """A token with any header and payload, signed rightly."""
    whole = encoded(json.dumps(header).encode()) + b"." + encoded(payload)
    signature = hmac.new(SECRET, whole, hashlib.sha256).digest()
    return (whole + b"." + encoded(signature)).decode()


@given(CLAIMS)
def test_what_the_library_signs_is_read(claims: dict[str, Any]) -> None:
    assert claims_of(jwt.encode(claims, SECRET, "HS256"), SECRET) == claims


@given(CLAIMS)
def test_what_is_read_is_what_the_library_reads(claims: dict[str, Any]) -> None:
    token = signed(RIGHT, json.dumps(claims).encode())
    assert claims_of(token, SECRET) == jwt.decode(token, SECRET, ["HS256"]) == claims


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS384"},
        {"alg": "hs256"},
        {"alg": ["HS256"]},
        {"typ": "JWT"},
        {"alg": "HS256", "crit": ["exp"]},
        ["HS256"],
        "HS256",
    ],
)
def test_another_header_is_refused_though_signed_rightly(header: object) -> None:
    assert claims_of(signed(RIGHT, b"{}"), SECRET) == {}
    with pytest.raises(NotSigned):
        claims_of(signed(header, b"{}"), SECRET)


@pytest.mark.parametrize("payload", [b"", b"[]", b"1", b"null", b"{", b"\xff", b"[" * 5_000])
def test_what_is_signed_and_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(NotSigned):
        claims_of(signed(RIGHT, payload), SECRET)


@given(st.data())
def test_a_changed_character_is_refused(data: st.DataObject) -> None:
    token = signed(RIGHT, b'{"sub":"ada"}')
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(max_codepoint=127).filter(lambda c: c != token[at]))
    with pytest.raises(NotSigned):
        claims_of(token[:at] + other + token[at + 1 :], SECRET)


@pytest.mark.parametrize("change", ["{}=", " {}", "{}\n", "{}.", ".{}", "{}.{}"])
def test_a_token_has_one_spelling(change: str) -> None:
    token = signed(RIGHT, b"{}")
    with pytest.raises(NotSigned):
        claims_of(change.format(token, token), SECRET)


def test_another_secret_is_refused() -> None:
    with pytest.raises(NotSigned):
        claims_of(signed(RIGHT, b"{}"), SECRET + b"!")


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(NotSigned):
        claims_of(text, SECRET)
