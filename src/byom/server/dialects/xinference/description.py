"""A model as ``GET /v1/models/{uid}`` describes it: what clients read, whatever the model is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route
    from byom.catalog.state import State

_FOR_ALL: dict[str, Any] = {"address": None, "accelerators": [], "model_engine": None, "replica": 1, "quantization": None}
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
    if connection is None or connection.kind != "weights":
        return found
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
