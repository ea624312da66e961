"""Specs of tiny weights that the tests make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.runtime.tiny_gguf import write_tiny_gguf


def gguf_spec(folder: Path, name: str = "tiny", **fields: Any) -> dict[str, Any]:
    """A spec in version 2 of a GGUF that is made in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.gguf"
    if not path.exists():
        write_tiny_gguf(path)
    return {
        "version": 2,
        "model_name": name,
        "model_lang": ["en"],
        "model_ability": ["generate", "chat"],
        "model_family": "other",
        "context_length": 256,
        "model_specs": [
            {
                "model_format": "ggufv2",
                "model_size_in_billions": 1,
                "quantization": "F32",
                "model_file_name_template": "tiny.gguf",
                "model_uri": str(path),
            }
        ],
        **fields,
    }
