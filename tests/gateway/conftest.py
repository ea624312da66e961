from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import openai
import pytest

from byom.testing import FakeUpstream
from tests.gateway.openai_client import AnyClient
from tests.gateway.rig import TOKEN, Rig, route_to, running, snapshot_of
from tests.gateway.streams import Gate


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        yield fake


@pytest.fixture
def server() -> str:
    """Which server is in front of the gateway. A module that is to pass with both parametrises this name."""
    return "own"


@pytest.fixture
async def rig(upstream: FakeUpstream, server: str) -> AsyncIterator[Rig]:
    async with running(snapshot_of(route_to(upstream)), server=server) as started:
        yield started


@pytest.fixture
async def http(rig: Rig) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=rig.url, headers=rig.headers, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
async def sdk(rig: Rig) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=rig.url, api_key=TOKEN, max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    async with Gate().serving() as made:
        yield made


@pytest.fixture(params=["async", "sync"])
async def client(rig: Rig, request: pytest.FixtureRequest) -> AsyncIterator[AnyClient]:
    made = AnyClient(rig, request.param)
    yield made
    await made.close()
