from __future__ import annotations

from pathlib import Path

import pytest

from byom.catalog.catalog import Catalog
from byom.catalog.records import Plan
from byom.errors import ConfigError

from .conftest import ME, Opener

KEY = "sk-canary-0123456789abcdef"
TEXT = """\
[settings]
keepalive_seconds = 10
network = { allow_public = false }

[connections.lab]
url = "10.0.0.5:8000"
key_env = "LAB_KEY"
headers = { x-org = "me" }
headers_env = { x-api-key = "LAB_KEY" }
models = ["llama-3"]
limits = { requests_per_minute = 60, budget = { amount = "5.00", period = "month" } }
timeouts = { connect = 3 }

[models."gpt/4:o.x"]
connection = "lab"
upstream_model = "gpt-4o"
fallbacks = ["llama-3"]
abilities = ["chat", "tools"]
price = { input = 2.5, output = "10" }
cache = { seconds = 60 }

[prices."gpt-*"]
input = "2.50"
output = 10

[users.alice]
limits = { concurrency = 3, windows = [{ unit = "tokens", amount = 5, seconds = 1 }] }
"""


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)


def summary(plan: Plan) -> list[tuple[str, str, str]]:
    return [(change.action, change.kind, change.name) for change in plan.changes]


async def apply(catalog: Catalog, text: str, **options: bool) -> Plan:
    return await catalog.apply(text, actor=ME, **options)


async def test_a_declaration_is_applied_once_and_then_changes_nothing(catalog: Catalog) -> None:
    planned = await apply(catalog, TEXT, dry_run=True)
    assert "lab" not in catalog.snapshot.connections
    done = await apply(catalog, TEXT)
    assert summary(done) == summary(planned)
    assert (planned.done, done.done) == (False, True)
    before = catalog.snapshot
    assert not await apply(catalog, TEXT)
    assert catalog.snapshot.version == before.version
    route = before.routes["gpt/4:o.x"]
    assert route.target.authorization == f"Bearer {KEY}"
    assert route.target.headers == (("x-api-key", KEY), ("x-org", "me"))
    assert (route.upstream_model, route.fallbacks, route.timeouts.connect) == ("gpt-4o", ("llama-3",), 3)
    assert before.settings.keepalive_seconds == 10
    assert before.network.allow_public is False
    assert catalog.models.get("llama-3").owner == "byom.toml"


async def test_what_is_exported_changes_nothing_here_and_makes_the_same_elsewhere(
    catalog: Catalog, tmp_path: Path
) -> None:
    from byom.settings import Settings

    await apply(catalog, TEXT)
    await catalog.connections.create(
        {"name": "bare.name", "url": "http://x.example/chat/completions", "key": KEY, "options": {"a": {"b": [1]}}},
        actor=ME,
    )
    await catalog.connections.create({"name": "a class", "kind": "code", "options": {"target": "m:C"}}, actor=ME)
    await catalog.models.create({"name": 'quo"ted \\ name', "connection": "bare.name"}, actor=ME)
    exported = catalog.export()
    assert KEY not in exported
    assert not await apply(catalog, exported)
    elsewhere = await Catalog.open(Settings(home=tmp_path / "elsewhere"))
    await apply(elsewhere, exported)
    assert elsewhere.export() == exported.replace("# a key is stored, and is not exported\n", "")
    await elsewhere.close()


async def test_the_export_of_a_new_catalog_is_empty_but_for_its_head(local: Catalog) -> None:
    assert [line for line in local.export().splitlines() if not line.startswith("#")] == []
    assert not await apply(local, local.export())


async def test_only_what_was_declared_is_deleted_when_it_is_declared_no_more(catalog: Catalog) -> None:
    await catalog.connections.create({"name": "mine", "url": "http://mine.example"}, actor=ME)
    await catalog.users.create({"name": "bob"}, actor=ME)
    await apply(catalog, TEXT)
    assert set(summary(await apply(catalog, ""))) == {
        ("delete", "connection", "lab"),
        ("delete", "model", "llama-3"),
        ("delete", "model", "gpt/4:o.x"),
        ("delete", "user", "alice"),
        ("delete", "secret", "lab:key"),
        ("delete", "secret", "lab:header:x-api-key"),
        ("delete", "price", "gpt-*"),
        ("delete", "setting", "keepalive_seconds"),
        ("delete", "setting", "network"),
    }
    assert [connection.name for connection in catalog.connections.list()] == ["builtin", "mine"]
    assert catalog.users.get("bob")
    assert catalog.models.get("extractive")


async def test_a_field_that_is_taken_out_goes_back_to_its_default(catalog: Catalog) -> None:
    await apply(catalog, TEXT)
    plan = await apply(catalog, TEXT.replace("timeouts = { connect = 3 }\n", "").replace('x-org = "me"', ""))
    assert [(change.name, change.fields) for change in plan.changes] == [("lab", ("headers", "policy"))]
    assert catalog.connections.get("lab").timeouts.connect == 10


