"""``…/projects/<KEY>/llms/openai/v1/…``: OpenAI's API below a project, which is the hub's own ``/v1``."""

from __future__ import annotations

import re

from byom.gateway.asgi import Scope

_PATH = re.compile(r"/projects/[^/]+/llms/openai/v1/(?P<rest>.*)\Z")
_OWN = frozenset({b"authorization", b"x-dku-apiticket"})


def rest_of(path: str) -> str | None:
    """What follows ``/v1/``; ``None`` for other paths."""
    match = _PATH.match(path)
    return None if match is None else match["rest"]


def rewritten(scope: Scope, rest: str, token: str | None) -> Scope:
    """The same request to the gateway, with the key where the gateway looks for it."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _OWN]
    if token is not None:
        headers.append((b"authorization", b"Bearer " + token.encode("latin-1", "replace")))
    raw: bytes = scope.get("raw_path") or b""
    _, found, tail = raw.partition(b"/llms/openai/v1/")
    changed = {**scope, "path": f"/v1/{rest}", "headers": headers}
    changed["raw_path"] = b"/v1/" + tail.rstrip(b"/") if found else f"/v1/{rest}".encode()
    return changed
