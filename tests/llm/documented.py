"""The Python blocks of LLooM's page on custom models, and stand-ins for the vendors' packages that they import."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
_BLOCK = re.compile(r"^```py[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    """All of them, in order, word for word but for the package's name."""
    found = sorted(SEEDS.glob("002*.txt")) if SEEDS.is_dir() else []
    if not found:
        pytest.skip("the page on custom models is not here (../shared/seeds)")
    return [block.replace("text_lloom", "byom") for block in _BLOCK.findall(found[0].read_text(encoding="utf-8"))]


class Workbench:
    """In the place of ``wb``: keeps what a session is made with."""

    def __init__(self) -> None:
        self.sessions: list[dict[str, Any]] = []

    def lloom(self, **given: Any) -> dict[str, Any]:
        self.sessions.append(given)
        return given


class Gemini(types.ModuleType):
    """``google.generativeai``, as far as the page uses it."""

    def __init__(self) -> None:
        super().__init__("google.generativeai")
        self.key: str | None = None
        self.prompts: list[tuple[str, str]] = []
        self.embedded: list[Any] = []

    def configure(self, *, api_key: str) -> None:
        self.key = api_key

    def GenerativeModel(self, name: str) -> types.SimpleNamespace:  # noqa: N802 - the vendor's name
        def generate_content(prompt: str) -> types.SimpleNamespace:
            self.prompts.append((name, prompt))
            usage = types.SimpleNamespace(prompt_token_count=7, total_token_count=12)
            return types.SimpleNamespace(text=f"{name} says hello", usage_metadata=usage)

        return types.SimpleNamespace(generate_content=generate_content)

    def embed_content(self, *, model: str, content: str | Sequence[str], task_type: str) -> dict[str, Any]:
        self.embedded.append((model, content, task_type))
        one = [0.1, 0.2, 0.3]
        return {"embedding": one if isinstance(content, str) else [one for _ in content]}


class SentenceTransformer:
    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, texts: Sequence[str]) -> Any:
        return np.array([[float(len(text)), 1.0] for text in texts])


def install_gemini(patch: pytest.MonkeyPatch) -> Gemini:
    google, gemini, kinds = types.ModuleType("google"), Gemini(), types.ModuleType("google.generativeai.types")
    kinds.HarmCategory = kinds.HarmBlockThreshold = object()  # type: ignore[attr-defined]
    google.generativeai = gemini  # type: ignore[attr-defined]
    gemini.types = kinds  # type: ignore[attr-defined]
    gemini.__path__ = []  # type: ignore[attr-defined]
    for module in (google, gemini, kinds):
        patch.setitem(sys.modules, module.__name__, module)
    return gemini


def install_sentence_transformers(patch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = SentenceTransformer  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "sentence_transformers", module)


def install_workbench(patch: pytest.MonkeyPatch) -> Workbench:
    """``import byom.workbench as wb`` gives it."""
    import byom

    wb = Workbench()
    module = types.ModuleType("byom.workbench")
    module.lloom = wb.lloom  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "byom.workbench", module)
    patch.setattr(byom, "workbench", module, raising=False)
    return wb


def run(parts: Sequence[str], **names: Any) -> dict[str, Any]:
    """Execute block after block in one namespace, as the cells of a notebook."""
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    for part in parts:
        exec(compile(part, "<custom-models.md>", "exec"), namespace)
    return namespace
