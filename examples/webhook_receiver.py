"""Receives webhooks, and believes none that it cannot verify. Needs nothing but Python.

export WEBHOOK_SECRET=whsec_…         # what `jobcast webhooks add http://…` printed
python examples/webhook_receiver.py

It follows Standard Webhooks (https://www.standardwebhooks.com): the package `standardwebhooks`
has the same check as `Webhook(secret).verify(body, headers)`.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from collections import OrderedDict
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

# While a secret is being rotated, both count: separate them by a space.
SECRETS = os.environ["WEBHOOK_SECRET"].split()
TOLERANCE = 300.0  # seconds; an older delivery may be a replay by somebody who listened
LARGEST = 1024 * 1024  # bytes
REMEMBERED = 10_000  # ids; a real receiver keeps them where it keeps what they changed


class Refused(Exception):
    """The delivery is not to be believed."""


def verify(headers: Message, body: bytes) -> str:
    """The delivery's id, which is the same on every try. Raises Refused."""
    delivery = headers.get("webhook-id", "")
    sent_at = headers.get("webhook-timestamp", "")
    if not delivery or not sent_at.isdecimal():
        raise Refused("webhook-id or webhook-timestamp is missing")
    if abs(time.time() - int(sent_at)) > TOLERANCE:
        raise Refused("too old, or from the future")
    signed = f"{delivery}.{sent_at}.".encode() + body
    given = headers.get("webhook-signature", "").split()
    for secret in SECRETS:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if any(hmac.compare_digest(f"v1,{mac}".encode(), each.encode()) for each in given):
            return delivery
    raise Refused("no signature fits")


class Seen:
    """The ids of deliveries that were handled, the last ones."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def first_time(self, delivery: str) -> bool:
        """Whether it was not seen before."""
        with self._lock:
            if delivery in self._ids:
                return False
            self._ids[delivery] = None
            if len(self._ids) > REMEMBERED:
                self._ids.popitem(last=False)
            return True


seen = Seen()


def handle(event: dict[str, Any]) -> None:
    """Your own code. What takes long belongs elsewhere: a try lasts 15 s."""
    job = event["data"]
    print(event["type"], job["id"], json.dumps(job.get("result")), flush=True)


class Receiver(BaseHTTPRequestHandler):
    """Answers deliveries: 204, whether handled now or before; 400 where they are refused."""

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            self.answer(413)
            return
        body = self.rfile.read(int(length))
        try:
            delivery = verify(self.headers, body)
        except (Refused, ValueError) as error:
            print("refused:", error, flush=True)
            self.answer(400)
            return
        if seen.first_time(delivery):
            handle(json.loads(body))
        self.answer(204)

    def answer(self, status: int) -> None:
        """No more than a status."""
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """What counts is printed above."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Receiver)
    print(f"Listening on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
