"""Puts trained weights into the package: `python -m training.guide.package DIR`, where `train --out DIR` wrote them.

Beside the GGUF lie its spec (`guide.json`) and its card (`card.json`), with digest and measured figures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from .facts import held_out, load
from .gguf_file import DESCRIPTION, TEMPLATE
from .measure import CONTEXT, engine, measure

TARGET = Path(__file__).parents[2] / "src" / "byom" / "runtime" / "guide"
LARGEST = 8_000_000


def main() -> None:
    """Measures, copies and describes; refuses a file that is too large."""
    parser = argparse.ArgumentParser(description="Put the trained guide into the package.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    weights = folder / "guide.gguf"
    data = weights.read_bytes()
    if len(data) > LARGEST:
        raise SystemExit(f"{weights} has {len(data)} bytes, more than {LARGEST}")
    digest = hashlib.sha256(data).hexdigest()
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    TARGET.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, TARGET / "guide.gguf")
    write(TARGET / "guide.json", spec(digest, training["parameters"]))
    write(TARGET / "card.json", card(digest, len(data), training, scores(weights)))


def scores(weights: Path) -> dict[str, dict[str, float]]:
    """Useful answers and questions of each held-out part."""
    facts, found = load(), {}
    with engine(weights) as model:
        for part in ("dev", "test"):
            results = measure(model, held_out(part), facts)
            good = sum(useful for _, _, useful in results)
            found[part] = {"questions": len(results), "useful": good, "share": round(good / len(results), 4)}
    return found


def spec(digest: str, parameters: int) -> dict[str, Any]:
    """The spec in Xinference's form, version 2; `model_uri` is relative to the spec itself."""
    return {
        "version": 2,
        "model_name": "guide",
        "model_description": DESCRIPTION,
        "context_length": CONTEXT,
        "model_lang": ["en"],
        "model_ability": ["generate", "chat"],
        "model_family": "guide",
        "chat_template": TEMPLATE,
        "stop": ["<|end|>"],
        "model_specs": [
            {
                "model_format": "ggufv2",
                "model_size_in_billions": f"0_{parameters / 1e9:.4f}".replace("0_0.", "0_"),
                "quantization": "Q8_0",
                "model_uri": "guide.gguf",
                "model_file_name_template": "guide.gguf",
                "sha256": digest,
            }
        ],
    }


def card(digest: str, size: int, training: dict[str, Any], held: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What the weights are, how they came about, and how well they do."""
    return {
        "name": "guide",
        "description": DESCRIPTION,
        "licence": "Apache-2.0",
        "architecture": "llama",
        "parameters": training["parameters"],
        "quantization": "Q8_0",
        "context_length": CONTEXT,
        "bytes": size,
        "sha256": digest,
        "facts": len(load()),
        "data": "written for this repository: training/guide",
        "training": training,
        "held_out": held,
        "measure": "an answer is useful when it holds the texts that its fact needs, and no code that the fact lacks",
        "limits": "English, short questions about BYOM; anything else is refused or answered wrongly",
    }


def write(path: Path, value: dict[str, Any]) -> None:
    """JSON for people to read."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
