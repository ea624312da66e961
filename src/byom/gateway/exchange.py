"""One call from its admission to its ledger row: a state machine that the two sockets drive.

On the common path - admitted at once, an idle upstream connection at hand, answered - it runs without a task, a
future or a timer of its own. Whatever has to wait (a limit, a new connection, a retry) is done in one task.

    start ─ admit ─► dispatch ─► on_head ─► on_data … ─► on_end ─► account, answer
                │        ▲          │ failure before the first byte
              task       └─ retry ◄─┘ (another attempt, another model)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from byom.errors import ByomError, CircuitOpen, Unavailable, UpstreamProtocol, UpstreamTimeout
from byom.gateway import account, admission, answers, attempts, paths, replies, whole
from byom.gateway import envelope as envelopes
from byom.gateway.delivery import Delivery
from byom.gateway.plan import GENERATING
from byom.ledger.row import Attempt

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route
    from byom.gateway.cache import Kept
    from byom.gateway.delivery import Keep
    from byom.gateway.envelope import Envelope
    from byom.gateway.gateway import Gateway
    from byom.gateway.http.outbound import Outbound
    from byom.gateway.http.pool import Pool
    from byom.gateway.plan import Plan
    from byom.gateway.replies import Reply
    from byom.gateway.request import CallHead, Downstream
    from byom.gateway.upstreams import Upstream
    from byom.ledger.row import State
    from byom.limits.limiter import Grant

log = logging.getLogger("byom.gateway")


class Exchange:
    """``keep``: is given a good answer (status, header lines, body) to keep it, for a cache."""

    # Class attributes stand for what most calls never change, so that a call sets only what is its own.
    grants: Sequence[Grant] = ()
    attempts = 0
    attempt_list: list[Attempt] | None = None
    upstream_time = 0.0
    """Seconds that attempts took which have ended."""
    waited = 0.0
    overhead = 0.0
    """Seconds that the hub itself added, known when the account is closed."""
    cost: int | None = None
    """Picodollars, known when the account is closed."""
    first_token: float | None = None
    error = ""
    finished = False
    on_finish: Callable[[], None] | None = None
    keep: Keep | None = None
    announced_length: int | None = None
    delivery: Delivery | None = None
    reply: Reply | None = None
    last_data = 0.0
    attempts_here = 0
    sent_body: bytes | None = None
    _conn: Outbound | None = None
    fallbacks: tuple[str, ...] | None = None
    fresh_only = False
    attempt_began = 0.0
    _task: asyncio.Task[None] | None = None
    _woken = False
    _wait_began = 0.0
    _wait_for_limit = False

    def __init__(
        self,
        gateway: Gateway,
        head: CallHead,
        body: bytes,
        down: Downstream,
        plan: Plan,
        envelope: Envelope,
        started: float,
    ) -> None:
        self.gateway = gateway
        self.head = head
        self.body = body
        self.down = down
        self.plan = plan
        self.route: Route = plan.route
        self.upstream: Upstream = plan.upstream
        self.envelope = envelope
        self.started = started
        self.at = int(time() * 1_000_000)
        self.id = gateway.new_id()

    # -- sending

    def start(self) -> None:
        """Admit the call and send it on its way; what goes wrong is answered, never raised."""
        self.gateway.active.add(self)
        if self.plan.steps:
            waiting = admission.admit(self)
            if waiting is not None:
                self.spawn(waiting)
                return
            if self.finished:
                return
        self.dispatch()

    def dispatch(self) -> None:
        """Make one attempt at the present route."""
        if self.finished:
            return
        self.attempts += 1
        self.attempts_here += 1
        name = self.route.connection
        if not self.route.target.host:
            if self.gateway.wake is not None and not self._woken:
                self._woken = True
                self.spawn(attempts.wake(self, self.gateway.wake))
                return
            attempts.failed(self, Unavailable(f"The connection {name!r} is not running now.", retry_after=1.0))
            return
        upstream = self.upstream
        refused = upstream.breaker.refused_for()
        if refused:
            text = f"The connection {name!r} failed several times in a row and is left alone for {refused:.0f} s more."
            attempts.failed(self, CircuitOpen(text, retry_after=refused), fault=False)
            return
        upstream.breaker.earn(self.route.retry.budget)
        pool = upstream.least_busy()
        connection = None if self.fresh_only else pool.take()
        if connection is None:
            self.spawn(self._connect(pool))
        else:
            self.send(connection, self.sent_body or self._prepare_body())

    async def _connect(self, pool: Pool) -> None:
        self.attempt_began = perf_counter()
        self.begin_wait()
        connection = await pool.connect(self.route.timeouts.connect)
        self.end_wait()
        if self.finished:
            connection.abandon()
            return
        self.send(connection, self.sent_body or self._prepare_body())

    def send(self, connection: Outbound, body: bytes) -> None:
        """Send this body to the upstream over this connection."""
        self.sent_body = body
        self._conn = connection
        public_id = (self.head.request_id or self.id).encode("latin-1")
        head = b"%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (self.plan.head, public_id, len(body))
        self.attempt_began = self.last_data = perf_counter()
        connection.send(self, head, body)

    def _prepare_body(self) -> bytes:
        route, envelope, plan = self.route, self.envelope, self.plan
        if plan.same_name and not envelope.stream and envelopes.names_once(self.body, plan.needles):
            return self.body
        if plan.kind.raw:
            return paths.rename_model(self.head, self.body, envelope.model, route.upstream_model)
        return envelopes.rewrite(
            self.body,
            envelope,
            model=route.upstream_model,
            ask_usage=bool(envelope.stream) and plan.ask_usage and self.head.path in GENERATING,
            stream=False if envelope.stream and route.streaming == "none" else None,
            max_tokens_field=route.max_tokens_field,
        )

    # -- the answer arrives (byom.gateway.http.outbound.Receiver)

    def on_whole(self, status: int, headers: dict[bytes, bytes], data: bytes) -> None:
        """A whole answer in one read: the common case, and the same as `on_head`, `on_data`, `on_end`."""
        if status == 200 and self.attempts == 1 and self.plain and whole.pass_on(self, headers, data):
            return
        self.last_data = perf_counter()
        self._end_attempt()
        self.reply = reply = replies.for_head(self, status, headers)
        if data:
            reply.on_data(data)
        reply.on_end()

    @property
    def plain(self) -> bool:
        """Nothing but this attempt has happened yet, and nobody keeps the answer."""
        return not (self.keep or self.delivery or self.upstream_time or self.waited or self.plan.kind.raw)

    def detach(self) -> None:
        """The upstream's connection belongs to the pool again."""
        self._conn = None

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.last_data = perf_counter()
        self.reply = replies.for_head(self, status, headers)

    def on_data(self, data: bytes) -> None:
        self.last_data = perf_counter()
        assert self.reply is not None
        self.reply.on_data(data)

    def on_end(self) -> None:
        if self.delivery is not None and self.delivery.stalled_since and self._conn is not None:
            # It goes back to the pool, and whoever takes it next must be able to read from it.
            self._conn.resume()
        self._end_attempt()
        assert self.reply is not None
        self.reply.on_end()

    def on_failure(self, error: Exception, *, untouched: bool) -> None:
        if self.finished:
            # A fault after the account was closed, or while it was: the caller must not take this for a whole answer.
            self.gateway.active.discard(self)
            self.down.abort()
            return
        self._end_attempt()
        if not isinstance(error, ByomError):
            error = UpstreamProtocol("The hub could not read the answer of the model's server.")
        if untouched and not self.fresh_only:
            self.fresh_only = True
            self.attempts -= 1
            self.attempts_here -= 1
            self.dispatch()
        else:
            attempts.failed(self, error)

    def _end_attempt(self) -> None:
        self._conn = None
        self.upstream_time += perf_counter() - self.attempt_began

    @property
    def answering(self) -> bool:
        """Bytes of an answer have gone to the caller, so there can be no other attempt."""
        return self.begun and self.reply is not None and self.reply.good

    @property
    def begun(self) -> bool:
        """The status line has gone out."""
        return self.delivery is not None and self.delivery.begun

    # -- the answer leaves

    @property
    def streams(self) -> bool:
        """The caller asked for an event stream of a route that the gateway understands."""
        return self.envelope.stream is True and self.head.path in GENERATING

    @property
    def needs_usage(self) -> bool:
        """An answer that does not say what was used is a failure."""
        return self.plan.counted and self.route.missing_usage == "fail"

    @property
    def raw(self) -> bool:
        return self.plan.kind.raw

    def _deliver(self) -> Delivery:
        if self.delivery is None:
            self.delivery = Delivery(self.down, self.started, self.keep)
        return self.delivery

    def begin_answer(self, kind: bytes, length: int | None) -> None:
        self._deliver().begin(kind, self._own_headers(), length)

    def write(self, data: bytes) -> None:
        now = self.last_data
        if self.first_token is None:
            self.first_token = now - self.started
        assert self.delivery is not None
        if not self.delivery.write(data, now) and self._conn is not None:
            self._conn.pause()

    def complete(self) -> None:
        """The answer has been passed on and was whole."""
        self.upstream.breaker.succeeded()
        self._close(200, "ok")
        if self.raw and self.reply is not None and self.head.caller is not None:
            # The id of a stream stands in its events, where `keep` does not look for it.
            self.gateway.ownership.made(self.reply.answer_id, self.head.caller.user_id)
        assert self.delivery is not None
        self.delivery.finish()

    def complete_with(self, body: bytes) -> None:
        """The answer is this one, and nothing of it has gone out yet."""
        self.upstream.breaker.succeeded()
        self._close(200, "ok")
        self._deliver().whole(body, self._own_headers() + answers.cost_line(self.cost))

    def _close(self, status: int, state: State) -> None:
        reply = self.reply
        usage = account.usage_of(self, status, state, reply)
        account.close(self, status, state, usage, reply.answer_id if reply is not None else "")

    def answer_broke(self, error: ByomError | None) -> None:
        """The answer broke off after its beginning; ``None``: the upstream has said so itself in an event."""
        if self.reply is not None and self.reply.ended:
            self._drop_connection()
            self.complete()
            return
        self.error = error.code if error is not None else "upstream_stream_error"
        self._close(200, "error")
        self._drop_connection()
        if self.streams or isinstance(self.reply, replies.StreamReply):
            self._deliver().break_off(answers.error_event(error) if error is not None else b"")
        else:
            self.down.abort()

    def fail(self, error: ByomError, *, state: State = "error") -> None:
        """The call ends with an error; nothing of an answer has gone out."""
        if self.finished:
            return
        self.error = error.code
        account.close(self, error.status, state, None)
        self._drop_connection()
        self._deliver().error(error, self.head.request_id or self.id)

    def answer_from_cache(self, kept: Kept) -> None:
        """Answer with what was kept of an earlier call; it costs nothing and goes to no upstream."""
        account.close(self, kept.status, "cached", None)
        lines = kept.content_type + b"x-request-id: %b\r\nx-byom-cache: hit\r\n" % self.public_id
        self.down.respond(kept.status, lines, kept.body)

    def _own_headers(self) -> bytes:
        added = (perf_counter() - self.started - self.waited - self.upstream_time - self.open_attempt()) * 1000
        lines = answers.own(self.public_id, max(0.0, added) / 1000)
        if self.attempts > 1:
            lines += b"x-byom-attempts: %d\r\n" % self.attempts
            lines += answers.header(b"x-byom-model", self.route.name.encode())
        return lines

    @property
    def public_id(self) -> bytes:
        return (self.head.request_id or self.id).encode("latin-1")

    def open_attempt(self) -> float:
        """Seconds since the attempt under way was sent; 0 without one."""
        return perf_counter() - self.attempt_began if self._conn is not None else 0.0

    # -- the caller (byom.gateway.request.Caller)

    def on_disconnect(self) -> None:
        if self.finished:
            return
        self._stop_waiting()
        if self.reply is not None and self.reply.ended:
            # Callers may leave at the end of the stream, before the end of the connection's answer.
            self._close(200, "ok")
        else:
            self.error = "client_disconnected"
            self._close(499, "cancelled")
        self.upstream.breaker.gave_up()
        self._drop_connection()

    def on_drain(self) -> None:
        if self.delivery is not None and self.delivery.stalled_since:
            self.delivery.stalled_since = 0.0
            self.last_data = perf_counter()
            if self._conn is not None:
                self._conn.resume()

    # -- time, as byom.gateway.clock tells it

    @property
    def sent_at(self) -> float:
        """When the attempt under way was sent; 0 without one."""
        return self.attempt_began if self._conn is not None else 0.0

    def time_out(self, message: str, *, retry: bool) -> None:
        error = UpstreamTimeout(message)
        self._stop_waiting()
        called = self._conn is not None
        if called:
            self.upstream_time += perf_counter() - self.attempt_began
            self._drop_connection()
        if retry or self.answering:
            attempts.failed(self, error)
            return
        if called:
            self.upstream.breaker.failed(self.route.circuit)
        else:
            # It waited for a limit or before a retry: not the upstream's fault.
            self.upstream.breaker.gave_up()
        self.fail(error)

    def keep_alive(self, now: float) -> None:
        self._deliver().comment(b"" if self.begun else self._own_headers(), now)

    def stop(self, error: ByomError) -> None:
        """End the call, which is not its upstream's fault: the hub stops, or the caller wants it."""
        if self.finished:
            return
        self._stop_waiting()
        self.upstream.breaker.gave_up()
        if self.answering:
            self.answer_broke(error)
        else:
            self.fail(error)

    # -- tasks

    def _drop_connection(self) -> None:
        connection, self._conn = self._conn, None
        if connection is not None:
            connection.abandon()

    def _stop_waiting(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self.end_wait()

    def begin_wait(self, *, for_limit: bool = False) -> None:
        """What follows is no work of the hub: it waits for the upstream, or for a limit."""
        self._wait_began = perf_counter()
        self._wait_for_limit = for_limit

    def end_wait(self) -> None:
        began, self._wait_began = self._wait_began, 0.0
        if not began:
            return
        taken = perf_counter() - began
        if self._wait_for_limit:
            self.waited += taken
        else:
            self.upstream_time += taken

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self.gateway.loop.create_task(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ByomError as error:
            if not self.finished:
                self.end_wait()
                attempts.failed(self, error)
        except Exception:
            log.exception("a fault of the hub in call %s", self.id)
            self.upstream.breaker.gave_up()
            self.fail(ByomError(f"A fault of the hub; its log has the details under {self.id}."))
