"""OpenAI's API with the standard library: for models at such a server that are declared where byom is not installed."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from ..contract import CallError, Event

OPENAI = "https://api.openai.com/v1"
_SECONDS = 600.0
_PASSED = (400, 404, 408, 413, 422, 429, 503)
"""Statuses of the server that mean the same to our caller; everything else is the server's failure."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key never goes where somebody else says."""

    def redirect_request(self, *_: Any) -> None:
        return None


def complete(base_url: str, key: str | None, route: str, body: dict[str, Any]) -> dict[str, Any]:
    """A whole answer. Raises `CallError`."""
    with _opened(base_url, key, route, body) as response:
        return _object(response.read())


def stream(base_url: str, key: str | None, body: dict[str, Any]) -> Iterator[Event]:
    """A chat answer in pieces. Raises `CallError`, also where the stream ends before its end."""
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    finished = False
    with _opened(base_url, key, "chat/completions", body) as response:
        if "event-stream" not in (response.headers.get("Content-Type") or ""):
            yield from _events(_object(response.read()), "message")
            return
        for line in response:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            for event in _events(_object(data), "delta"):
                finished = finished or "finish_reason" in event
                yield event
    if not finished:
        raise CallError("The model's server broke off in the middle of its answer.")


def vectors(answer: dict[str, Any]) -> tuple[list[list[float]], tuple[int, int]]:
    """The vectors of an embedding answer in the order of their texts, and its tokens."""
    rows = sorted(answer.get("data") or (), key=lambda row: row.get("index") or 0)
    return [row["embedding"] for row in rows], tokens(answer)


def tokens(answer: dict[str, Any]) -> tuple[int, int]:
    """Prompt and completion; ``(0, 0)`` where the server does not tell them."""
    usage = answer.get("usage") or {}
    return int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)


def _events(chunk: dict[str, Any], field: str) -> Iterator[Event]:
    if chunk.get("error"):
        raise CallError(f"The model's server failed: {_message(chunk)}")
    for choice in chunk.get("choices") or ():
        piece = choice.get(field) or {}
        event: Event = {"index": choice.get("index") or 0}
        if piece.get("content"):
            event["text"] = piece["content"]
        if piece.get("reasoning_content") or piece.get("reasoning"):
            event["reasoning"] = piece.get("reasoning_content") or piece["reasoning"]
        if piece.get("tool_calls"):
            event["tool_calls"] = [{"index": place, **call} for place, call in enumerate(piece["tool_calls"])]
        if choice.get("finish_reason"):
            event["finish_reason"] = choice["finish_reason"]
        if len(event) > 1:
            yield event
    if isinstance(chunk.get("usage"), dict):
        yield {"usage": {name: chunk["usage"].get(name) or 0 for name in ("prompt_tokens", "completion_tokens")}}


@contextlib.contextmanager
def _opened(base_url: str, key: str | None, route: str, body: dict[str, Any]) -> Iterator[Any]:
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    url = f"{base_url.rstrip('/')}/{route}"
    if not url.startswith(("http://", "https://")):
        raise CallError(f"{base_url} is no http or https URL.", status=500)
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")  # noqa: S310 - checked
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_SECONDS) as response:
            yield response
    except urllib.error.HTTPError as error:
        with error:
            raise _failed(error, key) from None
    except OSError as error:
        raise CallError(f"The model's server at {base_url} cannot be reached: {error}") from error


def _failed(error: urllib.error.HTTPError, key: str | None) -> CallError:
    message = _message(_lenient(error.read(65536))) or error.reason
    if key:
        message = message.replace(key, "…")
    after = error.headers.get("Retry-After") or ""
    return CallError(
        f"The model's server answered {error.code}: {message}",
        status=error.code if error.code in _PASSED else 502,
        retry_after=float(after) if after.isdigit() else None,
    )


def _message(body: dict[str, Any]) -> str:
    error = body.get("error") or body.get("message") or body.get("detail") or ""
    return str(error.get("message") or error) if isinstance(error, dict) else str(error)


def _lenient(data: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(data)
        if isinstance(found, dict):
            return found
    return {"error": data[:500].decode(errors="replace")}


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise CallError("The model's server answered with what is not JSON.") from error
    if not isinstance(found, dict):
        raise CallError("The model's server answered with JSON that is no object.")
    return found
