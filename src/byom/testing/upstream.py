"""A fake OpenAI-compatible server for tests: real sockets, scripted behaviour, everything recorded."""

from __future__ import annotations

import asyncio
import inspect
import ssl
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from byom.testing.behavior import Behavior
from byom.testing.connection import Connection
from byom.testing.records import Disconnect, EventBoard, RecordedRequest
from byom.testing.routes import Router

_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Response:
    """A raw answer, for a handler that wants to say every byte itself."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[RecordedRequest], Behavior | Response | Awaitable[Behavior | Response]]


class FakeUpstream:
    """An OpenAI-compatible server on a loopback port of its own.

    ``with FakeUpstream() as upstream`` runs it in a thread of its own; ``async with`` in the running loop.
    What it does with a call is decided by the first of: the queue (`enqueue`), the path (`set_path`), the model
    (`set_model`), the default. A handler in place of a behaviour is called with the request.

    Everything it saw can be read from any thread: `requests`, `disconnects`, `connections_accepted`,
    `connections_open`, `open_requests`, `rate_limit_violations`. The ``wait_for_…`` methods are for coroutines,
    their ``…_sync`` twins for plain functions; all raise TimeoutError.

    Args:
        default: what to do with calls for which nothing else is set.
        models: names that ``/models`` lists. Other names are served too, unless ``strict_models``.
        api_key: when set, calls without ``Authorization: Bearer <api_key>`` are answered 401.
        prefix: path before the routes; `base_url` ends with it.
        tls: a server-side context, or paths of a certificate and its key.
    """

    def __init__(
        self,
        default: Behavior | Handler | None = None,
        *,
        models: Sequence[str] = ("fake-model",),
        strict_models: bool = False,
        api_key: str | None = None,
        prefix: str = "/v1",
        tls: ssl.SSLContext | tuple[str | Path, str | Path] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.models = tuple(models)
        self.strict_models = strict_models
        self.api_key = api_key
        self.prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        self.requests: list[RecordedRequest] = []
        self.disconnects: list[Disconnect] = []
        self.connections_accepted = 0
        self.rate_limit_violations = 0
        self.host, self.port = host, port
        self._default: Behavior | Handler = default if default is not None else Behavior()
        self._by_model: dict[str, Behavior | Handler] = {}
        self._by_path: dict[str, Behavior | Handler] = {}
        self._queue: deque[Behavior | Handler] = deque()
        self._tls = _context(tls)
        self._board = EventBoard()
        self._connections: set[Connection] = set()
        self._numbers = 0
        self._ended = 0
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._router = Router(self)

    # --- addresses

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls is not None else 'http'}://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as ``base_url``."""
        return self.url + self.prefix

    # --- script

    def set_default(self, behavior: Behavior | Handler) -> None:
        """What to do with calls for which nothing else is set."""
        self._default = behavior

    def set_model(self, model: str, behavior: Behavior | Handler) -> None:
        """What to do with calls of one model."""
        self._by_model[model] = behavior

    def set_path(self, path: str, behavior: Behavior | Handler) -> None:
        """What to do with calls of one route, such as ``/embeddings`` (without the prefix)."""
        self._by_path["/" + path.strip("/")] = behavior

    def enqueue(self, *behaviors: Behavior | Handler) -> None:
        """What to do with the next calls, in order. Listing models does not take from the queue."""
        self._queue.extend(behaviors)

    @property
    def queued(self) -> int:
        """How many enqueued behaviours have not been used yet."""
        return len(self._queue)

    async def choose(self, request: RecordedRequest, route: str) -> tuple[str, Behavior | Response]:
        """The behaviour for a request, and the name of the rule it came from."""
        model = request.model
        scope: str
        chosen: Behavior | Handler
        if self._queue and not route.startswith("/models"):
            scope, chosen = "queue", self._queue.popleft()
        elif route in self._by_path:
            scope, chosen = f"path {route}", self._by_path[route]
        elif model is not None and model in self._by_model:
            scope, chosen = f"model {model}", self._by_model[model]
        else:
            scope, chosen = "default", self._default
        if isinstance(chosen, Behavior):
            return scope, chosen
        made = chosen(request)
        return scope, await made if inspect.isawaitable(made) else made

    # --- what was seen

    @property
    def connections_open(self) -> int:
        return len(self._connections)

    @property
    def open_requests(self) -> int:
        """Requests that have arrived and whose answer has not ended."""
        return len(self.requests) - self._ended

    def forget(self) -> None:
        """Clears what was recorded of ended calls; the script and the connections stay."""
        running = [request for request in self.requests if request.ended_at is None]
        self.requests[:] = running
        self._ended = 0
        self.disconnects.clear()
        self.connections_accepted = len(self._connections)
        self.rate_limit_violations = 0

    def drop_connections(self, *, idle_only: bool = False) -> None:
        """Resets the open connections, as a server that crashes does."""

        def drop() -> None:
            for connection in tuple(self._connections):
                if connection.idle or not idle_only:
                    connection.reset()

        if self._loop is not None:
            self._loop.call_soon_threadsafe(drop)

    async def wait_for_requests(self, count: int = 1, timeout: float = _TIMEOUT) -> list[RecordedRequest]:
        """The requests so far, once there are ``count``."""
        return await self._board.wait(lambda: self._at_least(count), timeout, f"request {count}")

    def wait_for_requests_sync(self, count: int = 1, timeout: float = _TIMEOUT) -> list[RecordedRequest]:
        return self._board.wait_sync(lambda: self._at_least(count), timeout, f"request {count}")

    async def wait_for_disconnect(self, timeout: float = _TIMEOUT, *, count: int = 1) -> Disconnect:
        """The ``count``-th time that a caller went away before its answer had ended."""
        return await self._board.wait(lambda: self._left(count), timeout, f"disconnect {count}")

    def wait_for_disconnect_sync(self, timeout: float = _TIMEOUT, *, count: int = 1) -> Disconnect:
        return self._board.wait_sync(lambda: self._left(count), timeout, f"disconnect {count}")

    async def wait_until_idle(self, timeout: float = _TIMEOUT) -> None:
        """Returns when no request is open."""
        await self._board.wait(self._nothing_open, timeout, "the end of all requests")

    def wait_until_idle_sync(self, timeout: float = _TIMEOUT) -> None:
        self._board.wait_sync(self._nothing_open, timeout, "the end of all requests")

    async def wait_for_connections(self, count: int, timeout: float = _TIMEOUT) -> None:
        """Returns when exactly ``count`` connections are open."""
        await self._board.wait(lambda: self._open_now(count), timeout, f"{count} open connections")

    def wait_for_connections_sync(self, count: int, timeout: float = _TIMEOUT) -> None:
        self._board.wait_sync(lambda: self._open_now(count), timeout, f"{count} open connections")

    def _at_least(self, count: int) -> list[RecordedRequest] | None:
        return list(self.requests) if len(self.requests) >= count else None

    def _left(self, count: int) -> Disconnect | None:
        return self.disconnects[count - 1] if len(self.disconnects) >= count else None

    def _nothing_open(self) -> bool | None:
        return True if self.open_requests == 0 else None

    def _open_now(self, count: int) -> bool | None:
        return True if len(self._connections) == count else None

    # --- told by connections

    def connection_opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._board.notify()

    def connection_closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._board.notify()

    def next_request_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def request_arrived(self, request: RecordedRequest) -> None:
        self.requests.append(request)
        self._board.notify()

    def request_ended(self, request: RecordedRequest, *, caller_left: bool) -> None:
        request.ended_at = time.monotonic()
        self._ended += 1
        if caller_left:
            self.disconnects.append(Disconnect(request, request.ended_at, request.chunks_sent))
        self._board.notify()

    async def answer(self, request: RecordedRequest, connection: Connection) -> None:
        await self._router.answer(request, connection)

    # --- life

    async def start(self) -> None:
        """Listens, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(self._accept, self.host, self.port, ssl=self._tls, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    def _accept(self) -> Connection:
        self.connections_accepted += 1
        return Connection(self, self.connections_accepted)

    async def stop(self) -> None:
        """Stops listening and resets every connection that is still open."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            connection.reset()
        await self.wait_for_connections(0)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        ready = threading.Event()
        problem: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(ready, problem), name="fake-upstream", daemon=True)
        self._thread.start()
        ready.wait()
        if problem:
            self._thread.join()
            raise problem[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._thread is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def _run(self, ready: threading.Event, problem: list[BaseException]) -> None:
        async def serve() -> None:
            stopping = self._stopping = asyncio.Event()
            try:
                await self.start()
            except OSError as error:
                problem.append(error)
                return
            finally:
                ready.set()
            await stopping.wait()
            await self.stop()

        asyncio.run(serve())


def _context(tls: ssl.SSLContext | tuple[str | Path, str | Path] | None) -> ssl.SSLContext | None:
    if not isinstance(tls, tuple):
        return tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    return context
