"""A model as ``/v1/models`` describes it beside OpenAI's fields: as Xinference does, whatever it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from byom.runtime.specs.forms import ModelSpec, Variant
from byom.runtime.specs.render import describe as describe_spec
from byom.server.launching.catalog_weights import plan_of

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route
    from byom.catalog.state import ConnectionRow, State

_FOR_ALL: dict[str, Any] = {
    "address": None,
    "accelerators": [],
    "model_engine": None,
    "replica": 1,
    "quantization": None,
}
_OF_LLM: dict[str, Any] = {
    "model_lang": [],
    "model_description": None,
    "model_size_in_billions": None,
    "model_family": "other",
    "multimodal_projector": None,
    "model_hub": None,
    "revision": None,
}
_OF_EMBEDDING: dict[str, Any] = {"dimensions": None, "max_tokens": None, "language": [], "model_revision": None}
_OF_RERANK: dict[str, Any] = {"type": "unknown", "language": [], "model_revision": None}
_SPOKEN = {"LLM": _OF_LLM, "embedding": _OF_EMBEDDING, "rerank": _OF_RERANK}


def describe(state: State, route: Route) -> dict[str, Any]:
    """Every key is always there: clients of all ages read ``model_type``, ``model_ability``, ``model_format`` and
    ``model_name`` to choose what they make of the model."""
    kind = type_of(route.abilities)
    found = _FOR_ALL | _SPOKEN[kind]
    found |= {
        "model_type": kind,
        "model_name": route.name,
        "model_format": None,
        "model_ability": abilities(route.abilities, kind),
    }
    if kind == "LLM":
        found["context_length"] = route.context_window
    connection = state.connections.get(route.connection_id)
    if connection is not None and connection.kind == "weights":
        found |= _of_weights(connection, route)
    return found


def _of_weights(connection: ConnectionRow, route: Route) -> dict[str, Any]:
    try:
        plan = plan_of(connection)
        spec, variant = msgspec.convert(plan.spec, ModelSpec), msgspec.convert(plan.variant, Variant)
    except msgspec.ValidationError:
        return {}  # said where launches are read; the list of all models does not fail by it
    target = route.target
    found = describe_spec(spec, variant)
    found |= {
        "address": f"{target.host}:{target.port}" if target.host else None,
        "accelerators": [str(one) for one in plan.request.gpu_idx or ()],
        "model_engine": plan.engine,
        "replica": plan.request.replicas,
    }
    if plan.abilities:
        found["model_ability"] = list(plan.abilities)
    if found["model_type"] == "LLM":
        found["context_length"] = plan.context_length or found["context_length"]
    elif plan.dimensions is not None:
        found["dimensions"] = plan.dimensions
    return found


def type_of(has: frozenset[str]) -> str:
    """``LLM``, ``embedding`` or ``rerank``, by what a model can do."""
    if has & {"chat", "generate"}:
        return "LLM"
    if "rerank" in has:
        return "rerank"
    return "embedding" if "embed" in has else "LLM"


def abilities(has: frozenset[str], kind: str) -> list[str]:
    """In Xinference's words. An LLM has at least ``generate``: clients refuse one that has nothing that they know."""
    words = sorted(has & {"chat", "generate", "embed", "rerank", "tools", "vision"})
    if kind == "LLM" and not has & {"chat", "generate"}:
        words.append("generate")
    return words
