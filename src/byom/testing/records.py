"""What a fake upstream saw, and how a test waits for it: on events, never by sleeping."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class RecordedRequest:
    """One request as it arrived. Times are ``time.monotonic()`` seconds; header names are lower case."""

    number: int
    connection_id: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    received_at: float
    status: int | None = None
    chunks_sent: int = 0
    ended_at: float | None = None
    completed: bool = False
    http_version: str = "1.1"
    keep_alive: bool = True
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The first header of that name, whatever its case; None where there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key == wanted), None)

    def json(self) -> Any:
        """The body, decoded. Raises `msgspec.DecodeError` where it is not JSON."""
        return msgspec.json.decode(self.body)

    def fields(self) -> dict[str, Any]:
        """The body where it is a JSON object, else an empty dict."""
        try:
            value = self.json()
        except (msgspec.DecodeError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def model(self) -> str | None:
        model = self.fields().get("model")
        return model if isinstance(model, str) else None


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The caller went away before its answer had ended."""

    request: RecordedRequest
    at: float
    chunks_sent: int


class EventBoard:
    """Lets threads and event loops wait until a condition holds; whoever changes something calls `notify`.

    The server may run in another thread than those who wait, so waiters are woken in their own way.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: set[Callable[[], None]] = set()

    def notify(self) -> None:
        with self._lock:
            wakers = tuple(self._wakers)
        for wake in wakers:
            wake()

    def wait_sync(self, condition: Callable[[], T | None], timeout: float, what: str) -> T:
        """Blocks until ``condition()`` gives something other than None. Raises TimeoutError."""
        changed = threading.Event()
        deadline = time.monotonic() + timeout
        with self._subscribed(changed.set):
            while True:
                changed.clear()
                value = condition()
                if value is not None:
                    return value
                if not changed.wait(max(0.0, deadline - time.monotonic())) and condition() is None:
                    raise TimeoutError(f"{what} did not happen within {timeout:g} s")

    async def wait(self, condition: Callable[[], T | None], timeout: float, what: str) -> T:
        """`wait_sync` for coroutines."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(changed.set)
            except RuntimeError:
                self._wakers.discard(wake)  # that loop is closed: nobody waits there any more

        deadline = time.monotonic() + timeout
        with self._subscribed(wake):
            while True:
                changed.clear()
                value = condition()
                if value is not None:
                    return value
                try:
                    await asyncio.wait_for(changed.wait(), max(0.0, deadline - time.monotonic()))
                except TimeoutError:
                    if condition() is None:
                        raise TimeoutError(f"{what} did not happen within {timeout:g} s") from None

    def _subscribed(self, wake: Callable[[], None]) -> _Subscription:
        return _Subscription(self._lock, self._wakers, wake)


class _Subscription:
    def __init__(self, lock: threading.Lock, wakers: set[Callable[[], None]], wake: Callable[[], None]) -> None:
        self._lock, self._wakers, self._wake = lock, wakers, wake

    def __enter__(self) -> None:
        with self._lock:
            self._wakers.add(self._wake)

    def __exit__(self, *_exc: object) -> None:
        with self._lock:
            self._wakers.discard(self._wake)
