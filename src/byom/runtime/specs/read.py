"""A spec in any of its forms as `ModelSpec`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from byom.errors import BadRequest
from byom.runtime.specs.document import read_document
from byom.runtime.specs.fields import Fields, shown
from byom.runtime.specs.forms import KINDS, LLM_ABILITIES, Kind, ModelSpec, Reading, Variant
from byom.runtime.specs.local_weights import check_local_weights
from byom.runtime.specs.names import name_problem
from byom.runtime.specs.problems import Problems
from byom.runtime.specs.template import STYLES, from_prompt_style, looks_like_jinja, template_problem
from byom.runtime.specs.variants import read_variants

_FLAT = ("model_id", "model_uri", "model_revision", "model_hub", "sha256")


def read_spec(
    document: str | bytes | Mapping[str, Any], kind: str | None = None, *, check_files: bool = True
) -> Reading:
    """Checks a spec and brings it into one form.

    Args:
        document: JSON or TOML text, or the object itself; version 1 or 2.
        kind: ``LLM``, ``embedding`` or ``rerank``; ``None`` takes the document's ``model_type``, else tells from its
            fields.
        check_files: look into weights that are on this machine (blocks on the disk).

    Raises `SpecInvalid` with every problem at once, `BadRequest` for a kind that BYOM does not serve.
    """
    value = read_document(document)
    problems = Problems()
    fields = Fields(value, "", problems)
    found = _kind(kind if kind is not None else fields.raw("model_type"), value)
    if kind is not None:
        fields.raw("model_type")
    variants, paths = _variants(fields, found)
    spec = _llm(fields, variants) if found == "LLM" else _other(fields, found, variants)
    if not problems.found and check_files:
        check_local_weights(spec, paths, problems)
    problems.raise_if_any()
    return Reading(spec=spec, notes=tuple(problems.notes))


def normal_kind(text: str) -> Kind:
    """``llm`` as ``LLM``. Raises `BadRequest` for others than BYOM serves."""
    for kind in KINDS:
        if text.lower() == kind.lower():
            return kind
    raise BadRequest(f"Unsupported model type: {text}. BYOM launches {', '.join(KINDS)}.", param="model_type")


def _kind(given: object, value: Mapping[str, Any]) -> Kind:
    if given is not None:
        return normal_kind(str(given))
    if "model_ability" in value or "model_lang" in value:
        abilities = value.get("model_ability")
        return "rerank" if abilities in (["rerank"], "rerank") else "LLM"
    if "dimensions" in value:
        return "embedding"
    return "rerank" if "language" in value else "LLM"


def _head(fields: Fields) -> dict[str, Any]:
    version = fields.raw("version")
    if version not in (None, 1, 2) or isinstance(version, bool):
        fields.wrong("version", f"is {shown(version)}", "Give 1 or 2")
    name = fields.text("model_name", required="Give a name such as my-model-7b")
    if name is not None and (problem := name_problem(name)):
        fields.wrong("model_name", *problem)
    fields.raw("is_builtin")  # said by a server that lists it, of no meaning to this one
    listed = any(isinstance(entry, dict) and "quantizations" in entry for entry in _entries(fields.value))
    return {
        "name": name or "",
        "version": version if version in (1, 2) else 1 if listed else 2,
        "description": fields.text("model_description"),
    }


def _entries(value: Mapping[str, Any]) -> list[Any]:
    entries = value.get("model_specs")
    return entries if isinstance(entries, list) else []


def _variants(fields: Fields, kind: Kind) -> tuple[tuple[Variant, ...], dict[int, str]]:
    found: list[Variant] = []
    paths: dict[int, str] = {}
    flat = {name: fields.raw(name) for name in _FLAT if fields.value.get(name) is not None} if kind != "LLM" else {}
    if flat and not fields.value.get("model_specs"):
        entry = Fields({"model_format": "pytorch", **flat}, "", fields.problems)
        fields.raw("model_specs")
        found = read_variants(entry, kind)
        return tuple(found), {0: "$"}
    mend = "Give at least one entry with model_format, quantization and model_id or model_uri"
    seen: dict[tuple[str, str | None, str], str] = {}
    for entry in fields.objects("model_specs", required=mend):
        for variant in read_variants(entry, kind):
            key = (variant.format, variant.size, variant.quantization.lower())
            if key in seen:
                what = f"says {variant.label} again, as {seen[key]} does"
                fields.problems.add(entry.path, what, "Leave one of them out, or give another size or quantization")
                continue
            seen[key] = entry.path
            paths[len(found)] = entry.path
            found.append(variant)
    return tuple(found), paths


def _llm(fields: Fields, variants: tuple[Variant, ...]) -> ModelSpec:
    head = _head(fields)
    mend = 'Say what it can do, such as ["generate"] or ["chat"]'
    abilities = fields.texts("model_ability", required=mend, choices=LLM_ABILITIES)
    if not {"generate", "chat", "embed"} & set(abilities) and abilities:
        fields.wrong("model_ability", f"is {shown(list(abilities))}", "Add chat or generate")
    for ability in ("tools", "vision", "hybrid"):
        if ability in abilities and "chat" not in abilities:
            fields.wrong("model_ability", f"has {ability} without chat", "Add chat")
    if "vision" in abilities:
        for variant in variants:
            if variant.format == "ggufv2" and not variant.projectors:
                what = f"is missing in {variant.label}, and model_ability has vision"
                fields.wrong("model_specs.multimodal_projectors", what, "Name the file, such as mmproj-F16.gguf")
    template, stop, stop_ids = _template(fields, abilities)
    start, end = fields.text("reasoning_start_tag"), fields.text("reasoning_end_tag")
    if (start is None) != (end is None):
        missing = "reasoning_start_tag" if start is None else "reasoning_end_tag"
        fields.wrong(missing, "is missing", "Give both tags, such as <think> and </think>")
    return ModelSpec(
        kind="LLM",
        languages=fields.texts("model_lang") or ("en",),
        abilities=abilities,
        context_length=fields.whole("context_length"),
        family=fields.text("model_family") or "other",
        variants=variants,
        chat_template=template,
        stop=fields.texts("stop") or stop,
        stop_token_ids=fields.wholes("stop_token_ids") or stop_ids,
        architectures=fields.texts("architectures"),
        reasoning_start_tag=start,
        reasoning_end_tag=end,
        tool_parser=fields.text("tool_parser"),
        extra=fields.rest(("virtualenv", "cache_config", "download_hubs")),
        **head,
    )


def _template(fields: Fields, abilities: tuple[str, ...]) -> tuple[str | None, tuple[str, ...], tuple[int, ...]]:
    """The chat template, and the stops that come with a ``prompt_style``."""
    text = fields.text("chat_template")
    style = fields.raw("prompt_style")
    if "chat" not in abilities:
        if style is not None:
            fields.problems.note("prompt_style is not used: the model does not chat.")
        return text, (), ()
    if text is not None:
        if not looks_like_jinja(text):
            fields.problems.note(f"chat_template names {text!r}: the template that the weights carry is used.")
            return None, (), ()
        if problem := template_problem(text):
            fields.wrong("chat_template", problem, "Mend the Jinja text, or leave it out to use the weights' own")
        return text, (), ()
    if isinstance(style, str):
        fields.problems.note(f"prompt_style names {style!r}: the template that the weights carry is used.")
    elif isinstance(style, dict):
        inner = Fields(style, "prompt_style", fields.problems)
        stops, stop_ids = inner.texts("stop"), inner.wholes("stop_token_ids")
        text = from_prompt_style(style)
        if text is None:
            mend = f"Give chat_template in Jinja, or one of the styles {', '.join(STYLES)}"
            inner.wrong("style_name", f"is {shown(style.get('style_name'))}", mend)
        return text, stops, stop_ids
    elif style is not None:
        fields.wrong("prompt_style", f"is {shown(style)}", "Give chat_template in Jinja instead")
    return None, (), ()


def _other(fields: Fields, kind: Kind, variants: tuple[Variant, ...]) -> ModelSpec:
    head = _head(fields)
    fields.raw("model_ability")
    return ModelSpec(
        kind=kind,
        languages=fields.texts("language") or fields.texts("model_lang") or ("en",),
        abilities=("embed",) if kind == "embedding" else ("rerank",),
        variants=variants,
        dimensions=fields.whole("dimensions"),
        max_tokens=fields.whole("max_tokens"),
        context_length=fields.whole("context_length"),
        rerank_type=fields.text("type") or "unknown" if kind == "rerank" else "unknown",
        family=fields.text("model_family") or "other",
        extra=fields.rest(("virtualenv", "cache_config")),
        **head,
    )


def with_name(spec: ModelSpec, name: str) -> ModelSpec:
    """The same spec under another name."""
    return msgspec.structs.replace(spec, name=name)
