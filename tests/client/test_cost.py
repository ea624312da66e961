"""What a call cost, as the hub tells it with the answer."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from byom.client import Client
from byom.testing import Behavior, FakeUpstream


@pytest.fixture
def hub() -> Iterator[FakeUpstream]:
    """Stands for a hub: the wire is the same, and it says what the test wants."""
    with FakeUpstream(models=("m",)) as hub:
        yield hub


def answering(hub: FakeUpstream, **headers: str) -> None:
    hub.set_default(Behavior(text="Hello", headers={name.replace("_", "-"): value for name, value in headers.items()}))


def test_an_answer_has_the_cost_that_the_hub_tells(hub: FakeUpstream) -> None:
    answering(hub, x_byom_cost="0.0000375")
    with Client(hub.url, "key") as client:
        answer, vectors = client.chat("m", "Hi"), client.embed("m", ["a"])
        ranking = client.rerank("m", "a", ["b"])
    assert answer.cost == vectors.cost == ranking.cost == Decimal("0.0000375")
    assert answer.request_id
    assert answer.usage is not None


@pytest.mark.parametrize("told", ["", "free", "nan", "inf", "-1"])
def test_a_cost_that_is_none_is_not_taken_for_one(hub: FakeUpstream, told: str) -> None:
    answering(hub, x_byom_cost=told)
    with Client(hub.url, "key") as client:
        assert client.chat("m", "Hi").cost is None


def test_nothing_is_known_of_the_cost_without_the_header(hub: FakeUpstream) -> None:
    with Client(hub.url, "key") as client:
        assert client.chat("m", "Hi").cost is None
        assert client.chat("m", "Hi", stream=True).answer().cost is None
