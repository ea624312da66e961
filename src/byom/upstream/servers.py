"""What servers tell of themselves and their models, in the shapes that are in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a server's list. What the server does not tell is ``None``."""

    id: str
    context_window: int | None = None
    """Tokens."""
    abilities: frozenset[str] | None = None
    """As the server declares them; never guessed from the name."""
    owned_by: str | None = None


class Extra(msgspec.Struct, frozen=True):
    """A further route that tells the context window, outside the OpenAI routes. ``path`` counts from the root."""

    path: str
    read: Callable[[Any], dict[str, int]]
    """Context windows by model id; the id ``*`` stands for all."""


_OWNERS = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "llamacpp": "llama.cpp",
    "library": "Ollama",
    "organization_owner": "LM Studio",
    "organization-owner": "LM Studio",
    "lmdeploy": "LMDeploy",
    "xinference": "Xinference",
    "byom": "BYOM",
    "openai": "OpenAI",
    "openai-internal": "OpenAI",
}
_SERVER_HEADERS = {"llama.cpp": "llama.cpp", "tgi": "TGI", "ollama": "Ollama"}
_KNOWN = frozenset({"chat", "generate", "embed", "rerank", "vision", "tools", "json"})
_CONTEXT_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length", "loaded_context_length")


def parse_models(body: bytes) -> list[ListedModel] | None:
    """The list in the body, or ``None`` where the body is not a list of models."""
    try:
        decoded: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    entries = decoded.get("data", decoded.get("models")) if isinstance(decoded, dict) else decoded
    if not isinstance(entries, list):
        return None
    models = [model for model in map(_listed, entries) if model is not None]
    # A list without one usable entry is another API's answer, unless it is empty: a server with nothing loaded.
    return models if models or not entries else None


def _listed(entry: Any) -> ListedModel | None:
    if not isinstance(entry, dict):
        return None
    name = entry.get("id") or entry.get("name") or entry.get("model")
    if not isinstance(name, str):
        return None
    owner = entry.get("owned_by")
    return ListedModel(
        id=name,
        context_window=_context(entry),
        abilities=_abilities(entry),
        owned_by=owner if isinstance(owner, str) else None,
    )


def _context(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    values = [entry.get(field) for field in _CONTEXT_FIELDS]
    if isinstance(meta, dict):
        values += [meta.get("n_ctx"), meta.get("n_ctx_train")]
    return next((size for size in map(_size, values) if size), None)


def _size(value: Any) -> int:
    """A number of tokens, or 0 for everything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _abilities(entry: Mapping[str, Any]) -> frozenset[str] | None:
    told = entry.get("abilities")
    if isinstance(told, list):
        # A hub, or a host of code, lists them.
        return frozenset(one for one in told if isinstance(one, str)) & _KNOWN or None
    kind = entry.get("type")
    if kind in ("embeddings", "embedding"):
        return frozenset({"embed"})
    if kind in ("llm", "chat"):
        return frozenset({"chat"})
    if kind == "vlm":
        return frozenset({"chat", "vision"})
    if kind == "rerank":
        return frozenset({"rerank"})
    return None


def guess_server(headers: Mapping[str, str], models: list[ListedModel]) -> str | None:
    """The kind of server, from its headers and its list, or ``None``. A display matter: nothing depends on it."""
    if "openai-version" in headers or "openai-organization" in headers:
        return "OpenAI"
    server = headers.get("server", "").split("/")[0].lower()
    if server in _SERVER_HEADERS:
        return _SERVER_HEADERS[server]
    if "x-compute-type" in headers or "x-compute-characters" in headers:
        return "TGI"
    for model in models:
        owner = (model.owned_by or "").lower()
        if owner in _OWNERS:
            return _OWNERS[owner]
    # TGI lists the one model that it serves, as its own owner.
    if len(models) == 1 and models[0].owned_by == models[0].id:
        return "TGI"
    return None


def _tgi_info(decoded: Any) -> dict[str, int]:
    """TGI's and TEI's ``/info``."""
    if not isinstance(decoded, dict) or not isinstance(decoded.get("model_id"), str):
        return {}
    total = _size(decoded.get("max_total_tokens")) or _size(decoded.get("max_input_length"))
    return {decoded["model_id"]: total, "*": total}


def _llama_props(decoded: Any) -> dict[str, int]:
    settings = decoded.get("default_generation_settings") if isinstance(decoded, dict) else None
    size = _size(settings.get("n_ctx")) if isinstance(settings, dict) else 0
    return {"*": size} if size else {}


def _lm_studio(decoded: Any) -> dict[str, int]:
    entries = decoded.get("data") if isinstance(decoded, dict) else None
    found: dict[str, int] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            size = _size(entry.get("loaded_context_length")) or _size(entry.get("max_context_length"))
            if size:
                found[entry["id"]] = size
    return found


TGI_INFO = Extra("/info", _tgi_info)
EXTRAS: dict[str, Extra] = {
    "TGI": TGI_INFO,
    "llama.cpp": Extra("/props", _llama_props),
    "LM Studio": Extra("/api/v0/models", _lm_studio),
}


def with_contexts(models: list[ListedModel], contexts: Mapping[str, int]) -> list[ListedModel]:
    """The list with the context windows that a further route told; what a server runs with outranks its list."""
    told = [contexts.get(model.id) or contexts.get("*") or model.context_window for model in models]
    return [msgspec.structs.replace(model, context_window=size) for model, size in zip(models, told, strict=True)]
