"""Specs in the shape that clients of Xinference know."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from byom.runtime.specs.forms import ModelSpec, Variant


def render_spec(spec: ModelSpec, version: Literal[1, 2] | None = None) -> dict[str, Any]:
    """The spec as an object of JSON. ``version`` ``None`` takes the one it was written in.

    Version 1 gathers variants that differ in nothing but their quantization into one entry with ``quantizations``.
    `read_spec` reads either back as the same spec.
    """
    version = version or (1 if spec.version == 1 else 2)
    head: dict[str, Any] = {"version": version, "model_name": spec.name}
    if spec.description is not None:
        head["model_description"] = spec.description
    entries = [_entry(variant, spec) for variant in spec.variants]
    body = _llm(spec) if spec.kind == "LLM" else _other(spec)
    return {**head, **body, "model_specs": _gathered(entries) if version == 1 else entries, **spec.extra}


def _llm(spec: ModelSpec) -> dict[str, Any]:
    body: dict[str, Any] = {
        "context_length": spec.context_length,
        "model_lang": list(spec.languages),
        "model_ability": list(spec.abilities),
        "model_family": spec.family,
        "chat_template": spec.chat_template,
        "stop_token_ids": list(spec.stop_token_ids),
        "stop": list(spec.stop),
    }
    optional = {
        "architectures": list(spec.architectures),
        "reasoning_start_tag": spec.reasoning_start_tag,
        "reasoning_end_tag": spec.reasoning_end_tag,
        "tool_parser": spec.tool_parser,
    }
    return {**body, **{name: value for name, value in optional.items() if value}}


def _other(spec: ModelSpec) -> dict[str, Any]:
    body: dict[str, Any] = {"language": list(spec.languages), "max_tokens": spec.max_tokens}
    if spec.kind == "embedding":
        body["dimensions"] = spec.dimensions
    else:
        body["type"] = spec.rerank_type
    return body


def _entry(variant: Variant, spec: ModelSpec) -> dict[str, Any]:
    entry: dict[str, Any] = {"model_format": variant.format}
    if spec.kind == "LLM":
        entry["model_size_in_billions"] = wire_size(variant.size)
    if variant.activated_size is not None:
        entry["activated_size_in_billions"] = wire_size(variant.activated_size)
    entry |= {
        "quantization": variant.quantization,
        "model_id": variant.model_id,
        "model_hub": variant.hub,
        "model_uri": variant.uri,
        "model_revision": variant.revision,
    }
    if variant.format == "ggufv2":
        entry["model_file_name_template"] = variant.template
        if variant.split_template is not None:
            entry["model_file_name_split_template"] = variant.split_template
            prefix, _, rest = variant.split_template.replace("{quantization}", variant.quantization).partition("{part}")
            parts = [part.removeprefix(prefix).removesuffix(rest) for part in variant.parts]
            entry["quantization_parts"] = {variant.quantization: parts}
        if variant.projectors:
            entry["multimodal_projectors"] = list(variant.projectors)
    if variant.checksums:
        entry["sha256"] = variant.checksums.get("*") if set(variant.checksums) == {"*"} else variant.checksums
    return {**entry, **variant.extra}


def _gathered(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Version 1: one entry for those that are alike but for the quantization."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for entry in entries:
        alike = {name: value for name, value in entry.items() if name not in ("quantization", "quantization_parts")}
        whole = next((one for rest, one in found if rest == alike), None)
        if whole is None:
            whole = {**alike, "quantizations": []}
            found.append((alike, whole))
        whole["quantizations"].append(entry["quantization"])
        if "quantization_parts" in entry:
            whole.setdefault("quantization_parts", {}).update(entry["quantization_parts"])
    return [whole for _, whole in found]


def wire_size(size: str | None) -> int | str | None:
    """``7`` as a number, ``1.8`` as ``"1_8"``, as Xinference writes them."""
    if size is None:
        return None
    return int(size) if "." not in size else size.replace(".", "_")


def describe(spec: ModelSpec, variant: Variant) -> dict[str, Any]:
    """What a launched variant is, in the shape of ``GET /v1/models/{uid}`` (the process's own fields aside)."""
    shared: dict[str, Any] = {
        "model_name": spec.name,
        "model_format": variant.format,
        "quantization": variant.quantization,
        "model_ability": list(spec.abilities),
        "model_hub": variant.hub,
    }
    if spec.kind == "embedding":
        own: dict[str, Any] = {
            "dimensions": spec.dimensions,
            "max_tokens": spec.max_tokens,
            "language": list(spec.languages),
        }
        return {"model_type": "embedding", **shared, **own, "model_revision": variant.revision}
    if spec.kind == "rerank":
        own = {"type": spec.rerank_type, "language": list(spec.languages)}
        return {"model_type": "rerank", **shared, **own, "model_revision": variant.revision}
    return {
        "model_type": "LLM",
        **shared,
        "model_lang": list(spec.languages),
        "model_description": spec.description,
        "model_size_in_billions": wire_size(variant.size),
        "model_family": spec.family,
        "multimodal_projector": variant.projectors[0] if variant.projectors else None,
        "revision": variant.revision,
        "context_length": spec.context_length,
        "strict_system_first": False,
    }


def to_builtin(spec: ModelSpec) -> ModelSpec:
    return msgspec.structs.replace(spec, builtin=True)
