"""Writes pickles of protocol 4, opcode by opcode: text, numbers, and objects whose classes are not here."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from byom.models.agentstudio import opcodes as op

_MAX_SHORT = 255


class PickleWriter:
    """Values are written in the order of the stack machine that reads them."""

    def __init__(self) -> None:
        self._out = bytearray((op.PROTO, 4))

    def end(self) -> bytes:
        self._out.append(op.STOP)
        return bytes(self._out)

    def text(self, value: str) -> None:
        """Raises UnicodeEncodeError for half of a surrogate pair."""
        data = value.encode("utf-8")
        self._sized(data, op.TEXT1, op.TEXT8)

    def data(self, value: bytes) -> None:
        self._sized(value, op.BYTES1, op.BYTES8)

    def _sized(self, data: bytes, short: int, long: int) -> None:
        if len(data) <= _MAX_SHORT:
            self._out += bytes((short, len(data)))
        else:
            self._out += struct.pack("<BQ", long, len(data))
        self._out += data

    def integer(self, value: int) -> None:
        size = value.bit_length() // 8 + 1
        self._out += bytes((op.LONG1, size)) + value.to_bytes(size, "little", signed=True)

    def name(self, module: str, name: str) -> None:
        """The name of something that whoever reads this has, such as a class."""
        self.text(module)
        self.text(name)
        self._out.append(op.STACK_GLOBAL)

    def numbers(self, values: Mapping[str, int]) -> None:
        self._out.append(op.EMPTY_DICT)
        for key, value in values.items():
            self.text(key)
            self.integer(value)
            self._out.append(op.SETITEM)

    def opcode(self, *codes: int) -> None:
        self._out += bytes(codes)
