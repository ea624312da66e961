"""Which hub this is: all its processes say the same, and no other hub does. It tells nothing of what the hub has."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

HEADER = "x-byom-hub"
"""Of ``/livez``, which anybody may ask."""


def identity_of(home: Path, started_at: float) -> str:
    """Of the hub of this home that started then (seconds since the epoch); another one after each start."""
    return hashlib.sha256(f"{socket.gethostname()}\n{home}\n{started_at!r}".encode()).hexdigest()[:32]


def header_line(home: Path, started_at: float) -> bytes:
    return f"{HEADER}: {identity_of(home, started_at)}\r\n".encode("ascii")
