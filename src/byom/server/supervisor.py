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

from byom.catalog.host_document import HostConfiguration
from byom.errors import ConfigError, Unavailable
from byom.gateway.figures import Figures
from byom.gateway.named import Question
from byom.host.child import ChildHost, HostStartError
from byom.limits.authority import Authority
from byom.limits.local import LocalLimiter
from byom.server.code_hosts import CodeHosts
from byom.server.control import AskFailed, decode, encode
from byom.server.home import socket_folder
from byom.server.host_state import HostState
from byom.server.host_target import host_target
from byom.server.launching import remote_keeper
from byom.server.launching.keeper import Keeper
from byom.server.launching.worker_source import WorkerSource
from byom.server.measures import Measures, merge, resident_bytes
from byom.server.place import Place
from byom.server.work import GATHERED, Before, CodePlace, CodeSays, Spent, Start

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

    def __init__(self, settings: Settings, *, port: int, url: str = "") -> None:
        self._settings = settings
        self._port = port
        self._url = url
        self._started_at = time.time()
        self._limiter = LocalLimiter(self._spent)
        self._socket = socket_folder(settings.home) / "limits.sock"
        self._authority = Authority(self._limiter, self._socket)
        self._builtin = ChildHost("byom.host.builtin", on_ready=self._builtin_ready)
        self._target: Target | None = None
        self._code_targets: dict[str, Target] = {}
        self._code = CodeHosts(_Workers(self), settings.home / "logs")
        self._weights = Keeper(WorkerSource(self), settings.home, pythons=settings.engines)
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
                "named_calls": self._named_calls,
                "leaving": functools.partial(self._leaving, number),
                "code_changed": self._code_changed,
                "code_wake": self._code_wake,
                "code_restart": self._code_restart,
                "code_states": self._code_states,
                "weights": self._keep_weights,
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
        self._tasks.append(asyncio.ensure_future(self._restore_launches()))
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
        target, code = self._target, dict(self._code_targets)
        start = Start(
            settings=self._settings,
            worker=place.number,
            started_at=self._started_at,
            limits=str(self._socket),
            port=self._port,
            builtin=target,
            code=code,
            url=self._url,
            owners=owners or [],
        )
        await place.begin(start)
        if self._target != target:
            place.tell("builtin", self._target)
        for connection in code.keys() | self._code_targets.keys():
            if code.get(connection) != self._code_targets.get(connection):
                place.tell("code_place", CodePlace(connection, self._code_targets.get(connection)))

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
        await asyncio.gather(self._builtin.stop(), self._code.stop(), self._weights.stop())

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
        self._target = host_target(child)
        for place in self._places:
            place.tell("builtin", self._target)

    # -- the processes of code

    def first_serving(self) -> Place:
        """A worker that can be asked. Raises `Unavailable`."""
        for place in self._places:
            if place.started:
                return place
        raise Unavailable("No worker of the hub serves now.", retry_after=1.0)

    def code_listens(self, connection: str, target: Target | None) -> None:
        """Tell all workers."""
        if target is None:
            self._code_targets.pop(connection, None)
        else:
            self._code_targets[connection] = target
        for place in self._places:
            place.tell("code_place", CodePlace(connection, target))

    async def _code_changed(self, _: msgspec.Raw) -> None:
        # The first worker says so while it starts, when it cannot be asked yet; those after it say so again.
        if any(place.started for place in self._places):
            await self._code.changed()

    async def _code_wake(self, body: msgspec.Raw) -> None:
        await self._code.wake(decode(body, str))

    async def _code_restart(self, body: msgspec.Raw) -> HostState:
        return await self._code.restart(decode(body, str))

    async def _code_states(self, _: msgspec.Raw) -> dict[str, HostState]:
        return await self._code.states()

    # -- the engines of launched models

    async def _keep_weights(self, body: msgspec.Raw) -> remote_keeper.Answer:
        return await remote_keeper.answer(self._weights, body)

    async def _restore_launches(self) -> None:
        try:
            await self._weights.changed()
        except Unavailable as error:
            log.warning("what was launched is loaded with the first call: %s", error)

    async def ask_serving(self, method: str, body: Any = None) -> list[msgspec.Raw]:
        """The answers of all workers that serve and answer in time."""
        places = self._serving()
        answers = await asyncio.gather(*(_or_none(one.ask(method, body, timeout=ANSWER_SECONDS)) for one in places))
        return [one for one in answers if one is not None]

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

    async def _named_calls(self, body: msgspec.Raw) -> list[list[float]]:
        return [decode(one, list[float]) for one in await self.ask_serving("named_calls", decode(body, Question))]

    async def _leaving(self, number: int, _: msgspec.Raw) -> None:
        self._places[number].ready = False


class _Workers:
    """A `byom.server.code_hosts.Source`: the workers have the catalog."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def configurations(self) -> list[HostConfiguration]:
        try:
            answer = await self._supervisor.first_serving().ask("code", timeout=READ_SECONDS)
        except FAILURES as error:
            raise Unavailable("No worker says what code there is to run.", retry_after=1.0) from error
        found: list[HostConfiguration] = decode(answer, list[HostConfiguration])
        return found

    async def code_says(self, connection_id: str, models: list[dict[str, Any]]) -> None:
        await self._supervisor.first_serving().ask("code_says", CodeSays(connection_id, models), timeout=READ_SECONDS)

    def publish(self, connection: str, target: Target | None) -> None:
        self._supervisor.code_listens(connection, target)


async def _or_none(asking: Awaitable[Any]) -> msgspec.Raw | None:
    try:
        answer: msgspec.Raw = await asking
    except FAILURES:
        return None
    return answer
