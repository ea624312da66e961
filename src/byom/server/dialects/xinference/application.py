"""The ASGI application of the dialect: reads a request, finds its call, checks who makes it, and answers.

Every error has both forms: ``detail``, which clients of Xinference show, and ``error``, which those of OpenAI do.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from byom.errors import ByomError, PermissionDenied
from byom.gateway import answers
from byom.gateway.asgi import GatewayApp, Receive, Scope, Send
from byom.gateway.http.head import RequestHead
from byom.server.dialects.bodies import body_of
from byom.server.dialects.xinference.request import Json, Request
from byom.server.dialects.xinference.routes import Route, find
from byom.server.dialects.xinference.services import Services

if TYPE_CHECKING:
    from byom.catalog.snapshot import CallerKey
    from byom.server.hub import Hub

log = logging.getLogger("byom.server.dialects.xinference")
_SLASHES = re.compile("/{2,}")
_AT_ROOT = ("/token", "/status")


def create(hub: Hub) -> XinferenceApp:
    """The dialect in front of a started hub. Opens nothing."""
    return XinferenceApp(hub)


class XinferenceApp:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._services = Services(hub)
        self._gateway = GatewayApp(hub.gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = _SLASHES.sub("/", scope["path"])
        headers = {name.lower(): value for name, value in scope["headers"]}
        if path not in _AT_ROOT and self._is_for_gateway(scope["method"], path, headers):
            await self._gateway(scope, receive, send)
            return
        try:
            answer = await self._answer(scope, path.rstrip("/"), headers, receive)
        except ByomError as error:
            await self._refuse(send, error)
        except Exception:
            log.exception("a fault of the hub")
            await self._refuse(send, ByomError("A fault of the hub; its log has the details."))
        else:
            if answer is not None:
                await _send(send, answer.status, answers.JSON, msgspec.json.encode(answer.content))

    def _is_for_gateway(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> bool:
        """Routes of an upstream that are called alike, and models whose name ends like a route of a model."""
        if b"x-byom-connection" in headers:
            return True
        return method == "GET" and path.removeprefix("/v1/models/") in self._hub.gateway.snapshot.routes

    async def _answer(self, scope: Scope, path: str, headers: dict[bytes, bytes], receive: Receive) -> Json | None:
        """``None`` when the caller went away. Nothing of a body is read for strangers."""
        reader = RequestHead()
        reader.headers = headers
        token = reader.token
        try:
            route, places = find(scope["method"], path)
        except ByomError:
            self._caller(token, None)  # strangers are not told what there is
            raise
        caller = self._caller(token, route)
        body = await body_of(receive, self._hub.gateway.settings.max_body_bytes)
        if body is None:
            return None
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        request = Request(token=token, caller=caller, query=query, places=places, body=body)
        return await route.call(self._services, request)

    def _caller(self, token: str | None, route: Route | None) -> CallerKey | None:
        """Raises `Unauthenticated`, `PermissionDenied`."""
        if route is not None and route.who == "anybody":
            return None
        caller = self._hub.gateway.authenticate(token)
        if caller is not None:
            self._hub.catalog.touch(caller.id)
            if route is not None and route.who == "admin" and caller.role != "admin":
                raise PermissionDenied(
                    "Not enough permissions: this needs a key of role admin. This one may list and call models.",
                    code="admin_required",
                )
        return caller

    async def _refuse(self, send: Send, error: ByomError) -> None:
        lines = answers.error_headers(error, self._hub.gateway.new_id())
        if error.status == 401:
            lines += b"www-authenticate: Bearer\r\n"
        await _send(send, error.status, lines, answers.error_body(error))


async def _send(send: Send, status: int, lines: bytes, body: bytes) -> None:
    pairs = [line.partition(b": ") for line in lines.split(b"\r\n") if line]
    headers = [(name, value) for name, _, value in pairs] + [
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
