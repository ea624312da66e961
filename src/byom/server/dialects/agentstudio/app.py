"""``POST /generate`` and ``GET /health`` of AgentStudio's model server, answered by a hub's models."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from byom.errors import BadRequest, ByomError, MethodNotAllowed, NotFound
from byom.gateway.asgi import GatewayApp
from byom.host import http
from byom.models.agentstudio.access import route_and_token
from byom.models.agentstudio.files import ImageFolder
from byom.models.agentstudio.generate import parse_request, read_messages, unknown_model
from byom.server.dialects.agentstudio.calling import Answer, call_model, error_answer

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from byom.catalog.snapshot import CallerKey
    from byom.gateway.gateway import Gateway


class Options(msgspec.Struct, frozen=True, kw_only=True):
    allow_paths: Path | None = None
    """The folder below which images that a message names by path may be read; by default nowhere."""
    keep_alive: float = 0.0
    """Seconds of waiting after which blanks are sent, so that proxies do not cut the connection. The status is 200
    from then on, whatever comes of the call. 0: never."""


class AgentStudioApp:
    """Checks who calls and which model is meant before it reads the messages, which may be large."""

    def __init__(self, gateway: Gateway, options: Options | None = None) -> None:
        self._gateway = gateway
        self._inner = GatewayApp(gateway)
        self._options = options or Options()
        self._folder = ImageFolder(self._options.allow_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = (http.header(scope, b"x-request-id") or "")[:128]
        request_id = given if given and given.isascii() and given.isprintable() else self._gateway.new_id()
        try:
            await self._route(scope, receive, send, request_id)
        except http.CallerLeft:
            return
        except ByomError as error:
            await _send(send, error_answer(error, request_id))

    async def _route(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        route, token = route_and_token(scope["path"], http.header(scope, b"authorization"))
        if route == "/health":
            if scope["method"] not in ("GET", "HEAD"):
                raise MethodNotAllowed("/health takes GET.")
            await _send(send, Answer(200, b"OK", ((b"content-type", b"text/plain; charset=utf-8"),)))
        elif route == "/generate":
            if scope["method"] != "POST":
                raise MethodNotAllowed("/generate takes POST.")
            caller = self._gateway.authenticate(token)
            body = await self._body(scope, receive)
            work = self._generate(body, caller, token, request_id)
            await self._answer(work, receive, send, request_id)
        else:
            raise NotFound("There are /generate and /health here.")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if http.header(scope, b"content-encoding") not in (None, "identity"):
            raise BadRequest("Send the body as it is, without content-encoding.")
        return await http.read_body(receive, self._gateway.settings.max_body_bytes)

    async def _generate(self, body: bytes, caller: CallerKey | None, token: str | None, request_id: str) -> Answer:
        try:
            chat = await asyncio.to_thread(self._chat_body, body, caller)
            # A hub without keys takes no token, so that anything may stand in the place of one.
            return await call_model(self._inner, chat, token if caller is not None else None, request_id)
        except ByomError as error:
            return error_answer(error, request_id)

    def _chat_body(self, body: bytes, caller: CallerKey | None) -> bytes:
        request = parse_request(body)
        snapshot = self._gateway.snapshot
        allowed = caller.models if caller is not None else None
        route = snapshot.routes.get(request.model)
        if route is None or (allowed is not None and route.name not in allowed):
            usable = (one.name for one in snapshot.models if "chat" in one.abilities)
            raise unknown_model(request.model, (name for name in usable if allowed is None or name in allowed))
        fields = {"model": request.model, "messages": read_messages(request, self._folder)}
        return msgspec.json.encode(fields)

    async def _answer(self, work: Coroutine[Any, Any, Answer], receive: Receive, send: Send, request_id: str) -> None:
        """Sends what the work comes to; it ends when the caller leaves."""
        if not self._options.keep_alive:
            await _send(send, await http.until_caller_leaves(work, receive))
            return
        blanks = _Blanks(send, self._options.keep_alive, request_id)
        await http.until_caller_leaves(blanks.until_done(work), receive)


class _Blanks:
    """An answer that begins with blanks while its content is waited for. Readers of JSON skip them."""

    def __init__(self, send: Send, seconds: float, request_id: str) -> None:
        self._send = send
        self._seconds = seconds
        self._request_id = request_id

    async def until_done(self, work: Coroutine[Any, Any, Answer]) -> None:
        task = asyncio.ensure_future(work)
        begun = False
        try:
            while not (await asyncio.wait({task}, timeout=self._seconds))[0]:
                if not begun:
                    begun = True
                    headers = [
                        (b"content-type", b"application/json"),
                        (b"x-request-id", self._request_id.encode("latin-1")),
                    ]
                    await self._send({"type": "http.response.start", "status": 200, "headers": headers})
                await self._send({"type": "http.response.body", "body": b" ", "more_body": True})
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        answer = task.result()
        if begun:
            await self._send({"type": "http.response.body", "body": answer.body, "more_body": False})
        else:
            await _send(self._send, answer)


async def _send(send: Send, answer: Answer) -> None:
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
