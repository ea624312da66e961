"""Request ids: unique over all hubs, and in order of time."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from itertools import count
from time import time_ns


def _generator() -> Callable[[], str]:
    process = secrets.token_hex(4)
    numbers = count()
    last, start = -1, ""

    def new_id() -> str:
        nonlocal last, start
        now = time_ns() // 1_000_000
        if now != last:
            last, start = now, f"req_{now:012x}"
        return f"{start}{next(numbers) & 0xFFFFFF:06x}{process}"

    return new_id


_new_id = _generator()


def _renew() -> None:
    """A forked process must not go on with its parent's number."""
    global _new_id
    _new_id = _generator()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def new_id() -> str:
    """``req_`` and 26 hex digits: 12 of milliseconds since the epoch, 6 of a counter, 8 of this process."""
    return _new_id()
