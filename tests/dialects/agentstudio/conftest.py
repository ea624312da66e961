"""A real hub with a fake upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from byom.catalog.catalog import Catalog
from byom.catalog.forms import ModelForm
from byom.settings import Settings
from byom.testing import Behavior, FakeUpstream
from tests.node.serving import hub_process

ANSWER = "```python\nexit()\n```"
MODELS: dict[str, Behavior] = {
    "agent": Behavior(text=ANSWER, prompt_tokens=11, completion_tokens=4),
    "uncounted": Behavior(text=ANSWER, usage="none"),
    "calls-tools": Behavior(message_extra={"content": None}),
    "hangs": Behavior(hang=True),
    "broken": Behavior(status=500, error={"message": "The engine is on fire."}),
    "limited": Behavior(text="once"),
    "secret": Behavior(text="not for everybody"),
}


class HubBefore(NamedTuple):
    url: str
    key: str
    """May use every model but ``secret``."""
    upstream: FakeUpstream
    home: Path

    def forget(self) -> None:
        """What the upstream has seen, once it knows that the calls before are over."""
        self.upstream.wait_until_idle_sync()
        self.upstream.forget()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubBefore]:
    home = tmp_path_factory.mktemp("hub")
    with FakeUpstream(models=tuple(MODELS)) as upstream:
        for name, behavior in MODELS.items():
            upstream.set_model(name, behavior)
        key = asyncio.run(fill(Settings(home=home), upstream.base_url))
        with hub_process(home) as url:
            yield HubBefore(url, key, upstream, home)


async def fill(settings: Settings, url: str) -> str:
    """Connects the upstream and makes a key."""
    retry = {"attempts": 1}
    async with Catalog.session(settings) as catalog:
        await catalog.connections.create(
            {"name": "fake", "url": url, "retry": retry, "circuit": {"failures": 1000}}, actor="test"
        )
        await catalog.models.create_many([ModelForm(name=name, connection="fake") for name in MODELS], actor="test")
        await catalog.models.update("limited", {"limits": {"requests_per_minute": 1}}, actor="test")
        await catalog.users.create({"name": "agent"}, actor="test")
        allowed = [name for name in MODELS if name != "secret"]
        return (await catalog.keys.create({"name": "agent", "user": "agent", "models": allowed}, actor="test")).token
