"""One of several gateway processes of a hub: ``python -m byom.server.worker``, started by `byom.server.supervisor`.

Its standard input is the control channel. When that ends, or the process at its other side does, this one ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from byom.catalog.host_document import HostConfiguration
from byom.errors import ConfigError, Unavailable
from byom.gateway.named import Question
from byom.ledger.ledger import Gauges
from byom.limits.remote import RemoteLimiter
from byom.server import metrics
from byom.server.address import share
from byom.server.catalog_source import CatalogSource
from byom.server.control import AskFailed, Channel, decode
from byom.server.event_loop import runner
from byom.server.front import Front
from byom.server.hub import Hub
from byom.server.launching.catalog_weights import stored
from byom.server.launching.remote_keeper import keeper_over
from byom.server.launching.seam import Plan
from byom.server.logs import set_up_logging
from byom.server.measures import Measures
from byom.server.remote_code import RemoteCode
from byom.server.work import Before, CodePlace, CodeSays, Spent, Start
from byom.types.target import Target

log = logging.getLogger("byom.server")
DEATH_SIGNAL = 1
"""Linux's ``PR_SET_PDEATHSIG``."""
KEPT_OWNERS = 50_000
GATHER_SECONDS = 2.5
SPREAD_SECONDS = 1.0


class Team:
    """The other workers, asked through the supervisor; a `byom.server.siblings.Siblings`."""

    def __init__(self, channel: Channel, worker: int, limiter: RemoteLimiter) -> None:
        self._channel = channel
        self.worker = worker
        self.limiter = limiter
        self.code = RemoteCode(channel)
        self.weights = keeper_over(channel)

    async def _gather(self, what: str, kind: Any) -> list[Any]:
        """Of every worker. Raises `Unavailable` when the supervisor does not answer."""
        try:
            parts = await self._channel.ask_for(list[msgspec.Raw], "gather", what, timeout=GATHER_SECONDS)
        except (TimeoutError, ConnectionError, AskFailed) as error:
            raise Unavailable("The hub's other processes cannot be asked now.", retry_after=1.0) from error
        return [decode(part, kind) for part in parts]

    async def measures(self) -> list[Measures]:
        return await self._gather("measures", Measures)

    async def live(self) -> list[list[dict[str, Any]]]:
        return await self._gather("live", list[dict[str, Any]])

    async def problems(self) -> list[list[str]]:
        return await self._gather("problems", list[str])

    async def ledgers(self) -> list[Gauges]:
        return await self._gather("ledger", Gauges)

    async def named_calls(self, question: Question) -> list[list[float]]:
        try:
            found: list[list[float]] = await self._channel.ask_for(
                list[list[float]], "named_calls", question, timeout=GATHER_SECONDS
            )
        except (TimeoutError, ConnectionError, AskFailed) as error:
            raise Unavailable("The hub's other processes cannot be asked now.", retry_after=1.0) from error
        return found

    async def spread(self) -> None:
        try:
            await self._channel.ask("spread", self.worker, timeout=SPREAD_SECONDS)
        except (TimeoutError, ConnectionError, AskFailed):
            # The change is stored: every worker looks for changes several times a second in any case.
            log.warning("not every worker confirmed a change of the catalog within %g s", SPREAD_SECONDS)

    def owned(self, thing: str, user: str) -> None:
        self._channel.tell("owned", (self.worker, thing, user))


