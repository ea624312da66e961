"""How the process of a connection whose models are code is."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

Stage = Literal["cold", "starting", "ready", "failed", "disabled"]


class HostState(msgspec.Struct, kw_only=True):
    state: Stage = "cold"
    """``cold``: starts with the first call. ``failed``: ``reason`` says why; it is tried again."""
    reason: str = ""
    since: float = 0.0
    """Seconds since the epoch."""
    restarts: int = 0
    """How often the process was started again because it had ended."""
    models: list[dict[str, Any]] = []
    """``name``, ``state`` and ``error`` of each model that the process has."""


class CodeKeeper(Protocol):
    """Who keeps the processes of connections whose models are code, as the rest of a hub sees it."""

    async def wake(self, connection: str) -> None:
        """Returns when the connection's process listens. Raises `Unavailable` with the reason where it does not."""

    async def restart(self, connection: str) -> HostState:
        """Start the process anew, with the code as it is now. Raises `Unavailable` as `wake`."""

    async def states(self) -> dict[str, HostState]:
        """By connection; those without an entry are cold."""

    async def changed(self) -> None:
        """The catalog has changed: have every process know what concerns it."""
