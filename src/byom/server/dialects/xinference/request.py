"""A request of the dialect, and what is answered to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from byom.catalog.snapshot import CallerKey
from byom.errors import BadRequest


class Request(msgspec.Struct, kw_only=True):
    token: str | None
    """The caller's key as it came; ``None`` where none was sent."""
    caller: CallerKey | None
    """``None`` on a hub without keys, and where a route needs none."""
    query: Mapping[str, str] = {}
    places: tuple[str, ...] = ()
    """The variable parts of the path, in their order."""
    body: bytes = b""

    @property
    def is_admin(self) -> bool:
        return self.caller is None or self.caller.role == "admin"

    @property
    def actor(self) -> str:
        """For the audit log."""
        return "local" if self.caller is None else f"key:{self.caller.id}"

    def fields(self) -> dict[str, Any]:
        """The body, an empty object where there is none. Raises `BadRequest`."""
        if not self.body:
            return {}
        try:
            found: Any = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadRequest(f"The request's body is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise BadRequest("The request's body is not a JSON object.")
        return found


@dataclass(frozen=True, slots=True)
class Json:
    """An answer. Clients take exactly 200 for success, and read a body even where there is nothing to say."""

    content: Any = None
    status: int = 200
