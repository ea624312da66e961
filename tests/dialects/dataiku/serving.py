"""A hub in a process of its own, before a fake upstream with a model for each thing to be seen."""

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
from byom.catalog.forms import ModelForm, ModelOptions, NeededCredential
from byom.settings import Settings
from byom.testing import Behavior, FakeUpstream, RecordedRequest, ScriptedToolCall
from byom.testing.upstream import Response
from tests.node.serving import hub_process

PLAIN = Behavior(tokens=("one", " two", " three", " ☃"), prompt_tokens=10)
TOOLS = (ScriptedToolCall("weather", {"city": "Oslo"}, id="call_1"), ScriptedToolCall("time", {"zone": "CET"}))
BAD_INPUT = {"message": "This input is wrong.", "type": "invalid_request_error", "param": None, "code": "bad_input"}
LOG_PROBS = {"content": [{"token": "one", "logprob": -0.5, "top_logprobs": [{"token": "two", "logprob": -1.0}]}]}
MODELS: dict[str, Behavior] = {
    "chat": PLAIN,
    "echo": Behavior(),
    "tools": Behavior(tool_calls=TOOLS, prompt_tokens=10),
    "json": Behavior(text='{"city": "Oslo"}'),
    "fenced": Behavior(text='```json\n{"city": "Oslo"}\n```'),
    "thinks": PLAIN.but(reasoning="let me see", cached_tokens=4, reasoning_tokens=3),
    "no-usage": PLAIN.but(usage="none"),
    "wrong": Behavior(status=400, error=BAD_INPUT),
    "down": Behavior(status=500, error="The engine is on fire."),
    "breaks": Behavior(chunks=9, cut_after_chunks=3),
    "fails-midway": Behavior(chunks=9, error_after_chunks=3),
    "endless": Behavior(chunks=10_000, chunk_interval=0.05),
    "silent": PLAIN.but(silent=1.5, silent_after_chunks=2),
    "slow": Behavior(tokens=("slow",), latency=0.3),
    "limited": PLAIN,
    "narrow": Behavior(tokens=("narrow",), latency=0.02),
    "expensive": PLAIN,
    "vectors": Behavior(dimensions=4),
    "vectors-down": Behavior(status=500, error="The engine is on fire."),
    "ranker": Behavior(),
    "fallback": Behavior(status=500),
    "hidden": PLAIN,
}
ABILITIES = {
    "vectors": ["embed"],
    "vectors-down": ["embed"],
    "ranker": ["rerank"],
    "json": ["chat", "json", "vision"],
}
MANY = 20
PICTURE = "cGljdHVyZQ=="


@dataclass(frozen=True)
class Served:
    url: str
    key: str
    """Of the user ``ann``, who is no administrator and may not use the model ``hidden``."""
    admin_key: str
    upstream: FakeUpstream
    home: Path

    def sent_to(self, model: str) -> list[RecordedRequest]:
        return [request for request in self.upstream.requests if request.model == model]

    def calls(self, model: str) -> list[dict[str, Any]]:
        """Rows of the ledger, the newest first."""
        found = httpx2.get(
            f"{self.url}/api/calls",
            params={"limit": 200, "model": model},
            headers={"authorization": f"Bearer {self.admin_key}"},
            trust_env=False,
        )
        rows: list[dict[str, Any]] = found.json()["data"]
        return rows


@contextmanager
def served(home: Path) -> Iterator[Served]:
    with FakeUpstream(models=tuple(MODELS)) as upstream:
        for name, behavior in MODELS.items():
            upstream.set_model(name, behavior)
        upstream.set_model("echo", _last_message)
        upstream.set_path("/images/generations", _picture)
        key = asyncio.run(_fill(Settings(home=home), upstream.base_url))
        with hub_process(home) as url:
            yield Served(url, key, (home / "admin.key").read_text().strip(), upstream, home)


def _last_message(request: RecordedRequest) -> Behavior:
    """The last message; the ninth of several queries fails."""
    text = str(request.fields()["messages"][-1]["content"])
    return Behavior(status=500) if text == "query 8" else Behavior(text=text)


def _picture(request: RecordedRequest) -> Behavior | Response:
    if request.model != "chat":
        return MODELS["down"]
    return Response(200, json.dumps({"created": 1, "data": [{"b64_json": PICTURE}]}).encode())


async def _fill(settings: Settings, url: str) -> str:
    async with Catalog.session(settings) as catalog:
        await catalog.connections.create(
            {"name": "box", "url": url, "retry": {"attempts": 1}, "circuit": {"failures": 100_000}}, actor="test"
        )
        forms = [
            ModelForm(name=name, connection="box", abilities=frozenset(ABILITIES.get(name, ["chat"])))
            for name in MODELS
        ]
        await catalog.models.create_many(forms, actor="test")
        await catalog.settings.update({"keepalive_seconds": 0.3}, actor="test")
        update = catalog.models.update
        await update("limited", {"limits": {"requests_per_minute": 1}}, actor="test")
        await update("narrow", {"limits": {"concurrency": 2}}, actor="test")
        await update("expensive", {"price": {"input": "2", "output": "10"}}, actor="test")
        await update("chat", {"price": {"input": "1", "output": "2"}}, actor="test")
        await update("fallback", {"fallbacks": ["expensive"]}, actor="test")
        await catalog.users.create({"name": "ann"}, actor="test")
        await _add_plugin(catalog)
        names = ["plugged", *(name for name in MODELS if name != "hidden")]
        return (await catalog.keys.create({"name": "dku", "user": "ann", "models": names}, actor="test")).token


async def _add_plugin(catalog: Catalog) -> None:
    """A model of a plugin that asks each user for two credentials; its code is never started here."""
    options = {"target": "/nowhere/plugin", "form": "plugin", "plugin": {"id": "my-plugin"}}
    await catalog.connections.create({"name": "plug", "kind": "code", "options": options}, actor="test")
    await catalog.presets.create("plug", {"name": "OpenAI", "parameter_set": "custom-set"}, actor="test")
    needed = tuple(
        NeededCredential(param="preset", preset="OpenAI", field=field, type=kind)
        for field, kind in (("api_key", "SINGLE_FIELD"), ("login", "BASIC"))
    )
    options_of_model = ModelOptions(component="one", presets={"preset": "OpenAI"}, credentials=needed)
    form = ModelForm(name="plugged", connection="plug", options=options_of_model)
    await catalog.models.create_many([form], actor="test")