async def test_a_changed_variable_changes_the_stored_key(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    await apply(catalog, TEXT)
    monkeypatch.setenv("LAB_KEY", "sk-next-0123456789")
    assert ("update", "secret", "lab:key") in summary(await apply(catalog, TEXT))
    assert catalog.snapshot.connections["lab"].authorization == "Bearer sk-next-0123456789"


async def test_what_a_probe_found_out_stays(local: Catalog) -> None:
    await apply(local, TEXT)
    await local.models.update("llama-3", {"context_window": 8192, "details": {"probe": 1}}, actor=ME)
    assert not await apply(local, TEXT)
    assert local.models.get("llama-3").context_window == 8192


async def test_a_stored_key_stays_when_the_file_does_not_speak_of_it(local: Catalog) -> None:
    await apply(local, TEXT)
    without = TEXT.replace('key_env = "LAB_KEY"\n', "").replace('headers_env = { x-api-key = "LAB_KEY" }\n', "")
    assert not await apply(local, without)
    assert local.snapshot.connections["lab"].authorization == f"Bearer {KEY}"
    with pytest.raises(ConfigError, match="re-enter the key") as caught:
        await apply(local, without.replace("10.0.0.5:8000", "10.0.0.6:8000"))
    assert caught.value.code == "reenter_key"
    await apply(local, TEXT.replace("10.0.0.5:8000", "10.0.0.6:8000"))
    assert local.snapshot.connections["lab"].authorization == f"Bearer {KEY}"


async def test_a_key_in_the_file_works_with_a_warning(local: Catalog) -> None:
    plan = await apply(local, f'[connections.lab]\nurl = "http://lab"\nkey = "{KEY}"\n')
    assert "has a secret in the file" in plan.warnings[0]
    assert KEY not in repr(plan)
    assert local.snapshot.connections["lab"].authorization == f"Bearer {KEY}"


async def test_files_are_read_only_for_who_may_read_them_anyway(local: Catalog, tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(f"{KEY}\n")
    text = f'[connections.lab]\nurl = "http://lab"\nkey_file = "{tmp_path / "key.txt"}"\n'
    with pytest.raises(ConfigError, match="key_file"):
        await apply(local, text)
    await apply(local, text, key_files=True)
    assert local.snapshot.connections["lab"].authorization == f"Bearer {KEY}"
    assert "key_file" in local.export()


async def test_the_hubs_own_variables_are_no_keys_for_others(local: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYOM_SECRET_KEY", KEY)
    with pytest.raises(ConfigError, match="is a setting of the hub"):
        await apply(local, TEXT.replace('key_env = "LAB_KEY"', 'key_env = "BYOM_SECRET_KEY"'))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("connect = 3", "connect = -1", "line 12: [connections.lab] timeouts.connect: it must be 0 or more"),
        ('key_env = "LAB_KEY"', 'key_env = "NOPE"', "line 7: [connections.lab] key_env: the environment variable NOPE"),
        ('key_env = "LAB_KEY"', 'key_env = "A"\nkey = "B"', "give only one of key, key_env, key_file"),
        ('["llama-3"]\nab', '["zz"]\nab', """line 17: [models."gpt/4:o.x"] fallbacks: there is no model 'zz'"""),
        ("= 60,", '= "x",', "line 11: [connections.lab] limits.requests_per_minute: expected `int"),
        ("10.0.0.5:8000", "ftp://x", "line 6: [connections.lab] The scheme 'ftp' is not supported"),
        ("[settings]", "[setings]", "line 1: there is no section [setings]"),
        ("keepalive_seconds", "keepalive", "line 2: [settings] keepalive: there is no such field"),
        ('connection = "lab"', 'connection = "hall"', "there is no connection 'hall'"),
        ("output = 10\n", "", """[prices."gpt-*"] output: it is required"""),
        ("[users.alice]", "[users]\nbob = 3\n[users.alice]", "[users] bob: write a section [users.bob]"),
        ('models = ["llama-3"]', 'models = ["gpt/4:o.x"]', "the model 'gpt/4:o.x' is declared twice"),
        ("[connections.lab]", "[connections.lab", "is not valid TOML"),
    ],
)
async def test_what_is_wrong_is_told_with_section_key_and_line(
    local: Catalog, old: str, new: str, message: str
) -> None:
    before = local.snapshot
    assert old in TEXT
    with pytest.raises(ConfigError) as caught:
        await apply(local, TEXT.replace(old, new))
    assert message in str(caught.value)
    assert local.snapshot is before, "all of it or nothing"


async def test_models_may_fall_back_on_what_comes_later_in_the_file(local: Catalog) -> None:
    text = """
        [connections.lab]
        url = "http://lab"
        [models.a]
        connection = "lab"
        fallbacks = ["b"]
        [models.b]
        connection = "lab"
    """
    await apply(local, text)
    assert local.snapshot.routes["a"].fallbacks == ("b",)
    assert not await apply(local, text)


async def test_a_model_that_is_moved_survives_the_connection_it_came_from(local: Catalog) -> None:
    await apply(local, '[connections.old]\nurl = "http://old"\nmodels = ["m"]\n')
    model = local.models.get("m")
    await apply(local, '[connections.new]\nurl = "http://new"\nmodels = ["m"]\n')
    assert local.models.get("m").id == model.id
    assert [connection.name for connection in local.connections.list()] == ["builtin", "new"]


async def test_the_server_section_is_for_the_start_alone(local: Catalog) -> None:
    assert not await apply(local, "[server]\nport = 1\n")


async def test_two_hubs_applying_at_once_end_in_the_same(catalog: Catalog, opener: Opener) -> None:
    import asyncio

    other = await opener()
    plans = await asyncio.gather(apply(catalog, TEXT), apply(other, TEXT))
    assert sorted(len(plan.changes) > 0 for plan in plans) == [False, True]
