"""The body of a request to a dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byom.host.http import CallerLeft, read_body

if TYPE_CHECKING:
    from byom.gateway.asgi import Receive


async def body_of(receive: Receive, limit: int) -> bytes | None:
    """``None`` when the caller went away meanwhile. Raises `PayloadTooLarge` above ``limit`` bytes."""
    try:
        return await read_body(receive, limit)
    except CallerLeft:
        return None
