"""An ASGI application that serves models over OpenAI's wire format.

It is plain ASGI, without a framework: nine routes do not need one, the process starts in a fraction of the time,
and nothing stands between a model's event and the socket, or between a caller who leaves and the model.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from byom.errors import BadRequest, ByomError, MethodNotAllowed, NotFound, Unauthenticated
from byom.host import answers, http, wire
from byom.host.caller import USER_HEADER, current_request, current_user
from byom.host.directory import Directory, FixedDirectory
from byom.host.served import RerankModel, ServedModel, SizedEmbeddingModel
from byom.models.protocols import ChatModel, EmbeddingModel
from byom.types.chat import ChatEvent, ChatRequest

MAX_BODY = 64 * 2**20
_PARSE_OFF_LOOP = 256 * 2**10
_OPEN = ("/livez", "/readyz", "/health")
_TOKEN_PATH = "/agentstudio/"  # noqa: S105 - what comes before a token
_log = logging.getLogger("byom.host")

Handler = Callable[[dict[str, Any], Send, str], Coroutine[Any, Any, None]]


class InternalError(ByomError):
    """A model failed in a way that it does not explain; the process's log has the trace."""


class HostApp:
    """Serves models to callers who know the token.

    Callers show the token as ``Authorization: Bearer <token>``, as the password of ``Basic``, or in the path, as
    ``/agentstudio/<token>/…``, for clients that can do nothing else.

    Args:
        models: what to serve, as a list with names that differ, or a directory.
        token: when set, every route but ``/livez``, ``/health`` and ``/readyz`` needs it.
        max_body: bytes above which a request is refused with 413.
        routes: further routes, as ``{"POST /generate": route}``; they need the token, too.
    """

    def __init__(
        self,
        models: Iterable[ServedModel] | Directory,
        token: str | None = None,
        max_body: int = MAX_BODY,
        routes: Mapping[str, http.Route] | None = None,
    ) -> None:
        self.directory: Directory = FixedDirectory(models) if isinstance(models, Iterable) else models
        self._token = token.encode() if token is not None else None
        self._max_body = max_body
        self._posts: dict[str, Handler] = {
            "/v1/chat/completions": self._chat,
            "/v1/completions": self._complete,
            "/v1/embeddings": self._embed,
            "/v1/rerank": self._rerank,
        }
        self._further = dict(routes or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.directory.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.directory.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = http.header(scope, b"x-request-id") or f"req-{uuid.uuid4().hex}"
        started = False

        async def sending(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._route(scope, receive, sending, request_id)
        except http.CallerLeft:
            return
        except ByomError as error:
            challenge = ((b"www-authenticate", b"Bearer"),) if error.status == 401 else ()
            await http.send_error(send, error, request_id, *challenge)
        except Exception:
            _log.exception("request %s failed", request_id)
            if started:
                raise  # the server cuts the connection, so that half an answer is not taken for a whole one
            await http.send_error(send, InternalError("The model failed. Its log says why."), request_id)

    async def _route(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        path, known = self._place(scope)
        method = scope["method"]
        if path in _OPEN:
            _only(method, "GET", "HEAD")
            await self._health(path, send, request_id, known=known or self._knows(scope))
            return
        if not known and not self._knows(scope):
            raise Unauthenticated("A valid token is needed: Authorization: Bearer …")
        current_request.set(request_id)
        current_user.set(http.header(scope, USER_HEADER) or "")
        handler = self._posts.get(path)
        if handler is not None:
            _only(method, "POST")
            fields = await self._fields(receive)
            await http.until_caller_leaves(handler(fields, send, request_id), receive)
        elif path == "/v1/models":
            _only(method, "GET", "HEAD")
            data = [answers.model_body(model.info) for model in await self.directory.listing()]
            await http.send_json(send, msgspec.json.encode({"object": "list", "data": data}), request_id)
        elif path.startswith("/v1/models/"):
            _only(method, "GET", "HEAD")
            info = (await self.directory.find(path.removeprefix("/v1/models/"))).info
            await http.send_json(send, msgspec.json.encode(answers.model_body(info)), request_id)
        else:
            await self._further_route(path, scope, receive, send, request_id)

    async def _further_route(self, path: str, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        route = self._further.get(f"{scope['method']} {path}")
        if route is None:
            methods = [name.partition(" ")[0] for name in self._further if name.partition(" ")[2] == path]
            if methods:
                _only(scope["method"], *methods)
            raise NotFound(f"There is no route {path or '/'}.")
        body = await http.read_body(receive, self._max_body)
        await http.until_caller_leaves(route(http.Incoming(scope, body, send, request_id)), receive)

    async def _health(self, path: str, send: Send, request_id: str, *, known: bool) -> None:
        if path != "/readyz":
            await http.send_json(send, b'{"status": "ok"}', request_id)
            return
        status = self.directory.status(detailed=known)
        code = 200 if status["status"] == "ok" else 503
        await http.send_json(send, msgspec.json.encode(status), request_id, code)

    def _place(self, scope: Scope) -> tuple[str, bool]:
        """The path without what clients put before it, and whether that was the token."""
        path = "/" + scope["path"].strip("/")
        prefix, _, rest = path.removeprefix(_TOKEN_PATH).partition("/")
        if path.startswith(_TOKEN_PATH) and self._is_token(prefix):
            return "/" + rest.strip("/"), True
        return path, False

    def _knows(self, scope: Scope) -> bool:
        if self._token is None:
            return True
        scheme, _, given = (http.header(scope, b"authorization") or "").partition(" ")
        if scheme.lower() == "basic":
            with contextlib.suppress(ValueError):
                user, _, password = base64.b64decode(given, validate=True).decode("utf-8").partition(":")
                return self._is_token(password or user)
        return scheme.lower() == "bearer" and self._is_token(given.strip())

    def _is_token(self, given: str) -> bool:
        return self._token is None or hmac.compare_digest(given.encode("utf-8", "replace"), self._token)

    async def _fields(self, receive: Receive) -> dict[str, Any]:
        body = await http.read_body(receive, self._max_body)
        if len(body) > _PARSE_OFF_LOOP:
            return await asyncio.to_thread(wire.decode_object, body)
        return wire.decode_object(body)

    # --- routes

    async def _chat(self, fields: dict[str, Any], send: Send, request_id: str) -> None:
        known = wire.convert(fields, wire.ChatFields)
        model = await self._chat_model(known.model)
        events = _joined(model, [wire.chat_request(fields, known)])
        answer = answers.ChatAnswer(known.model, legacy=False, include_usage=known.include_usage)
        await _generate(events, answer, bool(known.stream), send, request_id)

    async def _complete(self, fields: dict[str, Any], send: Send, request_id: str) -> None:
        known = wire.convert(fields, wire.CompletionFields)
        model = await self._chat_model(known.model)
        events = _joined(model, wire.completion_requests(known), echo=bool(known.echo))
        answer = answers.ChatAnswer(known.model, legacy=True, include_usage=known.include_usage)
        await _generate(events, answer, bool(known.stream), send, request_id)

    async def _embed(self, fields: dict[str, Any], send: Send, request_id: str) -> None:
        known = wire.convert(fields, wire.EmbeddingFields)
        model = await self.directory.find(known.model)
        if not isinstance(model, EmbeddingModel):
            raise _lacks(known.model, "embeddings")
        inputs = wire.embedding_inputs(known)
        if known.dimensions is None or known.dimensions == model.info.dimensions:
            made = await model.embed(inputs)
        elif isinstance(model, SizedEmbeddingModel):
            made = await model.embed(inputs, known.dimensions)
        else:
            raise BadRequest(f"The model {known.model!r} has vectors of one length only.", param="dimensions")
        body = answers.embeddings_body(made, known.model, known.encoding_format == "base64")
        await http.send_json(send, body, request_id)

    async def _rerank(self, fields: dict[str, Any], send: Send, request_id: str) -> None:
        known = wire.convert(fields, wire.RerankFields)
        model = await self.directory.find(known.model)
        if not isinstance(model, RerankModel):
            raise _lacks(known.model, "rerank")
        texts = known.texts()
        made = await model.rerank(known.query, texts)
        await http.send_json(send, answers.rerank_body(made, known, texts), request_id)

    async def _chat_model(self, name: str) -> ChatModel:
        model = await self.directory.find(name)
        if not isinstance(model, ChatModel):
            raise _lacks(name, "chat")
        return model


def _only(method: str, *allowed: str) -> None:
    if method not in allowed:
        raise MethodNotAllowed(f"Use {' or '.join(allowed)} here, not {method}.")


def _lacks(name: str, ability: str) -> BadRequest:
    return BadRequest(f"The model {name!r} does not do {ability}.", param="model", code="unsupported_ability")


async def _joined(model: ChatModel, requests: Sequence[ChatRequest], echo: bool = False) -> AsyncIterator[ChatEvent]:
    """The events of several prompts, one after the other, with choices numbered through."""
    for position, request in enumerate(requests):
        base = position * (request.n or 1)
        if echo:
            for index in range(request.n or 1):
                yield ChatEvent(index=base + index, text=request.messages[0]["content"])
        events = model.chat(request)
        try:
            async for event in events:
                if base:
                    event.index += base
                yield event
        finally:
            await _close(events)


async def _close(events: AsyncIterator[ChatEvent]) -> None:
    # Cancelling is not enough: a generator that waits at a yield learns of it only when it is closed.
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()


async def _generate(
    events: AsyncIterator[ChatEvent], answer: answers.ChatAnswer, stream: bool, send: Send, request_id: str
) -> None:
    try:
        if stream:
            await _stream(events, answer, send, request_id)
            return
        async for event in events:
            answer.add(event)
    finally:
        await _close(events)
    await http.send_json(send, answer.body(), request_id)


async def _stream(events: AsyncIterator[ChatEvent], answer: answers.ChatAnswer, send: Send, request_id: str) -> None:
    # The head waits for the first event, so that a request which is refused gets its status.
    first = await anext(events, None)
    await http.start_events(send, request_id)
    try:
        if first is not None:
            await _send_piece(send, answer.chunks(first))
        async for event in events:
            await _send_piece(send, answer.chunks(event))
        last = answer.end()
    except ByomError as error:
        last = b"data: " + msgspec.json.encode(error.body()) + b"\n\n"
    except Exception:  # noqa: BLE001 - the head is sent: an error event is the only way left to say it
        _log.exception("stream %s failed", request_id)
        last = b"data: " + msgspec.json.encode(InternalError("The model failed.").body()) + b"\n\n"
    await send({"type": "http.response.body", "body": last})


async def _send_piece(send: Send, piece: bytes) -> None:
    if piece:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
