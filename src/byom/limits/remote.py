"""The limiter of a worker whose limits another process keeps."""

from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path
from typing import cast

import msgspec

from byom.limits.decision import LimitRefusal, LocalGrant
from byom.limits.limiter import Grant
from byom.limits.local import LocalLimiter
from byom.limits.outbox import Outbox
from byom.limits.wire import (
    Ask,
    Cancel,
    Define,
    Forget,
    Frames,
    Granted,
    Hold,
    OnLoss,
    Reply,
    Settle,
    decode_replies,
)
from byom.types.limits import Scope

RECONNECT_SECONDS = 0.2
MOST_SCOPES = 20_000
"""Scopes known to the authority by number; beyond that, both sides begin anew."""

_log = logging.getLogger(__name__)


class RemoteGrant(msgspec.Struct, gc=False, eq=False):
    """A call that the authority let in."""

    waited: float
    call: int
    scopes: tuple[Scope, ...]
    tokens: int
    cost: int
    local: LocalGrant | None = None
    """Where the authority was away and this process decided alone."""
    settled: bool = False


class RemoteLimiter:
    """As `LocalLimiter`, exact over all processes that ask the same authority. Not thread-safe.

    While the authority cannot be reached, ``on_loss`` says what happens to calls with limits: ``refuse`` lets none in
    (the default), ``local`` applies the same rules within this process, so that each process has the whole limit
    for itself. Calls that run meanwhile are declared again when the connection is back.
    """

    def __init__(self, path: Path, *, on_loss: OnLoss = "refuse") -> None:
        self._path = path
        self._on_loss = on_loss
        self._local = LocalLimiter()
        self._calls = itertools.count(1)
        self._live: dict[int, RemoteGrant] = {}
        self._asking: dict[int, asyncio.Future[RemoteGrant | LimitRefusal | None]] = {}
        self._questions: dict[int, tuple[tuple[Scope, ...], int, int]] = {}
        self._numbers: dict[str, tuple[int, Scope]] = {}
        self._outbox: Outbox | None = None
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False
        self._up = asyncio.Event()
        self.reservations = 0
        """Grants that are neither settled nor withdrawn."""

    async def start(self, timeout: float = 5.0) -> None:
        """Connect, and stay connected. Raises ``TimeoutError`` when the authority cannot be reached at first."""
        self._connecting = asyncio.ensure_future(self._connect())
        await asyncio.wait_for(self._up.wait(), timeout)

    async def stop(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()
        await asyncio.sleep(0)

    @property
    def connected(self) -> bool:
        return self._outbox is not None

    def in_flight(self, scope_id: str) -> int:
        """Calls of this process that are let in and not settled."""
        return sum(any(scope.id == scope_id for scope in grant.scopes) for grant in self._live.values())

    def admit(self, scopes: tuple[Scope, ...], tokens: int, cost: int) -> RemoteGrant | LimitRefusal | None:
        """Calls without limits are let in at once; all others have to `wait` for the authority's answer."""
        if any(scope.limits for scope in scopes):
            return None
        self.reservations += 1
        return RemoteGrant(0.0, 0, (), tokens, cost)

    async def wait(
        self, scopes: tuple[Scope, ...], tokens: int, cost: int, max_wait: float
    ) -> RemoteGrant | LimitRefusal:
        """Ask the authority, which decides as `LocalLimiter.admit` and `wait` after it, and keeps the queue."""
        scopes = tuple(scope for scope in scopes if scope.limits)
        outbox = self._outbox
        if outbox is None:
            return await self._without_authority(scopes, tokens, cost, max_wait)
        call = next(self._calls)
        future: asyncio.Future[RemoteGrant | LimitRefusal | None] = asyncio.get_running_loop().create_future()
        if len(self._numbers) + len(scopes) > MOST_SCOPES:
            self._numbers.clear()
            outbox.put(Forget())
        numbers = tuple(self._number(scope, outbox) for scope in scopes)
        self._asking[call] = future
        self._questions[call] = (scopes, tokens, cost)
        outbox.put(Ask(call, numbers, tokens, cost, max_wait))
        try:
            answer = await future
        except asyncio.CancelledError:
            self._abandon(call, future)
            raise
        finally:
            self._asking.pop(call, None)
            self._questions.pop(call, None)
        if answer is None:
            return await self._without_authority(scopes, tokens, cost, max_wait)
        return answer

    def settle(self, grant: Grant, tokens: int, cost: int) -> None:
        """As `LocalLimiter.settle`; the authority hears of it within this round of the event loop."""
        if (mine := self._end(grant)) is None:
            return
        if mine.local is not None:
            self._local.settle(mine.local, tokens, cost)
        elif self._live.pop(mine.call, None) is not None and self._outbox is not None:
            self._outbox.put(Settle(mine.call, tokens, cost))

    def withdraw(self, grant: Grant) -> None:
        """As `LocalLimiter.withdraw`."""
        if (mine := self._end(grant)) is None:
            return
        if mine.local is not None:
            self._local.withdraw(mine.local)
        elif self._live.pop(mine.call, None) is not None and self._outbox is not None:
            self._outbox.put(Cancel(mine.call))

    def _end(self, grant: Grant) -> RemoteGrant | None:
        if not isinstance(grant, RemoteGrant):
            raise TypeError(f"not a grant of this limiter: {type(grant).__name__}")
        if grant.settled:
            return None
        grant.settled = True
        self.reservations -= 1
        return grant

    async def _without_authority(
        self, scopes: tuple[Scope, ...], tokens: int, cost: int, max_wait: float
    ) -> RemoteGrant | LimitRefusal:
        if self._on_loss == "refuse":
            return LimitRefusal(scopes[0].id if scopes else "", "the process that keeps the limits is away", 1.0)
        answer = self._local.admit(scopes, tokens, cost) or await self._local.wait(scopes, tokens, cost, max_wait)
        if isinstance(answer, LimitRefusal):
            return answer
        self.reservations += 1
        return RemoteGrant(answer.waited, 0, scopes, tokens, cost, local=answer)

    def _abandon(self, call: int, future: asyncio.Future[RemoteGrant | LimitRefusal | None]) -> None:
        """The caller went away: give back what the authority gave, or tell it to give nothing."""
        answer = None if future.cancelled() or not future.done() else future.result()
        if isinstance(answer, RemoteGrant):
            self.withdraw(answer)
        elif answer is None and self._outbox is not None:
            self._outbox.put(Cancel(call))

    def _number(self, scope: Scope, outbox: Outbox) -> int:
        known = self._numbers.get(scope.id)
        if known is not None and (known[1] is scope or known[1] == scope):
            return known[0]
        number = known[0] if known is not None else len(self._numbers) + 1
        self._numbers[scope.id] = (number, scope)
        outbox.put(Define(number, scope))
        return number

    async def _connect(self) -> None:
        """Connect until connected, and begin anew whenever the connection is lost."""
        loop = asyncio.get_running_loop()
        while not self._closed:
            lost = loop.create_future()
            try:
                await loop.create_unix_connection(lambda lost=lost: _Link(self, lost), str(self._path))  # type: ignore[misc]
            except OSError:
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            await lost

    def connected_to(self, transport: asyncio.Transport) -> None:
        """The connection stands: tell the authority which calls are running."""
        self._transport = transport
        self._outbox = Outbox(transport)
        self._numbers.clear()
        for call, grant in self._live.items():
            numbers = tuple(self._number(scope, self._outbox) for scope in grant.scopes)
            self._outbox.put(Hold(call, numbers, grant.tokens, grant.cost))
        self._up.set()

    def disconnected(self) -> None:
        self._outbox = self._transport = None
        self._up.clear()
        if not self._closed:
            _log.warning("the process that keeps the limits is away; calls with limits: %s", self._on_loss)
        for future in self._asking.values():
            if not future.done():
                future.set_result(None)

    def answered(self, reply: Reply) -> None:
        future = self._asking.get(reply.call)
        if future is None or future.done():
            return  # it was cancelled, and the authority has been told
        if isinstance(reply, Granted):
            scopes, tokens, cost = self._questions[reply.call]
            grant = RemoteGrant(reply.waited, reply.call, scopes, tokens, cost)
            self._live[reply.call] = grant
            self.reservations += 1
            future.set_result(grant)
        else:
            future.set_result(LimitRefusal(reply.scope, reply.rule, reply.retry_after, reply.budget, reply.never))


class _Link(asyncio.Protocol):
    """The connection to the authority."""

    def __init__(self, limiter: RemoteLimiter, lost: asyncio.Future[None]) -> None:
        self._limiter = limiter
        self._lost = lost
        self._frames = Frames()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._limiter.connected_to(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            for reply in decode_replies(body):
                self._limiter.answered(reply)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio gives it
        self._limiter.disconnected()
        if not self._lost.done():
            self._lost.set_result(None)
