"""Calls under way, found by the id that their callers gave them: ``request_id`` in the body, or ``x-request-id``.

Nothing of this is on a call's way: the calls are looked through when somebody asks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from byom.errors import ByomError

if TYPE_CHECKING:
    from byom.gateway.exchange import Exchange
    from byom.gateway.gateway import Gateway

LOOK_SECONDS = 0.05
LONGEST_WAIT = 600.0
MOST_WAITING = 1000


class CallAborted(ByomError):
    """A call was stopped by a request of the same caller."""

    status = 409
    type = "invalid_request_error"
    code = "request_aborted"


class Question(msgspec.Struct, kw_only=True, frozen=True):
    """Which calls, and what is to become of them."""

    request_id: str
    model: str = ""
    """Empty: of any model."""
    user: str | None = None
    """The id of the user whose calls they are; ``None``: anybody's."""
    stop: bool = False
    wait: float = 0.0
    """Seconds for which a call that is to be stopped may still come."""


class _Named(msgspec.Struct):
    request_id: str | None = None


class NamedCalls:
    """Of one gateway, on its loop."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._waiting: dict[Question, float] = {}

    def ask(self, question: Question) -> list[float]:
        """How far each of the calls is, from 0 to 1; then they are stopped, if that is asked for."""
        found = list(self._find(question))
        far = [_progress(exchange) for exchange in found]
        if question.stop:
            for exchange in found:
                exchange.stop(CallAborted(f"The request {question.request_id[:128]} was aborted."))
            if not found and question.wait > 0:
                self._await(question)
        return far

    def _find(self, question: Question) -> Iterator[Exchange]:
        route = self._gateway.snapshot.routes.get(question.model)
        name = question.model if route is None else route.name
        for exchange in tuple(self._gateway.active):
            if name and exchange.plan.route.name != name:
                continue
            caller = exchange.head.caller
            if question.user is not None and (caller is None or caller.user_id != question.user):
                continue
            if question.request_id in (exchange.head.request_id, exchange.id, _id_in(exchange.body)):
                yield exchange

    def _await(self, question: Question) -> None:
        """Look again until it has come, or the time is over."""
        if len(self._waiting) < MOST_WAITING:
            if not self._waiting:
                self._gateway.loop.call_later(LOOK_SECONDS, self._look)
            self._waiting[question] = time.monotonic() + min(question.wait, LONGEST_WAIT)

    def _look(self) -> None:
        now = time.monotonic()
        for question, until in list(self._waiting.items()):
            if now >= until or self.ask(msgspec.structs.replace(question, wait=0.0)):
                del self._waiting[question]
        if self._waiting:
            self._gateway.loop.call_later(LOOK_SECONDS, self._look)


def _id_in(body: bytes) -> str | None:
    if body.find(b'"request_id"') < 0:
        return None
    try:
        return _read(body).request_id
    except (msgspec.MsgspecError, RecursionError):
        return None


def _progress(exchange: Exchange) -> float:
    """Tokens so far of those that it may have; 0 where that is not known."""
    most: Any = exchange.envelope.max_completion_tokens or exchange.envelope.max_tokens
    if exchange.reply is None or not most:
        return 0.0
    return min(1.0, exchange.reply.produced() / float(most))


_read = msgspec.json.Decoder(_Named).decode
