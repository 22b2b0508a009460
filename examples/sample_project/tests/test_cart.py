import time
from decimal import Decimal

import pytest
from shop.cart import Cart, OutOfStock, Stock


@pytest.fixture
def cart():
    return Cart(Stock({"apple": 10, "pear": 2}, hold=0.4))


def test_total(cart):
    cart.add("apple", "0.30", 3)
    cart.add("pear", "0.55")
    time.sleep(0.3)
    assert cart.total() == Decimal("1.45")


def test_remove(cart):
    cart.add("apple", "0.30", 3)
    time.sleep(0.35)
    cart.remove("apple")
    assert cart.total() == 0


def test_at_least_one(cart):
    time.sleep(0.3)
    with pytest.raises(ValueError, match="at least one"):
        cart.add("apple", "0.30", 0)


def test_out_of_stock():
    stock = Stock({"pear": 2}, hold=60)
    Cart(stock).add("pear", "0.55", 2)
    time.sleep(0.4)
    with pytest.raises(OutOfStock):
        Cart(stock).add("pear", "0.55")


def test_held_stock_comes_back(cart):
    cart.add("pear", "0.55", 2)
    time.sleep(0.5)
    assert cart.stock.left("pear") == 2


def test_coupon(cart):
    cart.add("apple", "1.00", 10)
    cart.coupon("0.25", lasts=60)
    time.sleep(0.4)
    assert cart.total() == Decimal("7.50")


def test_coupon_ends(cart):
    cart.add("apple", "1.00", 10)
    cart.coupon("0.25", lasts=0.4)
    time.sleep(0.5)
    assert cart.total() == Decimal("10.00")
