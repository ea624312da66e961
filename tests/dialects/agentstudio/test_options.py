"""What an operator may switch on: a folder of images, and blanks that keep a connection open."""

from __future__ import annotations

import base64
import json
import pathlib
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from byom.catalog.forms import ModelForm
from byom.models.agentstudio.errors import WireError
from byom.models.agentstudio.files import ImageFolder
from byom.models.agentstudio.pixels import Pixels, png
from byom.models.agentstudio.wire import decode_reply
from byom.server.dialects.agentstudio import Options, create
from byom.server.hub import Hub
from byom.server.in_process import StreamingASGITransport
from byom.settings import Settings
from byom.testing import Behavior, FakeUpstream

PNG = png(Pixels(1, 2, 3, b"abcdef"))


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(Behavior(text="seen"), models=("slow", "fails", "quick")) as upstream:
        upstream.set_model("slow", Behavior(text="seen", latency=0.4))
        upstream.set_model("fails", Behavior(status=500, latency=0.4, error={"message": "No."}))
        yield upstream


@pytest.fixture
async def hub(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Hub]:
    async with Hub.session(Settings(home=tmp_path / "home", no_auth=True)) as hub:
        form = {"name": "box", "url": upstream.base_url, "retry": {"attempts": 1}}
        await hub.catalog.connections.create(form, actor="test")
        models = [ModelForm(name=name, connection="box") for name in ("slow", "fails", "quick")]
        await hub.catalog.models.create_many(models, actor="test")
        yield hub


async def generate(hub: Hub, options: Options | None, content: Any, model: str = "quick") -> httpx2.Response:
    messages = base64.b64encode(pickle.dumps([{"role": "user", "content": content}])).decode()
    transport = StreamingASGITransport(create(hub, options))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=None) as client:
        return await client.post("/generate", json={"model": model, "messages": messages})


async def test_an_image_of_the_allowed_folder_is_sent_as_it_is(
    hub: Hub, upstream: FakeUpstream, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "screen.jpg").write_bytes(PNG)
    for name in (images / "screen.jpg", pathlib.PurePosixPath("screen.jpg")):
        answer = await generate(hub, Options(allow_paths=images), pathlib.PurePosixPath(name))
        assert answer.status_code == 200, answer.text
        url = upstream.requests[-1].fields()["messages"][0]["content"][0]["image_url"]["url"]
        assert url == "data:image/png;base64," + base64.b64encode(PNG).decode()


async def test_no_other_file_is_read(hub: Hub, upstream: FakeUpstream, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "outside.png").write_bytes(PNG)
    (images / "link.png").symlink_to(tmp_path / "outside.png")
    (images / "text.png").write_text("not an image")
    (images / "folder.png").mkdir()
    for name in ("../outside.png", "link.png", "text.png", "folder.png", "none.png", "/etc/passwd", "a\0b", "x" * 300):
        answer = await generate(hub, Options(allow_paths=images), pathlib.PurePosixPath(name))
        assert answer.status_code == 400, name
        assert answer.json()["error"]["code"].startswith("path_not_"), name
    assert upstream.requests == []


def test_whether_a_file_elsewhere_exists_is_not_told(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    said = set()
    for name in ("/etc/passwd", "/etc/no-such-file", "/var/secret/id", "../x"):
        with pytest.raises(WireError) as refused:
            folder.read(name)
        said.add(refused.value.message)
    assert len(said) == 1


async def test_a_hub_without_keys_takes_any_address(hub: Hub) -> None:
    messages = base64.b64encode(pickle.dumps([{"role": "user", "content": "x"}])).decode()
    async with httpx2.AsyncClient(transport=StreamingASGITransport(create(hub)), base_url="http://localhost") as client:
        for path in ("/generate", "/agentstudio/anything/generate", "/agentstudio/☃/generate"):
            answer = await client.post(path, json={"model": "quick", "messages": messages})
            assert answer.status_code == 200, answer.text


async def test_blanks_come_while_an_answer_is_waited_for(hub: Hub) -> None:
    answer = await generate(hub, Options(keep_alive=0.05), "Hello", "slow")
    assert answer.status_code == 200
    assert answer.text.startswith("   ")
    assert decode_reply(**answer.json())[0] == "seen"


async def test_a_quick_answer_has_its_own_status_and_no_blanks(hub: Hub) -> None:
    answer = await generate(hub, Options(keep_alive=30.0), "Hello")
    assert answer.text.startswith("{")
    assert decode_reply(**answer.json())[0] == "seen"
    assert (await generate(hub, Options(keep_alive=30.0), "Hello", "none")).status_code == 404


async def test_a_failure_behind_blanks_is_readable(hub: Hub) -> None:
    answer = await generate(hub, Options(keep_alive=0.05), "Hello", "fails")
    assert answer.status_code == 200
    assert "No." in json.loads(answer.text)["error"]["message"]
