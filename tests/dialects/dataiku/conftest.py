"""One hub and one process of each client for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.dialects.dataiku.clients import SERIES, DataikuClient, dataiku_client
from tests.dialects.dataiku.serving import Served, served

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("dataiku") / "home"
    home.mkdir()
    with served(home) as running:
        yield running


@pytest.fixture(scope="session", params=SERIES)
def dataiku(request: pytest.FixtureRequest) -> Iterator[DataikuClient]:
    with dataiku_client(request.param) as client:
        yield client


@pytest.fixture
def run(dataiku: DataikuClient, hub: Served) -> Run:
    """Runs code of a user of the client: the body of a function that knows ``client`` and ``project``."""

    def with_hub(code: str, *, url: str = hub.url, key: str = hub.key) -> Any:
        return dataiku.run(code, url=url, key=key)

    return with_hub
