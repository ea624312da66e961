"""What the gateway keeps of each connection: its pool, its circuit breaker, and the head of its requests."""

from __future__ import annotations

from byom import __version__
from byom.gateway.circuit import Breaker
from byom.gateway.http.pool import Pool, Resolver
from byom.gateway.http.sender import Batch
from byom.gateway.request import CallHead
from byom.types.target import Target


class Upstream:
    """Lives as long as its connection; an edit of the connection gives it a new pool and keeps the breaker."""

    def __init__(self, name: str, target: Target, resolve: Resolver, batch: Batch) -> None:
        self.name = name
        self.target = target
        self.breaker = Breaker()
        self.pool = Pool(target, resolve, batch)
        self._resolve = resolve

    def retarget(self, target: Target) -> Pool | None:
        """Use another target from now on; the old pool, if it changed, for the calls that are still in it."""
        if target == self.target:
            return None
        old, self.pool = self.pool, Pool(target, self._resolve, self.pool.batch)
        self.target = target
        self.breaker = Breaker()
        old.close()
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
