"""Which path is which call: a table, not branches."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from byom.server.dialects.dataiku import (
    completions,
    connections,
    current_user,
    embeddings,
    images,
    instance,
    listing,
    rerankings,
    streaming,
)
from byom.server.dialects.dataiku.failure import Failure, not_served
from byom.server.dialects.dataiku.request import Answer, Json, Request
from byom.server.dialects.dataiku.services import Services

Call = Callable[[Services, Request], Awaitable[Answer]]
PROJECT = "/projects/([^/]+)"
CONNECTION = "/connections/([^/]+)"


async def guardrails(_services: Services, _request: Request) -> Json:
    raise not_served("The request asks for guardrails.")


async def conversations(_services: Services, _request: Request) -> Json:
    """Of clients since 15. A hub writes down no text of any caller, so it has none to give back."""
    raise not_served("The request wants a conversation to be kept.")


_TABLE: tuple[tuple[str, str, Call], ...] = (
    ("POST", f"{PROJECT}/llms/completions", completions.complete),
    ("POST", f"{PROJECT}/llms/streamed-completion", streaming.stream),
    ("POST", f"{PROJECT}/llms/embeddings", embeddings.embed),
    ("POST", f"{PROJECT}/llms/rerankings", rerankings.rerank),
    ("POST", f"{PROJECT}/llms/images", images.generate),
    ("POST", f"{PROJECT}/llms/guardrails", guardrails),
    *((method, f"{PROJECT}/conversations(?:/.*)?", conversations) for method in ("GET", "POST", "PUT", "DELETE")),
    ("GET", f"{PROJECT}/llms", listing.list_llms),
    ("GET", f"{PROJECT}/agents", instance.nothing),
    ("GET", f"{PROJECT}/retrieval-augmented-llms", instance.nothing),
    ("GET", f"{PROJECT}/metadata", instance.project_metadata),
    ("GET", PROJECT, instance.project_summary),
    ("GET", "/projects", instance.list_projects),
    ("GET", "/auth/info", instance.auth_info),
    ("GET", "/instance-info", instance.instance_info),
    ("GET", "/current-user", current_user.show),
    ("PUT", "/current-user", current_user.save),
    ("GET", "/connections/get-names", connections.names),
    ("GET", f"{CONNECTION}/info", connections.info),
    ("GET", f"{CONNECTION}/test", connections.test),
    ("GET", "/admin/connections", connections.list_connections),
    ("GET", f"/admin{CONNECTION}", connections.get_connection),
)
_ROUTES = tuple((method, re.compile(pattern + r"\Z"), call) for method, pattern, call in _TABLE)


def find(method: str, path: str) -> tuple[Call, tuple[str, ...]]:
    """The call, and the variable parts of its path. Raises `Failure`."""
    others = []
    for known, pattern, call in _ROUTES:
        match = pattern.match(path)
        if match is None:
            continue
        if known == method:
            return call, match.groups()
        others.append(known)
    if others:
        raise Failure(f"{path[:100]} takes {' or '.join(others)}.", status=405, code="method_not_allowed")
    raise Failure(
        f"There is nothing at {path[:100]}: this is a BYOM hub, which serves the calls of a DSS instance that have to "
        "do with models.",
        status=404,
        code="not_found",
    )
