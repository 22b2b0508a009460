"""Signatures are those of the Standard Webhooks specification, byte for byte."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from hub.webhooks.signing import credential_secret, derive_secret, secret_bytes, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HUB_SECRET = b"h" * 32


def verifies(secret: str, message_id: str, timestamp: int, body: bytes, header: str) -> bool:
    """A verifier that shares nothing with the signer but the specification."""
    for part in header.split(" "):
        version, _, signature = part.partition(",")
        mac = HMAC(base64.b64decode(secret.removeprefix("whsec_")), hashes.SHA256())
        mac.update(f"{message_id}.{timestamp}.".encode() + body)
        if version == "v1" and mac.finalize() == base64.b64decode(signature):
            return True
    return False


def test_vector_of_the_specification() -> None:
    header = sign([SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert header == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(
    body=st.binary(max_size=200), generation=st.integers(1, 10**6), seconds=st.integers(0, 2**40)
)
def test_an_independent_verifier_accepts_it(body: bytes, generation: int, seconds: int) -> None:
    secret = derive_secret(HUB_SECRET, "wh_1", generation)
    header = sign([secret], "msg_1", seconds, body)
    assert verifies(secret, "msg_1", seconds, body, header)
    assert not verifies(secret, "msg_1", seconds, body + b" ", header)
    assert not verifies(secret, "msg_1", seconds + 1, body, header)
    assert not verifies(secret, "msg_2", seconds, body, header)


def test_the_reference_package_accepts_every_live_secret() -> None:
    old, new = (derive_secret(HUB_SECRET, "wh_1", generation) for generation in (1, 2))
    now = int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign([new, old], "msg_1", now, b'{"a":"\xc3\xa9"}'),
    }
    for secret in (old, new):
        assert Webhook(secret).verify(b'{"a":"\xc3\xa9"}', headers) == {"a": "é"}
    with pytest.raises(WebhookVerificationError):
        Webhook(derive_secret(HUB_SECRET, "wh_1", 3)).verify(b'{"a":"\xc3\xa9"}', headers)


def test_derived_secrets_differ_by_all_that_they_derive_from() -> None:
    secrets = [
        derive_secret(HUB_SECRET, "wh_1", 1),
        derive_secret(HUB_SECRET, "wh_1", 2),
        derive_secret(HUB_SECRET, "wh_2", 1),
        derive_secret(b"i" * 32, "wh_1", 1),
        credential_secret(HUB_SECRET, "wh_1"),
    ]
    assert len(set(secrets)) == len(secrets)
    assert {len(secret_bytes(secret)) for secret in secrets} == {32}
    assert derive_secret(HUB_SECRET, "wh_1", 1) == secrets[0]


@pytest.mark.parametrize("secret", ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!"])
def test_what_is_not_a_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook secret"):
        sign([secret], "msg_1", 1, b"")


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(ValueError, match="nothing to sign with"):
        sign([], "msg_1", 1, b"")
