"""A chat call through the gateway, in this process, and its answer in AgentStudio's form."""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx2
import msgspec

from byom.errors import ByomError, UpstreamProtocol
from byom.gateway.asgi import GatewayApp
from byom.models.agentstudio.generate import reply_body
from byom.models.wire import decoded
from byom.server.in_process import StreamingASGITransport

_PASSED_ON = ("x-request-id", "retry-after", "x-should-retry", "x-byom-attempts", "x-byom-model")
_JSON = (b"content-type", b"application/json")


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def error_answer(error: ByomError, request_id: str) -> Answer:
    """Short and readable: AgentStudio's client shows an error's body in its log and nowhere else."""
    headers = [_JSON, (b"x-request-id", request_id.encode("latin-1", "replace"))]
    if error.status == 401:
        headers.append((b"www-authenticate", b'Basic realm="byom"'))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
    return Answer(error.status, msgspec.json.encode(error.body()), tuple(headers))


async def call_model(gateway: GatewayApp, chat: bytes, token: str | None, request_id: str) -> Answer:
    """The gateway's answer to a chat request. To cancel this is to hang up, which ends the call to the model."""
    headers = {"content-type": "application/json", "x-request-id": request_id}
    if token:
        headers["authorization"] = f"Bearer {token}"
    transport = StreamingASGITransport(gateway)
    request = httpx2.Request("POST", "http://byom/v1/chat/completions", content=chat, headers=headers)
    try:
        response = await transport.handle_async_request(request)
        try:
            content = await response.aread()
        finally:
            await response.aclose()
    except httpx2.HTTPError as error:
        raise UpstreamProtocol("The model's answer broke off.") from error
    passed = [_JSON]
    passed += [
        (name.encode(), response.headers[name].encode("latin-1")) for name in _PASSED_ON if name in response.headers
    ]
    if response.status_code != 200:
        return Answer(response.status_code, content, tuple(passed))
    return Answer(200, _reply(content), tuple(passed))


def _reply(content: bytes) -> bytes:
    answer = decoded(content, "")
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        raise UpstreamProtocol("The model's answer has no message.")
    usage = answer.get("usage")
    return reply_body(_text(message), usage if isinstance(usage, dict) else None)


def _text(message: dict[str, Any]) -> str:
    """The answer's text, never None: the client asserts that there is one."""
    content = message.get("content")
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(text for text in texts if isinstance(text, str))
    if isinstance(content, str):
        return content
    refusal = message.get("refusal")
    return refusal if isinstance(refusal, str) else ""
