"""The gateway: who calls, what is asked for, and off it goes. Everything it reads is in memory."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from byom.catalog.keys import authenticate
from byom.errors import (
    BadRequest,
    ByomError,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    PriceRequired,
    Unauthenticated,
    Unavailable,
)
from byom.gateway import account, answers, clock, express, form, listing, paths, ranking
from byom.gateway import envelope as envelopes
from byom.gateway.cache import AnswerStore, cache_key, cacheable
from byom.gateway.exchange import Exchange
from byom.gateway.figures import Figures
from byom.gateway.http.body import inflate
from byom.gateway.http.sender import Batch
from byom.gateway.idempotency import Idempotency
from byom.gateway.ownership import Ownership
from byom.gateway.plan import GENERATING, Plan
from byom.gateway.upstreams import Upstream
from byom.types.limits import Scope
from byom.upstream.network import resolve

if TYPE_CHECKING:
    from byom.catalog.snapshot import CallerKey, GatewaySettings, Route, Snapshot
    from byom.gateway.http.pool import Pool
    from byom.gateway.paths import Kind
    from byom.gateway.request import Caller, CallHead, Downstream
    from byom.ledger.row import Row
    from byom.limits.limiter import Limiter
    from byom.types.target import Target

log = logging.getLogger("byom.gateway")
SWEEP_SECONDS = 0.1
MAX_PLANS = 64
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
"""Those that are passed on. Not TRACE, which would tell the caller the key that is stored here."""
FAST_BODY = 64 * 1024
"""Bytes of the largest body that needs no check before it is read."""


class Gateway:
    """Belongs to one event loop. ``record`` puts a ledger row on disk; ``no_auth`` lets everybody in."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        limiter: Limiter,
        record: Callable[[Row], None],
        new_id: Callable[[], str],
        loop: asyncio.AbstractEventLoop,
        no_auth: bool = False,
    ) -> None:
        self.snapshot = snapshot
        self.limiter = limiter
        self.record = record
        self.new_id = new_id
        self.loop = loop
        self.batch = Batch(loop)
        self.no_auth = no_auth
        self.seen: set[str] = set()
        """Ids of keys that were used since somebody last looked."""
        self.wake: Callable[[str], Awaitable[None]] | None = None
        """Starts the process of a connection that is not running; raises `Unavailable` where it cannot."""
        self.describe: listing.Describe | None = None
        """What ``/v1/models`` says of a model beside OpenAI's fields."""
        self.figures = Figures()
        self.active: set[Exchange] = set()
        self.cache = AnswerStore(snapshot.settings.cache_bytes)
        self.idempotency = Idempotency()
        self.ownership = Ownership()
        self.refusing: ByomError | None = None
        """Why no call is taken now."""
        self._upstreams: dict[str, Upstream] = {}
        self._retired: list[Pool] = []
        self.fast_body = min(FAST_BODY, snapshot.settings.max_body_bytes)
        self._sweeper: asyncio.TimerHandle | None = None

    # -- life

    def start(self) -> None:
        self._schedule(self.loop.time() + SWEEP_SECONDS)

    def swap(self, snapshot: Snapshot) -> None:
        """Use another catalog from now on. Calls under way go on with what they began with."""
        self.snapshot = snapshot
        self.fast_body = min(FAST_BODY, snapshot.settings.max_body_bytes)
        self.cache.max_bytes = snapshot.settings.cache_bytes
        named = {route.connection_id for route in snapshot.models}
        for connection_id in [known for known in self._upstreams if known not in named]:
            for pool in self._upstreams.pop(connection_id).pools:
                pool.close()
                self._retired.append(pool)

    async def drain(self, seconds: float) -> int:
        """Let the calls under way end, for at most ``seconds``; stop the rest. How many had to be stopped."""
        self.refusing = leaving = Unavailable("The hub is shutting down.", retry_after=1.0)
        deadline = self.loop.time() + seconds
        while self.active and self.loop.time() < deadline:  # noqa: ASYNC110 - an event would cost each call
            await asyncio.sleep(0.05)
        left = list(self.active)
        for exchange in left:
            exchange.stop(leaving)
        return len(left)

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for upstream in self._upstreams.values():
            for pool in upstream.pools:
                pool.close()

    def _schedule(self, due: float) -> None:
        self._sweeper = self.loop.call_at(due, self._sweep, due)

    def _sweep(self, due: float) -> None:
        lag = max(0.0, self.loop.time() - due)
        self.figures.loop_lag.observe(lag)
        self.figures.loop_lag_last = lag
        now = perf_counter()
        keepalive = self.snapshot.settings.keepalive_seconds
        for exchange in list(self.active):
            clock.sweep(exchange, now, keepalive)
        for upstream in self._upstreams.values():
            for pool in upstream.pools:
                pool.expire(monotonic())
        for pool in self._retired:
            pool.expire(monotonic())
        self._retired = [pool for pool in self._retired if not pool.retired]
        self.idempotency.expire()
        self._schedule(self.loop.time() + SWEEP_SECONDS)

    def upstream(self, route: Route) -> Upstream:
        upstream = self._upstreams.get(route.connection_id)
        if upstream is None:
            upstream = Upstream(route.connection, route.target, self._resolve, self.batch)
            self._upstreams[route.connection_id] = upstream
        elif upstream.target is not route.target:
            self._retired += upstream.retarget(route.target)
        return upstream

    async def _resolve(self, target: Target) -> list[str]:
        addresses = await resolve(target.host, target.port, self.snapshot.network, trusted=target.trusted)
        return [address.ip for address in addresses]

    # -- calls

    def authenticate(self, token: str | None) -> CallerKey | None:
        """Who calls; ``None`` with ``--no-auth``. Raises `Unauthenticated`."""
        if self.no_auth:
            return None
        try:
            return authenticate(self.snapshot, token)
        except Unauthenticated:
            self.figures.unauthorized += 1
            raise

    def handle(self, head: CallHead, body: bytes, down: Downstream) -> Caller | None:
        """Take a call. The answer goes to ``down``, perhaps before this returns; what is returned wants to know
        when the caller goes away, ``None`` when the call has ended already. Never raises."""
        started = perf_counter()
        try:
            if head.snapshot is not self.snapshot:
                self._bind(head)
            caller = head.caller
            if caller is not None:
                self.seen.add(caller.id)
                if caller.expires_at is not None:
                    self.authenticate(head.token)
            if self.refusing is not None:
                raise self.refusing
            if head.straight:
                call = express.begin(self, head, body, down)
                if call is not None:
                    return call
            if head.encoding:
                body = inflate(body, head.encoding, self.settings.max_body_bytes)
            exchange = self._begin(head, body, down, started)
            if exchange is None:
                return None
            if head.idempotency_key or exchange.route.cache is not None:
                return self._replay_or_start(exchange)
            exchange.start()
            return exchange
        except ByomError as error:
            self.refuse(head.request_id, down, error)
        except Exception:
            log.exception("a fault of the hub")
            self.refuse(head.request_id, down, ByomError("A fault of the hub; its log has the details."))
        return None

    def refuse(self, request_id: str, down: Downstream, error: ByomError) -> None:
        headers = answers.error_headers(error, request_id or self.new_id())
        down.respond(error.status, headers, answers.error_body(error))

    def _bind(self, head: CallHead) -> None:
        """Work out who sends requests with this head, under the catalog as it is now."""
        head.plans = {}
        head.caller = self.authenticate(head.token)
        head.snapshot = self.snapshot
        plain = not head.encoding and not head.idempotency_key
        head.straight = plain and head.method == "POST" and head.path in GENERATING

    def _begin(self, head: CallHead, body: bytes, down: Downstream, started: float) -> Exchange | None:
        """The exchange for this call; ``None`` where the gateway itself has answered."""
        path = head.path
        kind = paths.kind_of(head.method, path)
        if kind.body == "json":
            envelope = envelopes.read(body)
            if path == "rerank" and ranking.is_xinference(body):
                body, down = ranking.translated(body, down)
            plan = head.plans.get(envelope.model or "")
            if plan is None:
                plan = self._plan_for(head, envelope.model, kind)
            if path == "responses" or body.find(b"file_id") >= 0 or envelopes.hides_names(body):
                self.ownership.check_body(body, head.caller)
        elif path == "models" or path.startswith("models/"):
            self._list(head, down)
            return None
        elif kind.body == "form":
            envelope = envelopes.Envelope(model=form.model_of(body, head.content_type))
            plan = self._plan_for(head, envelope.model, kind)
        else:
            envelope = envelopes.Envelope()
            plan = self.plan(head, self._route_without_model(head, body), kind)
        exchange = Exchange(self, head, body, down, plan, envelope, started)
        if kind.raw:
            exchange.keep = self.ownership.keeper(head.caller)
        return exchange

    def _replay_or_start(self, exchange: Exchange) -> Caller | None:
        head, route, caller = exchange.head, exchange.route, exchange.head.caller
        if route.cache is not None and cacheable(route.cache, exchange.envelope) and not exchange.raw:
            key = cache_key(head, exchange.body, route, caller.user_id if caller is not None else "")
            kept = self.cache.get(key)
            if kept is not None:
                exchange.answer_from_cache(kept)
                return None
            seconds = route.cache.seconds
            exchange.keep = lambda status, kind, body: self.cache.put(key, status, kind, body, seconds)
        if head.idempotency_key:
            return self.idempotency.begin(exchange, caller.id if caller is not None else "")
        exchange.start()
        return exchange

    # -- routes

    def _plan_for(self, head: CallHead, name: str | None, kind: Kind) -> Plan:
        plan = self.plan(head, self.route_for(name, head.caller), kind, name or "")
        if len(head.plans) < MAX_PLANS:
            head.plans[name or ""] = plan
        return plan

    def plan(self, head: CallHead, route: Route, kind: Kind, name: str = "") -> Plan:
        own = head.caller.scopes if head.caller is not None else self._anonymous()
        steps = (own, route.scopes) if route.fallbacks else (own + route.scopes,)
        upstream = self.upstream(route)
        return Plan(
            route,
            kind,
            upstream,
            tuple(step for step in steps if step),
            upstream.head(head),
            self.figures.of(route.name),
            name=name,
            path=head.path,
            counted=head.path in account.COUNTED,
            caller=head.caller,
        )

    def _anonymous(self) -> tuple[Scope, ...]:
        """What limits callers without a key, where there are such."""
        limits = self.settings.unauthenticated_limits
        return (Scope("anonymous:all", limits),) if limits else ()

    def route_for(self, name: str | None, caller: CallerKey | None) -> Route:
        """The model of this name, if the caller may use it; to others it does not exist."""
        if not name:
            raise BadRequest(
                "The request names no model. Put one of the names that GET /v1/models lists into 'model'.",
                param="model",
                code="missing_model",
            )
        route = self.snapshot.routes.get(name)
        allowed = caller.models if caller is not None else None
        if route is None or (allowed is not None and route.name not in allowed):
            names = listing.close_names(self.snapshot, allowed, name)
            hint = f" Did you mean {names}?" if names else " GET /v1/models lists those that this key may use."
            raise ModelNotFound(f"There is no model {name[:200]!r} here.{hint}", param="model")
        if self.settings.require_price and route.price is None:
            raise PriceRequired(
                f"The price of {route.name!r} is not known, and this hub only serves models with a price. "
                "An administrator can set one for the model."
            )
        return route

    def _route_without_model(self, head: CallHead, body: bytes) -> Route:
        path = head.path
        if paths.known_post(path):
            raise MethodNotAllowed(f"/v1/{path} takes POST.")
        paths.check_path(path)
        if head.method not in METHODS:
            raise MethodNotAllowed(f"The gateway does not pass {head.method} on.")
        if path.startswith("realtime"):
            raise NotFound("Realtime sessions (WebSocket) are not passed through by this gateway.")
        if head.caller is not None:
            self.ownership.check_path(head, body, head.caller)
        connections = self.snapshot.connections
        name = head.connection or self.settings.default_connection
        if not name and len(connections) == 1:
            name = next(iter(connections))
        if not name or name not in connections:
            known = ", ".join(sorted(connections)[:10]) or "none yet"
            raise NotFound(
                f"/v1/{path[:100]} names no model, so the gateway cannot tell which connection it is for. "
                f"Send the header 'x-byom-connection' with one of: {known}.",
                code="connection_required",
            )
        for route in self.snapshot.models:
            if route.connection == name:
                return msgspec.structs.replace(route, price=None, fallbacks=(), cache=None)
        raise NotFound(f"The connection {name!r} has no model yet.")

    def _list(self, head: CallHead, down: Downstream) -> None:
        if head.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("/v1/models takes GET. Models are added under /api or with 'byom connect'.")
        allowed = head.caller.models if head.caller is not None else None
        if head.path == "models":
            body = listing.models(self.snapshot, allowed, self.describe)
        else:
            route = self.route_for(unquote(head.path.removeprefix("models/")), head.caller)
            body = listing.model(route, self.describe)
        request_id = (head.request_id or self.new_id()).encode("latin-1")
        down.respond(200, answers.JSON + answers.header(b"x-request-id", request_id), body)

    def live(self) -> list[dict[str, Any]]:
        """The calls under way, for people to look at."""
        now = perf_counter()
        return [
            {
                "id": exchange.id,
                "model": exchange.route.name,
                "connection": exchange.route.connection,
                "key": exchange.head.caller.id if exchange.head.caller is not None else None,
                "user": exchange.head.caller.user_name if exchange.head.caller is not None else None,
                "route": exchange.head.path,
                "stream": bool(exchange.envelope.stream),
                "seconds": round(now - exchange.started, 3),
                "attempts": exchange.attempts,
                "tokens": exchange.reply.produced() if exchange.reply is not None else 0,
            }
            for exchange in list(self.active)
        ]

    @property
    def open_connections(self) -> int:
        """To upstreams, idle ones included."""
        pools = [pool for upstream in self._upstreams.values() for pool in upstream.pools] + self._retired
        return sum(len(pool.open) for pool in pools)

    def activity(self, connection: str) -> tuple[int, float | None]:
        """Calls of a connection that are under way, and the seconds since the last one ended; ``None`` where there
        was none yet."""
        now = monotonic()
        busy = sum(exchange.route.connection == connection for exchange in self.active)
        used = [upstream for upstream in self._upstreams.values() if upstream.name == connection]
        ended = [pool.last_used for upstream in used for pool in upstream.pools]
        last = max(ended, default=-math.inf)
        return busy, None if last == -math.inf else now - last

    def circuits(self) -> list[tuple[str, str]]:
        """Each connection that was used, and the state of its circuit: closed, open or half-open."""
        return [(upstream.name, upstream.breaker.state) for upstream in self._upstreams.values()]

    @property
    def settings(self) -> GatewaySettings:
        return self.snapshot.settings
