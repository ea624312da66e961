"""A request of the dialect, and what may be answered to it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from byom.catalog.snapshot import CallerKey
from byom.server.dialects.dataiku.failure import Failure


class Request(msgspec.Struct, kw_only=True):
    token: str | None
    """The caller's key as it came; ``None`` where none was sent."""
    caller: CallerKey | None
    """``None`` on a hub without keys."""
    query: Mapping[str, str] = {}
    places: tuple[str, ...] = ()
    """The variable parts of the path, in their order."""
    body: bytes = b""
    request_id: str = ""

    @property
    def is_admin(self) -> bool:
        return self.caller is None or self.caller.role == "admin"

    def fields(self) -> dict[str, Any]:
        """The body, whatever its content type: the client sends JSON without saying so. Raises `Failure`."""
        try:
            found: Any = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise Failure(f"The request's body is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise Failure("The request's body is not a JSON object.")
        return found


@dataclass(frozen=True, slots=True)
class Json:
    """An answer with a JSON body, or with none (``nothing``)."""

    content: Any
    status: int = 200
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Events:
    """An event stream. ``close`` lets go of what it comes from, whether it was read or not.

    Where ``pieces`` raises `BrokenOff` the connection is broken, so that the caller does not take the part for a whole.
    """

    pieces: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]


class BrokenOff(Exception):
    """The answer ends before its end; the message is the code of the error that ended it."""


Answer = Json | Events


def token_of(headers: Mapping[bytes, bytes]) -> str | None:
    """The caller's key: user name of ``Basic``, ``Bearer``, or the ticket's header. ``None`` where none was sent.

    A header that cannot be read gives an empty key, which nobody has.
    """
    value = headers.get(b"authorization")
    if value is None:
        ticket = headers.get(b"x-dku-apiticket")
        return None if ticket is None else ticket.strip().decode("latin-1")
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.strip().decode("latin-1")
    if scheme.lower() != b"basic":
        return ""
    try:
        pair = base64.b64decode(rest.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return pair.partition(":")[0].strip()


def mapping(value: Any, name: str) -> dict[str, Any]:
    """A JSON object, an empty one for null. Raises `Failure`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Failure(f"'{name}' is not a JSON object.")
    return value


def objects(value: Any, name: str) -> list[dict[str, Any]]:
    """A list of JSON objects. Raises `Failure`."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Failure(f"'{name}' is not a list of JSON objects.")
    return value
