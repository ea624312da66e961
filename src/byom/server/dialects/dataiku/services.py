"""What every call of the dialect needs of its hub."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from byom.errors import ByomError
from byom.server.dialects.dataiku.calls import Calls
from byom.server.dialects.dataiku.failure import Failure, not_served

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route, Snapshot
    from byom.server.dialects.dataiku.request import Request
    from byom.server.hub import Hub

T = TypeVar("T")
IN_PARALLEL = 32
"""Queries of one request that are made at the same time, where no limit says fewer."""


@dataclass(frozen=True, slots=True)
class Services:
    hub: Hub
    calls: Calls

    @property
    def snapshot(self) -> Snapshot:
        return self.hub.gateway.snapshot

    def route(self, request: Request, fields: dict[str, Any]) -> Route:
        """The model that a request names in ``llmId``. Raises `Failure`; refuses what would go unnoticed."""
        name = fields.get("llmId")
        if not isinstance(name, str) or not name:
            raise Failure("The request names no model in 'llmId'.", code="missing_model")
        guardrails = fields.get("guardrails")
        wanted = guardrails.get("guardrails") if isinstance(guardrails, dict) else guardrails
        if wanted:
            raise not_served("The request asks for guardrails.")
        try:
            return self.hub.gateway.route_for(name, request.caller)
        except ByomError as error:
            raise Failure.of_error(error) from error

    async def each(
        self, request: Request, route: Route, queries: Sequence[dict[str, Any]], run: Callable[[Any], Awaitable[T]]
    ) -> list[T]:
        """``run`` for every query, in parallel as far as the limits of model and caller allow; the order is kept."""
        turns = asyncio.Semaphore(self._in_parallel(request, route))

        async def one(query: dict[str, Any]) -> T:
            async with turns:
                return await run(query)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(query)) for query in queries]
        return [task.result() for task in tasks]

    def _in_parallel(self, request: Request, route: Route) -> int:
        own = request.caller.scopes if request.caller is not None else ()
        limits = [scope.limits.concurrency for scope in own + route.scopes]
        return min([IN_PARALLEL, *(limit for limit in limits if limit is not None and limit > 0)])
