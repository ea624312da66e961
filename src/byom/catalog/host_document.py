"""What the process of a connection is told, as it travels."""

from __future__ import annotations

from typing import Any

import msgspec


class HostConfiguration(msgspec.Struct, kw_only=True, frozen=True):
    """Of one connection. ``document`` holds secrets: it goes to the connection's process and nowhere else."""

    connection_id: str
    name: str
    eager: bool
    document: dict[str, Any]
    """The fields of `byom.host.code.configuration.HostConfig`."""
    digest: str
    """Of the document: another one means that the process has to be told."""

    def __repr__(self) -> str:
        return f"HostConfiguration({self.name!r})"
