"""``Idempotency-Key``: the same key with the same body makes one upstream call, however often it is sent."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from byom.errors import UnprocessableRequest
from byom.gateway.cache import AnswerStore, Kept

if TYPE_CHECKING:
    from byom.gateway.exchange import Exchange
    from byom.gateway.request import Caller

MAX_BYTES = 32 * 1024 * 1024
MAX_ENTRIES = 50_000


class _Entry:
    """A call with a key. While it is under way, later ones with the same key wait for its answer."""

    __slots__ = ("digest", "expires", "leader", "waiting")

    def __init__(self, digest: bytes, leader: Exchange) -> None:
        self.digest = digest
        self.leader: Exchange | None = leader
        self.waiting: list[Exchange] = []
        self.expires = 0.0


class Idempotency:
    """Keeps successful answers for a while, in bounded memory. An answer that was too large is not kept."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._answers = AnswerStore(MAX_BYTES)
        self._next_expiry = 0.0

    def begin(self, exchange: Exchange, caller: str) -> Caller | None:
        """Start the call, replay its answer, or let it wait. Raises when the key was used with another body."""
        head = exchange.head
        name = (caller, head.idempotency_key)
        digest = hashlib.sha256(head.path.encode() + b"\0" + head.query + b"\0" + exchange.body).digest()
        entry = self._entries.get(name)
        if entry is not None and entry.digest != digest:
            raise UnprocessableRequest(
                "This Idempotency-Key was used with another request. Use a new key for a new request.",
                code="idempotency_key_reused",
            )
        kept = self._answers.get(digest + repr(name).encode()) if entry is not None else None
        if kept is not None:
            exchange.answer_from_cache(kept)
            return None
        if entry is not None and entry.leader is not None and not entry.leader.finished:
            entry.waiting.append(exchange)
            return exchange
        waiting: list[Exchange] = []
        if entry is not None:
            # The entry's own end, which is still to come, must not wake them a second time.
            waiting, entry.waiting = entry.waiting, waiting
        self._lead(name, digest, exchange, waiting)
        return None if exchange.finished else exchange

    def _lead(self, name: tuple[str, str], digest: bytes, exchange: Exchange, waiting: list[Exchange]) -> None:
        if len(self._entries) >= MAX_ENTRIES:
            self._entries.pop(next(iter(self._entries)))
        entry = self._entries[name] = _Entry(digest, exchange)
        entry.waiting = waiting
        seconds = exchange.gateway.settings.idempotency_seconds
        cached = exchange.keep

        def keep(status: int, headers: bytes, body: bytes) -> None:
            if cached is not None:
                cached(status, headers, body)
            self._answers.put(digest + repr(name).encode(), status, headers, body, seconds)

        exchange.keep = keep
        exchange.on_finish = lambda: self._ended(name, entry)
        exchange.start()

    def _ended(self, name: tuple[str, str], entry: _Entry) -> None:
        """The leading call ended: its answer goes to those who wait, or one of them leads."""
        waiting = [exchange for exchange in entry.waiting if not exchange.finished]
        entry.waiting = []
        leader = entry.leader
        entry.leader = None
        entry.expires = time.monotonic() + (leader.gateway.settings.idempotency_seconds if leader else 0.0)
        kept: Kept | None = self._answers.get(entry.digest + repr(name).encode())
        if kept is not None:
            for exchange in waiting:
                exchange.answer_from_cache(kept)
        elif waiting and (refusing := waiting[0].gateway.refusing) is not None:
            for exchange in waiting:
                exchange.fail(refusing)
        elif waiting:
            self._lead(name, entry.digest, waiting[0], waiting[1:])
        elif self._entries.get(name) is entry:
            del self._entries[name]

    def expire(self) -> None:
        now = time.monotonic()
        if now < self._next_expiry:
            return
        self._next_expiry = now + 5.0
        old = [name for name, entry in self._entries.items() if entry.leader is None and entry.expires < now]
        for name in old:
            del self._entries[name]
