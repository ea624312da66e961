"""Connections whose models are code: options, what the code says, presets, each user's credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from byom.catalog.catalog import Catalog
from byom.catalog.code_models import told_by
from byom.catalog.code_options import CodeTarget, whole_target
from byom.errors import BadRequest, ConfigError, Conflict, NotFound

from .conftest import ME, Opener
from .test_secrets import stored_text

CANARY = "sk-credential-canary-7f3a9b2c4d"
OPTIONS = {"target": "/srv/code.py:model"}
PLUGIN = {"target": "/srv/plugin", "form": "plugin", "plugin": {"id": "tutorial", "version": "1.0.0"}}
NEEDED = {"param": "api_key", "preset": "OpenAI", "field": "secret"}
SAID: dict[str, Any] = {
    "name": "m", "kind": "function", "abilities": ["chat"], "context_window": 4096,
    "cost": {"input": "0.00000015", "output": "0.0000006"}, "rate_limit": [40, 10.0],
}  # fmt: skip


async def connect(catalog: Catalog, name: str = "fn", **fields: Any) -> str:
    await catalog.connections.create({"name": name, "kind": "code", "options": OPTIONS, **fields}, actor=ME)
    return catalog.connections.get(name).id


async def connect_plugin(catalog: Catalog, name: str = "llms") -> None:
    await connect(catalog, name, options=PLUGIN)
    await catalog.presets.create(
        name, {"name": "OpenAI", "parameter_set": "keys", "values": {"region": "eu"}}, actor=ME
    )
    options = {"component": "chat", "params": {"model": "x"}, "presets": {"api_key": "OpenAI"}, "credentials": [NEEDED]}
    await catalog.models.create({"name": f"{name}-m", "connection": name, "options": options}, actor=ME)


async def user_id(catalog: Catalog, name: str) -> str:
    return (await catalog.users.create({"name": name}, actor=ME)).id


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "options.target"),
        ({"target": ""}, "options.target"),
        ({"target": "code.py:model"}, "options.target"),
        ({"target": "folder"}, "options.target"),
        ({**OPTIONS, "workers": 0}, "options.workers"),
        ({**OPTIONS, "form": "poem"}, "options.form"),
        ({**OPTIONS, "colour": "red"}, "options.colour"),
    ],
)
async def test_options_that_are_not_right_are_refused_by_name(
    local: Catalog, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        await connect(local, options=options)
    assert refused.value.param == field


def test_targets_are_taken_apart_at_the_last_colon() -> None:
    assert CodeTarget.of("/a/b.py:c.d") == CodeTarget("/a/b.py", "c.d")
    assert CodeTarget.of("pkg.mod:obj").is_module
    assert CodeTarget.of("/odd:folder/plug") == CodeTarget("/odd:folder/plug", "")
    assert whole_target("code.py:m", "/srv") == "/srv/code.py:m"
    assert whole_target("plug", "/srv") == "/srv/plug"
    assert whole_target("pkg.mod:obj", "/srv") == "pkg.mod:obj"
    assert whole_target("code.py:m", None) == "code.py:m"


def test_what_code_says_becomes_the_fields_of_a_model() -> None:
    assert told_by(SAID) == {
        "abilities": ["chat"], "context_window": 4096, "price": {"input": "0.15", "output": "0.6"},
        "limits": {"rate_limit": [40, 10.0]},
    }  # fmt: skip
    nonsense = {"abilities": ["fly"], "context_window": -1, "cost": {"input": "much"}, "rate_limit": "often"}
    assert told_by(nonsense) == {}
    assert told_by({"cost": {"input": "0", "output": "0"}}) == {"price": {"input": "0", "output": "0"}}


async def test_a_model_has_what_its_code_says_until_a_person_sets_it(catalog: Catalog) -> None:
    id_ = await connect(catalog)
    await catalog.models.create({"name": "m", "connection": "fn", "limits": {"concurrency": 3}}, actor=ME)
    assert await catalog.code_says(id_, [SAID, {"name": "another"}])
    model = catalog.models.get("m")
    assert (model.context_window, model.limits.rate_limit, model.limits.concurrency) == (4096, None, 3)
    assert model.from_code == ("abilities", "context_window", "price")
    assert catalog.snapshot.routes["m"].price is not None
    assert not await catalog.code_says(id_, [SAID]), "it says nothing new"
    await catalog.models.update("m", {"price": {"input": 1, "output": 1}, "enabled": True}, actor=ME)
    await catalog.code_says(id_, [{**SAID, "context_window": 8192, "cost": {"input": "1e-6", "output": "3e-6"}}])
    model = catalog.models.get("m")
    assert model.context_window == 8192
    assert model.own_price is not None
    assert model.own_price.output == 1, "a person has set it"
    await catalog.models.update("m", {"price": None, "limits": None}, actor=ME)
    model = catalog.models.get("m")
    assert model.own_price is not None
    assert (model.own_price.output, model.limits.rate_limit) == (3, (40, 10.0)), "put back: what the code says"
    entries = [entry for entry in await catalog.audit.list() if entry.actor == "code:fn"]
    assert entries[0].kind == "model"


async def test_the_word_of_code_survives_a_restart(catalog: Catalog, opener: Opener) -> None:
    id_ = await connect(catalog)
    await catalog.models.create({"name": "m", "connection": "fn"}, actor=ME)
    await catalog.code_says(id_, [SAID])
    again = await opener()
    assert again.models.get("m").from_code == ("abilities", "context_window", "limits", "price")


async def test_a_preset_keeps_its_secrets_encrypted_and_to_itself(catalog: Catalog) -> None:
    await connect_plugin(catalog)
    form = {"name": "east", "parameter_set": "keys", "values": {"region": "us"}, "secrets": {"token": CANARY}}
    made = await catalog.presets.create("llms", form, actor=ME)
    assert made.secrets == {"token": CANARY[-4:]}
    assert CANARY not in repr((made, catalog.state)) + await stored_text(catalog)
    with pytest.raises(Conflict):
        await catalog.presets.create("llms", form, actor=ME)
    await catalog.models.update("llms-m", {"options": {"presets": {"api_key": "east"}}}, actor=ME)
    config = catalog.host_configuration("llms").document["models"][0]["config"]
    assert config == {"model": "x", "api_key": {"region": "us", "token": CANARY}}
    await catalog.presets.update("llms", "east", {"values": {"region": None, "zone": "b"}}, actor=ME)
    config = catalog.host_configuration("llms").document["models"][0]["config"]
    assert config["api_key"] == {"zone": "b", "token": CANARY}, "a secret that is not named stays"
    await catalog.presets.update("llms", "east", {"secrets": {"token": None}}, actor=ME)
    assert catalog.presets.get("llms", "east").secrets == {}
    assert [one.name for one in catalog.presets.list("llms")] == ["OpenAI", "east"]
    with pytest.raises(NotFound, match="OpenAI, east"):
        catalog.presets.get("llms", "west")
    await catalog.connections.create({"name": "lab", "url": "http://lab.example"}, actor=ME)
    with pytest.raises(ConfigError, match="of kind endpoint"):
        await catalog.presets.create("lab", {"name": "x"}, actor=ME)


async def test_credentials_belong_to_one_user_and_are_for_one_connection(catalog: Catalog, opener: Opener) -> None:
    await connect_plugin(catalog)
    await connect_plugin(catalog, "other")
    ann, bob = await user_id(catalog, "ann"), await user_id(catalog, "bob")
    shown = await catalog.credentials.put(ann, "llms", "OpenAI", "secret", CANARY, actor="key:anns")
    assert (shown.is_set, shown.hint, shown.models) == (True, CANARY[-4:], ("llms-m",))
    assert [(one.connection, one.is_set) for one in catalog.credentials.list(ann)] == [
        ("llms", True), ("other", False),
    ]  # fmt: skip
    assert not any(one.is_set for one in catalog.credentials.list(bob))
    assert catalog.credentials.list(ann, frozenset({"other-m"}))[0].connection == "other"
    users = catalog.host_configuration("llms").document["users"]
    assert users[ann] == {"name": "ann", "credentials": {"OpenAI": {"secret": CANARY}}}
    assert users[bob] == {"name": "bob", "credentials": {}}
    assert CANARY not in str(catalog.host_configuration("other").document)
    assert CANARY not in repr((catalog.state, shown)) + await stored_text(catalog) + catalog.export()
    entry = (await catalog.audit.list(kind="credential"))[0]
    assert (entry.actor, entry.name) == ("key:anns", "ann:llms:OpenAI:secret")
    assert entry.after == {"field": "secret", "hint": CANARY[-4:]}
    again = await opener()
    assert again.host_configuration("llms").document["users"][ann]["credentials"] == {"OpenAI": {"secret": CANARY}}


async def test_a_credential_moved_to_another_user_does_not_open(catalog: Catalog) -> None:
    import msgspec

    await connect_plugin(catalog)
    ann, bob = await user_id(catalog, "ann"), await user_id(catalog, "bob")
    await catalog.credentials.put(ann, "llms", "OpenAI", "secret", CANARY, actor=ME)
    async with catalog.change(ME) as tx:
        (row,) = tx.state.credentials.values()
        moved = msgspec.structs.replace(row, id=row.id.replace(ann, bob), user_id=bob)
        tx.state.credentials[moved.id] = moved
    with pytest.raises(ConfigError, match="belongs to another"):
        catalog.host_configuration("llms")


@pytest.mark.parametrize(
    ("kind", "value"),
    [("SINGLE_FIELD", ""), ("SINGLE_FIELD", {"user": "a", "password": "b"}), ("BASIC", "text"),
     ("BASIC", {"user": "a"}), ("SINGLE_FIELD", "x" * 20_000)],
)  # fmt: skip
async def test_a_credential_of_the_wrong_form_is_refused(local: Catalog, kind: str, value: Any) -> None:
    await connect_plugin(local)
    changes = {"options": {"credentials": [{**NEEDED, "type": kind}]}}
    await local.models.update("llms-m", changes, actor=ME)
    with pytest.raises(BadRequest):
        await local.credentials.put(await user_id(local, "ann"), "llms", "OpenAI", "secret", value, actor=ME)


async def test_a_login_reaches_the_code_whole(local: Catalog) -> None:
    await connect_plugin(local)
    await local.models.update("llms-m", {"options": {"credentials": [{**NEEDED, "type": "BASIC"}]}}, actor=ME)
    ann, login = await user_id(local, "ann"), {"user": "ann", "password": CANARY}
    shown = await local.credentials.put(ann, "llms", "OpenAI", "secret", login, actor=ME)
    assert shown.hint == ""
    assert local.host_configuration("llms").document["users"][ann]["credentials"]["OpenAI"]["secret"] == login


async def test_credentials_go_with_their_user_their_preset_and_their_connection(catalog: Catalog) -> None:
    for name, kind in (("ann", "user"), ("bob", "preset"), ("cid", "connection")):
        await connect_plugin(catalog)
        id_ = await user_id(catalog, name)
        await catalog.credentials.put(id_, "llms", "OpenAI", "secret", CANARY, actor=ME)
        if kind == "user":
            plan = await catalog.users.delete(name, actor=ME, dry_run=True)
            assert (plan.credentials, len(catalog.state.credentials)) == (1, 1)
            plan = await catalog.users.delete(name, actor=ME)
        elif kind == "preset":
            plan = await catalog.presets.delete("llms", "OpenAI", actor=ME)
            assert "llms-m" in plan.warnings[0]
        else:
            plan = await catalog.connections.delete("llms", actor=ME)
            assert plan.presets == ("OpenAI",)
        assert (plan.credentials, catalog.state.credentials) == (1, {})
        if kind != "connection":
            await catalog.connections.delete("llms", actor=ME)
    assert (catalog.state.presets, catalog.state.secrets) == ({}, {})


async def test_deleting_a_credential_that_is_not_there_says_so(local: Catalog) -> None:
    await connect_plugin(local)
    with pytest.raises(NotFound):
        await local.credentials.delete(await user_id(local, "ann"), "llms", "OpenAI", "secret", actor=ME)


async def test_secret_parameters_go_with_their_model(local: Catalog) -> None:
    from byom.catalog.credentials import store_secrets

    await connect_plugin(local)
    async with local.change(ME) as tx:
        row, connection = tx.state.model("llms-m"), tx.state.connection("llms")
        assert row is not None
        assert connection is not None
        store_secrets(tx, connection, {f"model:{row.id}:pin": CANARY, f"model:{row.id}:server.pass": CANARY})
    config = local.host_configuration("llms").document["models"][0]["config"]
    assert (config["pin"], config["server"]) == (CANARY, {"pass": CANARY})
    assert local.connections.get("llms").secret_headers == ()
    await local.models.delete("llms-m", actor=ME)
    assert local.state.secrets == {}


async def test_rotation_covers_presets_and_credentials(catalog: Catalog, tmp_path: Path, opener: Opener) -> None:
    await connect_plugin(catalog)
    await catalog.presets.update("llms", "OpenAI", {"secrets": {"token": CANARY}}, actor=ME)
    ann = await user_id(catalog, "ann")
    await catalog.credentials.put(ann, "llms", "OpenAI", "secret", CANARY, actor=ME)
    before = catalog.host_configuration("llms")
    key = (tmp_path / "secret.key").read_text()
    old = await stored_text(catalog)
    assert await catalog.rotate_secrets(actor=ME) == 2
    assert (tmp_path / "secret.key").read_text() != key
    assert catalog.host_configuration("llms").digest == before.digest
    new = await stored_text(catalog)
    assert not {row.ciphertext for row in catalog.state.sealed} & set(old.split("'"))
    assert all(row.ciphertext in new for row in catalog.state.sealed)
    assert (await opener()).host_configuration("llms").digest == before.digest


async def test_on_a_hub_without_keys_the_admins_credentials_are_used(local: Catalog) -> None:
    import msgspec

    await connect_plugin(local)
    admin = local.state.user("admin")
    assert admin is not None
    await local.credentials.put(admin.id, "llms", "OpenAI", "secret", CANARY, actor=ME)
    assert "" not in local.host_configuration("llms").document["users"]
    local._settings = msgspec.structs.replace(local._settings, no_auth=True)
    assert local.host_configuration("llms").document["users"][""]["credentials"]["OpenAI"]["secret"] == CANARY


TOML = """
[connections.mine]
kind = "code"
key_env = "MY_KEY"
options.target = "models.py:echo"
options.workers = 2

