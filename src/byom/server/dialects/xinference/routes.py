"""Which path is which call, and who may make it: a table, not branches."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from byom.errors import MethodNotAllowed, NotFound
from byom.server.dialects.xinference import aborting, cached, cluster, engines, launches, registrations, replicas
from byom.server.dialects.xinference.request import Json, Request

if TYPE_CHECKING:
    from byom.server.dialects.xinference.services import Services

Call = Callable[["Services", Request], Awaitable[Json]]
Who = Literal["anybody", "caller", "admin"]
UID = "/v1/models/([^/]+)"
TYPED = "(LLM|embedding|rerank|[A-Za-z]+)"


class Route(NamedTuple):
    method: str
    pattern: str
    call: Call
    who: Who = "admin"


_TABLE = (
    Route("GET", "/v1/cluster/auth", cluster.auth, "anybody"),
    Route("POST", "/token", cluster.token, "anybody"),
    Route("GET", "/status", cluster.status, "anybody"),
    Route("GET", "/v1/cluster/version", cluster.version, "caller"),
    Route("GET", "/v1/cluster/info", cluster.info),
    Route("GET", "/v1/cluster/devices", cluster.devices),
    Route("GET", "/v1/address", cluster.address),
    Route("GET", "/v1/supervisor", cluster.supervisor),
    Route("GET", "/v1/workers", cluster.workers),
    Route("DELETE", "/v1/clusters", cluster.abort_cluster),
    Route("POST", "/v1/models", launches.launch),
    Route("GET", "/v1/models/instances", launches.instances),
    Route("GET", "/v1/models/vllm-supported", cluster.vllm_models),
    Route("DELETE", UID, launches.terminate),
    Route("GET", f"{UID}/progress", launches.progress),
    Route("GET", f"{UID}/events", launches.events),
    Route("POST", f"{UID}/cancel", launches.cancel),
    Route("GET", f"{UID}/replicas", launches.list_replicas),
    Route("POST", f"{UID}/replicas", replicas.add),
    Route("DELETE", f"{UID}/replicas/([^/]+)", replicas.remove),
    Route("POST", f"{UID}/requests/([^/]+)/abort", aborting.abort, "caller"),
    Route("GET", "/v1/requests/([^/]+)/progress", aborting.progress, "caller"),
    Route("GET", f"/v1/model_registrations/{TYPED}", registrations.list_registrations),
    Route("POST", f"/v1/model_registrations/{TYPED}", registrations.register),
    Route("GET", f"/v1/model_registrations/{TYPED}/([^/]+)", registrations.get_registration),
    Route("DELETE", f"/v1/model_registrations/{TYPED}/([^/]+)", registrations.unregister),
    Route("GET", "/v1/engines/([^/]+)", engines.of_llm),
    Route("GET", f"/v1/engines/{TYPED}/([^/]+)", engines.of_kind),
    Route("GET", "/v1/cache/models", cached.list_models),
    Route("GET", "/v1/cache/models/files", cached.list_files),
    Route("DELETE", "/v1/cache/models", cached.remove),
)
_ROUTES = tuple((route, re.compile(route.pattern + r"\Z")) for route in _TABLE)


def find(method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    """The route, and the variable parts of its path. Raises `NotFound`, `MethodNotAllowed`."""
    others = []
    for route, pattern in _ROUTES:
        match = pattern.match(path)
        if match is None:
            continue
        if route.method == method:
            return route, match.groups()
        others.append(route.method)
    if others:
        raise MethodNotAllowed(f"{path[:100]} takes {' or '.join(others)}.")
    raise NotFound(
        f"There is nothing at {path[:100]}: this is a BYOM hub, which serves Xinference's calls for models of the "
        "kinds LLM, embedding and rerank."
    )
