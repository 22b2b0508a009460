import time

import pytest
from shop.users import Outbox, Users


@pytest.fixture
def outbox():
    with Outbox(interval=0.35) as outbox:
        yield outbox


def test_sign_up_sends_a_link(outbox):
    link = Users(outbox).sign_up("ann@example.org")
    assert outbox.wait_for(1)
    assert outbox.sent == [("ann@example.org", f"Confirm: /confirm/{link}")]


def test_letters_go_in_order(outbox):
    users = Users(outbox)
    for name in ("ann", "bob", "cy"):
        users.sign_up(f"{name}@example.org")
    assert outbox.wait_for(3)
    assert [to for to, _ in outbox.sent] == ["ann@example.org", "bob@example.org", "cy@example.org"]


def test_confirm(outbox):
    users = Users(outbox)
    assert users.confirm(users.sign_up("Ann@Example.org"))
    assert users.confirmed == {"ann@example.org"}


def test_link_works_once(outbox):
    users = Users(outbox)
    link = users.sign_up("ann@example.org")
    assert users.confirm(link)
    assert not users.confirm(link)


def test_link_ends(outbox):
    users = Users(outbox, lasts=0.4)
    link = users.sign_up("ann@example.org")
    time.sleep(0.5)
    assert not users.confirm(link)
    assert users.confirmed == set()


@pytest.mark.parametrize("address", ["ann", "ann@example"])
def test_not_an_address(outbox, address):
    with pytest.raises(ValueError, match="not an address"):
        Users(outbox).sign_up(address)
