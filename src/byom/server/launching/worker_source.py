"""What the keeper of engines asks where several workers are one hub: they have the catalog and the calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from byom.errors import Unavailable
from byom.server.control import AskFailed, decode
from byom.server.launching.seam import Plan

if TYPE_CHECKING:
    from byom.server.supervisor import Supervisor
    from byom.types.target import Target

SECONDS = 10.0


class WorkerSource:
    """A `byom.server.launching.seam.Source`."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def plans(self) -> list[Plan]:
        try:
            answer = await self._supervisor.first_serving().ask("plans", timeout=SECONDS)
        except (AskFailed, ConnectionError, TimeoutError) as error:
            raise Unavailable("No worker says what is launched.", retry_after=1.0) from error
        found: list[Plan] = decode(answer, list[Plan])
        return found

    def publish(self, connection: str, target: Target | None) -> None:
        self._supervisor.code_listens(connection, target)

    async def activity(self, connections: Sequence[str]) -> dict[str, tuple[int, float | None]]:
        """All calls together, and the shortest time since one ended."""
        together: dict[str, tuple[int, float | None]] = dict.fromkeys(connections, (0, None))
        for part in await self._supervisor.ask_serving("activity", list(connections)):
            for name, (busy, since) in decode(part, dict[str, tuple[int, float | None]]).items():
                before, ended = together[name]
                known = [one for one in (ended, since) if one is not None]
                together[name] = before + busy, min(known, default=None)
        return together
