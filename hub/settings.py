"""Every setting, its default and its meaning, in one place.

A setting `name` is the flag `--name-with-dashes` and the variable `JOBCAST_NAME`; the flag wins.
Durations are seconds, sizes bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hub.errors import SettingsError

MIN_SECRET_BYTES = 32
MIN_KEY_CHARS = 16


def _setting(default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of hub and worker. `Settings.from_env()` reads `JOBCAST_*`."""

    redis_url: str = _setting(
        "redis://127.0.0.1:6379/0", "Redis or Valkey: redis://, rediss:// or unix:// URL"
    )
    secret: str = _setting("", "signs session tokens and derives webhook secrets; ≥ 32 bytes")
    api_keys: str = _setting("", "name:key pairs, comma-separated")
    metrics_token: str = _setting("", "opens /metrics and nothing else; ≥ 16 characters")
    host: str = _setting("127.0.0.1", "address that the hub binds to")
    port: int = _setting(8080, "port that the hub binds to; 0 picks one")
    public_url: str = _setting("", "URL that browsers see, when behind a proxy")
    trusted_proxies: str = _setting(
        "127.0.0.1,::1",
        "proxies whose X-Forwarded-For and -Proto count: addresses or CIDRs, comma-separated",
    )
    origins: str = _setting("", "further browser origins that may connect, comma-separated")
    agent: bool = _setting(True, "the built-in agent answers messages")
    agent_model: str = _setting(
        "", "chat model that answers them instead; see OPENAI_BASE_URL and OPENAI_API_KEY"
    )

    body_bytes: int = _setting(256 * 1024, "largest request body")
    params_bytes: int = _setting(64 * 1024, "largest params of a job")
    result_bytes: int = _setting(1024 * 1024, "largest result of a job")
    log_line_bytes: int = _setting(8 * 1024, "longest log line")
    log_lines: int = _setting(10_000, "log lines kept per job")
    ws_message_bytes: int = _setting(64 * 1024, "largest inbound WebSocket message")
    sessions_per_socket: int = _setting(128, "sessions that one socket may subscribe to")
    connections_per_session: int = _setting(100, "subscribers of one session, per hub")
    unsent_bytes: int = _setting(64 * 1024, "unsent bytes after which a subscriber lags")
    stall_close: float = _setting(60.0, "a lagging subscriber without progress is closed after")
    events_per_session: int = _setting(1_000, "lifecycle events kept per session")
    messages_per_session: int = _setting(1_000, "messages kept per session")
    outbox_entries: int = _setting(10_000, "events waiting for webhooks before queueing stops")
    keep: float = _setting(7 * 86_400.0, "how long terminal jobs and idle sessions are kept")

    lease: float = _setting(15.0, "how long a claim stays valid without a heartbeat")
    max_lost: int = _setting(3, "how often a job may lose its worker before it fails")
    session_concurrency: int = _setting(
        0, "jobs of one session that may run at once, in all; 0 is no limit"
    )
    ws_heartbeat: float = _setting(20.0, "between heartbeats on a WebSocket")
    sse_heartbeat: float = _setting(15.0, "between heartbeats on an SSE stream")
    check_every: float = _setting(3.0, "between checks for events that did not reach the hub")
    connect_rate: float = _setting(50.0, "new streams per second and client address (burst ×4)")
    enqueue_rate: float = _setting(200.0, "jobs queued per second and credential (burst ×5)")

    webhook_allow_http: bool = _setting(False, "allow http:// webhook URLs")
    webhook_allow_nets: str = _setting("", "private networks that webhooks may reach (CIDRs)")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Settings from `JOBCAST_*` and then `overrides` (those that are not None).

        Raises SettingsError naming the variable, its value and what would be right."""
        env = os.environ if env is None else env
        values: dict[str, Any] = {}
        for item in fields(cls):
            raw = env.get(f"JOBCAST_{item.name.upper()}")
            if raw is not None:
                values[item.name] = _parse(item.name, raw, type(item.default))
        values.update({name: value for name, value in overrides.items() if value is not None})
        return cls(**values)

    def keys(self) -> dict[str, str]:
        """The API keys by name. Raises SettingsError when a pair is not `name:key`."""
        pairs: dict[str, str] = {}
        for pair in filter(None, (part.strip() for part in self.api_keys.split(","))):
            name, colon, key = pair.partition(":")
            if not (colon and name and len(key) >= MIN_KEY_CHARS):
                raise SettingsError(
                    f"JOBCAST_API_KEYS: {name!r} is not a name:key pair whose key has 16 "
                    "characters or more"
                )
            pairs[name] = key
        return pairs

    def checked_metrics_token(self) -> str:
        """The credential for `/metrics`, if there is one. Raises SettingsError for a short one."""
        if self.metrics_token and len(self.metrics_token) < MIN_KEY_CHARS:
            raise SettingsError(
                f"JOBCAST_METRICS_TOKEN has {len(self.metrics_token)} characters; it must have "
                f"{MIN_KEY_CHARS} or more"
            )
        return self.metrics_token

    def checked_secret(self) -> bytes:
        """The secret's bytes. Raises SettingsError when it is missing or shorter than 32."""
        secret = self.secret.encode()
        if len(secret) < MIN_SECRET_BYTES:
            raise SettingsError(
                f"JOBCAST_SECRET has {len(secret)} bytes; it must have {MIN_SECRET_BYTES} or more."
                " Make one with: openssl rand -hex 32"
            )
        return secret


def _parse(name: str, raw: str, kind: type) -> Any:
    variable = f"JOBCAST_{name.upper()}"
    if kind is bool:
        word = raw.strip().lower()
        if word in {"1", "true", "yes", "on"}:
            return True
        if word in {"0", "false", "no", "off", ""}:
            return False
        raise SettingsError(f"{variable}={raw!r}: must be on or off")
    try:
        return kind(raw)
    except ValueError:
        what = {int: "a whole number", float: "a number of seconds"}.get(kind, kind.__name__)
        raise SettingsError(f"{variable}={raw!r}: must be {what}") from None
