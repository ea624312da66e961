"""The names that scripts rely on. One may come; none may go."""

from __future__ import annotations

import importlib
import inspect

import pytest

import byom
from byom.client import AsyncClient, Client

PUBLIC = {
    "byom": {"AsyncClient", "Client", "__version__", "chat", "connect", "embed"},
    "byom.client": {
        "Answer", "AsyncChatStream", "AsyncClient", "ChatStream", "Client", "HubUnreachable", "Piece", "Ranked",
        "Ranking", "Vectors", "chat", "connect", "default_client", "embed",
    },
    "byom.testing": {
        "Behavior", "BehaviorError", "Disconnect", "FakeUpstream", "Handler", "RateLimit", "RecordedRequest",
        "Response", "ScriptedModel", "ScriptedToolCall",
    },
}  # fmt: skip
METHODS = {
    "apply", "calls", "chat", "close", "complete", "connect", "embed", "export", "info", "model_names", "place",
    "request", "rerank", "usage",
}  # fmt: skip


@pytest.mark.parametrize("module", PUBLIC)
def test_a_public_module_has_exactly_its_names(module: str) -> None:
    loaded = importlib.import_module(module)
    assert set(loaded.__all__) == PUBLIC[module]
    assert all(hasattr(loaded, name) for name in PUBLIC[module])


def test_the_client_has_its_methods_in_both_forms() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(Client) >= METHODS
    assert public(AsyncClient) - {"aclose", "link"} >= METHODS - {"close"}


@pytest.mark.parametrize("name", sorted(METHODS - {"close", "place"}))
def test_both_clients_take_the_same_arguments(name: str) -> None:
    one, other = (
        [parameter for parameter in inspect.signature(getattr(kind, name)).parameters if parameter != "self"]
        for kind in (Client, AsyncClient)
    )
    assert one == other


def test_the_library_shows_its_lazy_names() -> None:
    assert set(byom.__all__) <= set(dir(byom))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = byom.nothing
