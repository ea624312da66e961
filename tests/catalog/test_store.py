from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from blockbuster import blockbuster_ctx
from sqlalchemy.ext.asyncio import create_async_engine

from byom.catalog import migrate, tables
from byom.catalog.catalog import Catalog
from byom.catalog.snapshot import Snapshot
from byom.catalog.store import Store
from byom.errors import ByomError, ConfigError, MissingExtra
from byom.ledger.table import metadata as ledger_metadata
from byom.settings import Settings

from .conftest import ME, Opener


def described(connection: sa.Connection) -> dict[str, object]:
    """The schema as the database itself tells it."""
    inspector = sa.inspect(connection)
    found: dict[str, object] = {}
    for table in sorted(inspector.get_table_names()):
        columns = [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)]
        indexes = sorted((str(i["name"]), tuple(i["column_names"]), i["unique"]) for i in inspector.get_indexes(table))
        keys = sorted((str(k["name"]), tuple(k["constrained_columns"])) for k in inspector.get_foreign_keys(table))
        unique = sorted((str(u["name"]), tuple(u["column_names"])) for u in inspector.get_unique_constraints(table))
        found[table] = (columns, indexes, keys, unique, inspector.get_pk_constraint(table)["constrained_columns"])
    if connection.dialect.name == "sqlite":
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    else:
        triggers = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname"
    found["triggers"] = [row[0] for row in connection.execute(sa.text(triggers))]
    return found


async def test_migrations_one_after_the_other_end_in_the_schema_that_is_made_at_once(database_url: str) -> None:
    store = Store(database_url)
    await store.prepare()
    try:
        await migrate.migrate(store)
        async with store.changing() as connection:
            made = await connection.run_sync(described)
            for metadata in (tables.metadata, ledger_metadata):
                await connection.run_sync(metadata.drop_all)
            await connection.execute(sa.text("DROP TABLE alembic_version"))
            if not store.is_sqlite:
                await connection.execute(sa.text("DROP FUNCTION audit_is_append_only"))
            await connection.run_sync(migrate._upgrade)
            assert await connection.run_sync(described) == made
    finally:
        await store.close()


def test_every_migration_script_is_known_by_number() -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(migrate.config())
    assert tuple(reversed([script.revision for script in scripts.walk_revisions()])) == migrate.REVISIONS
    assert scripts.get_heads() == [migrate.HEAD]


def test_opening_an_existing_catalog_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from byom.catalog.catalog import Catalog; from byom.settings import Settings\n"
        "async def main():\n"
        "    for _ in range(2): await (await Catalog.open(Settings(home=Path(sys.argv[1])))).close()\n"
        "asyncio.run(main())\n"
        "heavy = {'alembic', 'genai_prices', 'cryptography', 'pydantic', 'asyncpg', 'tomlkit'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_database_of_a_newer_program_is_left_alone(catalog: Catalog, settings: Settings) -> None:
    async with catalog.store.changing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    await catalog.close()
    with pytest.raises(ConfigError, match="newer version of BYOM"):
        await Catalog.open(settings)


