"""Answers kept in memory: the exact-match cache of a model, and the answers to calls with an ``Idempotency-Key``."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import NamedTuple

from byom.catalog.snapshot import CachePolicy, Route
from byom.gateway.envelope import Envelope
from byom.gateway.request import CallHead

MAX_KEPT = 4 * 1024 * 1024
"""Bytes of the largest answer that is kept."""


class Kept(NamedTuple):
    status: int
    content_type: bytes
    body: bytes
    expires: float


class AnswerStore:
    """Least recently used first out, bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> Kept | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.expires < time.monotonic():
            self.drop(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, status: int, content_type: bytes, body: bytes, seconds: float) -> None:
        if len(body) > min(MAX_KEPT, self.max_bytes):
            return
        self.drop(key)
        self._kept[key] = Kept(status, content_type, body, time.monotonic() + seconds)
        self.bytes += len(body) + len(key)
        while self.bytes > self.max_bytes:
            self.drop(next(iter(self._kept)))

    def drop(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.bytes -= len(kept.body) + len(key)


def cacheable(policy: CachePolicy, envelope: Envelope) -> bool:
    """A call whose answer is the same each time: temperature 0 and no tools, unless the policy keeps all."""
    return policy.sampled or (envelope.temperature == 0 and not len(memoryview(envelope.tools)))


def cache_key(head: CallHead, body: bytes, route: Route, scope: str) -> bytes:
    """Covers who may see it (``scope``: the caller's user), the model's version and every byte of the request."""
    digest = hashlib.sha256()
    for part in (scope, route.model_id, str(route.version), head.method, head.path, repr(head.forward)):
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    digest.update(head.query)
    digest.update(b"\0")
    digest.update(body)
    return digest.digest()
