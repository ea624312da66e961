"""Reads one entry of ``model_specs``; a list of ``quantizations`` becomes one variant for each."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from byom.runtime.specs.fields import Fields, shown
from byom.runtime.specs.forms import FORMATS, Format, Kind, Variant
from byom.runtime.specs.places import check_place, hub_id_problem, place_of

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"(sha256:)?([0-9a-fA-F]{64})")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_ON_LOAD = ("none", "4-bit", "8-bit")
_GGUF_MEND = "Name the file, such as model.{quantization}.gguf, or give its path in model_uri"
FILL = "{quantization}"
_MENDS = {
    "ggmlv3": "llama.cpp no longer reads it: convert the file to GGUF and write ggufv2",
    "gguf": "Write ggufv2",
    "safetensors": "Write pytorch, which stands for safetensors too",
    "mlx": "It needs Apple's MLX, for which BYOM has no engine; use pytorch or ggufv2",
}
_KNOWN_EXTRA = (
    "draft_model_id", "draft_model_uri", "draft_model_revision", "draft_model_file_name_template", "cache_status",
    "model_file_name_split_template", "quantization_parts", "multimodal_projectors",
)  # fmt: skip


def read_variants(fields: Fields, kind: Kind) -> list[Variant]:
    """All variants of one entry. What is wrong goes into the problems; then the list may be short."""
    before = len(fields.problems.found)
    form = _format(fields)
    size = fields.size(
        "model_size_in_billions", required="Give it in billions of parameters, such as 7" * (kind == "LLM")
    )
    activated = fields.size("activated_size_in_billions")
    quantizations = _quantizations(fields, form)
    source = _source(fields)
    files = _Files(fields, form)
    checksums = _checksums(fields)
    extra = fields.rest(_KNOWN_EXTRA)
    if form is None or len(fields.problems.found) > before:
        return []
    variants = []
    for quantization in quantizations:
        variant = Variant(
            format=form,
            quantization=quantization,
            size=size,
            activated_size=activated,
            hub=source["hub"] or "huggingface",
            model_id=_filled(source["model_id"], quantization),
            uri=_filled(source["uri"], quantization),
            revision=source["revision"],
            checksums=checksums,
            projectors=files.projectors,
            template=files.template,
            split_template=files.split_template,
            file_name=files.name(quantization),
            parts=files.parts(quantization),
            extra=extra,
        )
        if _place_is_right(fields, variant):
            variants.append(variant)
    return variants


def _format(fields: Fields) -> Format | None:
    value = fields.raw("model_format")
    if value is None:
        fields.wrong("model_format", "is missing", f"Give one of {', '.join(FORMATS)}")
        return None
    for form in FORMATS:
        if value == form:
            return form
    mend = _MENDS.get(str(value).lower(), f"Give one of {', '.join(FORMATS)}")
    fields.wrong("model_format", f"is {shown(value)}", mend)
    return None


def _quantizations(fields: Fields, form: Format | None) -> list[str]:
    one, many = fields.raw("quantization"), fields.raw("quantizations")
    if one is not None and many is not None:
        fields.wrong("quantizations", "stands beside quantization", "Give one of the two")
        return []
    name = "quantizations" if many is not None else "quantization"
    values = many if many is not None else one
    if many is not None and (not isinstance(many, list | tuple) or not many):
        fields.wrong(name, f"is {shown(many)}, not a list of texts", 'Give a list, such as ["none"]')
        return []
    found: list[str] = []
    for position, value in enumerate(values if isinstance(values, list | tuple) else [values]):
        where = f"{name}[{position}]" if many is not None else name
        text = "none" if value is None or value == "" else value
        if not isinstance(text, str) or not _WORD.fullmatch(text) or ".." in text:
            fields.wrong(where, f"is {shown(value)}", "Give a word such as none, 4-bit, Int4 or Q4_K_M")
            continue
        if form == "pytorch":
            text = {"4bit": "4-bit", "8bit": "8-bit"}.get(text.lower(), text.lower())
            if text not in _ON_LOAD:
                mend = f"Weights in pytorch are loaded as {', '.join(_ON_LOAD[:-1])} or {_ON_LOAD[-1]}"
                fields.wrong(
                    where, f"is {shown(value)}", f"{mend}; quantized ones have the format gptq, awq, fp8 or bnb"
                )
                continue
        if text not in found:
            found.append(text)
    return found


def _source(fields: Fields) -> dict[str, Any]:
    hub = fields.text("model_hub")
    model_id, uri, revision = fields.text("model_id"), fields.text("model_uri"), fields.text("model_revision")
    if model_id is None and uri is None:
        if fields.value.get("model_id") in (None, "") and fields.value.get("model_uri") in (None, ""):
            fields.wrong("model_id", "is missing, and so is model_uri", "Give the id on Hugging Face, or a path or URI")
    elif model_id is not None and uri is None:
        if hub not in (None, "huggingface"):
            mend = "Give the id on Hugging Face, or a model_uri"
            fields.wrong("model_hub", f"is {shown(hub)}, from which BYOM does not fetch", mend)
        if problem := hub_id_problem(model_id.replace(FILL, "x")):
            fields.wrong("model_id", f"is {shown(model_id)}: {problem}", "For a path or URI use model_uri")
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        fields.wrong("model_revision", f"is {shown(revision)}", "Give a branch, a tag or a commit")
    return {"hub": hub, "model_id": model_id, "uri": uri, "revision": revision}


def _checksums(fields: Fields) -> dict[str, str]:
    """``sha256``: the digest of the only file, or an object of digests by file name."""
    value = fields.raw("sha256")
    if value is None:
        return {}
    entries = value if isinstance(value, dict) else {"*": value}
    found = {}
    for name, digest in entries.items():
        match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
        if match is None:
            fields.wrong("sha256", f"has {shown(digest)} for {name}", "Give 64 hexadecimal digits, as sha256sum writes")
        else:
            found[str(name)] = match[2].lower()
    return found


class _Files:
    """The file names of a GGUF entry."""

    def __init__(self, fields: Fields, form: Format | None) -> None:
        self._fields = fields
        self.template = self._file("model_file_name_template")
        self.split_template = self._file("model_file_name_split_template")
        self._parts = fields.raw("quantization_parts") or {}
        self.projectors = fields.texts("multimodal_projectors")
        for position, name in enumerate(self.projectors):
            self._check(f"multimodal_projectors[{position}]", name)
        if form != "ggufv2":
            return
        if self.template is None and self.split_template is None and not _names_gguf(fields.value.get("model_uri")):
            fields.wrong("model_file_name_template", "is missing", _GGUF_MEND)
        if not isinstance(self._parts, dict):
            fields.wrong("quantization_parts", f"is {shown(self._parts)}", 'Write {"Q4_K_M": ["00001-of-00002", …]}')
            self._parts = {}

    def _file(self, name: str) -> str | None:
        text = self._fields.text(name)
        if text is not None:
            self._check(name, text)
        return text

    def _check(self, name: str, text: str) -> None:
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or "\\" in text:
            self._fields.wrong(name, f"is {shown(text)}", "Give a name inside the repository or folder")
        elif not text.endswith(".gguf"):
            self._fields.wrong(name, f"is {shown(text)}", "A GGUF file's name ends with .gguf")
        elif re.search(r"\{(?!quantization\}|part\})", text):
            self._fields.wrong(name, f"is {shown(text)}", "It may hold {quantization} and, for several files, {part}")

    def name(self, quantization: str) -> str | None:
        parts = self.parts(quantization)
        return parts[0] if parts else _filled(self.template, quantization)

    def parts(self, quantization: str) -> tuple[str, ...]:
        names = self._parts.get(quantization)
        if not names or self.split_template is None or not isinstance(names, list):
            return ()
        filled = self.split_template.replace(FILL, quantization)
        return tuple(filled.replace("{part}", str(name)) for name in names)


def _names_gguf(uri: object) -> bool:
    return isinstance(uri, str) and uri.partition("?")[0].lower().endswith(".gguf")


def _filled(text: str | None, quantization: str) -> str | None:
    return None if text is None else text.replace(FILL, quantization)


def _place_is_right(fields: Fields, variant: Variant) -> bool:
    """Checks ``model_uri`` with the quantization filled in; into the files `local_weights` looks."""
    if variant.uri is None:
        return True
    place = check_place(variant.uri, fields.at("model_uri"), fields.problems)
    if place is None:
        return False
    if place.kind == "fsspec" and variant.format == "ggufv2" and not (variant.file_name or _names_gguf(variant.uri)):
        fields.wrong("model_file_name_template", "is missing", _GGUF_MEND)
        return False
    return True


def is_local(variant: Variant) -> bool:
    return variant.uri is not None and place_of(variant.uri).kind == "local"
