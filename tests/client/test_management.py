"""What the management methods of the client do to a running hub."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from byom.client import Client
from byom.errors import Conflict, NotFound, UnprocessableRequest
from byom.testing import FakeUpstream

Names = Callable[[str], str]


def test_connecting_an_endpoint_makes_its_models_usable(
    client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    upstream.models = (unused_name("small"), unused_name("large"))
    saved = client.connect(unused_name("box"), upstream.url, all=True, limits={"concurrency": 4})
    assert saved["connection"]["url"] == upstream.base_url
    assert [model["name"] for model in saved["models"]] == list(upstream.models)
    assert saved["connection"]["limits"]["concurrency"] == 4
    assert client.chat(upstream.models[0], "Hi").text
    client.connections.delete(saved["connection"]["name"])


def test_models_are_connected_under_names_of_ones_own(
    client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    box, name = unused_name("box"), unused_name("mine")
    saved = client.connect(box, upstream.url, models={"fake-model": name})
    assert [(model["name"], model["upstream_model"]) for model in saved["models"]] == [(name, "fake-model")]
    assert client.chat(name, "Hi").text
    client.connections.delete(box)


def test_connecting_what_does_not_work_says_why_and_saves_nothing(
    client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    name = unused_name("box")
    with pytest.raises(UnprocessableRequest, match="fake-model") as refused:
        client.connect(name, upstream.base_url, model="fake-modle")
    problems = refused.value.details["check"]["problems"]
    assert problems[0]["code"] == "unknown_model"
    assert refused.value.code == "unknown_model"
    with pytest.raises(NotFound):
        client.connections.get(name)


def test_connections_are_edited_renamed_checked_and_deleted(
    client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    name, other = unused_name("box"), unused_name("box")
    client.connect(name, upstream.base_url, key="sk-upstream-secret-1234", check=False)
    shown = client.connections.get(name)
    assert shown["key_hint"] == "1234"
    assert "sk-upstream-secret" not in str(shown)
    assert client.connections.check(name)["ok"]
    assert client.connections.check_unsaved(upstream.base_url)["models"][0]["id"] == "fake-model"
    client.connections.update(name, limits={"requests_per_minute": 9})
    assert client.connections.rename(name, other)["limits"]["requests_per_minute"] == 9
    assert not client.connections.delete(other, dry_run=True)["done"]
    assert client.connections.delete(other)["done"]
    assert other not in [one["name"] for one in client.connections.list()]


def test_models_are_made_edited_and_deleted_whatever_their_name(
    client: Client, upstream: FakeUpstream, unused_name: Names
) -> None:
    connection, name = unused_name("box"), "org/" + unused_name("a model: 7%?#")
    client.connect(connection, upstream.base_url, check=False)
    client.models.create(name, connection=connection, upstream_model="fake-model")
    assert client.models.get(name)["connection"] == connection
    changed = client.models.update(name, price={"input": "0.15", "output": "0.60"})
    assert changed["own_price"]["output"] in ("0.6", "0.60")
    assert client.chat(name, "Hi").text
    assert client.models.delete(name)["models"] == [name]
    with pytest.raises(NotFound):
        client.models.get(name)
    client.connections.delete(connection)


def test_a_probe_says_what_it_will_spend_before_it_spends_it(
    client: Client, upstream: FakeUpstream, model: str
) -> None:
    plan = client.models.probe_plan(model, kind="chat")
    assert plan["calls"] > 0
    with pytest.raises(Conflict, match="spend"):
        client.models.probe(model, kind="chat")
    before = len(upstream.requests)
    report = client.models.probe(model, spend=True, kind="chat")
    assert 0 < report["calls"] <= plan["calls"]
    assert len(upstream.requests) > before
    assert report["findings"]["streaming"]["value"] == "yes"


def test_users_keys_prices_and_settings_are_managed(client: Client, unused_name: Names) -> None:
    user, key, pattern = unused_name("user"), unused_name("key"), unused_name("pattern") + "*"
    client.users.create(user, limits={"concurrency": 2})
    made = client.keys.create(key, user=user)
    assert made["token"].startswith(f"sk-byom-{made['key']['id']}-")
    assert client.keys.get(made["key"]["id"])["user"] == user
    client.keys.update(made["key"]["id"], limits={"requests_per_minute": 5})
    client.keys.revoke(made["key"]["id"])
    assert client.keys.get(made["key"]["id"])["state"] == "revoked"
    assert client.users.delete(user)["done"]
    client.prices.put(pattern, input="1", output="2")
    assert pattern in [price["pattern"] for price in client.prices.list()]
    client.prices.delete(pattern)
    assert client.settings.update(keepalive_seconds=20.0)["keepalive_seconds"] == 20.0
    assert client.settings.update(keepalive_seconds=None)["keepalive_seconds"] == 15.0


def test_usage_and_calls_show_what_was_called(client: Client, model: str) -> None:
    answer = client.chat(model, "Hi")
    page = client.calls(5, model=model)
    assert [row["id"] for row in page["data"]] == [answer.request_id]
    line = next(line for line in client.usage("model") if line["name"] == model)
    assert (line["calls"], line["cost"]) == (1, None)
    assert client.usage("day", since=0)
    assert client.info()["auth"] is True


def test_what_is_exported_can_be_applied_and_changes_nothing(client: Client, model: str) -> None:
    text = client.export()
    assert model in text
    assert client.apply(text, dry_run=True)["changes"] == []
    assert not client.apply(text)["changes"]
