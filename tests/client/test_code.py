"""The library makes code into models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from byom.client import AsyncClient, Client
from byom.errors import BadRequest, NotFound
from tests.client.hubs import RunningHub
from tests.server.code.samples import write_echo, write_plugin


def test_code_is_added_restarted_and_read(client: Client, tmp_path: Path, unused_name: Callable[[str], str]) -> None:
    name, news = unused_name("code"), []
    path = write_echo(tmp_path)

    def hear(kind: str, told: dict[str, Any]) -> None:
        news.append(kind)

    made = client.add(f"{path}:echo", name=name, on_event=hear, threads=4)
    assert (made["connection"]["name"], news[0]) == (name, "loading")
    assert client.connections.host(name)["state"] == "cold"
    assert client.chat(f"{name}/echo", "hello").text == "one: hello"
    assert client.connections.restart(name)["state"] == "ready"
    assert "asked hello" in client.connections.logs(name)
    with pytest.raises(BadRequest, match="has no 'gone'"):
        client.add(f"{path}:gone", on_event=hear)
    with pytest.raises(BadRequest, match="has no 'gone'"):
        client.add(f"{path}:gone")
    client.connections.delete(name)


async def test_presets_and_credentials(
    running_hub: RunningHub, tmp_path: Path, unused_name: Callable[[str], str]
) -> None:
    name = unused_name("plugin")
    async with AsyncClient(running_hub.url, running_hub.key) as client:
        folder = write_plugin(tmp_path / "plugin")
        await client.add(str(folder), name=name, models=[{"id": "custom-chat-plugin", "name": f"{name}-m"}])
        await client.presets.create(name, "east", values={"region": "us"})
        assert (await client.presets.update(name, "east", values={"region": "asia"}))["values"]["region"] == "asia"
        assert [one["name"] for one in await client.presets.list(name)] == ["parameter-custom-llm", "east"]
        assert (await client.presets.delete(name, "east"))["done"]
        with pytest.raises(NotFound):
            await client.presets.get(name, "east")
        which = (name, "parameter-custom-llm", "param_set_api_key")
        assert (await client.credentials.set(*which, "sk-mine"))["is_set"]
        assert (await client.chat(f"{name}-m", "hello")).text == "sk-mine"
        await client.credentials.delete(*which)
        (own,) = [one for one in await client.credentials.list() if one["connection"] == name]
        assert not own["is_set"]
        await client.connections.delete(name)
