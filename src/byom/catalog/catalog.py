"""The catalog: what exists, kept in a database, read as an immutable snapshot.

``async with Catalog.session(settings) as catalog`` opens it and keeps its snapshot current. Collections:

- ``catalog.connections``  `byom.catalog.connections.Connections`: list, get, create, update, delete
- ``catalog.presets``      `byom.catalog.presets.Presets`: list, get, create, update, delete
- ``catalog.credentials``  `byom.catalog.user_credentials.UserCredentials`: list, put, delete
- ``catalog.models``       `byom.catalog.models.Models`: list, get, create, create_many, update, delete
- ``catalog.users``        `byom.catalog.users.Users`: list, get, create, update, delete
- ``catalog.keys``         `byom.catalog.callers.Keys`: list, get, create, update, revoke
- ``catalog.prices``       `byom.catalog.prices.Prices`: list, put, delete
- ``catalog.settings``     `byom.catalog.hub_settings.HubSettings`: get, update
- ``catalog.audit``        `byom.catalog.audit.Audit`: list

Every changing method takes ``actor`` (who did it, for the audit log) and returns after the change is stored, built and
swapped in. A change from which no snapshot can be built raises and leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import bindparam, or_, update
from sqlalchemy.exc import SQLAlchemyError

from byom.catalog import bootstrap, code_models, credentials, migrate, tables, user_credentials
from byom.catalog.audit import Audit
from byom.catalog.build import build_snapshot
from byom.catalog.callers import Keys
from byom.catalog.connections import Connections, find
from byom.catalog.host_configuration import configuration_of
from byom.catalog.host_document import HostConfiguration
from byom.catalog.hub_settings import HubSettings
from byom.catalog.keys import authenticate
from byom.catalog.models import Models
from byom.catalog.presets import Presets
from byom.catalog.prices import Prices
from byom.catalog.pricing import LOCAL_KINDS, question
from byom.catalog.records import Plan
from byom.catalog.snapshot import CallerKey, Snapshot
from byom.catalog.state import SecretRow, State, differences
from byom.catalog.store import Store
from byom.catalog.transaction import Transaction, load, save
from byom.catalog.user_credentials import UserCredentials
from byom.catalog.users import Users
from byom.catalog.vault import Vault
from byom.errors import ByomError
from byom.settings import Settings
from byom.types.target import Target

log = logging.getLogger(__name__)

Subscriber = Callable[[Snapshot], None]
POLL_SECONDS = 0.25
FLUSH_SECONDS = 5.0
SYSTEM = "system"


class Catalog:
    """One process's view of the catalog. Belongs to one event loop; many processes may share one database."""

    def __init__(self, settings: Settings) -> None:
        """Use `open` or `session`; this alone opens nothing."""
        self._settings = settings
        self.store = Store(settings.database)
        self.state = State()
        """The rows behind the snapshot. For reading only; belongs to `byom.catalog`."""
        self._vault = Vault(settings.key_file, settings.secret_key)
        self._snapshot = Snapshot()
        self._running: dict[str, Target] = {}
        self._subscribers: list[Subscriber] = []
        self._touched: dict[str, int] = {}
        self.connections = Connections(self)
        self.models = Models(self)
        self.presets = Presets(self)
        self.credentials = UserCredentials(self)
        self.users = Users(self)
        self.keys = Keys(self)
        self.prices = Prices(self)
        self.settings = HubSettings(self)
        self.audit = Audit(self)

    @classmethod
    async def open(cls, settings: Settings) -> Catalog:
        """Connect, migrate where needed, create what a new catalog has, and build the first snapshot.

        Raises `ConfigError` when the database is newer than this program, cannot be reached, or holds secrets that the
        secret key at hand does not open; `MissingExtra` for PostgreSQL without its driver.
        """
        catalog = cls(settings)
        try:
            await catalog.store.prepare()
            await migrate.migrate(catalog.store)
            await catalog._load_first()
        except BaseException:
            await catalog.store.close()
            raise
        return catalog

    @classmethod
    @contextlib.asynccontextmanager
    async def session(cls, settings: Settings) -> AsyncIterator[Catalog]:
        """An open catalog that watches for changes of other processes, and is closed at the end."""
        catalog = await cls.open(settings)
        watching = asyncio.create_task(catalog.watch(), name="catalog watch")
        try:
            yield catalog
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await catalog.close()

    async def _load_first(self) -> None:
        async with self.store.reading() as connection:
            state = await load(connection)
        if state.revision == 0 or not (self._vault.rotatable and self._settings.key_file.exists()):
            async with self.change(SYSTEM) as tx:  # one process at a time: a new catalog is filled once
                await asyncio.to_thread(self._vault.prepare, secrets_stored=bool(tx.before.sealed))
                await bootstrap.fill_new(tx, self._settings.admin_key_file)
        else:
            await asyncio.to_thread(self._vault.prepare, secrets_stored=bool(state.sealed))
            self._swap(state, self._built(state))
        if await asyncio.to_thread(self._unpriced, self.state):
            async with self.change(SYSTEM):
                pass  # what the packaged table says is asked for in every change

    @property
    def snapshot(self) -> Snapshot:
        """The present state. Read it once per call and keep that one."""
        return self._snapshot

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call ``callback`` with each new snapshot, on the loop, before the change returns. Returns the way out."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    @contextlib.asynccontextmanager
    async def change(self, actor: str, *, dry_run: bool = False) -> AsyncIterator[Transaction]:
        """A transaction on the newest state; whatever its state differs by at the end is stored, logged and swapped in.

        For the collections of this package. An error inside, or in building the snapshot, leaves everything as it was.
        """
        async with self.store.changing() as connection:
            before = await load(connection)
            await asyncio.to_thread(self._vault.reload)
            tx = Transaction(before, actor, self._vault)
            yield tx
            await self._ask_prices(tx.state)
            changes = list(differences(before, tx.state))
            if not dry_run and changes:
                await save(connection, changes, tx)
            snapshot = self._built(tx.state)
        if not dry_run:
            self._swap(tx.state, snapshot)

    def _built(self, state: State) -> Snapshot:
        return build_snapshot(state, self._running, self._reveal)

    def _reveal(self, row: SecretRow) -> str:
        return credentials.reveal(self._vault, row)

    def _swap(self, state: State, snapshot: Snapshot) -> None:
        if state.revision < self.state.revision:
            return  # a newer one was swapped in while this one was built
        self.state = state
        self._snapshot = snapshot
        for callback in tuple(self._subscribers):
            callback(snapshot)

    async def refresh(self) -> bool:
        """Read again if another process changed something; true when the snapshot was swapped.

        Raises when no snapshot can be built from what is stored now; the present one stays.
        """
        if await self.store.revision() == self.state.revision:
            return False
        async with self.store.reading() as connection:
            state = await load(connection)
        self._swap(state, self._built(state))
        return True

    async def watch(self, interval: float = POLL_SECONDS) -> None:
        """Until cancelled: `refresh` every ``interval`` seconds, `flush` every few.

        While the database is away the present snapshot goes on serving; the trouble is logged once.
        """
        flushed = time.monotonic()
        trouble = ""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.refresh()
                if time.monotonic() - flushed >= FLUSH_SECONDS:
                    flushed = time.monotonic()
                    await self.flush()
                    if await asyncio.to_thread(self._unpriced, self.state):
                        await self.refresh_prices()
                trouble = ""
            except (ByomError, OSError, msgspec.ValidationError, SQLAlchemyError) as error:
                if type(error).__name__ != trouble:
                    trouble = type(error).__name__
                    log.error("the catalog cannot be read again, going on with revision %d: %s",
                              self.state.revision, error)  # fmt: skip

    def set_runtime_target(self, connection: str, target: Target | None) -> None:
        """Say where the process of a connection listens; ``None``: nowhere now. Lives in this process only.

        Without one the connection's routes stay, with the target `byom.catalog.build.NOT_RUNNING` (an empty host).
        """
        before = self._running.get(connection)
        if target is None:
            self._running.pop(connection, None)
        else:
            self._running[connection] = target
        if before != target:
            self._swap(self.state, self._built(self.state))

    def host_configuration(self, connection: str, *, hub_url: str = "") -> HostConfiguration:
        """What the process of a connection of kind ``code`` is told, its secrets in clear.

        Raises `NotFound`, `ConfigError` for a connection of another kind.
        """
        code_models.require_code(self, connection)
        row = find(self.state, connection)
        return configuration_of(row, self.state, self._vault, hub_url=hub_url, alone=self._settings.no_auth)

    async def code_says(self, connection_id: str, descriptions: Sequence[Mapping[str, Any]]) -> bool:
        """Keep what a connection's code says of its models; true when that changed something.

        ``descriptions``: each a `byom.host.worker.contract.ModelDescription` as JSON. Fields that a person set stay.
        """
        return await code_models.tell(self, connection_id, descriptions)

    def authenticate(self, token: str | None) -> CallerKey:
        """The caller to whom ``token`` belongs. Raises `Unauthenticated`."""
        return authenticate(self._snapshot, token)

    def touch(self, key_id: str) -> None:
        """Remember that a key was used now. Cheap; written with the next flush."""
        self._touched[key_id] = time.time_ns() // 1000

    async def flush(self) -> None:
        """Write the last-used times that `touch` gathered."""
        touched, self._touched = self._touched, {}
        if not touched:
            return
        keys = tables.keys.c
        statement = (
            update(tables.keys)
            .where(keys.id == bindparam("key"), or_(keys.last_used_at.is_(None), keys.last_used_at < bindparam("used")))
            .values(last_used_at=bindparam("used"))
        )
        try:
            async with self.store.changing() as connection:
                await connection.execute(statement, [{"key": key, "used": used} for key, used in touched.items()])
        except BaseException:
            self._touched = touched | self._touched
            raise

    def _unpriced(self, state: State) -> list[str]:
        """Ids of models whose packaged price was asked of another table version, for another upstream, or ran out."""
        from byom.catalog import price_table

        version, now = "", time.time()
        found = []
        for row in state.models.values():
            connection = state.connections[row.connection_id]
            if connection.kind in LOCAL_KINDS:
                continue
            version = version or price_table.version()
            known = row.packaged
            fresh = known is not None and known.version == version and known.asked == question(row, connection)
            if known is None or not fresh or (known.until is not None and known.until <= now):
                found.append(row.id)
        return found

    async def _ask_prices(self, state: State) -> None:
        stale = await asyncio.to_thread(self._unpriced, state)
        if stale:
            await asyncio.to_thread(_ask, state, stale)

    async def refresh_prices(self) -> None:
        """Ask the packaged table again where its answer is out of date."""
        async with self.change(SYSTEM):
            pass

    async def apply(
        self, text: str, *, actor: str, dry_run: bool = False, key_files: bool = False, folder: str | None = None
    ) -> Plan:
        """Make the catalog as a byom.toml declares it: all of it or nothing. See `byom.catalog.declaration`.

        ``key_files``: let ``key_file`` read this machine's files; not for remote callers. ``folder``: of the byom.toml,
        where the relative paths of code begin.
        """
        from byom.catalog.apply import apply_declaration, plan_of
        from byom.catalog.declaration import read_declaration

        declaration = read_declaration(text, key_files=key_files, folder=folder)
        async with self.change(actor, dry_run=dry_run) as tx:
            apply_declaration(tx, declaration)
        return plan_of(tx, declaration, done=not dry_run)

    def export(self) -> str:
        """A byom.toml that declares what there is, without secrets: applying it here changes nothing."""
        from byom.catalog.export import export_declaration

        return export_declaration(self.state)

    async def rotate_secrets(self, *, actor: str) -> int:
        """Encrypt all secrets under a new key; returns how many. Safe to interrupt at any moment.

        With ``BYOM_SECRET_KEY`` the new key is the first of those that it names.
        """
        async with self.change(actor) as tx:
            await asyncio.to_thread(self._vault.begin_rotation)
            for row in list(tx.state.secrets.values()):
                tx.state.secrets[row.id] = credentials.resealed(self._vault, row)
            for entered in list(tx.state.credentials.values()):
                tx.state.credentials[entered.id] = user_credentials.resealed(self._vault, entered)
            rotated = len(tx.state.secrets) + len(tx.state.credentials)
        await self._finish_rotation()
        return rotated

    async def _finish_rotation(self) -> None:
        """Drop the old keys, unless another process stored something with them meanwhile."""
        async with self.store.changing() as connection:
            stored = (await load(connection)).sealed
            await asyncio.to_thread(self._vault.reload)
            if all(self._vault.opens_with_first(row.ciphertext) for row in stored):
                await asyncio.to_thread(self._vault.end_rotation)

    async def reset_admin_key(self, *, actor: str = "cli") -> str:
        """Make a new admin key, write it to ``admin.key``, revoke the one made so before; returns its token."""
        async with self.change(actor) as tx:
            return await bootstrap.new_admin_key(tx, self._settings.admin_key_file)

    async def close(self) -> None:
        """Write what is left to write and let go of the database. Idempotent."""
        with contextlib.suppress(ByomError, SQLAlchemyError):
            await self.flush()
        await self.store.close()


def _ask(state: State, models: list[str]) -> None:
    from byom.catalog import price_table

    now = datetime.now(UTC)
    for id_ in models:
        row = state.models[id_]
        connection = state.connections[row.connection_id]
        packaged = price_table.look_up(connection.url, row.upstream_model, question(row, connection), now)
        state.models[id_] = msgspec.structs.replace(row, packaged=packaged)
