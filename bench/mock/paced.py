"""The paced mock upstream: many slow streams at once, each event sent at its own planned instant.

One thread, one epoll, no framework: 2,000 streams at 20 events per second have to leave room on the core for the
driver. Streams are spread over 1 ms slots of the period, so that events leave evenly and not in bursts. Each event
carries its number and the instant it was *planned* for (monotonic clock, nanoseconds), so that a late mock shows in
the direct leg and cannot flatter a gateway.

    python mock/paced.py --port 9000 --events-per-second 20 --seconds 20
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mock.answers import COMPLETION, MODELS, event

SLOT_S = 0.001
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def chunk(payload: bytes) -> bytes:
    """One chunk of chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def event_template() -> bytes:
    """A chunk with two fixed-width holes: event number (6 digits) and planned instant (20 digits)."""
    filled = chunk(event({"content": f"~{111111:06d}@{222222:020d}~"}).encode())
    return filled.replace(b"%", b"%%").replace(b"111111", b"%06d").replace(b"00000000000000222222", b"%020d")


_EVENT = event_template()
_FIRST = _HEAD + chunk(event({"role": "assistant", "content": ""}).encode())
_LAST = chunk(event({}, "stop").encode()) + chunk(event(None).encode()) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


@dataclass(slots=True, eq=False)
class Caller:
    """One accepted connection: its unread request, its unsent bytes, the number of its next event."""

    connection: socket.socket
    request: bytes = b""
    unsent: bytes = b""
    next_event: int = 0
    slot: int = -1

    def send(self, payload: bytes) -> None:
        """Send now what the socket takes; keep the rest for the next turn of this caller's slot."""
        if self.unsent:
            payload = self.unsent + payload
        try:
            sent = self.connection.send(payload)
        except BlockingIOError:
            sent = 0
        self.unsent = payload[sent:] if sent != len(payload) else b""


@dataclass(slots=True)
class PacedMock:
    """The server: one epoll, callers by file descriptor, streaming callers by slot."""

    listener: socket.socket
    period_s: float
    events: int
    callers: dict[int, Caller] = field(default_factory=dict)
    slots: list[set[Caller]] = field(default_factory=list)
    accepted: int = 0
    _epoll: select.epoll = field(default_factory=select.epoll)
    _next_slot: int = 0

    def __post_init__(self) -> None:
        self.slots = [set() for _ in range(round(self.period_s / SLOT_S))]
        self.listener.settimeout(0.0)
        self._epoll.register(self.listener.fileno(), select.EPOLLIN)

    def serve(self, stopped: Callable[[], bool]) -> None:
        """Serve until ``stopped()``; returns within a slot of it."""
        tick = 0
        start = time.monotonic()
        listening = self.listener.fileno()
        while not stopped():
            wait = start + tick * SLOT_S - time.monotonic()
            for descriptor, _ in self._epoll.poll(max(0.0, wait), 256):
                if descriptor == listening:
                    self._accept()
                else:
                    self._read(self.callers[descriptor])
            # Every slot that is due, also several after a delay: none is skipped.
            while start + tick * SLOT_S <= time.monotonic():
                self._send_slot(tick % len(self.slots), round((start + tick * SLOT_S) * 1e9))
                tick += 1

    def _send_slot(self, slot: int, planned_ns: int) -> None:
        for caller in tuple(self.slots[slot]):
            number = caller.next_event
            try:
                if number < self.events:
                    caller.send(_EVENT % (number, planned_ns))
                    caller.next_event = number + 1
                else:
                    self._finish(caller)
            except OSError:
                self._drop(caller)

    def _finish(self, caller: Caller) -> None:
        caller.send(_LAST if caller.next_event == self.events else b"")
        caller.next_event = self.events + 1
        if not caller.unsent:
            self.slots[caller.slot].discard(caller)
            caller.slot, caller.next_event = -1, 0

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                return
            connection.settimeout(0.0)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            self.callers[connection.fileno()] = Caller(connection)
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _read(self, caller: Caller) -> None:
        try:
            received = caller.connection.recv(16384)
        except OSError:
            received = b""
        if not received:
            self._drop(caller)
            return
        caller.request += received
        if caller.slot < 0 and _is_whole(caller.request):
            self._answer(caller, caller.request)
            caller.request = b""

    def _answer(self, caller: Caller, request: bytes) -> None:
        if request.startswith(b"GET "):
            caller.send(_json_answer(MODELS))
        elif not json.loads(_body(request)).get("stream"):
            caller.send(_json_answer(COMPLETION))
        else:
            caller.slot = self._next_slot
            self._next_slot = (self._next_slot + 1) % len(self.slots)
            caller.send(_FIRST)
            self.slots[caller.slot].add(caller)

    def _drop(self, caller: Caller) -> None:
        if caller.slot >= 0:
            self.slots[caller.slot].discard(caller)
        self.callers.pop(caller.connection.fileno(), None)
        caller.connection.close()


def _json_answer(body: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def _is_whole(request: bytes) -> bool:
    head, separator, body = request.partition(b"\r\n\r\n")
    if not separator:
        return False
    head = head.lower()
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length or 0)


def _body(request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    whole = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return whole
        whole, body = whole + body[:length], body[length + 2 :]


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--events-per-second", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of one stream")
    options = parser.parse_args()
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stopping.append(received))
    with socket.create_server(("127.0.0.1", options.port), backlog=4096) as listener:
        mock = PacedMock(listener, 1 / options.events_per_second, round(options.events_per_second * options.seconds))
        gc.freeze()
        gc.disable()
        mock.serve(lambda: bool(stopping))


if __name__ == "__main__":
    main()
