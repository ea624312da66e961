"""``…/llms/completions``: one or several queries, each with a response of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom.server.dialects.dataiku import completion, usage
from byom.server.dialects.dataiku.chat_request import chat_body
from byom.server.dialects.dataiku.failure import Failure
from byom.server.dialects.dataiku.request import Json, Request, mapping, objects

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route
    from byom.server.dialects.dataiku.services import Services


async def complete(services: Services, request: Request) -> Json:
    """A model that is not there fails the request; whatever else goes wrong, the query that it happens to."""
    fields = request.fields()
    route = services.route(request, fields)
    settings = mapping(fields.get("settings"), "settings")
    queries = objects(fields.get("queries"), "queries")

    async def run(query: dict[str, Any]) -> dict[str, Any]:
        try:
            return await respond(services, request, route, query, settings)
        except Failure as failure:
            return failure.response()

    return Json({"responses": await services.each(request, route, queries, run)})


async def respond(
    services: Services, request: Request, route: Route, query: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """The response to one query. Raises `Failure`."""
    body = chat_body(route, query, settings)
    reply = await services.calls.ask(request, "POST", "/v1/chat/completions", body)
    answered = usage.answering(services.snapshot, route, reply.model)
    used = usage.usage_of(reply.data) or usage.estimated(answered, reply.sent, reply.size // 4)
    found = completion.read(reply.data, json_wanted="response_format" in body)
    return {**found, **usage.fields(used, answered, cached=reply.cached)}
