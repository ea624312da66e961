"""Models from code: presets, each user's credentials, and what a model's code said of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "presets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("connection_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("parameter_set", sa.String(length=200), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("owner", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_presets_connection_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_presets")),
        sa.UniqueConstraint("connection_id", "name", name=op.f("uq_presets_connection_id")),
    )
    op.create_index(op.f("ix_presets_connection_id"), "presets", ["connection_id"], unique=False)
    op.create_table(
        "credentials",
        sa.Column("id", sa.String(length=300), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("connection_id", sa.String(length=40), nullable=False),
        sa.Column("preset_id", sa.String(length=40), nullable=False),
        sa.Column("field", sa.String(length=200), nullable=False),
        sa.Column("ciphertext", sa.Text(), nullable=False),
        sa.Column("hint", sa.String(length=4), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_credentials_user_id")),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name=op.f("fk_credentials_connection_id")),
        sa.ForeignKeyConstraint(["preset_id"], ["presets.id"], name=op.f("fk_credentials_preset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
        sa.UniqueConstraint("user_id", "preset_id", "field", name=op.f("uq_credentials_user_id")),
    )
    for column in ("user_id", "connection_id", "preset_id"):
        op.create_index(op.f(f"ix_credentials_{column}"), "credentials", [column], unique=False)
    op.add_column("models", sa.Column("options", sa.JSON(), nullable=False, server_default=sa.text("'{}'")))
    op.add_column("models", sa.Column("from_code", sa.JSON(none_as_null=True), nullable=True))
    # Declared before there was anything to run them with: how the code is written is found out at its start.
    op.execute("UPDATE connections SET kind = 'code' WHERE kind IN ('function', 'plugin', 'class')")
