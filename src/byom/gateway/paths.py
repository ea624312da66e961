"""Which routes below ``/v1`` are what: a table, not branches."""

from __future__ import annotations

import re
from typing import NamedTuple

from byom.errors import BadRequest
from byom.gateway import envelope as envelopes
from byom.gateway import form
from byom.gateway.request import CallHead


class Kind(NamedTuple):
    """``json``: the body is JSON with a ``model``. ``form``: a multipart form with one. Otherwise no model."""

    body: str
    raw: bool
    """The answer passes as it comes; no field but the model's name is changed."""


_KINDS = {
    "chat/completions": Kind("json", raw=False),
    "completions": Kind("json", raw=False),
    "embeddings": Kind("json", raw=False),
    "rerank": Kind("json", raw=False),
    "responses": Kind("json", raw=True),
    "messages": Kind("json", raw=True),
    "moderations": Kind("json", raw=True),
    "images/generations": Kind("json", raw=True),
    "audio/speech": Kind("json", raw=True),
    "score": Kind("json", raw=True),
    "audio/transcriptions": Kind("form", raw=True),
    "audio/translations": Kind("form", raw=True),
    "images/edits": Kind("form", raw=True),
    "images/variations": Kind("form", raw=True),
}
_OTHER = Kind("none", raw=True)
_MANAGEMENT = re.compile(
    rb"[A-Z]+ /v1/(?:cluster|clusters|model_registrations|engines|cache|address|workers|supervisor|requests|autostart"
    rb"|(?:api|supervisor|worker)-relaunches|api/relaunch)[/? ]"
    rb"|(?:POST|DELETE) /v1/models[/? ]"
    rb"|GET /v1/models/(?:instances|vllm-supported)[? ]"
    rb"|GET /v1/models/[^ ?]+/(?:progress|replicas|events|reload|reload/config)[? ]"
)
"""Xinference's routes that launch models and look after them. OpenAI's and those of models are not among them."""
_DISGUISED = re.compile(r"%(?![0-9a-f]{2})|%(?:2[def]|3[0-9]|4[1-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9ae])", re.IGNORECASE)
"""Escapes of characters that need none, of slashes and of backslashes."""
_SEGMENT = re.compile(r"[A-Za-z0-9._~:@!$&'()*+,;=%-]+\Z")


def kind_of(method: str, path: str) -> Kind:
    return _KINDS.get(path, _OTHER) if method == "POST" else _OTHER


def known_post(path: str) -> bool:
    return path in _KINDS


def is_management(line: bytes) -> bool:
    """Whether a request line, up to the space behind its target, is of a route that is not the gateway's but the
    server's, although it is below ``/v1``."""
    return _MANAGEMENT.match(line) is not None


def check_path(path: str) -> None:
    """Only plain segments go on to an upstream: nothing that could climb out of its base path, or that an upstream
    could read as one of the routes that are known here, whose models and tokens are counted."""
    known = path.lower() in _KINDS
    for segment in path.split("/"):
        if known or not _SEGMENT.match(segment) or segment in (".", "..") or _DISGUISED.search(segment):
            raise BadRequest(f"The path /v1/{path[:100]} is not one that the gateway passes on.")


def rename_model(head: CallHead, body: bytes, named: str | None, upstream_model: str) -> bytes:
    """The body of a route that passes as it comes, with the upstream's name of the model."""
    if named is None or not body:
        return body
    if head.content_type.lower().startswith("multipart/"):
        return form.rename_model(body, head.content_type, upstream_model)
    return envelopes.rewrite(body, envelopes.Envelope(model=named), model=upstream_model, ask_usage=False)
