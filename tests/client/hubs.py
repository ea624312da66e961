"""A real hub in a process of its own, and models on a fake upstream: fixtures for the library and the program."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from byom._client.place import admin_key
from byom.cli.child_hub import child_hub
from byom.client import Client
from byom.testing import FakeUpstream

_numbers = itertools.count(1)


@dataclass(frozen=True)
class RunningHub:
    url: str
    home: Path
    key: str

    @property
    def environ(self) -> dict[str, str]:
        """What a program needs to find it."""
        return {"BYOM_HOME": str(self.home), "BYOM_URL": "", "BYOM_API_KEY": ""}


@pytest.fixture(scope="session")
def running_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """One for all tests: each uses names of its own."""
    home = tmp_path_factory.mktemp("hub") / "home"
    with child_hub(home) as url:
        key = admin_key(home)
        assert key is not None
        yield RunningHub(url, home, key)


@pytest.fixture
def client(running_hub: RunningHub) -> Iterator[Client]:
    with Client(running_hub.url, running_hub.key) as client:
        yield client


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(models=("fake-model",)) as upstream:
        yield upstream


@pytest.fixture
def unused_name() -> Callable[[str], str]:
    """Names that no other test uses."""
    return lambda kind: f"{kind}-{next(_numbers)}"


@pytest.fixture
def model(client: Client, upstream: FakeUpstream, unused_name: Callable[[str], str]) -> Iterator[str]:
    """A model on the fake upstream; called ``connection/model``, because every test has a ``fake-model``."""
    connection = unused_name("box")
    client.connect(connection, upstream.base_url, check=False)
    name = unused_name("model")
    client.models.create(
        name, connection=connection, upstream_model="fake-model", abilities=["chat", "generate", "embed"]
    )
    yield name
    client.connections.delete(connection)