[connections.plug]
kind = "code"
options.target = "plugin"
options.form = "plugin"

[connections.plug.presets.OpenAI]
parameter_set = "keys"
values = { region = "eu" }

[models.m]
connection = "mine"
context_window = 7

[models.p]
connection = "plug"
options = { component = "chat", params = { model = "x" }, presets = { api_key = "OpenAI" } }
"""


async def test_a_file_declares_code_beside_it_and_its_export_changes_nothing(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_KEY", CANARY)
    assert (await catalog.apply(TOML, actor=ME, folder=str(tmp_path))).done
    assert catalog.connections.get("mine").options == {
        "target": whole_target("models.py:echo", str(tmp_path)),
        "workers": 2,
    }
    assert catalog.host_configuration("mine").document["options"] == {"api_key": CANARY}
    assert catalog.presets.get("plug", "OpenAI").values == {"region": "eu"}
    await catalog.code_says(catalog.connections.get("mine").id, [SAID])
    model = catalog.models.get("m")
    assert (model.context_window, model.limits.rate_limit) == (7, (40, 10.0))
    assert not await catalog.apply(TOML, actor=ME, folder=str(tmp_path)), "what the code says is no difference"
    exported = catalog.export()
    assert CANARY not in exported
    assert "rate_limit" not in exported
    assert not await catalog.apply(exported, actor=ME)
    without = TOML.replace("context_window = 7", "").replace("[connections.plug.presets.OpenAI]", "[prices.q]")
    without = without.replace('parameter_set = "keys"\nvalues = { region = "eu" }', "input = 1\noutput = 1")
    await catalog.apply(without, actor=ME, folder=str(tmp_path))
    assert catalog.models.get("m").context_window == 4096, "as the code says again"
    assert catalog.presets.list("plug") == ()


async def test_a_file_takes_no_secrets_for_presets_and_no_relative_paths_from_afar(local: Catalog) -> None:
    secret = f'[connections.p]\nkind = "code"\noptions.target = "/p"\n[connections.p.presets.x]\nsecrets.t = "{CANARY}"'
    with pytest.raises(ConfigError, match="presets") as refused:
        await local.apply(secret, actor=ME)
    assert CANARY not in str(refused.value.body())
    with pytest.raises(ConfigError, match="whole path"):
        await local.apply(TOML.replace('key_env = "MY_KEY"', ""), actor=ME)
