"""Calling a plugin's model in this process, and pieces to make one of."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from byom.host.worker.contract import Context, Served
from byom.host.worker.contracts.plugin import load
from tests.host.plugins import samples

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
FOUR = """
from dataiku.llm.python import BaseLLM
class Some(BaseLLM):
"""
METHODS = {
    "process": "    def process(self, query, settings, trace):\n        return {'text': 'process'}\n",
    "aprocess": "    async def aprocess(self, query, settings, trace):\n        return {'text': 'aprocess'}\n",
    "process_stream": (
        "    def process_stream(self, query, settings, trace):\n        yield {'chunk': {'text': 'process_stream'}}\n"
    ),
    "aprocess_stream": (
        "    async def aprocess_stream(self, query, settings, trace):\n"
        "        yield {'chunk': {'text': 'aprocess_stream'}}\n"
    ),
}


def context(
    user: str = "", config: dict[str, Any] | None = None, plugin_config: dict[str, Any] | None = None
) -> Context:
    return Context(user=user, config=config, plugin_config=plugin_config)


def one_model(tmp_path: Path, code: str, **entry: Any) -> Served:
    """A plugin of one component ``c`` with this ``llm.py``."""
    folder = samples.write(
        tmp_path / "one",
        {"plugin.json": {"id": "one", "version": "1.0.0"}, "python-llms/c/llm.json": {}, "python-llms/c/llm.py": code},
    )
    options = {"models": [{"name": "m", "component": "c", **entry}]}
    return load(str(folder), options)[0]


def chat(served: Served, request: dict[str, Any] | None = None, who: Context | None = None) -> list[dict[str, Any]]:
    made = served.chat(request or HELLO, who or Context())
    if not served.asynchronous:
        return list(made)  # type: ignore[arg-type]

    async def collect() -> list[dict[str, Any]]:
        return [event async for event in made]  # type: ignore[union-attr]

    return asyncio.run(collect())


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event.get("text", "") for event in events)
