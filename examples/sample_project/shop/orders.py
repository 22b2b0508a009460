"""Orders: paid through a gateway that is slow and sometimes away."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal


class GatewayDown(Exception):
    """The payment gateway did not answer."""


class PaymentRefused(Exception):
    """The gateway answered no, or never answered."""


@dataclass
class Gateway:
    """A payment gateway: answers after `latency` seconds; the first `outages` calls fail."""

    latency: float = 0.05
    outages: int = 0
    limit: Decimal = Decimal(1000)
    calls: int = 0
    paid: dict[str, Decimal] = field(default_factory=dict)

    def charge(self, key: str, amount: Decimal) -> bool:
        self.calls += 1
        time.sleep(self.latency)
        if self.calls <= self.outages:
            raise GatewayDown(f"call {self.calls}")
        if key in self.paid:
            return True
        if amount > self.limit:
            return False
        self.paid[key] = amount
        return True


def with_backoff(call: Callable[[], bool], *, tries: int = 4, base: float = 0.05) -> bool:
    """Try again while the gateway is down, waiting twice as long each time."""
    for attempt in range(tries):
        try:
            return call()
        except GatewayDown:
            if attempt + 1 == tries:
                raise
            time.sleep(base * 2**attempt)
    raise AssertionError("tries must be at least 1")


@dataclass
class Order:
    """One order; it can be cancelled for `grace` seconds after it was paid."""

    number: str
    amount: Decimal
    grace: float = 60.0
    status: str = "open"
    paid_at: float = 0.0

    def pay(self, gateway: Gateway, *, tries: int = 4) -> None:
        if self.status != "open":
            raise ValueError(f"order {self.number} is {self.status}")
        try:
            taken = with_backoff(lambda: gateway.charge(self.number, self.amount), tries=tries)
        except GatewayDown as error:
            raise PaymentRefused("the gateway is away") from error
        if not taken:
            raise PaymentRefused("over the limit")
        self.status, self.paid_at = "paid", time.monotonic()

    def cancel(self) -> bool:
        if self.status == "paid" and time.monotonic() - self.paid_at > self.grace:
            return False
        self.status = "cancelled"
        return True
