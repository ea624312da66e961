from __future__ import annotations

import base64
import logging
import os
import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from byom.catalog import tables
from byom.catalog import vault as vault_module
from byom.catalog.catalog import Catalog
from byom.catalog.forms import ConnectionForm
from byom.catalog.vault import Vault, hint_of
from byom.errors import ByomError, ConfigError
from byom.settings import Settings

from .conftest import ME, Opener

CANARY = "sk-canary-7f3a9b2c4d5e6f708192"
HEADER_CANARY = "hdr-canary-a1b2c3d4e5f60718"


def fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


async def connect(catalog: Catalog, name: str = "lab") -> None:
    await catalog.connections.create(
        {"name": name, "url": f"http://{name}.example", "key": CANARY, "headers": {"X-Api-Key": HEADER_CANARY}},
        actor=ME,
    )


def authorization(catalog: Catalog, name: str = "lab") -> str | None:
    return catalog.snapshot.connections[name].authorization


def files_with(canaries: tuple[str, ...], folder: Path) -> list[str]:
    contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert contents
    return [name for name, content in contents.items() if any(canary.encode() in content for canary in canaries)]


async def stored_text(catalog: Catalog) -> str:
    """Every cell of every table."""
    async with catalog.store.reading() as connection:
        cells = []
        for table in tables.metadata.sorted_tables:
            cells += [repr(tuple(row)) for row in await connection.execute(sa.select(table))]
    return "\n".join(cells)


