"""One limiter for several processes: served over a Unix socket by the process that started them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import cast

import msgspec

from byom.limits.decision import LimitRefusal, LocalGrant
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
    Refused,
    Request,
    Settle,
    decode_requests,
)
from byom.types.limits import Scope

_log = logging.getLogger(__name__)


class Authority:
    """Serves ``limiter`` to `RemoteLimiter`. A worker whose connection ends gives back all it holds, at once."""

    def __init__(self, limiter: LocalLimiter, path: Path) -> None:
        self.limiter = limiter
        self._path = path
        self._server: asyncio.Server | None = None
        self._workers: set[_Worker] = set()

    async def start(self) -> None:
        """Listen. Only this user may connect (the socket has mode 0600)."""
        self._path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Worker(self.limiter, self._workers), str(self._path))
        self._path.chmod(0o600)

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for worker in tuple(self._workers):
            worker.close()
        await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    @property
    def workers(self) -> int:
        """Connected workers."""
        return len(self._workers)


class _Worker(asyncio.Protocol):
    """One connection."""

    def __init__(self, limiter: LocalLimiter, workers: set[_Worker]) -> None:
        self._limiter = limiter
        self._workers = workers
        self._frames = Frames()
        self._scopes: dict[int, Scope] = {}
        self._grants: dict[int, LocalGrant] = {}
        self._waits: dict[int, asyncio.Task[None]] = {}
        self._transport: asyncio.Transport | None = None
        self._outbox: Outbox | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._outbox = Outbox(self._transport)
        self._workers.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                for request in decode_requests(body):
                    self._serve(request)
        except (ValueError, KeyError, msgspec.DecodeError):
            _log.exception("a worker sent what the limits' authority does not understand")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio gives it
        self._workers.discard(self)
        waits, self._waits = self._waits, {}
        for task in waits.values():
            task.cancel()
        grants, self._grants = self._grants, {}
        for grant in grants.values():
            # Its calls were broken off: what they used is not known, so their reserved tokens count. Money is not
            # held: nobody would ever give it back before the period ends, and the ledger has what was really spent.
            self._limiter.settle(grant, grant.tokens, 0)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _serve(self, request: Request) -> None:
        match request:
            case Define():
                self._scopes[request.number] = request.scope
            case Ask():
                self._ask(request)
            case Settle():
                if (grant := self._grants.pop(request.call, None)) is not None:
                    self._limiter.settle(grant, request.tokens, request.cost)
            case Cancel():
                self._cancel(request.call)
            case Hold():
                scopes = tuple(self._scopes[number] for number in request.scopes)
                self._grants[request.call] = self._limiter.hold(scopes, request.tokens, request.cost)
            case Forget():
                self._scopes.clear()

    def _ask(self, ask: Ask) -> None:
        scopes = tuple(self._scopes[number] for number in ask.scopes)
        answer = self._limiter.admit(scopes, ask.tokens, ask.cost)
        if answer is None:
            task = asyncio.ensure_future(self._wait(ask, scopes))
            self._waits[ask.call] = task
            task.add_done_callback(lambda _: self._waits.pop(ask.call, None))
        else:
            self._answer(ask.call, answer)

    async def _wait(self, ask: Ask, scopes: tuple[Scope, ...]) -> None:
        self._answer(ask.call, await self._limiter.wait(scopes, ask.tokens, ask.cost, ask.max_wait))

    def _answer(self, call: int, answer: LocalGrant | LimitRefusal) -> None:
        assert self._transport is not None
        assert self._outbox is not None
        if isinstance(answer, LocalGrant):
            if self._transport.is_closing():
                self._limiter.withdraw(answer)
                return
            self._grants[call] = answer
            self._outbox.put(Granted(call, answer.waited))
        else:
            self._outbox.put(Refused(call, answer.scope, answer.rule, answer.retry_after, answer.budget, answer.never))

    def _cancel(self, call: int) -> None:
        # The grant first: the work of a wait is remembered for a moment longer than it lasts.
        if (grant := self._grants.pop(call, None)) is not None:
            self._limiter.withdraw(grant)
        elif (task := self._waits.pop(call, None)) is not None:
            task.cancel()
