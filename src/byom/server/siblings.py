"""What a hub of several processes is to each of them. A hub of one process has no siblings.

One for all of them: limits and budgets, the built-in models, the processes of code, the engines of launched models,
figures, the views of calls under way, changes of the catalog, who owns what at an upstream. Each process has its own:
connections to upstreams, the state of circuits, the response cache, and the idempotency keys it has seen, so that a
repeated call that reaches another process is made again. A caller that keeps its connection stays with one process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from byom.gateway.named import Question
    from byom.ledger.ledger import Gauges
    from byom.limits.remote import RemoteLimiter
    from byom.server.host_state import CodeKeeper
    from byom.server.launching.weights_keeper import WeightsKeeper
    from byom.server.measures import Measures


class Siblings(Protocol):
    """The other workers, reached through the process that started them all. Who does not answer in time is left out."""

    @property
    def worker(self) -> int:
        """Which of them this process is, from 0."""

    @property
    def limiter(self) -> RemoteLimiter:
        """Connected to the process that keeps the limits of all."""

    async def measures(self) -> list[Measures]:
        """Of every worker, this one included, and of those that have ended."""

    async def live(self) -> list[list[dict[str, Any]]]:
        """The calls under way in each worker, this one included."""

    async def problems(self) -> list[list[str]]:
        """Why each worker, this one included, should get no calls now."""

    async def ledgers(self) -> list[Gauges]:
        """How the ledger of each worker is, this one included."""

    async def named_calls(self, question: Question) -> list[list[float]]:
        """See `byom.gateway.named`; of each worker, this one included."""

    async def spread(self) -> None:
        """Have the others read the catalog now. Returns when they did."""

    @property
    def code(self) -> CodeKeeper:
        """The process that keeps the processes of code for all."""

    @property
    def weights(self) -> WeightsKeeper:
        """The process that keeps the engines of launched models for all."""

    def owned(self, thing: str, user: str) -> None:
        """Tell the others that something at an upstream belongs to this user."""
