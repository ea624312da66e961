"""Which routes below ``/v1`` are what: a table, not branches."""

from __future__ import annotations

import re
from typing import NamedTuple

from byom.errors import BadRequest
from byom.gateway import envelope as envelopes
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
_SEGMENT = re.compile(r"[A-Za-z0-9._~:@!$&'()*+,;=%-]+\Z")


def kind_of(method: str, path: str) -> Kind:
    return _KINDS.get(path, _OTHER) if method == "POST" else _OTHER


def known_post(path: str) -> bool:
    return path in _KINDS


def check_path(path: str) -> None:
    """Only plain segments go on to an upstream: nothing that could climb out of its base path."""
    for segment in path.split("/"):
        plain = segment.lower().replace("%2e", ".")
        if not _SEGMENT.match(segment) or plain in (".", "..") or "%2f" in plain or "%5c" in plain:
            raise BadRequest(f"The path /v1/{path[:100]} is not one that the gateway passes on.")


_FORM_MODEL = re.compile(
    rb'content-disposition:\s*form-data;[^\r\n]*\bname="model"[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n',
    re.IGNORECASE,
)


def form_model(body: bytes) -> str:
    """The field ``model`` of a multipart form. Raises `BadRequest` when it is missing, or there twice."""
    found = _FORM_MODEL.findall(body)
    if len(found) != 1:
        raise BadRequest(
            "The form needs exactly one field 'model' with the name of a model.", param="model", code="missing_model"
        )
    try:
        return str(found[0], "utf-8")
    except UnicodeDecodeError:
        raise BadRequest("The form's field 'model' is not valid UTF-8.", param="model") from None


def rename_form_model(body: bytes, name: str) -> bytes:
    match = _FORM_MODEL.search(body)
    assert match is not None
    return body[: match.start(1)] + name.encode() + body[match.end(1) :]


def rename_model(head: CallHead, body: bytes, named: str | None, upstream_model: str) -> bytes:
    """The body of a route that passes as it comes, with the upstream's name of the model."""
    if named is None or not body:
        return body
    if head.content_type.startswith("multipart/"):
        return rename_form_model(body, upstream_model)
    return envelopes.rewrite(body, envelopes.Envelope(model=named), model=upstream_model, ask_usage=False)
