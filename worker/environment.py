"""What commands may see of the worker's environment: an allowlist, so secrets stay home."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

ALLOWED = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TERM",
        "COLORTERM",
        "NO_COLOR",
        "FORCE_COLOR",
        "CI",
        "TMPDIR",
        "TEMP",
        "TMP",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_RUNTIME_DIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "LD_LIBRARY_PATH",
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONUNBUFFERED",
        "PYTHONIOENCODING",
        "PYTHONUTF8",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONPYCACHEPREFIX",
        "PYTHONHASHSEED",
        "PYTHONWARNINGS",
        "PYTHONFAULTHANDLER",
        "PYTHONSAFEPATH",
        "PYTHONNOUSERSITE",
    }
)
FORBIDDEN_PREFIX = "JOBCAST_"


def child_env(
    extra: Mapping[str, str] | None = None,
    *,
    passed: Iterable[str] = (),
    source: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment for a command: `ALLOWED` and `LC_*` of `source`, then `passed`, then `extra`.

    `passed` names further variables of `source` (the worker's own environment unless given) that
    the operator declared; names that are not set are skipped. `extra` brings values of its own.
    `PYTHONUNBUFFERED=1` is added, so that a Python command's lines arrive when they are printed.

    Raises ValueError for a `JOBCAST_*` name in `passed` or `extra`: credentials stay here.
    """
    source = os.environ if source is None else source
    extra = extra or {}
    passed = tuple(passed)
    for name in (*passed, *extra):
        if name.startswith(FORBIDDEN_PREFIX):
            raise ValueError(f"{name} must not be given to commands: {FORBIDDEN_PREFIX}* is kept")
    env = {
        name: value
        for name, value in source.items()
        if name in ALLOWED or name.startswith("LC_") or name in passed
    }
    env.setdefault("PYTHONUNBUFFERED", "1")
    env.update(extra)
    return env
