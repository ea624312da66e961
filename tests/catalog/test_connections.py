from __future__ import annotations

import pytest

from byom.catalog.catalog import Catalog
from byom.errors import ByomError, ConfigError, Conflict, NotFound
from byom.types.limits import Budget, Window
from byom.types.target import Target

from .conftest import ME, Opener

KEY = "sk-canary-0123456789abcdef"


async def connect(catalog: Catalog, name: str = "lab", **fields: object) -> None:
    await catalog.connections.create({"name": name, "url": "http://lab.example:8000", **fields}, actor=ME)


async def test_a_connection_is_shown_as_it_was_made_without_its_secrets(catalog: Catalog) -> None:
    await connect(catalog, key=KEY, headers={"X-Api-Key": KEY, "X-Org": "me"})
    shown = catalog.connections.get("lab")
    assert shown.url == "http://lab.example:8000/v1"
    assert shown.key_hint == "cdef"
    assert shown.headers == {"x-org": "me"}
    assert shown.secret_headers == ("x-api-key",)


async def test_the_gateway_finds_the_key_and_the_headers_in_the_target(catalog: Catalog) -> None:
    await connect(catalog, key=f"  Bearer {KEY}\n", headers={"X-Api-Key": KEY, "X-Org": "me"})
    target = catalog.snapshot.connections["lab"]
    assert target.authorization == f"Bearer {KEY}"
    assert target.headers == (("x-api-key", KEY), ("x-org", "me"))


async def test_a_connection_survives_closing_and_opening(catalog: Catalog, opener: Opener) -> None:
    await connect(catalog, key=KEY, limits={"requests_per_minute": 60}, timeouts={"connect": 3})
    await catalog.close()
    again = await opener()
    assert again.connections.get("lab") == catalog.connections.get("lab")
    assert again.snapshot == catalog.snapshot


async def test_an_authorization_header_replaces_the_bearer_form(local: Catalog) -> None:
    await connect(local, headers={"Authorization": "Basic abcdefghijklmnop"})
    assert local.snapshot.connections["lab"].authorization == "Basic abcdefghijklmnop"


@pytest.mark.parametrize(
    ("pasted", "stored"),
    [
        ("lab.example:8000/v1/chat/completions", "http://lab.example:8000/v1"),
        ("https://api.example.org", "https://api.example.org/v1"),
        ("https://api.example.org/prefix/v1/", "https://api.example.org/prefix/v1"),
        ("http://lab.example:8000/chat/completions", "http://lab.example:8000"),
    ],
)
async def test_urls_are_stored_up_to_where_the_routes_begin(local: Catalog, pasted: str, stored: str) -> None:
    await connect(local, url=pasted)
    assert local.connections.get("lab").url == stored
    await local.connections.update("lab", {"verify_tls": False}, actor=ME)
    assert local.connections.get("lab").url == stored, "an edit of something else must not read the URL anew"


async def test_a_base_path_that_a_check_found_goes_before_the_guess(local: Catalog) -> None:
    await connect(local, base_path="")
    assert local.snapshot.connections["lab"].base_path == ""


async def test_limits_in_human_form_become_enforced_ones(local: Catalog) -> None:
    await connect(
        local,
        limits={
            "requests_per_minute": 60,
            "tokens_per_minute": 1000,
            "rate_limit": [300, 10],
            "concurrency": 4,
            "budget": {"amount": "5.00", "period": "month"},
            "max_wait": 30,
        },
    )
    await local.models.create({"name": "m", "connection": "lab"}, actor=ME)
    route = local.snapshot.routes["m"]
    (scope,) = route.scopes
    assert scope.limits.windows == (
        Window("requests", 60, 60.0),
        Window("tokens", 1000, 60.0),
        Window("requests", 300, 10.0),
    )
    assert scope.limits.concurrency == 4
    assert scope.limits.budgets == (Budget(5 * 10**12, "month"),)
    assert route.max_wait == 30


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"limits": {"requests_per_minute": 0}}, "limits.requests_per_minute"),
        ({"limits": {"requests_per_minute": "many"}}, "limits.requests_per_minute"),
        ({"limits": {"rate_limit": [1]}}, "limits.rate_limit"),
        ({"limits": {"budget": {"amount": "-1"}}}, "limits.budget.amount"),
        ({"limits": {"budget": {"amount": "0.0000000000001"}}}, "limits.budget.amount"),
        ({"limits": {"budget": {"amount": "1", "period": "year"}}}, "limits.budget.period"),
        ({"limits": {"rpm": 1}}, "limits.rpm"),
        ({"timeouts": {"idle": -1}}, "timeouts.idle"),
        ({"kind": "magic"}, "kind"),
        ({"urll": "x"}, "urll"),
        ({"url": None}, "url"),
        ({"key": ""}, "key"),
        ({"key": "a b"}, "key"),
        ({"headers": {"a b": "c"}}, "headers"),
        ({"headers": {"host": "c"}}, "headers.host"),
        ({"headers": {"x-a": "c\r\nx: y"}}, "headers.x-a"),
    ],
)
async def test_what_is_wrong_is_refused_with_the_fields_name(
    local: Catalog, fields: dict[str, object], param: str
) -> None:
    before = local.snapshot
    with pytest.raises(ConfigError) as caught:
        await connect(local, **fields)
    assert caught.value.param == param
    assert local.snapshot is before


