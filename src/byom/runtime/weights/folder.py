"""Reads a folder as Hugging Face has them: config.json, the tokenizer's configuration, and the heads of the weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from byom.runtime.weights.info import WeightsCorrupt, WeightsInfo

_LONGEST_HEAD = 512 * 1024 * 1024
_LONGEST_JSON = 64 * 1024 * 1024


def inspect_folder(folder: Path) -> WeightsInfo:
    """Raises `WeightsCorrupt` where something that is needed is missing, cut short or not readable."""
    config = read_json(folder / "config.json")
    text_config = config.get("text_config")
    inner = text_config if isinstance(text_config, dict) else config
    files = weight_files(folder)
    for file in files:
        if file.suffix == ".safetensors":
            check_safetensors(file)
    heads = _whole(inner, "num_attention_heads", "n_head")
    width = _whole(inner, "hidden_size", "n_embd", "d_model")
    head_size = _whole(inner, "head_dim") or (width // heads if width and heads else None)
    quantization = config.get("quantization_config")
    architectures = config.get("architectures")
    return WeightsInfo(
        bytes=sum(file.stat().st_size for file in files),
        architecture=str(architectures[0]) if isinstance(architectures, list) and architectures else None,
        layers=_whole(inner, "num_hidden_layers", "n_layer", "num_layers"),
        hidden_size=width,
        kv_heads=_whole(inner, "num_key_value_heads") or heads,
        head_size_k=head_size,
        head_size_v=head_size,
        context_length=_whole(inner, "max_position_embeddings", "n_positions", "seq_length"),
        has_chat_template=_has_template(folder),
        quantization_method=_method(quantization),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Raises `WeightsCorrupt` where it is missing or no object."""
    try:
        if path.stat().st_size > _LONGEST_JSON:
            raise WeightsCorrupt(f"{path} is too large for a configuration file.")
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise WeightsCorrupt(f"{path.parent} has no {path.name}. Give the folder that holds it.") from None
    except (ValueError, RecursionError) as error:
        raise WeightsCorrupt(f"{path} is not JSON: {error}. Fetch it again.") from error
    if not isinstance(value, dict):
        raise WeightsCorrupt(f"{path} is no JSON object. Fetch it again.")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights: those of an index, if there is one. Raises `WeightsCorrupt` where any is missing."""
    for index_name in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        index = folder / index_name
        if index.is_file():
            names = sorted({str(name) for name in (read_json(index).get("weight_map") or {}).values()})
            missing = [name for name in names if not (folder / name).is_file()]
            if missing or not names:
                which = (
                    f"{len(missing)} of {len(names)} files are missing, such as {missing[0]}" if missing else "empty"
                )
                raise WeightsCorrupt(f"{index}: {which}. Fetch them again.")
            return [folder / name for name in names]
    for pattern in ("*.safetensors", "*.bin"):
        found = [
            file for file in sorted(folder.glob(pattern)) if file.name not in ("training_args.bin", "optimizer.bin")
        ]
        if found:
            return found
    raise WeightsCorrupt(f"{folder} has no weights: neither *.safetensors nor *.bin.")


def check_safetensors(path: Path) -> None:
    """Raises `WeightsCorrupt` where the file's size is not the one its head tells."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if start[:7] == b"version":
            raise WeightsCorrupt(f"{path} is a pointer of Git LFS: fetch the file itself (git lfs pull).")
        if not 2 <= length <= min(size - 8, _LONGEST_HEAD):
            raise WeightsCorrupt(f"{path} is no safetensors file, or is damaged in its head. Fetch it again.")
        try:
            head = json.loads(file.read(length))
            end = max((entry["data_offsets"][1] for name, entry in head.items() if name != "__metadata__"), default=0)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise WeightsCorrupt(f"{path} is damaged in its head. Fetch it again.") from error
    if 8 + length + end > size:
        raise WeightsCorrupt(f"{path} is cut short: {8 + length + end - size} bytes are missing. Fetch it again.")


def _whole(config: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _method(quantization: object) -> str | None:
    if not isinstance(quantization, dict):
        return None
    method = quantization.get("quant_method")
    return str(method).lower() if method else None


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(read_json(path).get("chat_template"))
