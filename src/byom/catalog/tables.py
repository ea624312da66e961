"""The catalog's tables. A row's fields are named like its columns (`byom.catalog.state`)."""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

connections = Table(
    "connections",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("kind", String(20), nullable=False),
    Column("url", Text),
    Column("enabled", Boolean, nullable=False),
    Column("owner", String(40)),
    Column("headers", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("policy", JSON, nullable=False),
    Column("options", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("connection_id", String(40), ForeignKey("connections.id"), nullable=False, index=True),
    Column("upstream_model", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("owner", String(40)),
    Column("abilities", JSON(none_as_null=True)),
    Column("context_window", Integer),
    Column("dimensions", Integer),
    Column("fallbacks", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("policy", JSON, nullable=False),
    Column("own_price", JSON(none_as_null=True)),
    Column("packaged", JSON(none_as_null=True)),
    Column("details", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("options", JSON, nullable=False, server_default=text("'{}'")),
    Column("from_code", JSON(none_as_null=True)),
)

users = Table(
    "users",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("owner", String(40)),
    Column("limits", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("user_id", String(40), ForeignKey("users.id"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("hint", String(4), nullable=False),
    Column("models", JSON(none_as_null=True)),
    Column("limits", JSON, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("id", String(300), primary_key=True),
    Column("connection_id", String(40), ForeignKey("connections.id"), nullable=False, index=True),
    Column("name", String(240), nullable=False),
    Column("destination", Text, nullable=False),
    Column("ciphertext", Text, nullable=False),
    Column("hint", String(4), nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("connection_id", "name"),
)

presets = Table(
    "presets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("connection_id", String(40), ForeignKey("connections.id"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("parameter_set", String(200), nullable=False),
    Column("values", JSON, nullable=False),
    Column("owner", String(40)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("connection_id", "name"),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", String(300), primary_key=True),
    Column("user_id", String(40), ForeignKey("users.id"), nullable=False, index=True),
    Column("connection_id", String(40), ForeignKey("connections.id"), nullable=False, index=True),
    Column("preset_id", String(40), ForeignKey("presets.id"), nullable=False, index=True),
    Column("field", String(200), nullable=False),
    Column("ciphertext", Text, nullable=False),
    Column("hint", String(4), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("user_id", "preset_id", "field"),
)
"""Each user's own credentials, for code that calls others in their name."""

prices = Table(
    "prices",
    metadata,
    Column("pattern", String(200), primary_key=True),
    Column("price", JSON, nullable=False),
    Column("owner", String(40)),
    Column("created_at", BigInteger, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("value", JSON, nullable=False),
    Column("owner", String(40)),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("actor", String(200), nullable=False),
    Column("action", String(20), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("name", String(300), nullable=False),
    Column("before", JSON(none_as_null=True)),
    Column("after", JSON(none_as_null=True)),
    sqlite_autoincrement=True,
)

revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)

AUDIT_GUARDS = {
    "sqlite": [
        (
            f"CREATE TRIGGER audit_no_{verb} BEFORE {verb.upper()} ON audit BEGIN "
            "SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        )
        for verb in ("update", "delete")
    ],
    "postgresql": [
        (
            "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
        ),
        (
            "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit "
            "FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()"
        ),
    ],
}
"""The database itself refuses to change what the audit log says."""

for _dialect, _statements in AUDIT_GUARDS.items():
    for _statement in _statements:
        _guard = DDL(_statement)  # type: ignore[no-untyped-call]
        event.listen(audit, "after_create", _guard.execute_if(dialect=_dialect))
