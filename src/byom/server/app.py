"""The one ASGI application of a hub: which path belongs to whom.

The management API and the dialects are imported with the first request that needs them: a hub that only forwards calls
starts faster and stays smaller without them.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import msgspec

from byom import __version__
from byom.errors import ByomError, MethodNotAllowed, NotFound, PermissionDenied
from byom.gateway import answers
from byom.gateway.asgi import GatewayApp
from byom.gateway.http.head import RequestHead
from byom.gateway.paths import is_management
from byom.server import metrics
from byom.server.identity import header_line

if TYPE_CHECKING:
    from byom.gateway.asgi import Receive, Scope, Send
    from byom.server.hub import Hub


READING = ("GET", "HEAD", "OPTIONS")


class HubApp:
    """``/v1`` gateway, ``/api`` management, the paths of the dialects, ``/livez`` ``/readyz`` ``/metrics`` operation,
    ``/`` an index."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._gateway = GatewayApp(hub.gateway)
        self._made: dict[str, Any] = {}
        self._building = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "WebSocket is not served here"})
            return
        path = scope["path"]
        if path.startswith("//"):
            # Clients that put a path behind an address with a slash at its end.
            path = scope["path"] = "/" + path.lstrip("/")
            scope.pop("raw_path", None)
        request_id = _header(scope, b"x-request-id")
        try:
            self._hub.check_origin(_header(scope, b"host"), _header(scope, b"origin"))
            if path.startswith("/v1/"):
                await self._below_v1(scope, receive, send)
            elif path == "/api" or path.startswith("/api/"):
                api = await self._part("api")
                await api(scope, receive, send if scope["method"] in READING else self._spreading(send))
            elif (dialect := _dialect_of(path)) is not None:
                await (await self._part(dialect))(scope, receive, send)
            else:
                await self._own(scope, path, send)
        except ByomError as error:
            headers = answers.error_headers(error, request_id or self._hub.gateway.new_id())
            await _respond(send, error.status, headers, answers.error_body(error))

    async def _below_v1(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The gateway, but for the routes by which Xinference's clients launch models."""
        target = scope.get("raw_path") or scope["path"].encode()
        if is_management(b"%b %b " % (scope["method"].encode(), target)):
            await self._xinference(scope, receive, send)
        else:
            await self._gateway(scope, receive, send)

    async def _xinference(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = await self._part("xinference")
        await app(scope, receive, send if scope["method"] in READING else self._spreading(send))

    async def _part(self, name: str) -> Any:
        """The management API or a dialect, made with the first request for it."""
        if name not in self._made:
            async with self._building:
                if name not in self._made:
                    make = functools.partial(_PARTS[name], self._hub)
                    self._made[name] = await asyncio.get_running_loop().run_in_executor(None, make)
        return self._made[name]

    def _spreading(self, send: Send) -> Send:
        """A change holds in every process of the hub before its answer says so."""
        before = self._hub.catalog.state.revision

        async def after(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and self._hub.catalog.state.revision != before:
                await self._hub.spread()
            await send(message)

        return after

    async def _own(self, scope: Scope, path: str, send: Send) -> None:
        """The routes of a hub that are neither gateway nor management."""
        hub = self._hub
        known = ("/", "/livez", "/readyz", "/metrics")
        if path not in known:
            raise NotFound(f"There is nothing at {path[:100]}. The gateway is at /v1, the management API at /api.")
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{path} takes GET.")
        if path == "/livez":
            headers = answers.JSON + header_line(hub.settings.home, hub.started_at)
            await _respond(send, 200, headers, b'{"status":"ok"}')
        elif path == "/readyz":
            problems = await hub.all_problems()
            body = {"status": "ok" if not problems else "unavailable", "problems": problems}
            await _respond(send, 503 if problems else 200, answers.JSON, msgspec.json.encode(body))
        elif path == "/metrics":
            self._check_metrics(scope)
            await _respond(send, 200, metrics.CONTENT_TYPE, await hub.metrics_text())
        else:
            links = {"gateway": "/v1", "management": "/api", "documentation": "/api/docs", "metrics": "/metrics"}
            index = {"name": "byom", "version": __version__, "links": links}
            await _respond(send, 200, answers.JSON, msgspec.json.encode(index))

    def _check_metrics(self, scope: Scope) -> None:
        """Open on a hub that only this machine can reach; elsewhere model names and money need an admin key."""
        if self._hub.local_only:
            return
        reader = RequestHead()
        reader.headers = dict(scope["headers"])
        caller = self._hub.gateway.authenticate(reader.token)
        if caller is not None and caller.role != "admin":
            raise PermissionDenied("/metrics takes an admin key.")


def _create_api(hub: Hub) -> Any:
    from byom.server.api.application import create_api

    return create_api(hub)


def _create_dataiku(hub: Hub) -> Any:
    from byom.server.dialects.dataiku import create

    return create(hub)


def _create_agentstudio(hub: Hub) -> Any:
    from byom.server.dialects.agentstudio import create

    return create(hub)


def _create_xinference(hub: Hub) -> Any:
    from byom.server.dialects.xinference import create

    return create(hub)


_PARTS: dict[str, Callable[[Hub], Any]] = {
    "api": _create_api,
    "dataiku": _create_dataiku,
    "agentstudio": _create_agentstudio,
    "xinference": _create_xinference,
}
_DIALECTS = (
    ("/dip/publicapi/", "dataiku"),
    ("/public/api/", "dataiku"),
    ("/agentstudio/", "agentstudio"),
    ("/generate", "agentstudio"),
    ("/health", "agentstudio"),
    ("/token", "xinference"),
    ("/status", "xinference"),
)


def _dialect_of(path: str) -> str | None:
    """Which system's clients know this path."""
    for beginning, name in _DIALECTS:
        if path == beginning or (path.startswith(beginning) and beginning.endswith("/")):
            return name
    return None


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key.lower() == name:
            return str(value[:512], "latin-1")
    return ""


async def _respond(send: Send, status: int, headers: bytes, body: bytes) -> None:
    lines = [line.partition(b": ") for line in headers.split(b"\r\n") if line]
    pairs = [(name, value) for name, _, value in lines] + [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _lifespan(receive: Receive, send: Send) -> None:
    """A hub is started and stopped by whoever made it, so there is nothing to do here."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