class Worker:
    """Does what the supervisor asks."""

    def __init__(self) -> None:
        self.finished = asyncio.Event()
        self.channel: Channel
        self._hub: Hub
        self._front: Front | None = None
        self._team: Team
        self._start: Start
        self._stopping = False
        self.handlers = {
            "start": self.start,
            "listen": self.listen,
            "stop": self.stop,
            "builtin": self.builtin,
            "code": self.code,
            "code_place": self.code_place,
            "code_says": self.code_says,
            "plans": self.plans,
            "activity": self.activity,
            "before": self.before,
            "flush": self.flush,
            "spent": self.spent,
            "refresh": self.refresh,
            "owned": self.owned,
            "owners": self.owners,
            "measures": self.measures,
            "live": self.live,
            "named_calls": self.named_calls,
            "problems": self.problems,
            "ledger": self.ledger,
        }

    async def start(self, body: msgspec.Raw) -> None:
        """Raises `ConfigError` where `Hub.start` does."""
        start: Start = decode(body, Start)
        set_up_logging(start.settings)
        self._start = start
        limiter = RemoteLimiter(Path(start.limits))
        await limiter.start()
        self._team = Team(self.channel, start.worker, limiter)
        self._hub = Hub(start.settings, siblings=self._team, started_at=start.started_at, url=start.url)
        await self._hub.start()
        for thing, user in start.owners:
            self._hub.gateway.ownership.learn(thing, user)
        if start.builtin is not None:
            self._hub.use_builtin(start.builtin)
        for connection, target in start.code.items():
            self._hub.catalog.set_runtime_target(connection, target)
        self._front = Front(self._hub)

    async def listen(self, _: msgspec.Raw) -> None:
        assert self._front is not None
        try:
            bound = share(self._start.settings.host, self._start.port)
        except OSError as error:
            raise ConfigError(f"A worker cannot listen on port {self._start.port}: {error.strerror}.") from error
        await self._front.listen(bound)

    async def stop(self, body: msgspec.Raw) -> None:
        """Drain and end, for at most so many seconds."""
        await self.leave(decode(body, float))

    async def leave(self, drain_seconds: float) -> None:
        if self._stopping:
            return
        self._stopping = True
        try:
            if self._front is not None:
                await self._front.stop(drain_seconds)
                await self._team.limiter.stop()
        finally:
            self.finished.set()

    def told_to_leave(self) -> None:
        """SIGTERM to this worker alone: it drains, and another one takes its place."""
        self.channel.tell("leaving")
        seconds = self._start.settings.drain_seconds if self._front is not None else 0.0
        self._leaving = asyncio.ensure_future(self.leave(seconds))

    def abandoned(self) -> None:
        """The supervisor is gone, and limits with it. What was answered is in the spool: nothing is lost by this."""
        if not self.finished.is_set():
            os._exit(1)

    async def builtin(self, body: msgspec.Raw) -> None:
        self._hub.use_builtin(decode(body, Target))

    async def code(self, _: msgspec.Raw) -> list[HostConfiguration]:
        return await CatalogSource(self._hub.catalog, self._hub.url).configurations()

    async def code_place(self, body: msgspec.Raw) -> None:
        place: CodePlace = decode(body, CodePlace)
        self._hub.catalog.set_runtime_target(place.connection, place.target)

    async def code_says(self, body: msgspec.Raw) -> None:
        said: CodeSays = decode(body, CodeSays)
        await self._hub.catalog.code_says(said.connection_id, said.models)

    async def plans(self, _: msgspec.Raw) -> list[Plan]:
        """What is launched, also by another worker a moment ago."""
        await self._hub.catalog.refresh()
        return stored(self._hub.catalog)

    async def activity(self, body: msgspec.Raw) -> dict[str, tuple[int, float | None]]:
        """Calls under way in this process, and the seconds since the last one ended, by connection."""
        return {name: self._hub.gateway.activity(name) for name in decode(body, list[str])}

    async def before(self, _: msgspec.Raw) -> Before:
        calls = await self._hub.calls_of_before()
        return Before(calls, self._hub.budgeted())

    async def flush(self, _: msgspec.Raw) -> bool:
        return await self._hub.ledger.flush()

    async def spent(self, body: msgspec.Raw) -> int:
        question: Spent = decode(body, Spent)
        return await self._hub.spent(question.scope, question.since)

    async def refresh(self, _: msgspec.Raw) -> None:
        await self._hub.catalog.refresh()

    async def owned(self, body: msgspec.Raw) -> None:
        thing, user = decode(body, tuple[str, str])
        self._hub.gateway.ownership.learn(thing, user)

    async def owners(self, _: msgspec.Raw) -> list[tuple[str, str]]:
        return self._hub.gateway.ownership.newest(KEPT_OWNERS)

    async def measures(self, _: msgspec.Raw) -> Measures:
        return metrics.measures(self._hub, self._start.worker)

    async def live(self, _: msgspec.Raw) -> list[dict[str, Any]]:
        return self._hub.gateway.live()

    async def named_calls(self, body: msgspec.Raw) -> list[float]:
        return self._hub.named.ask(decode(body, Question))

    async def problems(self, _: msgspec.Raw) -> list[str]:
        return self._hub.problems()

    async def ledger(self, _: msgspec.Raw) -> Gauges:
        return self._hub.ledger.gauges()


def main() -> None:
    end_with_parent()
    control = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    with contextlib.closing(control), runner() as loop:
        loop.run(_work(control))


async def _work(control: socket.socket) -> None:
    worker = Worker()
    worker.channel = await Channel.over(control, worker.handlers, worker.abandoned)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.told_to_leave)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor decides
    await worker.finished.wait()
    worker.channel.close()


def end_with_parent() -> None:
    """Have the system end this process with its parent: on Linux at once, elsewhere the channel's end does it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)


if __name__ == "__main__":
    main()
