from __future__ import annotations

import pytest

from byom.catalog.catalog import Catalog
from byom.errors import ByomError

from .conftest import ME


async def test_the_log_says_who_did_what_with_before_and_after(catalog: Catalog) -> None:
    """Gateway checklist 75."""
    await catalog.connections.create({"name": "lab", "url": "http://lab.example"}, actor="key:ann")
    await catalog.connections.update("lab", {"verify_tls": False, "key": "sk-0123456789abcdef"}, actor="key:bob")
    await catalog.connections.delete("lab", actor="key:eve")
    entries = await catalog.audit.list(kind="connection", name="lab")
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("key:eve", "delete"),
        ("key:bob", "update"),
        ("key:ann", "create"),
    ]
    assert entries[1].before is not None
    assert entries[1].after is not None
    assert entries[1].before["policy"]["verify_tls"] is True
    assert entries[1].after["policy"]["verify_tls"] is False
    assert entries[0].after is None
    (created, deleted) = reversed(await catalog.audit.list(kind="secret"))
    assert created.after == {
        "name": "key", "destination": "http://lab.example:80", "hint": "cdef", "source": "",
    }  # fmt: skip
    assert (deleted.action, deleted.name) == ("delete", "lab:key")


async def test_a_refused_change_and_a_dry_run_leave_no_entry(catalog: Catalog) -> None:
    before = await catalog.audit.list()
    with pytest.raises(ByomError):
        await catalog.connections.create({"name": "lab"}, actor=ME)
    await catalog.users.delete("admin", actor=ME, dry_run=True)
    await catalog.users.update("admin", {}, actor=ME)
    assert await catalog.audit.list() == before


async def test_pages_follow_one_another(catalog: Catalog) -> None:
    for i in range(5):
        await catalog.users.create({"name": f"u{i}"}, actor=ME)
    first = await catalog.audit.list(limit=3)
    second = await catalog.audit.list(limit=3, before=first[-1].id)
    assert [entry.name for entry in (*first, *second)][:5] == ["u4", "u3", "u2", "u1", "u0"]
