"""The bytes of the gateway's own answers: errors in OpenAI's form, header lines, upstream errors made fit to pass."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from byom.errors import (
    ByomError,
    CodeError,
    Unavailable,
    UpstreamAuth,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamTimeout,
)

JSON = b"content-type: application/json\r\n"
EVENT_STREAM = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
_FORM = frozenset({"message", "type", "param", "code"})
MAX_ERROR_BODY = 64 * 1024
_encode = msgspec.json.encode
_UNSAFE = re.compile(rb"[^\x20-\x7e]")


def header(name: bytes, value: bytes) -> bytes:
    """One header line; bytes that could end it or hide in it are replaced."""
    return name + b": " + _UNSAFE.sub(b"?", value) + b"\r\n"


def error_headers(error: ByomError, request_id: str) -> bytes:
    lines = JSON + header(b"x-request-id", request_id.encode("latin-1", "replace"))
    lines += _retry_lines(error.retry_after)
    if isinstance(error, UpstreamError) or (error.status == 429 and not error.retryable):
        # The hub has tried as often as it was told to: an SDK that tries again would multiply the attempts. And money
        # that is spent does not come back in the seconds that an SDK waits.
        lines += b"x-should-retry: false\r\n"
    elif isinstance(error, Unavailable):
        lines += b"x-should-retry: true\r\n"
    return lines


def own(request_id: bytes, overhead: float) -> bytes:
    """The lines that the hub adds to every answer; ``overhead`` in seconds."""
    return b"x-request-id: %b\r\nx-byom-overhead-ms: %.3f\r\n" % (request_id, overhead * 1000)


def cost_line(cost: int | None) -> bytes:
    """What a call cost (picodollars), in dollars; nothing where the price is not known."""
    return b"" if cost is None else b"x-byom-cost: %d.%012d\r\n" % divmod(cost, 10**12)


def passed_error_headers(request_id: bytes, retry_after: float | None, *, last: bool) -> bytes:
    """For an upstream's error that passes; ``last``: the hub has tried several times already."""
    lines = JSON + header(b"x-request-id", request_id)
    lines += _retry_lines(retry_after)
    if last:
        lines += b"x-should-retry: false\r\n"
    return lines


def _retry_lines(seconds: float | None) -> bytes:
    if seconds is None or not math.isfinite(seconds):
        return b""
    seconds = max(0.0, seconds)
    return b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (math.ceil(seconds), math.ceil(seconds * 1000))


def error_body(error: ByomError) -> bytes:
    """OpenAI's form, and beside it ``detail``, where clients of FastAPI's servers look for the message."""
    return _encode({**error.body(), "detail": error.message})


def error_event(error: ByomError) -> bytes:
    """An error in the middle of an event stream; OpenAI's SDKs raise on it."""
    return b"data: " + _encode(error.body()) + b"\n\n"


def passed_error(status: int, body: bytes, secret: str | None) -> bytes:
    """An upstream's error in OpenAI's form, as it came where it has that form, and without the key stored here."""
    secret = (secret or "").removeprefix("Bearer ")
    if secret and secret.encode("utf-8", "replace") in body:
        body = body.replace(secret.encode("utf-8", "replace"), b"[key]")
    try:
        parsed: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return _wrap_error(status, body)
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return _wrap_error(status, body)
    if error.keys() >= _FORM:
        return body
    parsed["error"] = {"type": _kind(status), "param": None, "code": None} | error
    return _encode(parsed)


def with_detail(body: bytes) -> bytes:
    """An error in OpenAI's form with its message as ``detail`` too, as in `error_body`."""
    parsed = msgspec.json.decode(body)
    return _encode({**parsed, "detail": parsed["error"]["message"]})


def upstream_failure(status: int, body: bytes, retry_after: float | None, secret: str | None) -> ByomError | None:
    """What the caller is told of an upstream's error; ``None`` when the answer passes as it is.

    The caller's own mistakes (most of 4xx) pass. A rejection of the key that is stored here is not the caller's, and
    its text may quote that key, so neither its status nor its text passes.
    """
    if status in (401, 403):
        return UpstreamAuth(
            f"The model's server rejected the key that is stored for this connection (HTTP {status}). "
            "An administrator has to enter a valid one: byom connect NAME --url URL --key-stdin"
        )
    if status == 429 or status < 500:
        return None
    message = _message(body)
    if secret:
        message = message.replace(secret.removeprefix("Bearer "), "[key]")
    text = f"The model's server answered HTTP {status}" + (f": {message}" if message else ".")
    kind: type[UpstreamError] = UpstreamError
    if status in (503, 529):
        kind = UpstreamOverloaded
    elif status == 504:
        kind = UpstreamTimeout
    return kind(text, retry_after=retry_after)


def host_failure(status: int, body: bytes, retry_after: float | None) -> ByomError | None:
    """What a host of user code, which this hub started, says of its failure: its own words and code pass on."""
    if status < 500:
        return None
    try:
        said = msgspec.json.decode(body, type=_HostError).error
    except (msgspec.MsgspecError, RecursionError):
        return upstream_failure(status, body, retry_after, None)
    kind = _HOST_FAILURES.get(said.code) or (UpstreamOverloaded if status == 503 else UpstreamError)
    return kind(said.message, code=said.code, retry_after=retry_after)


class _Said(msgspec.Struct):
    message: str
    code: str = "upstream_error"


class _HostError(msgspec.Struct):
    error: _Said


_HOST_FAILURES: dict[str, type[UpstreamError]] = {"code_error": CodeError, "code_timeout": UpstreamTimeout}


def _wrap_error(status: int, body: bytes) -> bytes:
    """OpenAI's form around an error that came in another one (plain text, FastAPI's ``detail``, HTML)."""
    code = "rate_limit_exceeded" if status == 429 else None
    message = _message(body) or f"The model's server answered HTTP {status}."
    return _encode({"error": {"message": message, "type": _kind(status), "param": None, "code": code}})


def _kind(status: int) -> str:
    return "rate_limit_error" if status == 429 else "invalid_request_error"


def _message(body: bytes) -> str:
    """The readable part of an error's body, at most 500 characters."""
    try:
        parsed: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        text = body[:2000].decode("utf-8", "replace")
        return " ".join(re.sub(r"<[^>]*>", " ", text).split())[:500]
    if isinstance(parsed, dict):
        for name in ("error", "message", "detail"):
            found = parsed.get(name)
            if isinstance(found, dict):
                found = found.get("message")
            if found:
                return (found if isinstance(found, str) else str(_encode(found), "utf-8"))[:500]
    return str(_encode(parsed), "utf-8")[:500]


def retry_after(headers: dict[bytes, bytes]) -> float | None:
    """Seconds from ``retry-after-ms`` or ``Retry-After`` (a number or an HTTP date); ``None`` without either."""
    exact = headers.get(b"retry-after-ms")
    try:
        if exact is not None:
            seconds = float(exact) / 1000
        else:
            value = headers.get(b"retry-after")
            if value is None:
                return None
            seconds = _seconds(value.decode("latin-1"))
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds(value: str) -> float:
    if value.strip().replace(".", "", 1).isdigit():
        return float(value)
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