async def test_an_older_sqlite_file_is_copied_before_it_is_migrated(
    local: Catalog, local_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await local.users.create({"name": "ann"}, actor=ME)
    async with local.store.changing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
    await local.close()
    monkeypatch.setattr(migrate, "REVISIONS", ("0000", *migrate.REVISIONS))
    monkeypatch.setattr(migrate, "_upgrade", lambda connection: connection.exec_driver_sql("DELETE FROM secrets"))
    await (await Catalog.open(local_settings)).close()
    (copy,) = sorted(tmp_path.glob("byom.db.before-*"))  # noqa: ASYNC240 - nothing else is running
    assert copy.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(copy) as connection:
        assert ("ann",) in connection.execute("SELECT name FROM users").fetchall()


async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    local: Catalog, local_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_way(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE half (id INTEGER)")
        raise RuntimeError("power cut")

    async with local.store.changing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
    await local.close()
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "REVISIONS", ("0000", *migrate.REVISIONS))
        patched.setattr(migrate, "_upgrade", half_way)
        with pytest.raises(RuntimeError):
            await Catalog.open(local_settings)
    store = Store(local_settings.database)
    async with store.reading() as connection:
        names = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
    await store.close()
    assert "half" not in names


def open_in_threads(settings: Settings, count: int) -> list[object]:
    """Open the catalog in several loops at once, as several workers do; returns versions and errors."""
    found: list[object] = []
    barrier = threading.Barrier(count)

    async def work() -> int:
        barrier.wait()
        catalog = await Catalog.open(settings)
        try:
            return len(catalog.snapshot.keys)
        finally:
            await catalog.close()

    def run() -> None:
        try:
            found.append(asyncio.run(work()))
        except Exception as error:  # noqa: BLE001 - every error is a finding
            found.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_many_workers_may_open_a_new_catalog_at_once(settings: Settings) -> None:
    assert open_in_threads(settings, 8) == [1] * 8
    token = (settings.home / "admin.key").read_text().strip()

    async def authenticate() -> str:
        catalog = await Catalog.open(settings)
        try:
            return catalog.authenticate(token).role
        finally:
            await catalog.close()

    assert asyncio.run(authenticate()) == "admin"


async def test_changes_of_many_writers_are_all_kept(catalog: Catalog, opener: Opener) -> None:
    views = [catalog, await opener(), await opener()]
    await asyncio.gather(
        *(
            view.users.create({"name": f"u{number}-{i}"}, actor=ME)
            for number, view in enumerate(views)
            for i in range(10)
        )
    )
    for view in views:
        await view.refresh()
        assert len(view.users.list()) == 31
        assert view.snapshot.version == 31
    assert len(await catalog.audit.list(limit=1000, kind="user")) == 31


async def test_edits_of_different_fields_by_two_writers_do_not_undo_each_other(
    catalog: Catalog, opener: Opener
) -> None:
    other = await opener()
    await catalog.users.create({"name": "ann"}, actor=ME)
    await asyncio.gather(
        catalog.users.update("ann", {"role": "admin"}, actor=ME),
        other.users.update("ann", {"limits": {"concurrency": 3}}, actor=ME),
    )
    await catalog.refresh()
    ann = catalog.users.get("ann")
    assert (ann.role, ann.limits.concurrency) == ("admin", 3)


async def test_the_same_name_by_two_writers_is_taken_by_one(catalog: Catalog, opener: Opener) -> None:
    other = await opener()
    outcomes = await asyncio.gather(
        *(view.users.create({"name": "ann"}, actor=ME) for view in (catalog, other) for _ in range(4)),
        return_exceptions=True,
    )
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert {outcome.code for outcome in outcomes if isinstance(outcome, ByomError)} == {"conflict"}


async def test_another_process_sees_a_change_within_half_a_second(settings: Settings, catalog: Catalog) -> None:
    async with Catalog.session(settings) as other:
        seen: asyncio.Queue[Snapshot] = asyncio.Queue()
        stop = other.subscribe(seen.put_nowait)
        await catalog.users.create({"name": "ann"}, actor=ME)
        async with asyncio.timeout(5.0):  # generous, for a machine that is busy
            snapshot = await seen.get()
        assert snapshot is other.snapshot
        assert snapshot.version == catalog.snapshot.version
        stop()
        await other.users.create({"name": "bob"}, actor=ME)
        assert seen.empty()


async def test_own_changes_are_swapped_in_before_the_call_returns(catalog: Catalog) -> None:
    seen: list[Snapshot] = []
    catalog.subscribe(seen.append)
    before = catalog.snapshot
    await catalog.settings.update({"keepalive_seconds": 3}, actor=ME)
    assert [snapshot.settings.keepalive_seconds for snapshot in seen] == [3.0]
    assert before.settings.keepalive_seconds == 15.0, "a call in flight goes on with what it began with"


async def test_a_snapshot_that_cannot_be_built_is_not_swapped_in(catalog: Catalog, opener: Opener) -> None:
    """Gateway checklist 82."""
    other = await opener()
    before = catalog.snapshot
    await other.connections.create({"name": "lab", "url": "http://lab.example"}, actor=ME)
    async with other.store.changing() as connection:
        await connection.execute(sa.update(tables.connections).values(url="gopher://lab.example"))
    with pytest.raises(ByomError):
        await catalog.refresh()
    assert catalog.snapshot is before


async def test_a_change_after_which_nothing_could_be_built_is_rolled_back(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    from byom.catalog import catalog as module

    def broken(*_: object) -> Snapshot:
        raise ConfigError("cannot be built")

    before = catalog.snapshot
    with monkeypatch.context() as patched:
        patched.setattr(module, "build_snapshot", broken)
        with pytest.raises(ConfigError):
            await catalog.users.create({"name": "ann"}, actor=ME)
    assert catalog.snapshot is before
    assert not await catalog.refresh(), "the database was left as it was too"


async def test_the_watch_outlives_a_database_that_is_away(
    local_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Gateway checklist 83: what is known goes on serving."""
    async with Catalog.session(local_settings) as catalog:
        async with catalog.store.changing() as connection:
            await connection.execute(sa.text("ALTER TABLE revision RENAME TO away"))
        async with asyncio.timeout(5):
            while "cannot be read again" not in caplog.text:  # noqa: ASYNC110 - a log line sets no event
                await asyncio.sleep(0.01)
        assert catalog.snapshot.routes
        async with catalog.store.changing() as connection:
            await connection.execute(sa.text("ALTER TABLE away RENAME TO revision"))
        await catalog.users.create({"name": "ann"}, actor=ME)
    assert caplog.text.count("cannot be read again") == 1


async def test_sqlite_is_opened_for_many_readers_and_one_writer(local: Catalog) -> None:
    """Gateway checklist 85."""
    async with local.store.reading() as connection:
        wanted = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 15000}
        found = {name: (await connection.execute(sa.text(f"PRAGMA {name}"))).scalar() for name in wanted}
    assert found == wanted


async def test_changing_the_catalog_blocks_no_other_task(local: Catalog) -> None:
    """Gateway checklist 87."""
    await local.connections.create({"name": "warm", "url": "http://warm.example", "key": "sk-warm"}, actor=ME)
    with blockbuster_ctx():
        await local.connections.create({"name": "lab", "url": "http://lab.example", "key": "sk-1"}, actor=ME)
        await local.models.create({"name": "m", "connection": "lab"}, actor=ME)
        await local.rotate_secrets(actor=ME)
        await local.reset_admin_key()
        await local.refresh()
        await local.flush()


async def test_the_database_file_is_private(local: Catalog, tmp_path: Path) -> None:
    assert (tmp_path / "byom.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_a_database_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="database_url"):
        Store(url)


def test_postgresql_without_its_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(MissingExtra, match=r"byom\[postgres\]"):
        Store("postgresql://user:secret@localhost/name")


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "byom.db").write_bytes(b"hello" * 1000)
    with pytest.raises(ConfigError, match=r"byom\.db cannot be opened"):
        await Catalog.open(Settings(home=tmp_path))


async def test_an_unreachable_server_is_told_without_its_password(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://user:canary-pw@127.0.0.1:1/name")
    with pytest.raises(ConfigError, match="cannot be reached") as caught:
        await Catalog.open(settings)
    assert "canary-pw" not in str(caught.value)


async def test_a_database_that_does_not_exist_is_told(tmp_path: Path, postgres_url: str) -> None:
    settings = Settings(home=tmp_path, database_url=postgres_url.replace("byom_test_", "no_such_"))
    with pytest.raises(ConfigError, match="does not exist"):
        await Catalog.open(settings)


async def test_the_audit_log_cannot_be_changed(catalog: Catalog, settings: Settings) -> None:
    """Gateway checklist 75."""
    engine = create_async_engine(catalog.store.url)
    for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"):
            async with engine.begin() as connection:
                await connection.execute(sa.text(statement))
    await engine.dispose()
