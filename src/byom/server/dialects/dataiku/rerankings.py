"""``…/llms/rerankings``: documents in the order of their relevance to a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom.server.dialects.dataiku import usage
from byom.server.dialects.dataiku.failure import Failure
from byom.server.dialects.dataiku.request import Json, Request, objects

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route
    from byom.server.dialects.dataiku.services import Services


async def rerank(services: Services, request: Request) -> Json:
    fields = request.fields()
    route = services.route(request, fields)

    async def run(query: dict[str, Any]) -> dict[str, Any]:
        try:
            return await _respond(services, request, route, query)
        except Failure as failure:
            return failure.response()

    return Json({"responses": await services.each(request, route, objects(fields.get("queries"), "queries"), run)})


async def _respond(services: Services, request: Request, route: Route, query: dict[str, Any]) -> dict[str, Any]:
    documents = [_text(document.get("parts")) for document in objects(query.get("documents"), "documents")]
    if not documents:
        return {"ok": True, "documents": []}
    body = {"model": route.name, "query": _text(query.get("queryParts")), "documents": documents}
    reply = await services.calls.ask(request, "POST", "/v1/rerank", body)
    answered = usage.answering(services.snapshot, route, reply.model)
    used = usage.usage_of(reply.data) or usage.estimated(answered, reply.sent, 0)
    ranked = sorted(_ranked(reply.data, len(documents)), key=lambda one: -one["relevanceScore"])
    return {"ok": True, "documents": ranked, **usage.fields(used, answered, cached=reply.cached)}


def _text(parts: Any) -> str:
    texts = []
    for part in objects(parts, "parts"):
        if part.get("type", "TEXT") != "TEXT":
            raise Failure(f"A part has the type {str(part['type'])[:50]!r}; a reranking takes TEXT.")
        texts.append(str(part.get("text") or ""))
    return "\n".join(texts)


def _ranked(data: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Servers call the list ``results`` or ``data``, and the score ``relevance_score`` or ``score``."""
    items = data.get("results") or data.get("data")
    found = []
    for item in items if isinstance(items, list) else ():
        score = item.get("relevance_score", item.get("score")) if isinstance(item, dict) else None
        if isinstance(score, int | float) and isinstance(item.get("index"), int) and 0 <= item["index"] < count:
            found.append({"index": item["index"], "relevanceScore": float(score)})
    if not found:
        raise Failure(
            "The model's server answered no scores.", status=502, code="upstream_protocol", kind="upstream_error"
        )
    return found
