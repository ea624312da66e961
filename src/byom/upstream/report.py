"""What a connection check found, and the judgement of single answers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from byom.upstream.answer_errors import message_of, redacted
from byom.upstream.exchange import Answer
from byom.upstream.problems import Problem
from byom.upstream.servers import ListedModel
from byom.upstream.url import Endpoint


class Tried(msgspec.Struct, frozen=True):
    """One request of the check. ``status`` is 0 where no answer came."""

    method: str
    url: str
    status: int
    note: str


class CheckReport(msgspec.Struct, kw_only=True):
    """Everything a check found. `ok` says whether the connection can be used."""

    endpoint: Endpoint | None = None
    """The place found, with the base path that works; ``None`` where the URL could not be read."""
    models: list[ListedModel] = []
    """What the server lists, in its order; empty where it lists nothing."""
    server: str | None = None
    """Kind of server, a guess for display."""
    latency_ms: float | None = None
    """Of the answer that decided."""
    key_sent: bool = False
    key_needed: bool | None = None
    """Whether the server asks for a key; ``None`` where that was not found out."""
    problems: list[Problem] = []
    tried: list[Tried] = []
    paid_calls: int = 0
    """Calls that may have cost tokens; 0 unless they were allowed."""

    @property
    def ok(self) -> bool:
        return self.endpoint is not None and not any(problem.level == "error" for problem in self.problems)

    @property
    def base_url(self) -> str | None:
        return self.endpoint.url() if self.endpoint else None


Verdict = Literal["models", "missing", "stop"]


def excerpt(body: bytes, secret: str | None) -> str:
    """The beginning of a body, on one line, without the key; of a page, its title."""
    text = body[:4000].decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title:
        text = f"page titled '{title[1]}'"
    return redacted(" ".join(text.split()), secret)[:160]


def unauthorized(answer: Answer, key: str | None) -> Problem:
    said = redacted(message_of(answer.body)[0], key)[:200]
    tail = f" (it says: {said})" if said else ""
    if key:
        message = f"The server rejected the key that was sent (HTTP {answer.status}){tail}"
        hint = "Check the key: whole, not expired, and made for this server."
        if answer.status == 403:
            hint = "Check that the key may list and use models here, and that this network may reach the server."
    else:
        message = f"The server asks for a key, and none was given (HTTP {answer.status}){tail}"
        hint = "Give the key with --key, --key-env or --key-stdin."
    details = {"status": answer.status, "key_sent": bool(key)}
    return Problem(code="unauthorized", message=message, hint=hint, url=answer.url, details=details)


def redirect(answer: Answer) -> Problem:
    to = urlsplit(answer.headers.get("location", ""))
    where = f"{to.scheme}://{to.netloc.rsplit('@', 1)[-1]}{to.path}" if to.scheme else to.path
    message = f"{answer.url} redirects to {where or 'somewhere unnamed'} (HTTP {answer.status})"
    hint = "Redirects are not followed, because the key would go along. Use the final URL as the endpoint."
    return Problem(code="redirect", message=message, hint=hint, url=answer.url, details={"location": where})


def server_error(answer: Answer, key: str | None) -> Problem:
    said = redacted(message_of(answer.body)[0], key)[:200]
    if answer.status == 429:
        return Problem(
            code="rate_limited",
            message=f"The server says that there were too many requests (HTTP 429): {said}",
            hint="Wait, then check again; or look at the account's quota.",
            url=answer.url,
        )
    loading = answer.status == 503 and "loading" in said.lower()
    return Problem(
        code="server_error",
        message=f"The server failed with HTTP {answer.status}: {said or 'no reason given'}",
        hint="It is still loading the model: check again in a while." if loading else "Look at the server's own log.",
        url=answer.url,
        details={"status": answer.status},
    )


def not_openai(answers: Sequence[Answer], key: str | None) -> Problem:
    answer = answers[0]
    html = "html" in answer.headers.get("content-type", "") or answer.body[:200].lstrip()[:1] == b"<"
    what = "a web page" if html else "not a list of models in OpenAI's form"
    return Problem(
        code="not_openai",
        message=f"{answer.url} answered with {what}: {excerpt(answer.body, key) or 'an empty body'}",
        hint="Use the API's URL, not that of its web page; it usually ends in /v1.",
        url=answer.url,
        details={"tried": [one.url for one in answers], "content_type": answer.headers.get("content-type", "")},
    )


def not_found(tried: Iterable[Tried]) -> Problem:
    urls = list(dict.fromkeys(one.url for one in tried if one.status))
    return Problem(
        code="not_found",
        message=f"The server answers, but knows none of: {', '.join(urls)}",
        hint="Check the path of the URL; most servers have their OpenAI routes below /v1.",
        url=urls[0] if urls else "",
        details={"tried": urls},
    )


def unknown_model(name: str, models: Sequence[ListedModel], url: str) -> Problem:
    """``details.available`` has every name of the server, those that resemble ``name`` first."""
    names = [model.id for model in models]
    lowered = {one.lower(): one for one in names}
    close = [lowered[one] for one in difflib.get_close_matches(name.lower(), lowered, n=5, cutoff=0.5)]
    close += [one for one in names if one not in close and _tail(one) == _tail(name)]
    ordered = close + [one for one in names if one not in close]
    shown = ", ".join(ordered[:8]) + (f" and {len(ordered) - 8} more" if len(ordered) > 8 else "")
    hint = (
        f"Did you mean '{close[0]}'? The server has: {shown}." if close else f"The server has: {shown or 'no models'}."
    )
    details = {"model": name, "available": ordered, "close": close}
    message = f"The server does not list a model '{name}'"
    return Problem(code="unknown_model", message=message, hint=hint, url=url, details=details)


def _tail(name: str) -> str:
    return name.rsplit("/", 1)[-1].lower()


def is_listed(name: str, models: Iterable[ListedModel]) -> bool:
    """``:latest`` is implied, as Ollama does it."""
    return any(model.id in (name, f"{name}:latest") for model in models)


def is_unknown_model(answer: Answer) -> bool:
    """Whether a 404 (or 400) is about the model and not about the route."""
    message, code = message_of(answer.body)
    if code in ("model_not_found", "NotFoundError", "model_not_supported"):
        return True
    return answer.status in (400, 404) and "model" in message.lower()


def is_completion(body: bytes) -> bool:
    decoded = decoded_object(body)
    return isinstance(decoded.get("choices"), list) or isinstance(decoded.get("data"), list)


def decoded_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; empty where there is none."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
