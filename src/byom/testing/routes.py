"""Which route answers what, and the checks that come before: key, model, rate limit, scripted errors."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from byom.testing import other_wire
from byom.testing.answer import AnswerWriter, error_body
from byom.testing.behavior import Behavior, RateLimit
from byom.testing.chat_wire import ChatWire
from byom.testing.connection import Connection
from byom.testing.prompt import prompt_text
from byom.testing.records import RecordedRequest
from byom.testing.responses_wire import ResponsesWire
from byom.testing.script import write_script

if TYPE_CHECKING:
    from byom.testing.upstream import Response


class Settings(Protocol):
    """What the router needs to know of its server."""

    models: tuple[str, ...]
    strict_models: bool
    api_key: str | None
    prefix: str
    rate_limit_violations: int

    async def choose(self, request: RecordedRequest, route: str) -> tuple[str, Behavior | Response]: ...


class Router:
    """Answers the requests of one fake upstream."""

    def __init__(self, server: Settings) -> None:
        self._server = server
        self._accepted: dict[tuple[str, RateLimit], deque[float]] = {}

    async def answer(self, request: RecordedRequest, connection: Connection) -> None:
        plain = AnswerWriter(Behavior(), request, connection)
        if not self._allowed(request):
            message = "Incorrect API key provided."
            await plain.send_body(error_body(message, "invalid_request_error", "invalid_api_key"), status=401)
            return
        route = self._route(request.path)
        if route is None:
            message = f"Invalid URL ({request.method} {request.path})"
            await plain.send_body(error_body(message, "invalid_request_error", None), status=404)
            return
        scope, behavior = await self._server.choose(request, route)
        if not isinstance(behavior, Behavior):
            await _send_raw(behavior, request, connection)
            return
        await self._behave(behavior, scope, route, request, connection)

    def _allowed(self, request: RecordedRequest) -> bool:
        key = self._server.api_key
        if key is None:
            return True
        given = request.header("authorization") or ""
        return hmac.compare_digest(given.encode("latin-1"), f"Bearer {key}".encode("latin-1", "replace"))

    def _route(self, path: str) -> str | None:
        prefix = self._server.prefix
        return path[len(prefix) :] or "/" if path == prefix or path.startswith(prefix + "/") else None

    async def _behave(
        self, behavior: Behavior, scope: str, route: str, request: RecordedRequest, connection: Connection
    ) -> None:
        await asyncio.sleep(behavior.latency)
        if behavior.hang:
            await asyncio.Event().wait()
        if behavior.drop == "reset":
            connection.reset()
            return
        if behavior.drop == "close":
            connection.close()
            return
        wait = self._over_limit(behavior.rate_limit, scope)
        if wait is not None:
            refusal = Behavior(retry_after=max(1, round(wait + 0.5)), retry_after_ms=int(wait * 1000) + 1)
            body = error_body("Rate limit reached.", "requests", "rate_limit_exceeded")
            await AnswerWriter(refusal, request, connection).send_body(body, status=429)
            return
        await self._respond(AnswerWriter(behavior, request, connection), route, request)
        if behavior.close_idle == "after_response":
            await connection.flush()
            connection.close()
        elif behavior.close_idle == "on_next_request":
            connection.reset_on_next_request = True

    def _over_limit(self, limit: RateLimit | None, scope: str) -> float | None:
        """Seconds until the next call is allowed where this one is over the limit, else None."""
        if limit is None:
            return None
        now = time.monotonic()
        accepted = self._accepted.setdefault((scope, limit), deque())
        while accepted and now - accepted[0] >= limit.seconds - limit.tolerance:
            accepted.popleft()
        if len(accepted) < limit.requests:
            accepted.append(now)
            return None
        self._server.rate_limit_violations += 1
        return limit.seconds - (now - accepted[0]) if accepted else limit.seconds

    async def _respond(self, writer: AnswerWriter, route: str, request: RecordedRequest) -> None:
        behavior = writer.behavior
        if behavior.body is not None or behavior.status >= 400:
            await writer.send_body(_error(behavior))
            return
        fields = request.fields()
        unknown = self._server.strict_models and request.model not in (None, *self._server.models)
        if unknown:
            message = f"The model {request.model!r} does not exist."
            body = error_body(message, "invalid_request_error", "model_not_found", "model")
            await writer.send_body(body, status=404)
            return
        wire = _generated(behavior, route, fields, request)
        if wire is not None and fields.get("stream") is True and behavior.malformed in (None, "bad_sse"):
            await writer.send_stream(wire)
        elif wire is not None:
            await writer.send_body(_json(wire.body()))
        else:
            await writer.send_body(_json(self._plain(behavior, route, fields, request)))

    def _plain(
        self, behavior: Behavior, route: str, fields: dict[str, Any], request: RecordedRequest
    ) -> Mapping[str, Any]:
        match route:
            case "/embeddings":
                return other_wire.embeddings_body(behavior, fields)
            case "/rerank":
                return other_wire.rerank_body(behavior, fields, request.number)
            case "/models":
                return {**other_wire.models_body(self._server.models), **behavior.extra}
            case "/audio/transcriptions":
                return other_wire.transcription_body(behavior, request)
            case _ if route.startswith("/models/"):
                return other_wire.model_body(route.removeprefix("/models/"))
            case _:
                return other_wire.echo_body(request)


def _generated(
    behavior: Behavior, route: str, fields: dict[str, Any], request: RecordedRequest
) -> ChatWire | ResponsesWire | None:
    if route not in ("/chat/completions", "/completions", "/responses"):
        return None
    script = write_script(behavior, fields, prompt_text(fields))
    if route == "/responses":
        return ResponsesWire(behavior, script, fields, request.number)
    return ChatWire(behavior, script, fields, request.number, legacy=route == "/completions")


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _error(behavior: Behavior) -> bytes:
    if behavior.body is not None:
        return behavior.body if isinstance(behavior.body, bytes) else behavior.body.encode()
    if isinstance(behavior.error, Mapping):
        return _json({"error": dict(behavior.error)})
    message = behavior.error or f"Scripted error {behavior.status}."
    return error_body(message, "server_error" if behavior.status >= 500 else "invalid_request_error", "scripted")


async def _send_raw(response: Response, request: RecordedRequest, connection: Connection) -> None:
    kind = response.headers.get("content-type", "application/json")
    extra = {name: value for name, value in response.headers.items() if name.lower() != "content-type"}
    behavior = Behavior(headers=extra)
    await AnswerWriter(behavior, request, connection).send_body(response.body, kind, response.status)
