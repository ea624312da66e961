"""A hub in this process, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from byom.server.hub import Hub
from byom.server.in_process import StreamingASGITransport
from byom.settings import load_settings
from tests.server.code.samples import write_echo, write_plugin


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with Hub.session(load_settings({"home": tmp_path / "home"}, environ={})) as hub:
        yield hub


def client_of(hub: Hub, token: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=StreamingASGITransport(hub.app), base_url="http://127.0.0.1", timeout=None,
        headers={"authorization": f"Bearer {token}"},
    )  # fmt: skip


@pytest.fixture
async def admin(hub: Hub) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(hub, hub.settings.admin_key_file.read_text().strip()) as client:
        yield client


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    return write_echo(tmp_path / "code")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return write_plugin(tmp_path / "plugin")