@pytest.mark.parametrize("name", ["", ".", "..", " a", "a ", "a/b", "a:b", "a\nb", "x" * 201])
async def test_a_connection_name_must_be_usable_in_longer_names(local: Catalog, name: str) -> None:
    with pytest.raises(ConfigError):
        await connect(local, name)


async def test_a_name_is_given_once(catalog: Catalog) -> None:
    await connect(catalog)
    with pytest.raises(Conflict):
        await connect(catalog)


async def test_an_edit_changes_what_it_names_and_nothing_else(catalog: Catalog) -> None:
    await connect(catalog, key=KEY, limits={"requests_per_minute": 60, "concurrency": 4}, headers={"x-org": "me"})
    before = catalog.connections.get("lab")
    shown = await catalog.connections.update(
        "lab", {"limits": {"concurrency": 9}, "timeouts": {"idle": 5}, "headers": {"x-team": "t"}}, actor=ME
    )
    assert (shown.limits.requests_per_minute, shown.limits.concurrency) == (60, 9)
    assert (shown.timeouts.idle, shown.timeouts.connect) == (5, before.timeouts.connect)
    assert shown.headers == {"x-org": "me", "x-team": "t"}
    assert shown.key_hint == before.key_hint
    assert shown.version == before.version + 1


async def test_null_takes_a_field_back_to_its_default(local: Catalog) -> None:
    await connect(local, key=KEY, limits={"concurrency": 4}, headers={"x-org": "me", "cookie": "a=b"})
    shown = await local.connections.update("lab", {"limits": None, "key": None, "headers": None}, actor=ME)
    assert shown.limits.concurrency is None
    assert shown.key_hint is None
    assert (shown.headers, shown.secret_headers) == ({}, ())


async def test_an_edit_without_a_difference_changes_nothing(catalog: Catalog) -> None:
    await connect(catalog, key=KEY)
    before = catalog.snapshot
    await catalog.connections.update("lab", {"key": KEY, "enabled": True}, actor=ME)
    assert catalog.snapshot.version == before.version


async def test_a_rename_keeps_models_and_the_setting_that_names_it(local: Catalog) -> None:
    await connect(local)
    await local.models.create({"name": "m", "connection": "lab"}, actor=ME)
    await local.settings.update({"default_connection": "lab"}, actor=ME)
    await local.connections.update("lab", {"name": "hall"}, actor=ME)
    assert local.models.get("m").connection == "hall"
    assert local.snapshot.settings.default_connection == "hall"
    assert "hall/m" in local.snapshot.routes
    assert "lab/m" not in local.snapshot.routes


@pytest.mark.parametrize(
    "url", ["http://other.example:8000", "https://lab.example:8000", "http://lab.example:8001", "http://x@lab.example"]
)
async def test_a_stored_key_never_follows_to_another_host(catalog: Catalog, url: str) -> None:
    """Gateway checklist 61."""
    await connect(catalog, key=KEY)
    with pytest.raises(ByomError) as caught:
        await catalog.connections.update("lab", {"url": url}, actor=ME)
    assert KEY not in str(caught.value)
    target = catalog.snapshot.connections["lab"]
    assert (target.scheme, target.host, target.port) == ("http", "lab.example", 8000)


