"""``GET …/llms``: the models that a key may use, by what they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom.server.dialects.dataiku.failure import Failure
from byom.server.dialects.dataiku.request import Json, Request

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route, Snapshot
    from byom.server.dialects.dataiku.services import Services

_ABILITIES: dict[str, frozenset[str]] = {
    "GENERIC_COMPLETION": frozenset({"chat"}),
    "IMAGE_INPUT": frozenset({"chat", "vision"}),
    "TEXT_EMBEDDING_EXTRACTION": frozenset({"embed"}),
    "RERANKING": frozenset({"rerank"}),
    "IMAGE_EMBEDDING_EXTRACTION": frozenset({"embed-image"}),
    "IMAGE_GENERATION": frozenset({"image"}),
}
"""Abilities that a model needs for a purpose. The catalog knows no model with the last two."""
DEFAULT_PURPOSE = "GENERIC_COMPLETION"


async def list_llms(services: Services, request: Request) -> Json:
    purpose = request.query.get("purpose") or DEFAULT_PURPOSE
    needed = _ABILITIES.get(purpose)
    if needed is None:
        raise Failure(f"The purpose {purpose[:50]!r} is none of {', '.join(_ABILITIES)}.")
    allowed = request.caller.models if request.caller is not None else None
    snapshot = services.snapshot
    usable = [route for route in snapshot.models if allowed is None or route.name in allowed]
    return Json([_item(snapshot, route) for route in usable if needed <= route.abilities])


def llm_id(snapshot: Snapshot, route: Route) -> str:
    """``custom:<connection>:<model>``; the name alone where that text is the name of another model."""
    long = f"custom:{route.connection}:{route.name}"
    return long if snapshot.routes.get(long) is route else route.name


def _item(snapshot: Snapshot, route: Route) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": llm_id(snapshot, route),
        "type": "CUSTOM",
        "friendlyName": route.name,
        "friendlyNameShort": route.name,
        "connection": route.connection,
        "model": route.name,
        "tags": [],
    }
    if route.context_window is not None:
        item["maxTokensLimit"] = route.context_window
    return item
