"""A cart, and the stock that it holds back for a while."""

import time
from decimal import Decimal


class OutOfStock(Exception):
    """Fewer are left than were asked for."""


class Stock:
    """How many of each article are left. What a cart holds comes back after `hold` seconds."""

    def __init__(self, counts: dict[str, int], *, hold: float = 600.0) -> None:
        self.hold = hold
        self._counts = dict(counts)
        self._held: list[tuple[float, str, int]] = []

    def left(self, article: str) -> int:
        now = time.monotonic()
        self._held = [held for held in self._held if held[0] > now]
        return self._counts.get(article, 0) - sum(n for _, a, n in self._held if a == article)

    def take(self, article: str, count: int) -> None:
        if count > self.left(article):
            raise OutOfStock(article)
        self._held.append((time.monotonic() + self.hold, article, count))


class Cart:
    """Articles with their prices; a coupon takes a share off until it ends."""

    def __init__(self, stock: Stock) -> None:
        self.stock = stock
        self._lines: dict[str, tuple[int, Decimal]] = {}
        self._coupon: tuple[Decimal, float] | None = None

    def add(self, article: str, price: str, count: int = 1) -> None:
        if count < 1:
            raise ValueError("at least one")
        self.stock.take(article, count)
        held, _ = self._lines.get(article, (0, Decimal(0)))
        self._lines[article] = (held + count, Decimal(price))

    def remove(self, article: str) -> None:
        self._lines.pop(article, None)

    def coupon(self, share: str, *, lasts: float) -> None:
        self._coupon = (Decimal(share), time.monotonic() + lasts)

    def total(self) -> Decimal:
        total = sum((count * price for count, price in self._lines.values()), Decimal(0))
        if self._coupon and time.monotonic() < self._coupon[1]:
            total -= total * self._coupon[0]
        return total.quantize(Decimal("0.01"))