async def test_a_canary_secret_is_found_nowhere(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Gateway checklist 63."""
    caplog.set_level(logging.DEBUG)
    form = ConnectionForm(
        name="lab", url="http://lab.example", key=CANARY, headers={"x-api-key": HEADER_CANARY, "cookie": HEADER_CANARY}
    )
    shown = await catalog.connections.create(form, actor=ME)
    with pytest.raises(ByomError) as moved:
        await catalog.connections.update("lab", {"url": "http://other.example"}, actor=ME)
    with pytest.raises(ByomError) as wrong:
        await catalog.connections.update("lab", {"key": f"{CANARY} {CANARY}"}, actor=ME)
    with pytest.raises(ByomError) as header:
        await catalog.connections.update("lab", {"headers": {"x-token": f"{HEADER_CANARY}\n"}}, actor=ME)
    with pytest.raises(ByomError) as toml:
        await catalog.apply(f'[connections.lab]\nurl = 5\nkey = "{CANARY}"\n', actor=ME)
    with pytest.raises(ByomError) as broken_toml:
        await catalog.apply(f'[connections.lab]\nkey = "{CANARY}\n', actor=ME)
    await catalog.rotate_secrets(actor=ME)
    deletion = await catalog.connections.delete("lab", actor=ME, dry_run=True)
    outputs = {
        "reprs": repr((form, shown, catalog.snapshot, catalog.state, catalog.connections.list(), deletion)),
        "errors": "".join(str(e.value.body()) + repr(e.value) for e in (moved, wrong, header, toml, broken_toml)),
        "export": catalog.export(),
        "audit": repr(await catalog.audit.list(limit=1000)),
        "rows": await stored_text(catalog),
        "log": caplog.text,
    }
    await catalog.connections.delete("lab", actor=ME)
    outputs["audit after deletion"] = repr(await catalog.audit.list(limit=1000))
    for canary in (CANARY, HEADER_CANARY):
        for name, text in outputs.items():
            assert canary not in text, name
            assert canary[:-4] not in text, f"{name}: only the last four characters may show"
    await catalog.close()
    assert files_with((CANARY, HEADER_CANARY), tmp_path) == []


async def test_a_caller_key_is_found_nowhere_in_clear(catalog: Catalog, caplog: pytest.LogCaptureFixture) -> None:
    made = await catalog.keys.create({"name": "k"}, actor=ME)
    secret = made.token.rsplit("-", 1)[1]
    everything = repr((made, catalog.snapshot, catalog.state, await catalog.audit.list())) + await stored_text(catalog)
    assert secret not in everything + caplog.text


@pytest.mark.parametrize(("secret", "hint"), [("sk-0123456789abcdef", "cdef"), ("short-secret", ""), ("abcd", "")])
def test_a_hint_never_shows_a_good_part_of_a_secret(secret: str, hint: str) -> None:
    assert hint_of(secret) == hint


async def test_the_key_file_is_private_and_made_once(local: Catalog, local_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    await (await Catalog.open(local_settings)).close()
    assert file.read_bytes() == before


async def test_secrets_open_again_after_a_restart(catalog: Catalog, opener: Opener) -> None:
    await connect(catalog)
    await catalog.close()
    assert authorization(await opener()) == f"Bearer {CANARY}"


async def test_a_missing_key_is_told_and_never_replaced_by_a_new_one(
    catalog: Catalog, opener: Opener, tmp_path: Path
) -> None:
    await connect(catalog)
    await catalog.close()
    (tmp_path / "secret.key").unlink()
    with pytest.raises(ConfigError, match=r"Restore that file, or set BYOM_SECRET_KEY"):
        await opener()
    assert not (tmp_path / "secret.key").exists()


async def test_a_wrong_key_is_told(catalog: Catalog, opener: Opener, tmp_path: Path) -> None:
    await connect(catalog)
    await catalog.close()
    (tmp_path / "secret.key").write_text(fernet_key())
    with pytest.raises(ConfigError, match="is not the one that the stored secrets were encrypted with"):
        await opener()


@pytest.mark.parametrize("content", ["", "\n", "hello", "é" * 44, "a" * 44 + "b"])
async def test_a_damaged_key_file_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret.key").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"secret\.key"):
        await Catalog.open(Settings(home=tmp_path))


async def test_the_key_may_come_from_the_environment_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, secret_key=fernet_key())
    catalog = await Catalog.open(settings)
    await connect(catalog)
    await catalog.close()
    assert not (tmp_path / "secret.key").exists()
    again = await Catalog.open(settings)
    assert authorization(again) == f"Bearer {CANARY}"
    await again.close()
    with pytest.raises(ConfigError, match="BYOM_SECRET_KEY"):
        await Catalog.open(Settings(home=tmp_path, secret_key=fernet_key()))


async def test_a_key_of_the_environment_is_rotated_by_putting_a_new_one_first(tmp_path: Path) -> None:
    old, new = fernet_key(), fernet_key()
    catalog = await Catalog.open(Settings(home=tmp_path, secret_key=old))
    await connect(catalog)
    await catalog.close()
    both = await Catalog.open(Settings(home=tmp_path, secret_key=f"{new},{old}"))
    assert await both.rotate_secrets(actor=ME) == 2
    await both.close()
    alone = await Catalog.open(Settings(home=tmp_path, secret_key=new))
    assert authorization(alone) == f"Bearer {CANARY}"
    await alone.close()


async def test_a_rotation_leaves_one_new_key_that_opens_everything(
    catalog: Catalog, opener: Opener, tmp_path: Path
) -> None:
    await connect(catalog)
    old = (tmp_path / "secret.key").read_text().split()
    assert await catalog.rotate_secrets(actor=ME) == 2
    new = (tmp_path / "secret.key").read_text().split()
    assert len(new) == 1
    assert new != old
    assert authorization(catalog) == f"Bearer {CANARY}"
    assert authorization(await opener()) == f"Bearer {CANARY}"


async def test_another_process_follows_a_rotation(catalog: Catalog, opener: Opener) -> None:
    await connect(catalog)
    other = await opener()
    await catalog.rotate_secrets(actor=ME)
    await connect(other, "hall")  # encrypted after the rotation, by a process that has not looked since
    assert await catalog.refresh()
    assert authorization(catalog, "hall") == authorization(other, "lab") == f"Bearer {CANARY}"


@pytest.mark.parametrize("moment", ["begin_rotation", "commit", "end_rotation"])
async def test_a_rotation_that_dies_half_way_loses_nothing(
    catalog: Catalog, opener: Opener, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from byom.catalog import catalog as catalog_module

    await connect(catalog)

    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        if moment == "commit":
            patched.setattr(catalog_module, "save", die)
        elif moment == "end_rotation":
            patched.setattr(Vault, "end_rotation", die)
        else:
            begin = Vault.begin_rotation
            patched.setattr(Vault, "begin_rotation", lambda vault: (begin(vault), die()))
        with pytest.raises(RuntimeError):
            await catalog.rotate_secrets(actor=ME)
    again = await opener()
    assert authorization(again) == f"Bearer {CANARY}"
    assert await again.rotate_secrets(actor=ME) == 2
    assert authorization(await opener()) == f"Bearer {CANARY}"


async def test_two_rotations_at_once_lose_nothing(catalog: Catalog, opener: Opener) -> None:
    import asyncio

    await connect(catalog)
    other = await opener()
    await asyncio.gather(catalog.rotate_secrets(actor=ME), other.rotate_secrets(actor=ME))
    assert authorization(await opener()) == f"Bearer {CANARY}"


async def test_a_row_moved_to_another_host_in_the_database_does_not_open(local: Catalog, tmp_path: Path) -> None:
    """Gateway checklist 61: not even somebody who can write to the database can have a key sent elsewhere."""
    await connect(local)
    await local.close()
    with sqlite3.connect(tmp_path / "byom.db") as connection:
        connection.execute("UPDATE connections SET url = 'http://evil.example/v1' WHERE name = 'lab'")
    moved = await Catalog.open(Settings(home=tmp_path))
    assert authorization(moved) is None
    await moved.close()
    with sqlite3.connect(tmp_path / "byom.db") as connection:
        connection.execute("UPDATE secrets SET destination = 'http://evil.example:80'")
    with pytest.raises(ConfigError, match="belongs to another connection or host"):
        await Catalog.open(Settings(home=tmp_path))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret.key"
    vault_module.write_private(file, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            vault_module.write_private(file, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]
    assert file.read_bytes() == b"old"
