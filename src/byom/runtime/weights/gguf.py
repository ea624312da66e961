"""Reads the head of a GGUF file: metadata and tensors, enough to know what it is and whether it is whole."""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

from byom.runtime.weights.info import WeightsCorrupt, WeightsInfo

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_LONGEST_ARRAY = 64
"""Longer arrays (vocabularies) are passed over."""
_POOLING = {1: "mean", 2: "cls", 3: "last", 4: "rank"}
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
"""By type of a tensor: values in a block, and bytes of a block."""


class GgufHead(NamedTuple):
    metadata: dict[str, Any]
    tensors: int
    parameters: int
    size: int
    """Bytes of the file."""


def read_gguf(path: Path) -> GgufHead:
    """Raises `WeightsCorrupt` where it is no GGUF or ends before its last tensor, OSError where it is not there."""
    size = path.stat().st_size
    if size < 24:
        raise WeightsCorrupt(f"{path} is no GGUF file: it has {size} bytes. Fetch it again.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != b"GGUF":
            raise WeightsCorrupt(f"{path} is no GGUF file: it does not begin with GGUF. {_looks_like(data[:64])}")
        try:
            return _Reader(data, path).head()
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise WeightsCorrupt(f"{path} is cut short or damaged in its head. Fetch it again.") from error


def _looks_like(start: bytes) -> str:
    if start.startswith(b"version https://git-lfs"):
        return "It is a pointer of Git LFS: fetch the file itself (git lfs pull)."
    if start.lstrip()[:1] in (b"<", b"{"):
        return "It is a page of text, as a server gives for an error."
    if start[:4] in (b"ggml", b"lmgg", b"ggjt", b"tjgg"):
        return "It is the older ggml form: convert it."
    return "Fetch it again, or convert it."


class _Reader:
    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data = data
        self._path = path
        self._at = 4

    def head(self) -> GgufHead:
        version = self._scalar("<I")
        if version not in (2, 3):
            raise WeightsCorrupt(f"{self._path} is GGUF of version {version}; llama.cpp reads 2 and 3.")
        tensors, pairs = self._scalar("<Q"), self._scalar("<Q")
        if tensors > 10**6 or pairs > 10**6:
            raise WeightsCorrupt(f"{self._path} is damaged in its head. Fetch it again.")
        metadata = {}
        for _ in range(pairs):
            key = self._string()
            metadata[key] = self._value(self._scalar("<I"))
        end, parameters = self._tensors(tensors)
        alignment = int(metadata.get("general.alignment") or 32)
        needed = math.ceil(self._at / alignment) * alignment + end
        if tensors and needed > len(self._data):
            missing = needed - len(self._data)
            raise WeightsCorrupt(f"{self._path} is cut short: {missing} bytes are missing. Fetch it again.")
        return GgufHead(metadata, tensors, parameters, len(self._data))

    def _tensors(self, count: int) -> tuple[int, int]:
        """The end of the last tensor's data, and the number of values in all."""
        end = parameters = 0
        for _ in range(count):
            self._string()
            values = 1
            for _ in range(self._scalar("<I")):
                values *= self._scalar("<Q")
            block, size = BLOCKS.get(self._scalar("<I"), (1, 0))
            end = max(end, self._scalar("<Q") + values // block * size)
            parameters += values
        return end, parameters

    def _scalar(self, form: str) -> Any:
        value = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return value

    def _string(self) -> str:
        length = self._scalar("<Q")
        start, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise IndexError(self._at)
        return self._data[start : self._at].decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            if kind not in _SCALARS:
                raise IndexError(kind)
            return self._scalar(_SCALARS[kind])
        inner, count = self._scalar("<I"), self._scalar("<Q")
        if inner in _SCALARS and count > _LONGEST_ARRAY:
            self._at += struct.calcsize(_SCALARS[inner]) * count
            return None
        values: list[Any] | None = None if count > _LONGEST_ARRAY else []
        for _ in range(count):
            if values is not None:
                values.append(self._value(inner))
            elif inner == _STRING:
                self._skip_string()
            else:
                self._value(inner)
        return values

    def _skip_string(self) -> None:
        length = struct.unpack_from("<Q", self._data, self._at)[0]
        self._at += 8 + length


def inspect_gguf(path: Path, parts: tuple[Path, ...] = ()) -> WeightsInfo:
    """What the file says of itself; ``parts`` are the further files of weights in several."""
    head = read_gguf(path)
    total = head.size
    parameters = head.parameters
    for part in parts:
        other = read_gguf(part)
        total += other.size
        parameters += other.parameters
    data = head.metadata
    name = str(data.get("general.architecture") or "")

    def whole(key: str) -> int | None:
        value = data.get(f"{name}.{key}")
        if isinstance(value, list):  # one for each layer
            value = max((item for item in value if isinstance(item, int)), default=None)
        return value if isinstance(value, int) else None

    heads, width = whole("attention.head_count"), whole("embedding_length")
    head_size = whole("attention.key_length") or (width // heads if width and heads else None)
    file_type = data.get("general.file_type")
    return WeightsInfo(
        bytes=total,
        architecture=name or None,
        layers=whole("block_count"),
        hidden_size=width,
        kv_heads=whole("attention.head_count_kv") or heads,
        head_size_k=head_size,
        head_size_v=whole("attention.value_length") or head_size,
        context_length=whole("context_length"),
        has_chat_template=bool(data.get("tokenizer.chat_template")),
        quantization_method=None if file_type is None else f"gguf type {file_type}",
        parameters=parameters or None,
        pooling=_POOLING.get(whole("pooling_type") or 0),
    )
