"""One way into both forms of weights."""

from __future__ import annotations

from pathlib import Path

from byom.runtime.weights.folder import inspect_folder
from byom.runtime.weights.gguf import inspect_gguf
from byom.runtime.weights.info import WeightsCorrupt, WeightsInfo


def inspect_weights(path: Path, parts: tuple[Path, ...] = ()) -> WeightsInfo:
    """What the weights at ``path``, a GGUF file or a folder, say about themselves. Blocks on the disk.

    Raises `WeightsCorrupt`, with a text that says what to do.
    """
    if path.is_dir():
        return inspect_folder(path)
    if not path.is_file():
        raise WeightsCorrupt(f"{path} does not exist.")
    return inspect_gguf(path, parts)
