"""Calls that are looked at or stopped from outside, by the ``request_id`` that was sent in their body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byom.errors import BadRequest, NotFound
from byom.gateway.named import Question
from byom.server.dialects.xinference.request import Json, Request

if TYPE_CHECKING:
    from byom.server.dialects.xinference.services import Services

DEFAULT_BLOCK = 30.0


async def abort(services: Services, request: Request) -> Json:
    """Of the caller's own calls; an administrator's, of everybody's. An unknown model is no error."""
    model, request_id = request.places
    if services.route(model) is None:
        return Json({"msg": "NO_OP"})
    seconds = request.fields().get("block_duration", DEFAULT_BLOCK)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise BadRequest("block_duration: give seconds, 0 or more.", param="block_duration")
    question = Question(request_id=request_id, model=model, user=_whose(request), stop=True, wait=float(seconds))
    found = await services.hub.named_calls(question)
    return Json({"msg": "DONE" if found else "NOT_FOUND"})


async def progress(services: Services, request: Request) -> Json:
    """How far an answer is, where the call says how long it may be."""
    request_id = request.places[0]
    found = await services.hub.named_calls(Question(request_id=request_id, user=_whose(request)))
    if not found:
        raise NotFound(f"There is no call under way with the request_id {request_id[:128]}.", param="request_id")
    return Json({"progress": round(max(found), 4)})


def _whose(request: Request) -> str | None:
    return None if request.caller is None or request.is_admin else request.caller.user_id
