"""From an upstream's error answer to BYOM's error. The status decides; the message only refines within it."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from byom.errors import (
    BadRequest,
    BudgetExceeded,
    ByomError,
    Conflict,
    LimitExceeded,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    PayloadTooLarge,
    UnprocessableRequest,
    UpstreamAuth,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamProtocol,
    UpstreamTimeout,
)

_BY_STATUS: dict[int, type[ByomError]] = {
    400: BadRequest,
    401: UpstreamAuth,
    402: BudgetExceeded,
    403: UpstreamAuth,
    404: NotFound,
    405: MethodNotAllowed,
    408: UpstreamTimeout,
    409: Conflict,
    413: PayloadTooLarge,
    422: UnprocessableRequest,
    429: LimitExceeded,
    503: UpstreamOverloaded,
    504: UpstreamTimeout,
    529: UpstreamOverloaded,
}
_MAX_MESSAGE = 600
_KEYS = re.compile(r"\b(?:sk|hf|gsk|xai|pk|key)[-_][A-Za-z0-9_-]{8,}\b|\b(?i:bearer)\s+([^\s\"']{8,})")
_PLACEHOLDER = re.compile(
    r"""<[^>]*>|\$\{?\w+\}?|\{\w+\}              # <key>, $KEY, {api_key}
    |[a-z_-]{0,12}(?:…|\.{3})                   # sk-byom-…
    |(?i:(?:[a-z]+[-_])?your(?:[-_][a-z]+)+)    # sk-your-key-here
    |[A-Z]+(?:_[A-Z]+)+                         # API_KEY
    |(?i:authentication|authorization|credentials)
    |key(?:[-_][a-z]+)+                         # key_not_found, key-value-store
    """,
    re.VERBOSE,
)
"""What stands in instructions where a key would: it is no secret, and without it nobody knows what to type."""
_SHORT_SECRET = 8
"""Characters up to which a secret may be a part of ordinary words."""


def redacted(text: str, secret: str | None = None) -> str:
    """The text without the given secret and without anything that looks like a key; placeholders for one stay."""
    if secret:
        for part in {secret, secret.removeprefix("Bearer ")}:
            text = _without(text, part)
    return _KEYS.sub(_shown, text)


def _without(text: str, secret: str) -> str:
    if len(secret) > _SHORT_SECRET:
        return text.replace(secret, "[redacted]")
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "[redacted]", text)


def _shown(match: re.Match[str]) -> str:
    """What stays of something that looks like a key: all of it when it only stands for one."""
    said = match[1] or match[0]
    forms = (said, said.rstrip(".,;:!?)]}"))  # dots may be a part of it, or end the sentence
    return match[0] if any(_PLACEHOLDER.fullmatch(form) for form in forms) else "[redacted]"


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``Retry-After`` (seconds or an HTTP date); never negative.

    ``headers`` must look names up without regard to case, or have them in lower case. ``now``: seconds since the epoch.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        at = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(at.timestamp() - (time.time() if now is None else now), 0.0)


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < 1e9 else None


def message_of(body: bytes) -> tuple[str, str | None]:
    """The message and the code of an error body in any of the shapes in use; the text itself where there is none."""
    try:
        decoded: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[: 2 * _MAX_MESSAGE].decode("utf-8", "replace").strip(), None
    error = decoded.get("error", decoded) if isinstance(decoded, dict) else decoded
    if isinstance(error, str):
        kind = decoded.get("error_type") if isinstance(decoded, dict) else None
        return error, kind if isinstance(kind, str) else None
    if not isinstance(error, dict):
        return body[: 2 * _MAX_MESSAGE].decode("utf-8", "replace"), None
    message = error.get("message") or error.get("detail") or error.get("error") or ""
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    code = error.get("code") or error.get("type")
    return message, code if isinstance(code, str) else None


def error_for(
    status: int, headers: Mapping[str, str], body: bytes, *, secret: str | None = None, model: str | None = None
) -> ByomError:
    """The error for an answer with a status other than 2xx. ``secret`` never appears in it."""
    message, code = message_of(body)
    message = redacted(message, secret)[:_MAX_MESSAGE]
    kind = _kind(status, message, code)
    error = kind(
        _sentence(kind, status, message, model),
        retry_after=retry_after(headers) if status in (408, 409, 429) or status >= 500 else None,
        details={"upstream_status": status} | ({"upstream_code": redacted(code, secret)} if code else {}),
    )
    if code == "context_length_exceeded" and isinstance(error, BadRequest):
        error.code = code
    return error


def _kind(status: int, message: str, code: str | None) -> type[ByomError]:
    if status == 404 and (code == "model_not_found" or "model" in message.lower()):
        return ModelNotFound
    if status == 429 and code == "insufficient_quota":
        return BudgetExceeded
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return UpstreamError
    return BadRequest if status >= 400 else UpstreamProtocol


def _sentence(kind: type[ByomError], status: int, message: str, model: str | None) -> str:
    said = f": {message}" if message else "."
    who = f"The server of model '{model}'" if model else "The model's server"
    if kind is UpstreamAuth:
        return f"{who} rejected the key that is stored for it (HTTP {status}){said}"
    if kind is UpstreamProtocol:
        return f"{who} answered with HTTP {status}, which is neither an answer nor an error{said}"
    return f"{who} answered with HTTP {status}{said}"
