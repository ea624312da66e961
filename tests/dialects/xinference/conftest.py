"""One hub and one process of each client for all tests of this folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.dialects.xinference.clients import SERIES, XinferenceClient, xinference_client
from tests.dialects.xinference.serving import Served, embedding_spec, llm_spec, rerank_spec, served, text_of

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With the registered specs tiny (LLM), vectors (embedding) and ranker (rerank); each is launched."""
    place = tmp_path_factory.mktemp("xinference")
    with served(place / "home", place / "weights") as running, xinference_client(4) as client:
        specs = {
            "LLM": llm_spec(running.weights, "tiny"),
            "embedding": embedding_spec(running.weights, "vectors"),
            "rerank": rerank_spec(running.weights, "ranker"),
        }
        for kind, spec in specs.items():
            client.run(
                """
                client.register_model(kind, spec, persist=False)
                client.launch_model(json.loads(spec)["model_name"], model_type=kind)
                """,
                url=running.url,
                key=running.admin_key,
                kind=kind,
                spec=text_of(spec),
            )
        yield running


@pytest.fixture(scope="session")
def clients() -> Iterator[Callable[[int], XinferenceClient]]:
    """The process of each series, started with the first test that needs it."""
    with contextlib.ExitStack() as stack:
        started: dict[int, XinferenceClient] = {}

        def of(series: int) -> XinferenceClient:
            if series not in started:
                started[series] = stack.enter_context(xinference_client(series))
            return started[series]

        yield of


@pytest.fixture(params=SERIES)
def xinference(request: pytest.FixtureRequest, clients: Callable[[int], XinferenceClient]) -> XinferenceClient:
    return clients(request.param)


@pytest.fixture
def run(xinference: XinferenceClient, hub: Served) -> Run:
    """Runs code of a user of the client, an administrator where no other key is given."""

    def with_hub(code: str, **given: Any) -> Any:
        return xinference.run(code, **{"url": hub.url, "key": hub.admin_key, "weights": str(hub.weights), **given})

    return with_hub
