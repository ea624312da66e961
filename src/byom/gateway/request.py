"""A call as it came in, and where its answer goes: the seam between the gateway and a server.

`byom.gateway.http.inbound` is the fast server; `byom.gateway.asgi` lets any ASGI server or an in-process client call
the same gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from byom.catalog.snapshot import CallerKey, Snapshot
    from byom.gateway.plan import Plan


class CallHead:
    """What a request's head says. Clients send the same head again and again, so it is read once and kept.

    ``snapshot``, ``caller`` and ``plans`` are worked out by the gateway, for one state of the catalog: they go when
    the catalog changes, so that a key that was revoked is refused from then on.
    """

    __slots__ = (
        "accept",
        "caller",
        "connection",
        "content_type",
        "encoding",
        "forward",
        "idempotency_key",
        "method",
        "path",
        "plans",
        "query",
        "request_id",
        "snapshot",
        "straight",
        "token",
        "traceparent",
    )

    def __init__(self, method: str, path: str, *, token: str | None = None) -> None:
        self.method = method
        self.path = path
        """Below ``/v1/``, without the query: ``chat/completions``."""
        self.query = b""
        self.token = token
        """The caller's key; ``None`` where none was sent."""
        self.content_type = ""
        self.accept = ""
        self.encoding = b""
        """``Content-Encoding`` of the body."""
        self.request_id = ""
        """The caller's ``x-request-id``, if it is fit to be used."""
        self.idempotency_key = ""
        self.traceparent = ""
        self.connection = ""
        """``x-byom-connection``: where a route without a model goes."""
        self.forward: tuple[tuple[str, str], ...] = ()
        """Headers of the allow-list that travel to the upstream as they are."""
        self.snapshot: Snapshot | None = None
        self.caller: CallerKey | None = None
        self.plans: dict[str, Plan] = {}
        self.straight = False
        """Calls may take the straight road (`byom.gateway.express`), as far as the head shows."""


class Downstream(Protocol):
    """Where an answer goes. Calls come from the event loop; none of them waits.

    Either one `respond`, or `start`, any number of `write`, then `finish` or `abort`.
    """

    writable: bool
    """False while the caller reads too slowly; ``Caller.on_drain`` is called when it is True again."""

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """A whole answer. ``headers``: encoded lines, each ending in CRLF, without ``content-length``."""

    def start(self, status: int, headers: bytes, length: int | None) -> None:
        """Begin an answer; ``length`` in bytes where it is known."""

    def write(self, data: bytes) -> None: ...

    def finish(self, *, close: bool = False) -> None:
        """End the answer properly; with ``close`` the connection is closed after it."""

    def abort(self) -> None:
        """Break the connection, so that the caller sees that the answer is not whole."""


class Caller(Protocol):
    """What a server tells the gateway about a call that is under way."""

    finished: bool

    def on_disconnect(self) -> None:
        """The caller went away before the answer ended."""

    def on_drain(self) -> None:
        """`Downstream.writable` is True again."""
