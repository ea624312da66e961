"""A hub in this process with a registered spec, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from byom.server.hub import Hub
from byom.settings import load_settings
from tests.server.code.conftest import client_of
from tests.server.launching.specs import gguf_spec
from tests.server.processes import alive, children_of


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    """In the end nothing that it started is left."""
    import os

    before = set(children_of(os.getpid()))
    async with Hub.session(load_settings({"home": tmp_path / "home"}, environ={})) as hub:
        yield hub
    left = [pid for pid in set(children_of(os.getpid())) - before if alive(pid)]
    assert not left, f"processes are left: {left}"


@pytest.fixture
async def admin(hub: Hub) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(hub, hub.settings.admin_key_file.read_text().strip()) as client:
        yield client


@pytest.fixture
async def tiny(hub: Hub, tmp_path: Path) -> str:
    """The name of a registered spec of real weights."""
    await hub.launching.register(gguf_spec(tmp_path / "weights"), persist=False)
    return "tiny"
