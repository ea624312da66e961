"""A call that waits for its turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from byom.limits.decision import LocalGrant
from byom.types.limits import Scope

if TYPE_CHECKING:
    from byom.limits.scope_state import Block, ScopeState


class Waiter:
    """Waits in the queue of the scope that keeps it out for longest, and of no other."""

    __slots__ = ("block", "cost", "future", "scopes", "since", "state", "tokens", "turn")

    def __init__(
        self,
        turn: int,
        scopes: tuple[Scope, ...],
        tokens: int,
        cost: int,
        since: float,
        future: asyncio.Future[LocalGrant | Block],
    ) -> None:
        self.turn = turn
        """Order of arrival over all scopes."""
        self.scopes = scopes
        self.tokens = tokens
        self.cost = cost
        self.since = since
        self.future = future
        self.state: ScopeState | None = None
        """The scope in whose queue it is."""
        self.block: Block
        """What kept it out when it was last looked at."""

    def __lt__(self, other: Waiter) -> bool:
        return self.turn < other.turn
