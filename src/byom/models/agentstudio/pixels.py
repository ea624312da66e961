"""An image as plain bytes, as PNG, and as a data URI."""

from __future__ import annotations

import base64
import struct
import zlib

import msgspec

_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
"""PNG's number for grey, RGB and RGBA."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEVEL = 3
"""Of zlib: above it, screenshots take twice the time for a few per cent."""


class Pixels(msgspec.Struct, frozen=True):
    """``data`` has ``height * width * channels`` bytes, row by row from the top, the channels of a pixel together.

    ``channels``: 1 (grey), 3 (RGB) or 4 (RGB and opacity).
    """

    height: int
    width: int
    channels: int
    data: bytes


def rearranged(data: bytes, shape: tuple[int, int, int], strides: tuple[int, int, int]) -> bytes:
    """The bytes of an array in the order of `Pixels`. ``strides``: bytes from one row, column, channel to the next."""
    height, width, channels = shape
    if strides == (width * channels, channels, 1):
        return data
    result = bytearray(len(data))
    own = (width * channels, channels, 1)
    # Along the longer side in one step each, so that the number of steps grows with the root of the size.
    along, across = (1, 0) if width >= height else (0, 1)
    for place in range(shape[across]):
        for channel in range(channels):
            source = place * strides[across] + channel * strides[2]
            target = place * own[across] + channel * own[2]
            reach = shape[along] - 1
            taken = data[source : source + reach * strides[along] + 1 : strides[along]]
            result[target : target + reach * own[along] + 1 : own[along]] = taken
    return bytes(result)


def png(pixels: Pixels) -> bytes:
    """The image as PNG, exact to the bit."""
    width = pixels.width * pixels.channels
    view = memoryview(pixels.data)
    # Each row begins with the number of its filter: none.
    rows = b"\0" + b"\0".join([view[at : at + width] for at in range(0, len(view), width)])
    head = struct.pack(">IIBBBBB", pixels.width, pixels.height, 8, _COLOUR_TYPES[pixels.channels], 0, 0, 0)
    body = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows, _LEVEL)) + _chunk(b"IEND", b"")
    return _SIGNATURE + body


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_uri(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
