"""The two values of each request and reply: base64 of a pickle, to values and back."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from byom.models.agentstudio import opcodes as op
from byom.models.agentstudio.errors import WireError
from byom.models.agentstudio.machine import read_pickle
from byom.models.agentstudio.messages import FileContent, Message
from byom.models.agentstudio.names import MESSAGE_NAMES, NO_NAMES
from byom.models.agentstudio.pixels import Pixels
from byom.models.agentstudio.values import messages_of
from byom.models.agentstudio.writer import PickleWriter

MAX_PICKLE = 64 * 2**20
"""Bytes of a pickle of messages; an image of 1920 x 1080 has 6.2 million."""
MAX_REPLY = 16 * 2**20
_PIECE = 2**20
"""Characters that are decoded in one go: no other thread runs meanwhile, so that a large body is taken in pieces."""


class MessageForm(Enum):
    """What AgentStudio's own server takes for a message, by its age."""

    MESSAGE = "message"
    """Since August 2024."""
    PROMPT_SEG = "prompt-seg"
    """From June to August 2024."""
    DICT = "dict"
    """Before."""


_CLASSES = {
    MessageForm.MESSAGE: ("agent_studio.utils.types", "Message"),
    MessageForm.PROMPT_SEG: ("agent_studio.utils.prompt", "PromptSeg"),
}


def decode_messages(text: str, max_bytes: int = MAX_PICKLE) -> list[Message]:
    """The messages of a request. Raises `WireError` alone, whatever the text is."""
    return messages_of(read_pickle(_from_base64(text, max_bytes), MESSAGE_NAMES))


def decode_reply(message: object, info: object) -> tuple[str, dict[str, Any]]:
    """The text and the plain values of the information beside it. Raises `WireError` alone."""
    if not isinstance(message, str) or not isinstance(info, str):
        raise WireError("The reply lacks its message or its info.")
    text = read_pickle(_from_base64(message, MAX_REPLY), NO_NAMES)
    if not isinstance(text, str):
        raise WireError(f"The message of the reply is not text but {type(text).__name__}.")
    values = read_pickle(_from_base64(info, MAX_REPLY), NO_NAMES)
    if not isinstance(values, dict):
        raise WireError(f"The info of the reply is not a dict but {type(values).__name__}.")
    return text, {key: value for key, value in values.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def encode_reply(message: str, info: Mapping[str, int]) -> dict[str, str]:
    """The two values of a reply. What is not known must not be in ``info``: clients add the numbers up."""
    text = PickleWriter()
    text.text(message.encode("utf-8", "replace").decode("utf-8"))
    numbers = PickleWriter()
    numbers.numbers(info)
    return {"message": _base64(text.end()), "info": _base64(numbers.end())}


def encode_messages(messages: Sequence[Message], form: MessageForm = MessageForm.MESSAGE) -> str:
    """Messages as AgentStudio's server unpickles them, with numpy 1 and 2. Raises `WireError` for half characters."""
    writer = PickleWriter()
    writer.opcode(op.EMPTY_LIST)
    try:
        for message in messages:
            _write_message(writer, message, form)
            writer.opcode(op.APPEND)
    except UnicodeEncodeError as error:
        raise WireError("A message holds half of a surrogate pair, which is no text.") from error
    return _base64(writer.end())


def _write_message(writer: PickleWriter, message: Message, form: MessageForm) -> None:
    named = _CLASSES.get(form)
    if named is not None:
        writer.name(*named)
        writer.opcode(op.EMPTY_TUPLE, op.NEWOBJ)
    writer.opcode(op.EMPTY_DICT)
    writer.text("role")
    writer.text(message.role)
    writer.opcode(op.SETITEM)
    writer.text("content")
    _write_content(writer, message.content)
    writer.opcode(op.SETITEM)
    if named is not None:
        writer.opcode(op.BUILD)


def _write_content(writer: PickleWriter, content: str | Pixels | FileContent) -> None:
    if isinstance(content, str):
        writer.text(content)
    elif isinstance(content, Pixels):
        # numpy.reshape(numpy.frombuffer(data, "uint8"), (height, width, channels)): the same in every numpy.
        writer.name("numpy", "reshape")
        writer.name("numpy", "frombuffer")
        writer.data(content.data)
        writer.text("uint8")
        writer.opcode(op.TUPLE2, op.REDUCE)
        for side in (content.height, content.width, content.channels):
            writer.integer(side)
        writer.opcode(op.TUPLE3, op.TUPLE2, op.REDUCE)
    else:
        raise WireError("A path is not sent to another machine.")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_base64(text: str, max_bytes: int) -> bytes:
    if len(text) > (max_bytes + 2) // 3 * 4:
        raise WireError(f"The pickle is larger than {max_bytes} bytes.", code="request_too_large")
    result = bytearray()
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        try:
            result += binascii.a2b_base64(piece, strict_mode=True)
        except ValueError as error:
            raise WireError("The value is not valid base64.") from error
        if start + _PIECE < len(text) and piece.endswith("="):
            raise WireError("The value is not valid base64.")
    return bytes(result)
