"""``…/llms/images``: pictures, where the model's server makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom.server.dialects.dataiku.failure import Failure, not_served
from byom.server.dialects.dataiku.request import Json, Request, objects

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route
    from byom.server.dialects.dataiku.services import Services

_UNKNOWN = {
    "negativePrompts": "negative prompts",
    "originalImage": "changing an image",
    "maskMode": "a mask",
    "fidelity": "fidelity",
}
"""What OpenAI's image call cannot say; leaving it out would give another picture than the one asked for."""
_BASE64_ALWAYS = "gpt-image"
"""Models of this name answer in base64 and refuse to be told so."""


async def generate(services: Services, request: Request) -> Json:
    fields = request.fields()
    route = services.route(request, fields)
    try:
        return Json({"ok": True, "images": await _images(services, request, route, fields)})
    except Failure as failure:
        return Json(failure.response())


async def _images(services: Services, request: Request, route: Route, fields: dict[str, Any]) -> list[dict[str, Any]]:
    reply = await services.calls.ask(request, "POST", "/v1/images/generations", _body(route, fields))
    data = reply.data.get("data")
    items = data if isinstance(data, list) else []
    found = [{"data": item["b64_json"]} for item in items if isinstance(item, dict) and item.get("b64_json")]
    if not found:
        raise Failure(
            f"The server of the model {route.name!r} answered no image. Does the model make images?",
            status=502,
            code="upstream_protocol",
            kind="upstream_error",
        )
    return found


def _body(route: Route, fields: dict[str, Any]) -> dict[str, Any]:
    for name, what in _UNKNOWN.items():
        if fields.get(name):
            raise not_served(f"The request asks for {what}.")
    prompts = objects(fields.get("prompts"), "prompts")
    if any(prompt.get("weight") not in (None, 1, 1.0) for prompt in prompts):
        raise not_served("The request gives its prompts weights.")
    text = "\n".join(str(prompt.get("prompt") or "") for prompt in prompts)
    if not text:
        raise Failure("The request has no prompt.")
    body: dict[str, Any] = {"model": route.name, "prompt": text}
    if not route.upstream_model.startswith(_BASE64_ALWAYS):
        body["response_format"] = "b64_json"
    if fields.get("width") and fields.get("height"):
        body["size"] = f"{fields['width']}x{fields['height']}"
    for name, field in (("nbImagesToGenerate", "n"), ("quality", "quality"), ("style", "style"), ("seed", "seed")):
        if fields.get(name) is not None:
            body[field] = fields[name]
    return body
