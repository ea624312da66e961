"""The audit log: who changed what, when, from what, to what. Append-only, and without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from byom.catalog import tables
from byom.catalog.records import AuditEntry

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog


class Audit:
    """``catalog.audit``. Entries are written with the change itself, in its transaction."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def list(
        self, *, limit: int = 100, before: int | None = None, kind: str | None = None, name: str | None = None
    ) -> tuple[AuditEntry, ...]:
        """Newest first, at most ``limit`` entries; ``before``: the id that the page before ended with."""
        query = select(tables.audit).order_by(tables.audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(tables.audit.c.id < before)
        if kind is not None:
            query = query.where(tables.audit.c.kind == kind)
        if name is not None:
            query = query.where(tables.audit.c.name == name)
        async with self._catalog.store.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return tuple(AuditEntry(**{**row, "at": row["at"] / 1e6}) for row in found)
