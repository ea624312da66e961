"""What the gateway keeps of each connection: its pool, its circuit breaker, and the head of its requests."""

from __future__ import annotations

import time

from msgspec import structs

from byom import __version__
from byom.gateway.circuit import Breaker
from byom.gateway.http.pool import Pool, Resolver
from byom.gateway.http.sender import Batch
from byom.gateway.request import CallHead
from byom.types.target import Target


class Upstream:
    """Lives as long as its connection; an edit of the connection gives it new pools and keeps the breaker."""

    def __init__(self, name: str, target: Target, resolve: Resolver, batch: Batch) -> None:
        self.name = name
        self.target = target
        self.breaker = Breaker()
        self._resolve = resolve
        self._batch = batch
        self.pool, self._others = self._open()

    def _open(self) -> tuple[Pool, list[Pool]]:
        target = self.target
        places = [structs.replace(target, host=host, port=port, replicas=()) for host, port in target.replicas]
        return Pool(target, self._resolve, self._batch), [Pool(place, self._resolve, self._batch) for place in places]

    @property
    def pools(self) -> list[Pool]:
        """Of every place."""
        return [self.pool, *self._others]

    def least_busy(self) -> Pool:
        """Where the next attempt goes. A place that could not be reached a moment ago is left alone if it can be.

        The one that was given an attempt last comes last among equals, so that idle places take turns.
        """
        if not self._others:
            return self.pool
        now = time.monotonic()
        chosen = min(self.pools, key=lambda pool: (pool.down_until > now, pool.busy, pool.chosen_at))
        chosen.chosen_at = now
        return chosen

    def retarget(self, target: Target) -> list[Pool]:
        """Use another target from now on; the old pools, if it changed, for the calls that are still in them."""
        if target == self.target:
            return []
        old = self.pools
        self.target = target
        self.pool, self._others = self._open()
        self.breaker = Breaker()
        for pool in old:
            pool.close()
        return old

    def head(self, call: CallHead) -> bytes:
        """The head of the request to this upstream, but for the lines that differ from call to call."""
        target = self.target
        host = f"[{target.host}]" if ":" in target.host else target.host
        if target.port != (443 if target.scheme == "https" else 80):
            host = f"{host}:{target.port}"
        query = f"?{call.query.decode('latin-1')}" if call.query else ""
        lines = [
            f"{call.method} {target.base_path}/{call.path}{query} HTTP/1.1",
            f"host: {host}",
            "accept-encoding: identity",
            f"user-agent: byom/{__version__}",
        ]
        if target.authorization is not None:
            lines.append(f"authorization: {target.authorization}")
        lines += (f"{name}: {value}" for name, value in target.headers)
        if target.tell_user and call.caller is not None:
            lines.append(f"x-byom-user: {call.caller.user_id}")
        for name, value in (("content-type", call.content_type), ("accept", call.accept)):
            if value:
                lines.append(f"{name}: {value}")
        if call.traceparent:
            lines.append(f"traceparent: {call.traceparent}")
        lines += (f"{name}: {value}" for name, value in call.forward)
        return ("\r\n".join(lines) + "\r\n").encode("latin-1")
