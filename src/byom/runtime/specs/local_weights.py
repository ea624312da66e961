"""Checks at registration of weights that are on this machine already."""

from __future__ import annotations

from pathlib import Path

from byom.runtime.specs.forms import ModelSpec, Variant
from byom.runtime.specs.places import place_of
from byom.runtime.specs.problems import Problems
from byom.runtime.weights.info import WeightsCorrupt, WeightsInfo
from byom.runtime.weights.inspect import inspect_weights

_METHODS = {"gptq": "gptq", "awq": "awq", "fp8": "fp8", "bitsandbytes": "bnb"}


def local_files(variant: Variant) -> tuple[Path, tuple[Path, ...]] | None:
    """The file or folder to load, and the further parts, where the weights are local; else ``None``."""
    if variant.uri is None:
        return None
    place = place_of(variant.uri)
    if place.kind != "local":
        return None
    root = Path(place.where)
    if variant.format != "ggufv2" or variant.file_name is None or root.is_file():
        return root, ()
    return root / variant.file_name, tuple(root / part for part in variant.parts[1:])


def check_local_weights(spec: ModelSpec, paths: dict[int, str], problems: Problems) -> None:
    """``paths``: the JSON path of the entry that each variant comes from, by position."""
    for position, variant in enumerate(spec.variants):
        files = local_files(variant)
        if files is None:
            continue
        path = f"{paths.get(position, 'model_specs')}.model_uri"
        if variant.format == "ggufv2" and files[0].is_dir():
            problems.add(
                path, f"names the folder {files[0]}", "Give model_file_name_template, or the .gguf file itself"
            )
            continue
        if variant.format != "ggufv2" and not files[0].is_dir():
            mend = "A file that ends with .gguf has the format ggufv2; others are given as their folder"
            problems.add(path, f"names the file {files[0]}", mend)
            continue
        try:
            info = inspect_weights(*files)
        except WeightsCorrupt as error:
            problems.add(path, "cannot be loaded", error.message)
            continue
        except OSError as error:
            problems.add(path, f"cannot be read: {error.strerror}", "Give the hub's user the right to read it")
            continue
        _check_against(spec, variant, info, path, problems)


def _check_against(spec: ModelSpec, variant: Variant, info: WeightsInfo, path: str, problems: Problems) -> None:
    entry = path.rpartition(".")[0]
    if "chat" in spec.abilities and not spec.chat_template and info.has_chat_template is False:
        what = f"is missing, and the weights of {variant.label} carry none"
        problems.add("chat_template", what, "Give Jinja text, or leave chat out of model_ability")
    if spec.context_length and info.context_length and spec.context_length > info.context_length:
        problems.note(f"context_length is {spec.context_length}; the weights were trained with {info.context_length}.")
    if variant.format == "ggufv2":
        return
    method = info.quantization_method
    found = _METHODS.get(method, method) if method else "pytorch"
    if found in _METHODS.values() and found != variant.format:
        problems.add(f"{entry}.model_format", f"is {variant.format}, but the weights are {found}", f"Write {found}")
    elif found == "pytorch" and variant.format != "pytorch":
        what = f"is {variant.format}, but the weights are not quantized"
        problems.add(f"{entry}.model_format", what, "Write pytorch")
    if spec.kind == "LLM" and info.architecture is None and not spec.architectures:
        problems.add("architectures", "is missing, and config.json names none", "Give it, such as LlamaForCausalLM")
