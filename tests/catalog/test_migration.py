"""A database of an earlier version, with what people have in it, is brought up to date."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from byom.catalog import migrate
from byom.catalog.catalog import Catalog
from byom.catalog.store import Store
from byom.settings import Settings

from .conftest import ME

COMMON = {"enabled": True, "limits": "{}", "policy": "{}", "created_at": 1, "updated_at": 1, "version": 1}


def fill(connection: sa.Connection) -> None:
    """As version 0001 left it: an endpoint with a model, and code that nothing could run yet."""
    command.upgrade(migrate.config(connection), "0001")
    for number, (name, kind, url, options) in enumerate((
        ("lab", "endpoint", "http://lab.example/v1", {}),
        ("fn", "function", None, {"target": "/srv/code.py:f"}),
        ("plug", "plugin", None, {"target": "/srv/plugin"}),
    )):  # fmt: skip
        row: dict[str, Any] = {
            **COMMON, "id": f"c{number}", "name": name, "kind": kind, "url": url, "headers": "{}",
            "options": json.dumps(options),
        }  # fmt: skip
        _insert(connection, "connections", row)
    model = {
        **COMMON, "id": "m1", "name": "small", "connection_id": "c0", "upstream_model": "small-7b", "fallbacks": "[]",
        "details": '{"probe": {"at": 1}}', "abilities": '["chat"]', "context_window": 4096,
    }  # fmt: skip
    _insert(connection, "models", model)
    connection.execute(sa.text("UPDATE revision SET value = 1"))


def _insert(connection: sa.Connection, table: str, row: dict[str, Any]) -> None:
    columns, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    connection.execute(sa.text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), row)


@pytest.fixture
async def before(settings: Settings) -> Settings:
    """Settings of a database that version 0001 has made."""
    store = Store(settings.database)
    await store.prepare()
    async with store.changing() as connection:
        await connection.run_sync(fill)
    await store.close()
    return settings


async def test_a_database_of_version_0001_keeps_everything(before: Settings) -> None:
    catalog = await Catalog.open(before)
    try:
        model = catalog.models.get("small")
        assert (model.connection, model.context_window, model.details) == ("lab", 4096, {"probe": {"at": 1}})
        assert (model.options.component, model.from_code) == ("", ())
        assert catalog.connections.get("lab").kind == "endpoint"
        assert catalog.connections.get("fn").kind == "code", "there was nothing to run it with before"
        assert catalog.host_configuration("fn").document["target"] == "/srv/code.py:f"
        await catalog.models.create({"name": "f", "connection": "fn"}, actor=ME)
        await catalog.presets.create("plug", {"name": "one", "values": {"a": 1}}, actor=ME)
        assert await catalog.code_says("c1", [{"name": "f", "context_window": 9}])
        assert catalog.models.get("f").context_window == 9
    finally:
        await catalog.close()
    again = await Catalog.open(before)
    assert again.presets.get("plug", "one").values == {"a": 1}
    await again.close()
