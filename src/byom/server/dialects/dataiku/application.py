"""The ASGI application of the dialect: reads a request, finds its call, answers, and follows the caller who leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from byom.errors import ByomError
from byom.gateway.asgi import Receive, Scope, Send
from byom.server.dialects.bodies import body_of
from byom.server.dialects.dataiku import openai_surface
from byom.server.dialects.dataiku.calls import Calls
from byom.server.dialects.dataiku.failure import Failure, not_served
from byom.server.dialects.dataiku.request import Answer, BrokenOff, Events, Json, Request, token_of
from byom.server.dialects.dataiku.routes import find
from byom.server.dialects.dataiku.services import Services

if TYPE_CHECKING:
    from byom.server.hub import Hub

log = logging.getLogger("byom.server.dialects.dataiku")
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
PREFIXES = ("/dip/publicapi", "/public/api")
_SLASHES = re.compile("/{2,}")
_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_IMPERSONATION = b"x-dku-proxyuser"


def create(hub: Hub) -> Application:
    """The dialect in front of a started hub. Opens nothing."""
    return DataikuApp(hub)


class DataikuApp:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._services = Services(hub, Calls(hub))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = api_path(scope["path"])
        headers = {name.lower(): value for name, value in scope["headers"]}
        rest = openai_surface.rest_of(path)
        if rest is not None:
            await self._hub.app(openai_surface.rewritten(scope, rest, token_of(headers)), receive, send)
            return
        try:
            request, call = await self._read(scope, path, headers, receive)
        except (Failure, ByomError) as error:
            await _send_json(send, _refusal(error))
            return
        if request is not None:
            await _follow(self._answer(call, request, send), receive)

    async def _read(
        self, scope: Scope, path: str, headers: Mapping[bytes, bytes], receive: Receive
    ) -> tuple[Request | None, Call]:
        """The request and its call; no request where the caller went away. Nothing of a body is read for strangers."""
        token = token_of(headers)
        caller = self._hub.gateway.authenticate(token)
        if _IMPERSONATION in headers:
            raise not_served("The request is made in another user's name (X-DKU-ProxyUser).")
        call, places = find(scope["method"], path)
        body = await body_of(receive, self._hub.gateway.settings.max_body_bytes)
        request_id = headers.get(b"x-request-id", b"").decode("latin-1")
        request = Request(
            token=token,
            caller=caller,
            query=dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"))),
            places=places,
            body=body or b"",
            request_id=request_id if _SAFE_ID.match(request_id) else "",
        )
        return (None if body is None else request), call

    async def _answer(self, call: Call, request: Request, send: Send) -> None:
        try:
            answer = await call(self._services, request)
        except (Failure, ByomError) as error:
            answer = _refusal(error)
        except Exception:
            log.exception("a fault of the hub")
            answer = _refusal(ByomError("A fault of the hub; its log has the details."))
        if isinstance(answer, Events):
            await _send_events(send, answer)
        else:
            await _send_json(send, answer)


Call = Callable[[Services, Request], Awaitable[Answer]]


def api_path(path: str) -> str:
    """The path below the API's own, with single slashes and none at its end."""
    path = _SLASHES.sub("/", path)
    for prefix in PREFIXES:
        if path.startswith(prefix):
            return path.removeprefix(prefix).rstrip("/")
    return path.rstrip("/")


def _refusal(error: Failure | ByomError) -> Json:
    failure = Failure.of_error(error) if isinstance(error, ByomError) else error
    return Json(failure.body(), failure.status, failure.retry_after)


async def _follow(work: Awaitable[None], receive: Receive) -> None:
    """Do the work, and stop it when the caller leaves: the models' servers are told then."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await working


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_json(send: Send, answer: Json) -> None:
    body = msgspec.json.encode(answer.content)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if answer.retry_after:
        headers.append((b"retry-after", answer.retry_after.encode("latin-1")))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _send_events(send: Send, answer: Events) -> None:
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    ]
    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for piece in answer.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except BrokenOff as broken:
        # Nothing more: an ASGI server breaks the connection of an answer that was not ended.
        log.info("a streamed answer broke off: %s", broken)
    finally:
        await answer.close()
