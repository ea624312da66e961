"""The processes of code, as a worker sees them: they are kept by the process that holds the workers together."""

from __future__ import annotations

from typing import Any

from byom.errors import Unavailable
from byom.server.control import AskFailed, Channel
from byom.server.host_state import HostState

WAKE_SECONDS = 150.0
STATE_SECONDS = 5.0


class RemoteCode:
    """A `byom.server.host_state.CodeKeeper`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def wake(self, connection: str) -> None:
        await self._ask(None, "code_wake", connection, WAKE_SECONDS)

    async def restart(self, connection: str) -> HostState:
        state: HostState = await self._ask(HostState, "code_restart", connection, WAKE_SECONDS)
        return state

    async def states(self) -> dict[str, HostState]:
        states: dict[str, HostState] = await self._ask(dict[str, HostState], "code_states", None, STATE_SECONDS)
        return states

    async def changed(self) -> None:
        await self._ask(None, "code_changed", None, STATE_SECONDS)

    async def _ask(self, kind: Any, method: str, body: Any, seconds: float) -> Any:
        try:
            return await self._channel.ask_for(kind, method, body, timeout=seconds)
        except AskFailed as error:
            raise Unavailable(str(error), code=error.code or None, retry_after=1.0) from error
        except (TimeoutError, ConnectionError) as error:
            raise Unavailable("The hub's other processes cannot be asked now.", retry_after=1.0) from error
