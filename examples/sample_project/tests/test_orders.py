import time
from decimal import Decimal

import pytest
from shop.orders import Gateway, Order, PaymentRefused


def test_pay():
    order, gateway = Order("A-1", Decimal("19.90")), Gateway(latency=0.4)
    order.pay(gateway)
    assert order.status == "paid"
    assert gateway.paid == {"A-1": Decimal("19.90")}


def test_over_the_limit():
    order = Order("A-2", Decimal(5000))
    with pytest.raises(PaymentRefused, match="limit"):
        order.pay(Gateway(latency=0.4))
    assert order.status == "open"


def test_outage_is_retried():
    order, gateway = Order("A-3", Decimal(10)), Gateway(latency=0.1, outages=2)
    order.pay(gateway)
    assert (order.status, gateway.calls) == ("paid", 3)


def test_long_outage_is_given_up():
    order, gateway = Order("A-4", Decimal(10)), Gateway(latency=0.1, outages=99)
    with pytest.raises(PaymentRefused, match="away"):
        order.pay(gateway, tries=3)
    assert (order.status, gateway.calls) == ("open", 3)


def test_paid_once():
    order, gateway = Order("A-5", Decimal(10)), Gateway(latency=0.3)
    order.pay(gateway)
    with pytest.raises(ValueError, match="A-5 is paid"):
        order.pay(gateway)
    assert gateway.calls == 1


def test_cancel():
    order = Order("A-6", Decimal(10))
    order.pay(Gateway(latency=0.4))
    assert order.cancel()
    assert order.status == "cancelled"


def test_cancel_too_late():
    order = Order("A-7", Decimal(10), grace=0.2)
    order.pay(Gateway(latency=0.2))
    time.sleep(0.3)
    assert not order.cancel()
    assert order.status == "paid"
