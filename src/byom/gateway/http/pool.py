"""Connections to one upstream: the idle ones last in, first out, so that few stay in use and the rest close."""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from byom.errors import UpstreamTimeout, UpstreamUnreachable
from byom.gateway.http.outbound import Outbound
from byom.gateway.http.sender import Batch

if TYPE_CHECKING:
    from byom.types.target import Target

IDLE_PLAIN = 4.0
"""Seconds. Less than the five after which uvicorn, under most model servers, closes an idle connection."""
IDLE_TLS = 30.0
"""Seconds. Longer, because a TLS handshake with a server far away is dear."""

DOWN_SECONDS = 2.0
"""How long a place that could not be reached is left alone, where there are others that answer alike."""

MAX_KEPT_HEADS = 64

Resolver = Callable[["Target"], Awaitable[Sequence[str]]]
"""Gives the addresses that a target may be reached at, policy applied; raises `byom.errors` where there are none."""


class Pool:
    """Not bounded in size: what bounds the calls to an upstream is its connection's limits."""

    def __init__(self, target: Target, resolve: Resolver, batch: Batch) -> None:
        self.target = target
        self.batch = batch
        self._resolve = resolve
        self.idle: list[Outbound] = []
        self.open: set[Outbound] = set()
        self.heads: dict[bytes, tuple[int, dict[bytes, bytes], int]] = {}
        """Heads of answers that were read before: status, headers, length of the body."""
        self.connecting = 0
        self.last_used = -math.inf
        """When a connection came back from a call (monotonic clock)."""
        self.chosen_at = -math.inf
        self.down_until = -math.inf
        """It could not be reached a moment ago."""
        self._idle_limit = IDLE_TLS if target.scheme == "https" else IDLE_PLAIN

    def take(self) -> Outbound | None:
        """An idle connection, if there is one that still stands."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if not connection.lost and connection.transport is not None and not connection.transport.is_closing():
                return connection
        return None

    def keep(self, head: bytes, status: int, headers: dict[bytes, bytes]) -> None:
        """Keep the head of a good answer with a stated length, after which its connection stays open."""
        length = headers.get(b"content-length")
        if status != 200 or length is None or b"transfer-encoding" in headers or b"content-encoding" in headers:
            return
        if len(self.heads) >= MAX_KEPT_HEADS:
            self.heads.clear()
        self.heads[head[:-4]] = (status, headers, int(length))

    def put(self, connection: Outbound) -> None:
        self.last_used = connection.idle_since = time.monotonic()
        self.idle.append(connection)

    def forget(self, connection: Outbound) -> None:
        self.open.discard(connection)
        if connection.receiver is None and connection in self.idle:
            self.idle.remove(connection)

    def expire(self, now: float) -> None:
        """Close what has been idle for too long; the oldest stand first."""
        idle = self.idle
        while idle and now - idle[0].idle_since > self._idle_limit:
            connection = idle.pop(0)
            if connection.transport is not None:
                connection.transport.close()

    def close(self) -> None:
        """Close what is idle; a connection in use ends with its call."""
        self._idle_limit = -1.0
        self.expire(time.monotonic())

    @property
    def retired(self) -> bool:
        return self._idle_limit < 0 and not self.open

    @property
    def busy(self) -> int:
        """Calls under way here, those that still wait for a connection included."""
        return len(self.open) - len(self.idle) + self.connecting

    async def connect(self, seconds: float) -> Outbound:
        """A new connection, within ``seconds`` (0: no bound) for name look-up, TCP and TLS together."""
        self.connecting += 1
        self.down_until = time.monotonic() + DOWN_SECONDS
        try:
            connection = await self._connect_within(seconds)
        finally:
            self.connecting -= 1
        self.down_until = -math.inf
        return connection

    async def _connect_within(self, seconds: float) -> Outbound:
        target = self.target
        try:
            async with asyncio.timeout(seconds or None):
                return await self._connect()
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"No connection to {target.host}:{target.port} within {seconds:g} s. "
                "Is the server up, and does a firewall let this machine through?"
            ) from error

    async def _connect(self) -> Outbound:
        target = self.target
        loop = asyncio.get_running_loop()
        tls = _tls_context(target.verify_tls, target.ca_file) if target.scheme == "https" else None
        failure: OSError | None = None
        for address in await self._resolve(target):
            try:
                _, connection = await loop.create_connection(
                    lambda: Outbound(self),
                    address,
                    target.port,
                    ssl=tls,
                    server_hostname=target.host if tls else None,
                )
            except OSError as error:
                failure = error
                continue
            self.open.add(connection)
            return connection
        raise _unreachable(target, failure) from failure


def _unreachable(target: Target, failure: OSError | None) -> UpstreamUnreachable:
    where = f"{target.host}:{target.port}"
    if isinstance(failure, ssl.SSLCertVerificationError):
        return UpstreamUnreachable(
            f"The TLS certificate of {where} is not trusted: {failure.verify_message}. "
            "Give the connection a CA bundle (ca_file) if it is signed by your own authority."
        )
    if isinstance(failure, ssl.SSLError):
        return UpstreamUnreachable(
            f"TLS with {where} failed ({failure.reason or failure}). Does that port speak https? Try http://."
        )
    if isinstance(failure, ConnectionRefusedError):
        return UpstreamUnreachable(f"{where} refused the connection. Is the model's server running there?")
    return UpstreamUnreachable(f"{where} could not be reached: {failure}")


@lru_cache(maxsize=64)
def _tls_context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
