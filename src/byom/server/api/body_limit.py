"""No body larger than the setting ``max_body_bytes`` is read."""

from __future__ import annotations

from byom.errors import BadRequest, PayloadTooLarge
from byom.server.api.asgi import App, Message, Receive, Scope, Send, header


class BodyLimit:
    """Pure ASGI. Reads the whole body before the application sees the request; ``limit`` in bytes."""

    def __init__(self, app: App, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await self._read(scope, receive)
        if body is None:
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; ``None`` when the caller went away. Raises `PayloadTooLarge`."""
        length = header(scope, b"content-length") or "0"
        if not length.isdecimal():
            raise BadRequest("Content-Length is not a number.")
        if int(length) > self._limit:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > self._limit:
                raise self._too_large()
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"The body is larger than {self._limit} bytes; the setting max_body_bytes allows more at the next start."
        )
