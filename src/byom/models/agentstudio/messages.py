"""What a message may be, after it was read and before it is written."""

from __future__ import annotations

import msgspec

from byom.models.agentstudio.pixels import Pixels

ROLES = ("system", "user", "assistant")


class FileContent(msgspec.Struct, frozen=True):
    """An image that is named by the path of a file on the caller's machine."""

    path: str


class Message(msgspec.Struct, frozen=True):
    """One role, one content. A turn of text and images is several messages of one role, one after the other."""

    role: str
    content: str | Pixels | FileContent
