"""A hub: the catalog, the ledger, the limiter, the gateway and the built-in models, put together and kept in step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from byom.catalog.catalog import Catalog
from byom.errors import Unavailable
from byom.gateway.gateway import Gateway
from byom.gateway.named import NamedCalls
from byom.host.child import ChildHost, HostStartError
from byom.ledger.ledger import Ledger
from byom.ledger.request_id import new_id
from byom.limits.local import LocalLimiter
from byom.server import metrics, spending
from byom.server.app import HubApp
from byom.server.catalog_source import CatalogSource
from byom.server.code_hosts import CodeHosts
from byom.server.description import describe
from byom.server.host_target import host_target
from byom.server.launching.catalog_weights import CatalogWeights
from byom.server.launching.keeper import Keeper
from byom.server.launching.launching import Launching
from byom.server.measures import merge, together
from byom.server.origins import allowed_hosts, check_origin
from byom.server.retention import keep_days
from byom.settings import is_loopback

if TYPE_CHECKING:
    from pathlib import Path

    from byom.catalog.snapshot import Snapshot
    from byom.gateway.named import Question
    from byom.ledger.ledger import Gauges
    from byom.limits.local import Past
    from byom.limits.remote import RemoteLimiter
    from byom.server.host_state import CodeKeeper
    from byom.server.launching.weights_keeper import WeightsKeeper
    from byom.server.siblings import Siblings
    from byom.settings import Settings
    from byom.types.limits import Scope
    from byom.types.target import Target

log = logging.getLogger("byom.server")
BUILTIN = "builtin"
WATCH_SECONDS = 0.5
WAKE_SECONDS = 10.0
"""The longest that a call waits for the process of its model to start."""
KEPT = frozenset({"code", "weights"})
"""Kinds of connections whose processes are kept in step with the catalog."""
TELL_SECONDS = 3.0
"""The longest that the answer to a change waits for the processes that it concerns."""


class Hub:
    """One process's hub. Everything belongs to the event loop that `start` runs on.

    ``siblings``: the other processes, where this is one of several that are one hub together. Limits, the built-in
    models and the processes of code are then kept by the process that started them all. ``url``: where it is served.
    """

    catalog: Catalog
    ledger: Ledger
    limiter: LocalLimiter | RemoteLimiter
    gateway: Gateway
    app: HubApp
    named: NamedCalls
    code: CodeKeeper
    """Keeps the processes of connections whose models are code."""
    weights: WeightsKeeper
    """Keeps the engines of launched models."""

    def __init__(
        self, settings: Settings, *, siblings: Siblings | None = None, started_at: float | None = None, url: str = ""
    ) -> None:
        self.settings = settings
        self.url = url
        self.started_at = started_at if started_at is not None else time.time()
        self.leaving = False
        """The hub is about to stop: it is not to be given calls, though it still takes those that come."""
        self._siblings = siblings
        self.local_only = is_loopback(settings.host)
        self._hosts = allowed_hosts(settings)
        self._builtin: ChildHost | None = None
        self._own_code: CodeHosts | None = None
        self._own_weights: Keeper | None = None
        self.launching = Launching(self)
        self._telling: set[asyncio.Task[None]] = set()
        self._waking = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._unsubscribe: Callable[[], None] | None = None
        self._no_code: Callable[[], None] | None = None
        self._kept: frozenset[str] = frozenset()
        self._told_revision = -1

    @classmethod
    @contextlib.asynccontextmanager
    async def session(cls, settings: Settings) -> AsyncIterator[Hub]:
        """A started hub, stopped in the end."""
        hub = cls(settings)
        await hub.start()
        try:
            yield hub
        finally:
            await hub.stop(0.0)

    async def start(self) -> None:
        """Raises `ConfigError` when the home or the database cannot be used; nothing is left running then."""
        loop = asyncio.get_running_loop()
        self.catalog = await Catalog.open(self.settings)
        self.ledger = Ledger(self.settings.database, self.settings.home / "spool", engine=self.catalog.store.engine)
        try:
            await self.ledger.start()
        except BaseException:
            await self.catalog.close()
            raise
        self.limiter = LocalLimiter(self.spent) if self._siblings is None else self._siblings.limiter
        self.gateway = Gateway(
            self.catalog.snapshot,
            limiter=self.limiter,
            record=self.ledger.append,
            new_id=new_id,
            loop=loop,
            no_auth=self.settings.no_auth,
        )
        self.app = HubApp(self)
        self._unsubscribe = self.catalog.subscribe(self.gateway.swap)
        self.gateway.start()
        self._tasks = [
            loop.create_task(self.catalog.watch(), name="catalog watch"),
            loop.create_task(self._watch(), name="hub watch"),
        ]
        self.gateway.wake = self.wake
        self.gateway.describe = lambda route: describe(self.catalog.state, route)
        self.named = NamedCalls(self.gateway)
        if self.settings.ledger_days and (self._siblings is None or self._siblings.worker == 0):
            forgetting = keep_days(self.ledger, self.settings.ledger_days)
            self._tasks.append(loop.create_task(forgetting, name="retention of the ledger"))
        if self._siblings is not None:
            self.gateway.ownership.tell = self._siblings.owned
            self.code = self._siblings.code
            self.weights = self._siblings.weights
        else:
            # What another process does for a hub with siblings.
            assert isinstance(self.limiter, LocalLimiter)
            self._builtin = ChildHost("byom.host.builtin", on_ready=self._builtin_ready)
            self.code = self._own_code = CodeHosts(CatalogSource(self.catalog, self.url), self.logs)
            source = CatalogWeights(self.catalog, self.gateway)
            # A hub that is not served lives as long as one command: it loads what that asks for.
            self.weights = self._own_weights = Keeper(
                source, self.settings.home, pythons=self.settings.engines, restore=bool(self.url)
            )
            self._tasks.append(loop.create_task(self._restore_limits(self.limiter), name="limits of before"))
        self._no_code = self.catalog.subscribe(self._catalog_changed)
        self._catalog_changed(self.catalog.snapshot)

    async def stop(self, drain_seconds: float) -> None:
        """Take no more calls, let those under way end for at most ``drain_seconds``, and let go of everything."""
        stopped = await self.gateway.drain(drain_seconds)
        if stopped:
            log.warning("%d calls were stopped before their end", stopped)
        for unsubscribe in (self._unsubscribe, self._no_code):
            if unsubscribe is not None:
                unsubscribe()
        for task in (*self._tasks, *self._telling):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._telling, return_exceptions=True)
        self.gateway.close()
        await self.launching.stop()
        children = (self._builtin, self._own_code, self._own_weights)
        await asyncio.gather(*(child.stop() for child in children if child is not None))
        self._note_seen()
        await self.ledger.stop()
        await self.catalog.close()

    # -- what is asked of a hub

    @property
    def uptime(self) -> float:
        """Seconds."""
        return time.time() - self.started_at

    def check_origin(self, host: str, origin: str) -> None:
        check_origin(self._hosts, host, origin)

    @property
    def hosts(self) -> frozenset[str] | None:
        """Names that the ``Host`` header may have; ``None`` for any."""
        return self._hosts

    def problems(self) -> list[str]:
        """Why this process should get no calls now; empty when it is ready."""
        found = [str(self.gateway.refusing)] if self.gateway.refusing is not None else []
        if self.leaving and not found:
            found.append("The hub is shutting down.")
        if self._siblings is not None and not self._siblings.limiter.connected:
            found.append("The process that keeps the limits is away: calls with limits are refused.")
        return found

    # -- what is asked of a hub, and told of all its processes

    async def all_problems(self) -> list[str]:
        """Why the hub should get no calls now; empty when every process of it is ready."""
        parts = [self.problems(), *(await self._siblings.problems() if self._siblings is not None else ())]
        return list(dict.fromkeys(problem for part in parts for problem in part))

    async def metrics_text(self) -> bytes:
        parts = [metrics.measures(self)] if self._siblings is None else await self._siblings.measures()
        return metrics.text(parts)

    async def circuits(self) -> dict[str, str]:
        """Of each connection that was used: closed, half-open or open, the worst of all processes."""
        if self._siblings is None:
            return dict(self.gateway.circuits())
        return merge(await self._siblings.measures()).circuits

    async def calls_under_way(self) -> list[dict[str, Any]]:
        """See `Gateway.live`."""
        if self._siblings is None:
            return self.gateway.live()
        return [call for part in await self._siblings.live() for call in part]

    async def named_calls(self, question: Question) -> list[float]:
        """How far each of these calls is, in every process of the hub; they are stopped where that is asked."""
        if self._siblings is None:
            return self.named.ask(question)
        return [far for part in await self._siblings.named_calls(question) for far in part]

    async def ledger_gauges(self) -> Gauges:
        """How the ledger is; the sums of all processes."""
        return self.ledger.gauges() if self._siblings is None else together(await self._siblings.ledgers())

    async def spread(self) -> None:
        """Have every process of the hub use the catalog as it is now."""
        if self._siblings is not None:
            await self._siblings.spread()
        if self._kept:
            await self._tell_keepers(self._kept)

    # -- the parts in step

    def use_builtin(self, target: Target) -> None:
        """The built-in models answer there from now on."""
        self.catalog.set_runtime_target(BUILTIN, target)

    def _builtin_ready(self, child: ChildHost) -> None:
        self.use_builtin(host_target(child))

    @property
    def logs(self) -> Path:
        """Folder of what the processes of connections write."""
        return self.settings.home / "logs"

    def _catalog_changed(self, _: Snapshot) -> None:
        before, self._kept = self._kept, KEPT.intersection(row.kind for row in self.catalog.state.connections.values())
        revision = self.catalog.state.revision
        if (before or self._kept) and revision != self._told_revision:
            self._told_revision = revision
            task = asyncio.ensure_future(self._tell_keepers(before | self._kept))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell_keepers(self, kinds: frozenset[str]) -> None:
        try:
            async with asyncio.timeout(TELL_SECONDS):
                if "code" in kinds:
                    await self.code.changed()
                if "weights" in kinds:
                    await self.weights.changed()
        except TimeoutError:
            log.warning("the processes of models do not know of a change yet: they take long")
        except Unavailable as error:
            log.warning("the processes of models do not know of a change yet: %s", error)

    async def wake(self, connection: str) -> None:
        """Start the process of a connection that a call wants: what is not used costs nothing.

        Raises `Unavailable` when it does not start.
        """
        row = self.catalog.state.connection(connection)
        if row is not None and row.kind == "code":
            await self.code.wake(connection)
        elif row is not None and row.kind == "weights":
            await self.weights.wake(connection)
        elif connection == BUILTIN and self._builtin is not None:
            await self._wake_builtin(self._builtin)
        else:
            raise Unavailable(
                f"The connection {connection!r} is not running now.", code="model_not_running", retry_after=1.0
            )

    async def _wake_builtin(self, builtin: ChildHost) -> None:
        async with self._waking:
            try:
                await builtin.start()
                await builtin.wait_until_running(WAKE_SECONDS)
            except (HostStartError, TimeoutError) as error:
                log.error("the built-in models did not start: %s", error)
                raise Unavailable("The built-in models did not start; the hub's log says why.") from error

    async def _watch(self) -> None:
        """What the byte path must not look up itself."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._note_seen()
            if self.ledger.accepting:
                if isinstance(self.gateway.refusing, LedgerFull):
                    self.gateway.refusing = None
            elif self.gateway.refusing is None:
                self.gateway.refusing = LedgerFull(
                    f"The disk of {self.settings.home} is full: calls could not be recorded, so none is taken.",
                    retry_after=10.0,
                )

    def _note_seen(self) -> None:
        while self.gateway.seen:
            self.catalog.touch(self.gateway.seen.pop())

    # -- what a limiter asks of the ledger: that of this process, or the one that several share

    async def spent(self, scope: str, since: float) -> int:
        """Picodollars that a scope spent since then (seconds since the epoch)."""
        if not spending.known(self.catalog.state, scope):
            await self.catalog.refresh()  # another process knew of it first
        by, name = spending.column_of(self.catalog.state, scope)
        return await self.ledger.spent(by, name, since)

    def budgeted(self) -> list[Scope]:
        return spending.budgeted(self.catalog.snapshot)

    async def calls_of_before(self) -> list[Past]:
        """The calls of before this hub's start that windows still count, those of killed processes included."""
        await self.ledger.recover()
        snapshot: Snapshot = self.catalog.snapshot
        seconds = spending.longest_window(snapshot)
        if not seconds:
            return []
        since = int((self.started_at - min(seconds, spending.LONGEST_RESTORED)) * 1_000_000)
        traffic = await self.ledger.traffic(since)
        before = int(self.started_at * 1_000_000)
        earlier = [one for one in traffic if one.at < before]
        return list(spending.past(self.catalog.state, earlier))

    async def _restore_limits(self, limiter: LocalLimiter) -> None:
        """Count the calls of before this start in the windows and budgets they belong to."""
        limiter.restore(await self.calls_of_before())
        await limiter.preload(self.budgeted())


class LedgerFull(Unavailable):
    code = "ledger_full"
