"""Holds the workers of a hub together: starts and replaces them, keeps their limits, and the built-in models' process.

It serves no call and opens no database: what the limits have to know of the ledger, it asks a worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import msgspec

from byom.errors import ConfigError, Unavailable
from byom.gateway.figures import Figures
from byom.host.child import ChildHost, HostStartError
from byom.limits.authority import Authority
from byom.limits.local import LocalLimiter
from byom.server.builtin_target import builtin_target
from byom.server.control import AskFailed, decode, encode
from byom.server.home import socket_folder
from byom.server.measures import Measures, merge, resident_bytes
from byom.server.place import Place
from byom.server.work import GATHERED, Before, Spent, Start

if TYPE_CHECKING:
    from byom.settings import Settings
    from byom.types.target import Target

log = logging.getLogger("byom.server")
MEASURE_SECONDS = 1.0
"""How old the figures can be that count for a worker that was killed."""
ANSWER_SECONDS = 2.0
SPREAD_SECONDS = 0.9
READ_SECONDS = 10.0
RESTORE_SECONDS = 70.0
FAILURES = (AskFailed, ConnectionError, TimeoutError)


class Supervisor:
    """``port``: the one that the workers share, which somebody holds for them."""

    def __init__(self, settings: Settings, *, port: int) -> None:
        self._settings = settings
        self._port = port
        self._started_at = time.time()
        self._limiter = LocalLimiter(self._spent)
        self._socket = socket_folder(settings.home) / "limits.sock"
        self._authority = Authority(self._limiter, self._socket)
        self._builtin = ChildHost("byom.host.builtin", on_ready=self._builtin_ready)
        self._target: Target | None = None
        self._places = [self._place(number) for number in range(settings.workers)]
        self._gone = Measures(Figures())
        self._tasks: list[asyncio.Task[None]] = []

    def _place(self, number: int) -> Place:
        return Place(
            number,
            {
                "gather": self._gather,
                "spread": self._spread,
                "owned": self._owned,
                "leaving": functools.partial(self._leaving, number),
            },
        )

    # -- life

    async def start(self, stopping: asyncio.Event) -> bool:
        """Returns when every worker serves; ``False`` when ``stopping`` came first. Raises `ConfigError`."""
        starting = asyncio.ensure_future(self._start())
        told = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return False
            await starting
        except AskFailed as error:
            raise ConfigError(str(error)) from error
        except (ConnectionError, TimeoutError) as error:
            raise ConfigError(f"A worker ended while it started; its log has the reason. ({error})") from error
        finally:
            for task in (starting, told):
                task.cancel()
            await asyncio.gather(starting, told, return_exceptions=True)
        self._tasks += [asyncio.ensure_future(place.keep(self._bring_up, self._ended)) for place in self._places]
        self._tasks.append(asyncio.ensure_future(self._keep_measuring()))
        return True

    async def _start(self) -> None:
        await self._authority.start()
        self._tasks.append(asyncio.ensure_future(self._start_builtin()))
        await asyncio.gather(*(place.launch() for place in self._places))
        first, *others = self._places
        await self._begin(first)  # alone: it may have to make or migrate the database
        await self._restore_limits(first)
        await asyncio.gather(*(self._begin(place) for place in others))
        await asyncio.gather(*(place.listen() for place in self._places))

    async def _begin(self, place: Place, owners: list[tuple[str, str]] | None = None) -> None:
        target = self._target
        start = Start(
            settings=self._settings,
            worker=place.number,
            started_at=self._started_at,
            limits=str(self._socket),
            port=self._port,
            builtin=target,
            owners=owners or [],
        )
        await place.begin(start)
        if self._target != target:
            place.tell("builtin", self._target)

    async def _bring_up(self, place: Place) -> None:
        """A process that takes the place of one that ended."""
        owners: list[tuple[str, str]] = []
        for other in self._serving():
            with contextlib.suppress(*FAILURES):
                owners = decode(await other.ask("owners", timeout=ANSWER_SECONDS), list[tuple[str, str]])
                break
        await self._begin(place, owners)
        # With its first look at the spool it takes over the rows of the process before.
        place.unread = not decode(await place.ask("flush", timeout=READ_SECONDS), bool)
        await place.listen()

    async def stop(self) -> None:
        """Let the workers drain, and end everything that was started."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(place.stop(self._settings.drain_seconds) for place in self._places))
        await self._authority.stop()
        await self._builtin.stop()

    def kill(self) -> None:
        """End the workers at once."""
        for place in self._places:
            place.kill()

    # -- the built-in models

    async def _start_builtin(self) -> None:
        try:
            await self._builtin.start()
        except HostStartError as error:
            log.error("the built-in models did not start: %s", error)

    def _builtin_ready(self, child: ChildHost) -> None:
        self._target = builtin_target(child)
        for place in self._places:
            place.tell("builtin", self._target)

    # -- the limits

    async def _restore_limits(self, place: Place) -> None:
        """Count the calls of before this start in the windows and budgets they belong to."""
        try:
            before: Before = decode(await place.ask("before", timeout=RESTORE_SECONDS), Before)
        except (AskFailed, TimeoutError) as error:
            log.warning("the calls of before are not counted in the limits: %s", error)
            return
        self._limiter.restore(before.calls)
        await self._limiter.preload(before.budgeted)

    async def _spent(self, scope: str, since: float) -> int:
        """Raises `Unavailable` when not everything that was spent can be read now: then nothing more is let in."""
        started = [place for place in self._places if place.started]
        if not started or any(place.unread for place in self._places):
            raise Unavailable("a worker is being replaced, and what was spent through it is not in the database yet")
        flushed = await asyncio.gather(*(place.ask("flush", timeout=READ_SECONDS) for place in started))
        if not all(decode(one, bool) for one in flushed):
            raise Unavailable("what was spent is not in the database yet")
        spent: int = decode(await started[0].ask("spent", Spent(scope, since), timeout=READ_SECONDS), int)
        return spent

    # -- what workers ask

    def _serving(self) -> list[Place]:
        return [place for place in self._places if place.ready]

    async def _gather(self, body: msgspec.Raw) -> list[msgspec.Raw]:
        what = decode(body, str)
        if what not in GATHERED:
            raise ConfigError(f"workers cannot be asked for {what}")
        if what == "measures":
            return [msgspec.Raw(encode(part)) for part in await self._measures()]
        return [answer for answer in await self._ask_all(self._serving(), what, timeout=ANSWER_SECONDS) if answer]

    async def _ask_all(self, places: list[Place], method: str, *, timeout: float) -> list[msgspec.Raw | None]:
        """``None`` for one that did not answer."""
        answers = await asyncio.gather(*(_or_none(place.ask(method, timeout=timeout)) for place in places))
        for place, answer in zip(places, answers, strict=True):
            if answer is None:
                log.warning("worker %d did not answer %s", place.number, method)
        return list(answers)

    async def _measures(self) -> list[Measures]:
        """Of each worker, or what it said last; of all that have ended; of this process."""
        places = self._serving()
        for place, answer in zip(places, await self._ask_all(places, "measures", timeout=ANSWER_SECONDS), strict=True):
            if answer is not None and place.ready:
                place.measures = decode(answer, Measures)
        own = Measures(Figures(), memory=resident_bytes(), restarts=sum(place.restarts for place in self._places))
        return [*(place.measures for place in self._places if place.measures is not None), self._gone, own]

    async def _keep_measuring(self) -> None:
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            await self._measures()

    def _ended(self, place: Place) -> None:
        """Counters never fall: what a process counted stays counted."""
        measures, place.measures = place.measures, None
        if measures is not None:
            self._gone = Measures(merge([self._gone, measures]).figures)

    async def _spread(self, body: msgspec.Raw) -> None:
        asker = decode(body, int)
        others = [place for place in self._places if place.started and place.number != asker]
        answers = await self._ask_all(others, "refresh", timeout=SPREAD_SECONDS)
        if None in answers:
            raise Unavailable("not every worker has confirmed the change")

    async def _owned(self, body: msgspec.Raw) -> None:
        asker, thing, user = decode(body, tuple[int, str, str])
        for place in self._places:
            if place.number != asker:
                place.tell("owned", (thing, user))

    async def _leaving(self, number: int, _: msgspec.Raw) -> None:
        self._places[number].ready = False


async def _or_none(asking: Awaitable[Any]) -> msgspec.Raw | None:
    try:
        answer: msgspec.Raw = await asking
    except FAILURES:
        return None
    return answer
