"""Passwords, sign-in sessions and lock-outs."""

import hashlib
import hmac
import secrets
import time


class AuthError(Exception):
    """Signing in, or staying signed in, was refused."""


class SessionExpired(AuthError):
    """The session was idle for too long."""


def hash_password(password: str, salt: bytes | None = None) -> str:
    salt = salt or secrets.token_bytes(16)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 60_000)
    return f"{salt.hex()}${digest.hex()}"


def verify_password(password: str, stored: str) -> bool:
    salt, _, _ = stored.partition("$")
    return hmac.compare_digest(hash_password(password, bytes.fromhex(salt)), stored)


class Accounts:
    """Sign-in sessions; one ends `idle` seconds after its last use, or when it is signed out."""

    def __init__(self, *, idle: float = 1800.0, tries: int = 3, lockout: float = 900.0) -> None:
        self.idle = idle
        self.tries = tries
        self.lockout = lockout
        self._passwords: dict[str, str] = {}
        self._sessions: dict[str, tuple[str, float]] = {}
        self._failures: dict[str, tuple[int, float]] = {}

    def register(self, user: str, password: str) -> None:
        if user in self._passwords:
            raise AuthError(f"{user} is taken")
        self._passwords[user] = hash_password(password)

    def login(self, user: str, password: str) -> str:
        count, since = self._failures.get(user, (0, 0.0))
        if count >= self.tries and time.monotonic() - since < self.lockout:
            raise AuthError("too many tries: wait")
        if user not in self._passwords or not verify_password(password, self._passwords[user]):
            self._failures[user] = (count + 1, time.monotonic())
            raise AuthError("wrong name or password")
        self._failures.pop(user, None)
        token = secrets.token_urlsafe(24)
        self._sessions[token] = (user, time.monotonic())
        return token

    def user_of(self, token: str) -> str:
        """Whose session it is; using a session keeps it alive."""
        if token not in self._sessions:
            raise AuthError("not signed in")
        self._sessions[token] = (self._sessions[token][0], time.monotonic())
        user, last_used = self._sessions[token]
        if time.monotonic() - last_used > self.idle:
            del self._sessions[token]
            raise SessionExpired(f"idle for more than {self.idle:g} s")
        return user

    def logout(self, token: str) -> None:
        self._sessions.pop(token, None)
