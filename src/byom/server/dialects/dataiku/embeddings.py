"""``…/llms/embeddings``: a vector for each text, or what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom.server.dialects.dataiku import usage
from byom.server.dialects.dataiku.failure import Failure, not_served
from byom.server.dialects.dataiku.request import Json, Request, mapping, objects
from byom.types.tokens import estimate_tokens

if TYPE_CHECKING:
    from byom.server.dialects.dataiku.services import Services


async def embed(services: Services, request: Request) -> Json:
    """All texts go to the model in one call."""
    fields = request.fields()
    route = services.route(request, fields)
    settings = mapping(fields.get("settings"), "settings")
    queries = objects(fields.get("queries"), "queries")
    if not queries:
        return Json({"responses": []})
    try:
        texts = [_text(query) for query in queries]
        if settings.get("textOverflowMode") == "TRUNCATE" and route.context_window:
            texts = [truncated(text, route.context_window) for text in texts]
        reply = await services.calls.ask(request, "POST", "/v1/embeddings", {"model": route.name, "input": texts})
        vectors = _vectors(reply.data, len(texts))
    except Failure as failure:
        return Json({"responses": [failure.response()] * len(queries)})
    answered = usage.answering(services.snapshot, route, reply.model)
    used = usage.usage_of(reply.data) or usage.estimated(answered, reply.sent, 0)
    total = usage.fields(used, answered, cached=reply.cached).get("totalUsage", {})
    told = {"totalUsage": total} if total else {}
    return Json({"responses": [{"ok": True, "embedding": vector} for vector in vectors], **told})


def _text(query: dict[str, Any]) -> str:
    if query.get("inlineImage") is not None:
        raise not_served("An embedding of an image was asked for.")
    if not isinstance(query.get("text"), str):
        raise Failure("A query has no 'text'.")
    return str(query["text"])


def truncated(text: str, tokens: int) -> str:
    """The beginning of a text that is about so many tokens long; cut at a space where there is one near."""
    while (counted := estimate_tokens(text)) > tokens:
        kept = max(1, int(len(text) * tokens / counted * 0.98))
        cut = text.rfind(" ", kept - 40, kept)
        text = text[: cut if cut > 0 else kept]
        if kept == 1:
            break
    return text


def _vectors(data: dict[str, Any], count: int) -> list[list[float]]:
    items = data.get("data")
    found: list[Any] = [None] * count
    for position, item in enumerate(items if isinstance(items, list) else ()):
        index = item.get("index", position) if isinstance(item, dict) else -1
        if isinstance(index, int) and 0 <= index < count:
            found[index] = item.get("embedding")
    if not all(isinstance(vector, list) for vector in found):
        raise Failure(
            f"The model's server did not answer with {count} vectors.",
            status=502,
            code="upstream_protocol",
            kind="upstream_error",
        )
    return found
