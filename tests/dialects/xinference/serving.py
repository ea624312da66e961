"""A hub in a process of its own, with weights that are real and tiny, and an endpoint beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from byom.catalog.catalog import Catalog
from byom.catalog.forms import ModelForm
from byom.settings import Settings
from byom.testing import Behavior, FakeUpstream
from tests.node.serving import hub_process
from tests.runtime.tiny_gguf import write_tiny_gguf

MODELS: dict[str, Behavior] = {
    "remote-chat": Behavior(tokens=("one", " two", " three"), prompt_tokens=10),
    "remote-ranker": Behavior(),
    "remote-endless": Behavior(chunks=10_000, chunk_interval=0.05),
    "remote-down": Behavior(status=500, error="The engine is on fire."),
}
ABILITIES = {"remote-ranker": ["rerank"], "remote-chat": ["chat", "generate", "tools"]}


@dataclass(frozen=True)
class Served:
    url: str
    key: str
    """Of the user ``ann``, who is no administrator."""
    admin_key: str
    home: Path
    weights: Path
    upstream: FakeUpstream

    def get(self, path: str, key: str | None = None) -> httpx2.Response:
        """With the key of an administrator where none is given."""
        headers = {"authorization": f"Bearer {key or self.admin_key}"}
        return httpx2.get(self.url + path, headers=headers, trust_env=False)


@contextmanager
def served(home: Path, weights: Path, workers: int = 1) -> Iterator[Served]:
    home.mkdir()
    weights.mkdir()
    write_tiny_gguf(weights / "tiny.gguf")
    write_tiny_gguf(weights / "rank.gguf", rank=True)
    with FakeUpstream(models=tuple(MODELS)) as upstream:
        for name, behavior in MODELS.items():
            upstream.set_model(name, behavior)
        key = asyncio.run(_fill(Settings(home=home), upstream.base_url))
        (home / "byom.toml").write_text(f"[server]\nworkers = {workers}\n", encoding="utf-8")
        with hub_process(home) as url:
            yield Served(url, key, (home / "admin.key").read_text().strip(), home, weights, upstream)


async def _fill(settings: Settings, url: str) -> str:
    async with Catalog.session(settings) as catalog:
        await catalog.connections.create({"name": "box", "url": url, "retry": {"attempts": 1}}, actor="test")
        forms = [
            ModelForm(name=name, connection="box", abilities=frozenset(ABILITIES.get(name, ["chat"])))
            for name in MODELS
        ]
        await catalog.models.create_many(forms, actor="test")
        await catalog.users.create({"name": "ann"}, actor="test")
        return (await catalog.keys.create({"name": "xin", "user": "ann"}, actor="test")).token


def llm_spec(weights: Path, name: str, **fields: Any) -> dict[str, Any]:
    """Version 2, of a chat model."""
    variant = {
        "model_format": "ggufv2",
        "model_size_in_billions": "0_1",
        "quantization": "F32",
        "model_file_name_template": "tiny.gguf",
        "model_uri": str(weights),
    }
    head = {"version": 2, "model_name": name, "model_lang": ["en"], "model_ability": ["generate", "chat"]}
    return {**head, "model_family": "other", "context_length": 256, "model_specs": [variant], **fields}


def embedding_spec(weights: Path, name: str) -> dict[str, Any]:
    variant = {
        "model_format": "ggufv2",
        "quantization": "F32",
        "model_file_name_template": "tiny.gguf",
        "model_uri": str(weights),
    }
    head = {"version": 2, "model_name": name, "dimensions": 64, "max_tokens": 128, "language": ["en"]}
    return {**head, "model_specs": [variant]}


def rerank_spec(weights: Path, name: str) -> dict[str, Any]:
    variant = {
        "model_format": "ggufv2",
        "quantization": "F32",
        "model_file_name_template": "rank.gguf",
        "model_uri": str(weights),
    }
    return {"version": 2, "model_name": name, "language": ["en"], "max_tokens": 128, "model_specs": [variant]}


def text_of(spec: dict[str, Any]) -> str:
    return json.dumps(spec)