async def test_moving_a_connection_asks_for_its_key_again(catalog: Catalog) -> None:
    await connect(catalog, key=KEY, headers={"x-api-key": KEY})
    with pytest.raises(ConfigError, match="re-enter the key, x-api-key") as caught:
        await catalog.connections.update("lab", {"url": "http://other.example"}, actor=ME)
    assert caught.value.code == "reenter_key"
    moved = await catalog.connections.update(
        "lab", {"url": "http://other.example", "key": "sk-new", "headers": {"x-api-key": None}}, actor=ME
    )
    assert moved.url == "http://other.example/v1"
    target = catalog.snapshot.connections["lab"]
    assert (target.authorization, target.headers) == ("Bearer sk-new", ())


async def test_another_path_on_the_same_host_keeps_the_key(local: Catalog) -> None:
    await connect(local, key=KEY)
    await local.connections.update("lab", {"url": "http://lab.example:8000/other/v1"}, actor=ME)
    assert local.snapshot.connections["lab"].authorization == f"Bearer {KEY}"


async def test_a_disabled_connection_takes_its_models_out(local: Catalog) -> None:
    await connect(local)
    await local.models.create({"name": "m", "connection": "lab"}, actor=ME)
    await local.connections.update("lab", {"enabled": False}, actor=ME)
    assert "m" not in local.snapshot.routes
    assert "lab" not in local.snapshot.connections
    assert not local.models.get("m").available


async def test_a_deletion_says_before_what_will_stop_working(catalog: Catalog) -> None:
    await connect(catalog, key=KEY)
    await connect(catalog, "other")
    await catalog.models.create({"name": "m", "connection": "lab"}, actor=ME)
    await catalog.models.create({"name": "n", "connection": "other", "fallbacks": ["m"]}, actor=ME)
    await catalog.settings.update({"default_connection": "lab"}, actor=ME)
    key = (await catalog.keys.create({"name": "k", "models": ["m"]}, actor=ME)).key
    plan = await catalog.connections.delete("lab", actor=ME, dry_run=True)
    assert (plan.models, plan.fallbacks, plan.keys, plan.settings) == (
        ("m",),
        ("n",),
        (key.id,),
        ("default_connection",),
    )
    assert not plan.done
    assert catalog.connections.get("lab").models == ("m",)
    assert (await catalog.connections.delete("lab", actor=ME)).done
    assert catalog.models.get("n").fallbacks == ()
    assert catalog.snapshot.keys[key.id].models == frozenset(), "a key for one model must not become a key for all"
    with pytest.raises(NotFound):
        catalog.connections.get("lab")


async def test_the_built_in_models_are_there_before_their_process_which_a_call_starts(catalog: Catalog) -> None:
    route = catalog.snapshot.routes["builtin/extractive"]
    assert route.target.host == ""
    assert route.price is not None
    assert route.price.input == 0
    assert catalog.models.get("extractive").available
    seen = []
    catalog.subscribe(seen.append)
    catalog.set_runtime_target(
        "builtin", Target(scheme="http", host="127.0.0.1", port=4711, base_path="/v1", trusted=True)
    )
    assert catalog.snapshot.routes["extractive"].target.port == 4711
    assert catalog.models.get("lexical").available
    assert [snapshot.routes["lexical"].target.port for snapshot in seen] == [4711]
    await catalog.connections.update("builtin", {"limits": {"concurrency": 2}}, actor=ME)
    assert catalog.snapshot.routes["extractive"].target.port == 4711, "a change elsewhere must not lose it"
    catalog.set_runtime_target("builtin", None)
    assert catalog.snapshot.routes["extractive"].target.host == ""


async def test_the_key_of_code_that_runs_here_is_for_its_process_alone(local: Catalog) -> None:
    code = {"name": "fn", "kind": "code", "options": {"target": "/code.py:f"}}
    await local.connections.create({**code, "key": KEY}, actor=ME)
    configuration = local.host_configuration("fn")
    assert configuration.document["options"] == {"api_key": KEY}
    assert KEY not in repr(configuration)
    await local.connections.create({**code, "name": "other"}, actor=ME)
    assert KEY not in str(local.host_configuration("other").document)
    await connect(local, key=KEY)
    with pytest.raises(ConfigError, match="of kind endpoint"):
        local.host_configuration("lab")
