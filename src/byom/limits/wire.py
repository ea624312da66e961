"""What a worker and the limits' authority say to each other: frames of a length (4 bytes) and a msgpack array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from byom.types.limits import Scope

LONGEST_FRAME = 16 * 1024 * 1024


class Define(msgspec.Struct, array_like=True, tag="define", gc=False):
    """From now on ``number`` stands for this scope with these rules."""

    number: int
    scope: Scope


class Ask(msgspec.Struct, array_like=True, tag="ask", gc=False):
    """Let a call in. Answered with `Granted` or `Refused`."""

    call: int
    scopes: tuple[int, ...]
    tokens: int
    cost: int
    max_wait: float


class Hold(msgspec.Struct, array_like=True, tag="hold", gc=False):
    """A call that an earlier authority let in and that still runs. Not answered."""

    call: int
    scopes: tuple[int, ...]
    tokens: int
    cost: int


class Cancel(msgspec.Struct, array_like=True, tag="cancel", gc=False):
    """The call is no longer wanted; if it was let in meanwhile, it is withdrawn."""

    call: int


class Settle(msgspec.Struct, array_like=True, tag="settle", gc=False):
    call: int
    tokens: int
    cost: int


class Forget(msgspec.Struct, array_like=True, tag="forget", gc=False):
    """All numbers are free again."""


class Granted(msgspec.Struct, array_like=True, tag="granted", gc=False):
    call: int
    waited: float


class Refused(msgspec.Struct, array_like=True, tag="refused", gc=False):
    call: int
    scope: str
    rule: str
    retry_after: float
    budget: bool
    never: bool


Request = Define | Ask | Hold | Cancel | Settle | Forget
Reply = Granted | Refused
OnLoss = Literal["refuse", "local"]

_encode = msgspec.msgpack.Encoder().encode
decode_requests = msgspec.msgpack.Decoder(list[Request]).decode
decode_replies = msgspec.msgpack.Decoder(list[Reply]).decode


def frame(messages: list[Request] | list[Reply]) -> bytes:
    body = _encode(messages)
    return len(body).to_bytes(4, "big") + body


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are complete now. Raises ``ValueError`` for one that is longer than any should be."""
        self._rest += data
        while len(self._rest) >= 4:
            length = int.from_bytes(self._rest[:4], "big")
            if length > LONGEST_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._rest) < 4 + length:
                return
            body = bytes(self._rest[4 : 4 + length])
            del self._rest[: 4 + length]
            yield body
