"""What concerns the hub as a whole: information, calls under way, byom.toml, deletions, the audit log, secrets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from byom.server.api.schemas.fields import Flag, Given, Shown, Text


class LedgerState(Shown):
    accepting: bool = Field(description="Whether there is room for rows; without it calls are refused.")
    lag: int = Field(description="Rows that are not in the database yet.")
    rejected: int
    spool_bytes: int
    failure: str | None = Field(description="Why the database takes no rows now.")
    days: int = Field(description="How long single calls are kept; 0: for ever.")


class Info(Shown):
    name: Literal["byom"] = "byom"
    version: str
    python: str
    database: Literal["sqlite", "postgresql"]
    auth: bool = Field(description="false: the hub runs without keys.")
    started_at: float
    uptime_seconds: float
    catalog_version: int
    connections: int
    models: int
    users: int
    keys: int = Field(description="Keys that work.")
    calls_under_way: int
    ledger: LedgerState


class LiveCall(Shown):
    id: str
    model: str
    connection: str
    key: str | None
    user: str | None
    route: str
    stream: bool
    seconds: float
    attempts: int
    tokens: int


class LiveCalls(Shown):
    data: list[LiveCall]


class ApplyIn(Given):
    toml: Annotated[str, StringConstraints(max_length=4 * 1024 * 1024)] = Field(description="The text of a byom.toml.")
    folder: Text | None = Field(
        default=None, description="Of the byom.toml, on the hub's machine: where relative paths of code begin."
    )
    dry_run: Flag = Field(default=False, description="Only answer what would change.")


class Change(Shown):
    action: Literal["create", "update", "delete"]
    kind: str
    name: str
    fields: list[str]


class Plan(Shown):
    changes: list[Change]
    warnings: list[str]
    done: bool


class Deletion(Shown):
    """What a deletion removes, and what will stop working."""

    kind: Literal["connection", "model", "user", "key", "preset"]
    name: str
    models: list[str]
    fallbacks: list[str]
    keys: list[str]
    settings: list[str]
    presets: list[str]
    credentials: int = Field(description="How many credentials of users go with it.")
    warnings: list[str]
    done: bool = Field(description="false after a dry run.")


class AuditEntry(Shown):
    id: int
    at: float
    actor: str
    action: Literal["create", "update", "delete"]
    kind: str
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditLog(Shown):
    data: list[AuditEntry]
    next: int | None = Field(description="Give it as `before` for the next page; null on the last one.")


class Rotated(Shown):
    rotated: int = Field(description="Secrets that were encrypted under the new key.")
