"""Sees whether code runs that a payload brought along."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager

FORBIDDEN = (
    "import", "open", "exec", "compile", "pickle.find_class", "marshal.", "os.", "subprocess.", "socket.", "ctypes.",
    "shutil.", "code.__new__", "function.__new__", "object.__setattr__", "builtins.input",
    "builtins.breakpoint", "sys.", "urllib.",
)  # fmt: skip
"""Beginnings of the names of audit events: what running code cannot do without."""
_watching = False
_seen: list[str] = []


def _audit(event: str, _args: object) -> None:
    if _watching and event.startswith(FORBIDDEN):
        _seen.append(event)


sys.addaudithook(_audit)


@contextmanager
def nothing_runs() -> Iterator[None]:
    """Fails when anything within imports, opens, executes, connects or starts something."""
    global _watching
    _seen.clear()
    _watching = True
    try:
        yield
    finally:
        _watching = False
    assert _seen == []


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()
