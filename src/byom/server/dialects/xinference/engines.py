"""``/v1/engines``: what can run a registered model, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from byom.errors import NotFound
from byom.server.dialects.xinference.request import Json, Request

if TYPE_CHECKING:
    from byom.server.dialects.xinference.services import Services
    from byom.server.launching.records import EngineShown

Variants = Sequence[dict[str, Any]]


async def of_llm(services: Services, request: Request) -> Json:
    return Json(await _engines(services, "LLM", request.places[0]))


async def of_kind(services: Services, request: Request) -> Json:
    kind, name = request.places
    return Json(await _engines(services, kind, name))


async def _engines(services: Services, kind: str, name: str) -> dict[str, Any] | None:
    """Names of engines with what they can run, or with the reason why they run nothing; ``None``: no such model."""
    try:
        spec = await services.launching.spec(kind, name)
    except NotFound:
        return None
    variants: Variants = spec["model_specs"]
    return {one.name: _runs(one, kind, name, variants) for one in await services.launching.engines()}


def _runs(engine: EngineShown, kind: str, name: str, variants: Variants) -> list[dict[str, Any]] | str:
    if not engine.usable:
        return f"{engine.reason} {engine.advice}".strip()
    if kind not in engine.types:
        return f"{engine.name} does not run models of the kind {kind}."
    fitting = [one for one in variants if one["model_format"] in engine.formats]
    if not fitting:
        return f"{engine.name} runs {', '.join(engine.formats)}; {name} has none of these formats."
    return [_entry(name, one) for one in fitting]


def _entry(name: str, variant: dict[str, Any]) -> dict[str, Any]:
    entry = {
        "model_name": name,
        "model_format": variant["model_format"],
        "model_size_in_billions": variant.get("model_size_in_billions"),
        "quantizations": variant.get("quantizations") or [variant.get("quantization", "none")],
        "support_draft_model": False,
    }
    projectors = variant.get("multimodal_projectors")
    return {**entry, "multimodal_projectors": projectors} if projectors else entry
