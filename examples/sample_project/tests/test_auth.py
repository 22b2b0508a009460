import time

import pytest
from shop.auth import Accounts, AuthError, SessionExpired, hash_password, verify_password


@pytest.fixture
def accounts():
    accounts = Accounts(idle=0.4, lockout=0.4)
    accounts.register("ann", "correct horse")
    return accounts


def test_password_hash():
    stored = hash_password("correct horse")
    assert verify_password("correct horse", stored)
    assert not verify_password("battery staple", stored)
    assert hash_password("correct horse") != stored


def test_login(accounts):
    time.sleep(0.3)
    token = accounts.login("ann", "correct horse")
    assert accounts.user_of(token) == "ann"


def test_login_wrong_password(accounts):
    with pytest.raises(AuthError, match="wrong name or password"):
        accounts.login("ann", "battery staple")
    time.sleep(0.3)
    with pytest.raises(AuthError, match="wrong name or password"):
        accounts.login("bob", "correct horse")


def test_login_timeout(accounts):
    token = accounts.login("ann", "correct horse")
    time.sleep(0.5)
    with pytest.raises(SessionExpired):
        accounts.user_of(token)


def test_use_keeps_a_session_alive():
    accounts = Accounts(idle=30)
    accounts.register("ann", "correct horse")
    token = accounts.login("ann", "correct horse")
    for _ in range(3):
        time.sleep(0.12)
        assert accounts.user_of(token) == "ann"


def test_logout(accounts):
    token = accounts.login("ann", "correct horse")
    accounts.logout(token)
    time.sleep(0.2)
    with pytest.raises(AuthError, match="not signed in"):
        accounts.user_of(token)


def test_lockout_ends(accounts):
    for _ in range(accounts.tries):
        with pytest.raises(AuthError):
            accounts.login("ann", "guess")
    time.sleep(0.45)
    assert accounts.login("ann", "correct horse")
