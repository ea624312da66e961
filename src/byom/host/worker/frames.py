"""How host and worker talk: four bytes of length, then that many bytes of JSON in UTF-8."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Dict, Optional  # noqa: UP035 - evaluated on Python 3.9

LENGTH = struct.Struct(">I")
LONGEST = 256 * 2**20
"""Bytes of one message, either way."""


def pack(message: Dict[str, Any]) -> bytes:  # noqa: UP006
    """One message as bytes. Raises ValueError or TypeError for what JSON has no form for (NaN, objects)."""
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    body = text.encode("utf-8", "replace")  # a lone surrogate has no bytes
    if len(body) > LONGEST:
        raise ValueError(f"a message of {len(body)} bytes is longer than {LONGEST}")
    return LENGTH.pack(len(body)) + body


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy and its kin as Python's own."""
    for name in ("tolist", "item"):
        convert = getattr(value, name, None)
        if callable(convert):
            return convert()
    raise TypeError(f"{type(value).__name__} is not a text, number, list or dictionary")


def read(connection: socket.socket) -> Optional[Dict[str, Any]]:  # noqa: UP006, UP045
    """The next message, waiting for it; ``None`` when the other side has gone."""
    head = _exactly(connection, LENGTH.size)
    if head is None:
        return None
    body = _exactly(connection, LENGTH.unpack(head)[0])
    if body is None:
        return None
    message = json.loads(body)
    return message if isinstance(message, dict) else None


def _exactly(connection: socket.socket, count: int) -> Optional[bytearray]:  # noqa: UP045
    data = bytearray(count)
    view = memoryview(data)
    filled = 0
    while filled < count:
        try:
            got = connection.recv_into(view[filled:])
        except OSError:
            return None
        if not got:
            return None
        filled += got
    return data
