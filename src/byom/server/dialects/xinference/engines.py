"""``/v1/engines``: what can run a registered model, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from byom.errors import ByomError, NotFound
from byom.server.dialects.xinference.request import Json, Request
from byom.server.launching import request

if TYPE_CHECKING:
    from byom.server.dialects.xinference.services import Services
    from byom.server.launching.records import EngineShown


async def of_llm(services: Services, asked: Request) -> Json:
    return Json(await _engines(services, "LLM", asked.places[0]))


async def of_kind(services: Services, asked: Request) -> Json:
    kind, name = asked.places
    return Json(await _engines(services, kind, name))


async def _engines(services: Services, kind: str, name: str) -> dict[str, Any] | None:
    """Names of engines with what they can run, or with the reason why they run nothing; ``None``: no such model."""
    try:
        spec = await services.launching.spec(kind, name)
    except NotFound:
        return None
    shown = await services.launching.engines()
    return {one.name: await _runs(services, one, kind, name, spec["model_specs"]) for one in shown}


async def _runs(
    services: Services, engine: EngineShown, kind: str, name: str, entries: Sequence[dict[str, Any]]
) -> list[dict[str, Any]] | str:
    """What a launch with this engine would say of each of the spec's entries."""
    if not engine.usable:
        return f"{engine.reason} {engine.advice}".strip()
    found, reason = [], ""
    for entry in entries:
        can: list[str] = []
        for quantization in entry.get("quantizations") or [entry.get("quantization", "none")]:
            asked = {
                "model_name": name,
                "model_type": kind,
                "engine": engine.name,
                "format": entry["model_format"],
                "size": _size(entry),
                "quantization": quantization,
            }
            try:
                await services.launching.explain(request.of(asked))
            except ByomError as error:
                reason = error.message
            else:
                can.append(quantization)
        if can:
            found.append(_entry(name, entry, can))
    return found or reason or f"{name} has no weights."


def _size(entry: dict[str, Any]) -> str | None:
    size = entry.get("model_size_in_billions")
    return None if size is None else str(size).replace("_", ".")


def _entry(name: str, entry: dict[str, Any], quantizations: list[str]) -> dict[str, Any]:
    shown = {
        "model_name": name,
        "model_format": entry["model_format"],
        "model_size_in_billions": entry.get("model_size_in_billions"),
        "quantizations": quantizations,
        "support_draft_model": False,
    }
    projectors = entry.get("multimodal_projectors")
    return {**shown, "multimodal_projectors": projectors} if projectors else shown
