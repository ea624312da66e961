"""Calls of models through the gateway, in this process and with the caller's key."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec

from byom.errors import UpstreamProtocol
from byom.server.dialects.dataiku.failure import Failure
from byom.server.dialects.dataiku.request import Request
from byom.server.in_process import StreamingASGITransport
from byom.upstream.sse import SSEDecoder

if TYPE_CHECKING:
    from byom.server.hub import Hub

OWN_ADDRESS = "http://127.0.0.1"
"""A name that every hub answers to."""


class Reply(msgspec.Struct, kw_only=True):
    """A good answer. ``model``: the name of the model that gave it, where that is another one than was asked."""

    data: dict[str, Any]
    size: int = 0
    """Bytes of the answer."""
    sent: bytes = b""
    """The request's body."""
    model: str = ""
    cached: bool = False
    """It was kept from an earlier call, and costs nothing."""


class Stream:
    """The events of an answer. ``model`` and ``cached`` as in `Reply`."""

    def __init__(self, response: httpx2.Response, sent: bytes) -> None:
        self._response = response
        self.sent = sent
        self.model = response.headers.get("x-byom-model", "")
        self.cached = "x-byom-cache" in response.headers
        self.ended = False
        """The stream has said that it is whole."""
        self._decoder = SSEDecoder()

    async def close(self) -> None:
        """Hangs up; the model's server is told if it has not finished."""
        await self._response.aclose()

    async def events(self) -> AsyncGenerator[dict[str, Any] | None]:
        """Each event's object; ``None`` for a sign of life. Raises `Failure` when the answer breaks off."""
        try:
            async for piece in self._response.aiter_raw():
                found = self._decoder.feed(piece)
                if not found and piece.startswith(b":"):
                    yield None
                for data in found:
                    if data == b"[DONE]":
                        self.ended = True
                    else:
                        yield _event(data)
        except (httpx2.TransportError, OSError) as error:
            raise _broken() from error
        except UpstreamProtocol as error:
            raise Failure.of_error(error) from error
        if not self.ended:
            raise _broken()


class Calls:
    """The way to the models of one hub."""

    def __init__(self, hub: Hub) -> None:
        transport = StreamingASGITransport(hub.app)
        self._client = httpx2.AsyncClient(transport=transport, base_url=OWN_ADDRESS, timeout=None, trust_env=False)

    async def ask(self, request: Request, method: str, path: str, fields: dict[str, Any] | None = None) -> Reply:
        """Raises `Failure` for an error answer and for what is no JSON object."""
        sent = b"" if fields is None else msgspec.json.encode(fields)
        response = await self._send(request, method, path, sent)
        try:
            body = await response.aread()
        except (httpx2.TransportError, OSError) as error:
            raise _broken() from error
        finally:
            await response.aclose()
        if response.status_code >= 400:
            raise _refused(response, body)
        try:
            data: Any = msgspec.json.decode(body) if body else {}
        except (msgspec.DecodeError, RecursionError) as error:
            raise _unreadable() from error
        if not isinstance(data, dict):
            raise _unreadable()
        headers = response.headers
        return Reply(
            data=data,
            size=len(body),
            sent=sent,
            model=headers.get("x-byom-model", ""),
            cached="x-byom-cache" in headers,
        )

    async def stream(self, request: Request, path: str, fields: dict[str, Any]) -> Stream:
        """Raises `Failure` for an error answer. The stream has to be closed."""
        sent = msgspec.json.encode(fields)
        response = await self._send(request, "POST", path, sent)
        try:
            if response.status_code >= 400:
                raise _refused(response, await response.aread())
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise _unreadable()
        except BaseException:
            await response.aclose()
            raise
        return Stream(response, sent)

    async def _send(self, request: Request, method: str, path: str, body: bytes) -> httpx2.Response:
        headers = {"content-type": "application/json"}
        if request.token is not None:
            headers["authorization"] = f"Bearer {request.token}"
        if request.request_id:
            headers["x-request-id"] = request.request_id
        built = self._client.build_request(method, path, content=body, headers=headers)
        try:
            return await self._client.send(built, stream=True)
        except (httpx2.TransportError, OSError) as error:
            raise _broken() from error


def _event(data: bytes) -> dict[str, Any]:
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        event: Any = msgspec.json.decode(data)
        if isinstance(event, dict):
            if event.get("error"):
                raise Failure.of_body(event)
            return event
    raise _unreadable()


def _refused(response: httpx2.Response, body: bytes) -> Failure:
    return Failure.of_answer(response.status_code, body, response.headers.get("retry-after", ""))


def _broken() -> Failure:
    return Failure(
        "The model's answer broke off before its end.", status=502, code="upstream_unreachable", kind="upstream_error"
    )


def _unreadable() -> Failure:
    return Failure(
        "The model's server did not answer with what it was asked for.",
        status=502,
        code="upstream_protocol",
        kind="upstream_error",
    )
