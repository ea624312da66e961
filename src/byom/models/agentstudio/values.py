"""From what a pickle asks for to values, every length checked. Nothing here follows a value into its depth."""

from __future__ import annotations

from typing import Any

from byom.models.agentstudio.errors import WireError
from byom.models.agentstudio.machine import Made, Named
from byom.models.agentstudio.messages import ROLES, FileContent, Message
from byom.models.agentstudio.names import Kind
from byom.models.agentstudio.pixels import Pixels, rearranged

MAX_SIDE = 32_768
MAX_CONTENT = 128 * 2**20
"""Bytes of all contents together. One value may stand in many messages, so the size of the pickle bounds nothing."""
_UINT8 = ("u1", "|u1", "uint8", "B")
_CHANNELS = (1, 3, 4)
_MAX_PATH = 4096


def messages_of(value: Any) -> list[Message]:
    """The messages of a list, of any era of AgentStudio. Raises `WireError` naming the place."""
    if not isinstance(value, list | tuple) or not value:
        raise WireError("messages must be a list of at least one message.")
    seen: dict[int, Pixels] = {}
    room = MAX_CONTENT
    result = []
    for place, item in enumerate(value):
        message = _message(item, f"messages[{place}]", seen)
        room -= _size(message.content)
        if room < 0:
            raise WireError(f"The contents of all messages together are larger than {MAX_CONTENT} bytes.")
        result.append(message)
    return result


def _size(content: str | Pixels | FileContent) -> int:
    if isinstance(content, Pixels):
        return len(content.data)
    return len(content) if isinstance(content, str) else 0


def _message(item: Any, place: str, seen: dict[int, Pixels]) -> Message:
    fields = item.state if isinstance(item, Made) and item.kind is Kind.MESSAGE and not item.args else item
    if not isinstance(fields, dict) or "role" not in fields or "content" not in fields:
        raise WireError(f"{place} is not a message with role and content.")
    role = fields["role"]
    if not isinstance(role, str) or role not in ROLES:
        raise WireError(f"The role of {place} must be one of {', '.join(ROLES)}.")
    return Message(role, _content(fields["content"], f"The content of {place}", seen))


def _content(value: Any, what: str, seen: dict[int, Pixels]) -> str | Pixels | FileContent:
    if isinstance(value, str):
        return value
    if isinstance(value, Made):
        if value.kind is Kind.PATH:
            return _file(value, what)
        if value.kind in (Kind.RECONSTRUCT, Kind.FROMBUFFER):
            # The same array in many messages is one array: `Made` lives as long as the pickle, so its id is its own.
            if id(value) not in seen:
                seen[id(value)] = _array(value, what)
            return seen[id(value)]
    raise WireError(f"{what} must be text, an image array or a path, not {_kind(value)}.")


def _kind(value: Any) -> str:
    return value.kind.name.lower() if isinstance(value, Made | Named) else type(value).__name__


def _file(value: Made, what: str) -> FileContent:
    parts = value.args
    if not parts or not all(isinstance(part, str) for part in parts) or sum(map(len, parts)) > _MAX_PATH:
        raise WireError(f"{what} is a path that cannot be read.")
    first, rest = parts[0], parts[1:]
    return FileContent("/".join((first.rstrip("/") if rest else first, *rest)))


def _array(value: Made, what: str) -> Pixels:
    if value.kind is Kind.FROMBUFFER:
        data, dtype, shape, strides = _from_buffer(value, what)
    else:
        data, dtype, shape, strides = _reconstructed(value, what)
    if not _is_uint8(dtype):
        raise WireError(f"{what} is an array of another type than uint8. Send images as RGB, uint8.")
    height, width, channels = shape
    if channels not in _CHANNELS or not isinstance(data, bytes) or len(data) != height * width * channels:
        raise WireError(f"{what} is an array whose shape is not that of an image, or not that of its data.")
    return Pixels(height, width, channels, rearranged(data, shape, strides))


_Layout = tuple[Any, Any, tuple[int, int, int], tuple[int, int, int]]
"""Data, dtype, shape and strides, the last two as height, width, channels."""


def _from_buffer(value: Made, what: str) -> _Layout:
    """``_frombuffer(data, dtype, shape, order[, axis_order])``"""
    if len(value.args) not in (4, 5):
        raise WireError(f"{what} is an array that cannot be read.")
    data, dtype, given, order = value.args[:4]
    axes = value.args[4] if len(value.args) == 5 else None
    shape = _shape(given, what)
    if order == "K" and axes is not None:
        if not isinstance(axes, tuple) or not all(type(axis) is int for axis in axes):
            raise WireError(f"{what} is an array that cannot be read.")
        if sorted(axes) not in ([0, 1, 2], [0, 1]) or len(axes) != len(given):
            raise WireError(f"{what} is an array that cannot be read.")
        strides = _strides(shape, "C")
        places = (*axes, 2)[:3]  # grey images have no axis of channels: theirs stays where it is
        return data, dtype, _picked(shape, places), _picked(strides, places)
    if order not in ("C", "F", "K", "A"):
        raise WireError(f"{what} is an array that cannot be read.")
    return data, dtype, shape, _strides(shape, order)


def _picked(values: tuple[int, int, int], places: tuple[int, ...]) -> tuple[int, int, int]:
    return values[places[0]], values[places[1]], values[places[2]]


def _reconstructed(value: Made, what: str) -> _Layout:
    """``_reconstruct(ndarray, (0,), b"b")`` with the state ``(1, shape, dtype, is_fortran, data)``"""
    state = value.state
    made_of = value.args[0] if value.args else None
    if not isinstance(made_of, Named) or made_of.kind is not Kind.NDARRAY:
        raise WireError(f"{what} is an array that cannot be read.")
    if not isinstance(state, tuple) or len(state) != 5:
        raise WireError(f"{what} is an array that cannot be read.")
    _, given, dtype, fortran, data = state
    shape = _shape(given, what)
    return _plain_bytes(data, what), dtype, shape, _strides(shape, "F" if fortran is True else "C")


def _plain_bytes(data: Any, what: str) -> Any:
    """Bytes as they are; those that protocol 2 writes as text, from their text."""
    if not isinstance(data, Made) or data.kind is not Kind.ENCODE:
        return data
    if len(data.args) == 2 and isinstance(data.args[0], str) and data.args[1] in ("latin1", "latin-1"):
        try:
            return data.args[0].encode("latin-1")
        except UnicodeEncodeError as error:
            raise WireError(f"{what} is an array whose data is not bytes.") from error
    raise WireError(f"{what} is an array whose data is not bytes.")


def _is_uint8(dtype: Any) -> bool:
    if not isinstance(dtype, Made) or dtype.kind is not Kind.DTYPE or not dtype.args:
        return False
    state = dtype.state
    # Places 2 to 4 of the state are a subarray and fields, which would make it another type.
    plain = state is None or (isinstance(state, tuple) and all(one is None for one in state[2:5]))
    return plain and isinstance(dtype.args[0], str) and dtype.args[0] in _UINT8


def _shape(given: Any, what: str) -> tuple[int, int, int]:
    if isinstance(given, tuple) and all(type(side) is int and 0 < side <= MAX_SIDE for side in given):
        if len(given) == 3:
            return given[0], given[1], given[2]
        if len(given) == 2:
            return given[0], given[1], 1
    raise WireError(f"{what} is an array whose shape is not that of an image: (height, width, 3).")


def _strides(shape: tuple[int, int, int], order: str) -> tuple[int, int, int]:
    height, width, channels = shape
    return (1, height, height * width) if order == "F" else (width * channels, channels, 1)
