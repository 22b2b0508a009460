"""The data directory of `jobcast dev`: one stack at a time may use it, and what it keeps stays."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from pathlib import Path

from hub.errors import SettingsError

_PATIENCE = 50


async def lock(data_dir: Path) -> int:
    """Locks the data directory. Raises SettingsError when another stack holds it."""
    path = data_dir / "lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    # A supervisor that was killed leaves a Valkey that is just ending: give it a moment.
    for patience in range(_PATIENCE, -1, -1):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
            if patience == 0 or (holder.isdigit() and _alive(int(holder))):
                os.close(fd)
                raise SettingsError(
                    f"{data_dir} is in use by another jobcast dev (process {holder or 'unknown'}). "
                    "Stop that one, or choose another --data-dir."
                ) from None
            await asyncio.sleep(0.1)
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def kept(data_dir: Path, name: str) -> str:
    """A random word that is made once and kept in the data directory, for its owner's eyes."""
    path = data_dir / name
    if not path.exists():
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text().strip()
