from __future__ import annotations

import pytest

from byom.catalog.catalog import Catalog
from byom.errors import ConfigError, Conflict, ModelNotFound, NotFound

from .conftest import ME


async def with_connections(catalog: Catalog) -> Catalog:
    for connection in ("a", "x"):
        await catalog.connections.create({"name": connection, "url": f"http://{connection}.example"}, actor=ME)
    return catalog


@pytest.fixture
async def catalog(catalog: Catalog) -> Catalog:
    return await with_connections(catalog)


@pytest.fixture
async def local(local: Catalog) -> Catalog:
    return await with_connections(local)


async def add(catalog: Catalog, name: str, connection: str = "a", **fields: object) -> None:
    await catalog.models.create({"name": name, "connection": connection, **fields}, actor=ME)


async def test_a_model_is_reached_by_three_names(catalog: Catalog) -> None:
    await add(catalog, "nsql-2B")
    routes = catalog.snapshot.routes
    assert routes["nsql-2B"] is routes["a/nsql-2B"] is routes["custom:a:nsql-2B"]
    assert catalog.models.get("a/nsql-2B").name == "nsql-2B"
    assert catalog.models.get("nsql-2B").aliases == ("a/nsql-2B", "custom:a:nsql-2B")


@pytest.mark.parametrize("name", ["org/model:7b-q4_K.M@v1", "Ünïcode 模型", "gpt-4o", "a b", "x" * 200])
async def test_names_of_the_field_are_fine(local: Catalog, name: str) -> None:
    await add(local, name)
    assert local.snapshot.routes[f"custom:a:{name}"].upstream_model == name


@pytest.mark.parametrize("name", ["", " a", "a\t", "a\x00b", "a\u200bb", "x" * 201])
async def test_names_that_nobody_could_type_are_refused(local: Catalog, name: str) -> None:
    with pytest.raises(ConfigError):
        await add(local, name)


async def test_a_models_own_name_goes_before_longer_names_of_others(local: Catalog) -> None:
    await add(local, "b")
    await add(local, "a/b", "x")
    routes = local.snapshot.routes
    assert routes["a/b"].connection == "x"
    assert routes["custom:a:b"].connection == "a"
    assert local.models.get("a/b").connection == "x"
    assert local.models.get("b").aliases == ("custom:a:b",), "an alias that leads elsewhere is not shown"


async def test_the_upstreams_name_is_the_last_one_that_is_tried(local: Catalog) -> None:
    await add(local, "mine", upstream_model="gpt-4o")
    await add(local, "gpt-4o", "x")
    routes = local.snapshot.routes
    assert routes["a/gpt-4o"].name == "mine"
    assert routes["x/gpt-4o"].name == "gpt-4o"
    assert routes["gpt-4o"].connection == "x"


async def test_a_taken_name_is_refused_with_a_free_one(catalog: Catalog) -> None:
    await add(catalog, "m")
    with pytest.raises(Conflict, match="'x/m'"):
        await add(catalog, "m", "x")


async def test_an_unknown_model_is_answered_with_near_names(local: Catalog) -> None:
    await add(local, "llama-3")
    with pytest.raises(ModelNotFound, match="did you mean llama-3"):
        local.models.get("lama-3")


async def test_several_models_are_created_all_or_none(catalog: Catalog) -> None:
    from byom.catalog.forms import ModelForm

    with pytest.raises(Conflict):
        await catalog.models.create_many([ModelForm(name=name, connection="a") for name in "mnm"], actor=ME)
    assert "m" not in catalog.snapshot.routes
    made = await catalog.models.create_many([ModelForm(name=name, connection="a") for name in "mn"], actor=ME)
    assert [model.name for model in made] == ["m", "n"]


async def test_a_model_needs_a_connection_that_exists(local: Catalog) -> None:
    with pytest.raises(NotFound):
        await add(local, "m", "nowhere")


async def test_policy_comes_from_the_connection_unless_the_model_has_its_own(local: Catalog) -> None:
    await local.connections.update(
        "a", {"timeouts": {"idle": 7}, "retry": {"attempts": 5}, "missing_usage": "fail"}, actor=ME
    )
    await add(local, "m", timeouts={"first_byte": 3}, max_tokens_field="max_tokens")
    route = local.snapshot.routes["m"]
    assert (route.timeouts.first_byte, route.timeouts.idle) == (3, 300)
    assert route.retry.attempts == 5
    assert route.missing_usage == "fail"
    assert route.max_tokens_field == "max_tokens"


