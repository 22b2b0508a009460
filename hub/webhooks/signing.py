"""Signatures of the Standard Webhooks specification, and the secrets behind them. No I/O.

The specification: https://github.com/standard-webhooks/standard-webhooks, "Signature scheme".
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

SECRET_PREFIX: Final = "whsec_"
_VERSION: Final = "v1,"

# The hub's secret signs session tokens too; the label keeps the two uses apart.
_LABEL: Final = b"jobcast webhook secret"


def derive_secret(hub_secret: bytes, webhook_id: str, generation: int) -> str:
    """The secret of one generation of a webhook: `whsec_` and the base64 of 32 bytes.

    HMAC-SHA256 of the id and the generation under the hub's secret, so that no secret is kept
    anywhere and a rotation is a generation more."""
    message = b"\n".join([_LABEL, webhook_id.encode(), b"%d" % generation])
    return SECRET_PREFIX + base64.b64encode(hmac.digest(hub_secret, message, "sha256")).decode()


def credential_secret(hub_secret: bytes, credential: str) -> str:
    """The secret that signs one-off webhooks (`webhook_url`) of jobs that `credential` queued."""
    return derive_secret(hub_secret, f"key:{credential}", 1)


def secret_bytes(secret: str) -> bytes:
    """The key that a `whsec_…` secret stands for. Raises ValueError when it is not one."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret starts with {SECRET_PREFIX}")
    try:
        key = base64.b64decode(secret[len(SECRET_PREFIX) :], validate=True)
    except binascii.Error as error:
        raise ValueError(f"a webhook secret is base64 after {SECRET_PREFIX}: {error}") from None
    if not key:
        raise ValueError("a webhook secret is not empty")
    return key


def sign(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one `v1,…` per secret, separated by spaces.

    `timestamp` is in whole seconds since the epoch, as `webhook-timestamp` has it. Raises
    ValueError when there is no secret, or one that is not a secret."""
    if not secrets:
        raise ValueError("nothing to sign with")
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join(
        _VERSION
        + base64.b64encode(hmac.new(secret_bytes(secret), signed, sha256).digest()).decode()
        for secret in secrets
    )
