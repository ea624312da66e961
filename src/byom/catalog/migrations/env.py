"""Runs the migrations on the connection that `byom.catalog.migrate` hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from byom.catalog.tables import metadata
from byom.ledger.table import metadata as ledger_metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=[metadata, ledger_metadata],
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
