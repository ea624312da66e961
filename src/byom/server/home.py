"""The home folder of a running hub: who has it, where the hub is, where its processes meet."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from byom.errors import ConfigError

LONGEST_SOCKET_PATH = 100
"""Bytes. Systems allow 104 or 108."""


def write_record(path: Path, address: str) -> None:
    """Tell the command line and the library where this home's hub is."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"pid": os.getpid(), "url": address}), encoding="utf-8")
    fresh.replace(path)


@contextlib.contextmanager
def one_hub_a_home(home: Path) -> Iterator[IO[str]]:
    """Two hubs of one home would each count limits for themselves. The lock goes with the process, however it ends."""
    with (home / "hub.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"Another hub is running with the home {home}. Stop it first, or choose another --home."
            ) from error
        yield lock


def socket_folder(home: Path) -> Path:
    """A folder that only this user can enter, for the Unix sockets of this home's hub.

    ``run`` in the home; where its path is longer than a socket's may be, a folder of temporary files whose name follows
    from the home. Raises `ConfigError` when somebody else has made that one.
    """
    folder = home / "run"
    if len(os.fsencode(folder)) + len("/limits.sock") > LONGEST_SOCKET_PATH:
        digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"byom-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise ConfigError(f"{folder} must be a folder that belongs to you and that nobody else can enter (mode 0700).")
    return folder