async def test_both_scopes_are_on_the_route_and_the_longest_wait(local: Catalog) -> None:
    await local.connections.update("a", {"limits": {"concurrency": 1, "max_wait": 9}}, actor=ME)
    await add(local, "m", limits={"requests_per_minute": 5})
    await add(local, "n", "x")
    route = local.snapshot.routes["m"]
    ids = {scope.id for scope in route.scopes}
    assert ids == {f"model:{route.model_id}", f"connection:{route.connection_id}"}
    assert route.max_wait == 9
    assert local.snapshot.routes["n"].scopes == ()


async def test_the_version_grows_with_every_edit_of_model_or_connection(catalog: Catalog) -> None:
    await add(catalog, "m")
    versions = [catalog.snapshot.routes["m"].version]
    await catalog.models.update("m", {"context_window": 4096}, actor=ME)
    versions.append(catalog.snapshot.routes["m"].version)
    await catalog.connections.update("a", {"key": "sk-other"}, actor=ME)
    versions.append(catalog.snapshot.routes["m"].version)
    assert versions == sorted(set(versions))


async def test_fallbacks_must_exist(local: Catalog) -> None:
    with pytest.raises(ConfigError, match="there is no model 'm2'") as caught:
        await add(local, "m", fallbacks=["m2"])
    assert caught.value.param == "fallbacks"


async def test_fallbacks_may_not_go_in_a_circle(catalog: Catalog) -> None:
    await add(catalog, "m")
    await add(catalog, "n", fallbacks=["m"])
    await add(catalog, "o", fallbacks=["n"])
    with pytest.raises(ConfigError, match="m → o → n → m"):
        await catalog.models.update("m", {"fallbacks": ["o"]}, actor=ME)
    with pytest.raises(ConfigError, match="m → m"):
        await catalog.models.update("m", {"fallbacks": ["m"]}, actor=ME)
    assert catalog.snapshot.routes["m"].fallbacks == ()


async def test_fallbacks_must_give_the_same_kind_of_answer(local: Catalog) -> None:
    await add(local, "talks", abilities=["chat"])
    await add(local, "embeds", abilities=["embed"], dimensions=3)
    with pytest.raises(ConfigError, match="no chat ability"):
        await local.models.update("talks", {"fallbacks": ["embeds"]}, actor=ME)
    with pytest.raises(ConfigError, match="vectors of 3 numbers"):
        await add(local, "embeds-4", abilities=["embed"], dimensions=4, fallbacks=["embeds"])


async def test_fallbacks_and_restricted_keys_follow_a_rename(catalog: Catalog) -> None:
    await add(catalog, "m")
    await add(catalog, "n", fallbacks=["a/m"])
    key = (await catalog.keys.create({"name": "k", "models": ["custom:a:m"]}, actor=ME)).key
    assert key.models == ("m",)
    await catalog.models.update("m", {"name": "m2"}, actor=ME)
    assert catalog.snapshot.routes["n"].fallbacks == ("m2",)
    assert catalog.snapshot.keys[key.id].models == {"m2"}
    assert catalog.models.get("m2").upstream_model == "m", "the upstream still knows it by its old name"


async def test_unknown_abilities_are_refused(local: Catalog) -> None:
    with pytest.raises(ConfigError, match="'fly' is none of chat"):
        await add(local, "m", abilities=["fly"])


async def test_what_a_probe_found_out_is_kept(catalog: Catalog) -> None:
    await add(catalog, "m")
    details = {"probe": {"streaming": True, "ttft_ms": 12.5, "tools": None}}
    found = await catalog.models.update(
        "m", {"abilities": ["chat", "tools"], "context_window": 8192, "details": details}, actor=ME
    )
    assert found.abilities == ("chat", "tools")
    assert found.details["probe"]["streaming"] is True
    assert catalog.snapshot.routes["m"].abilities == {"chat", "tools"}


async def test_a_disabled_model_is_not_routed(local: Catalog) -> None:
    await add(local, "m", enabled=False)
    assert "m" not in local.snapshot.routes


async def test_deleting_a_model_says_what_loses_it(catalog: Catalog) -> None:
    await add(catalog, "m")
    await add(catalog, "n", fallbacks=["m"])
    plan = await catalog.models.delete("a/m", actor=ME)
    assert (plan.models, plan.fallbacks) == (("m",), ("n",))
    assert "m" not in catalog.snapshot.routes
    assert catalog.snapshot.routes["n"].fallbacks == ()
