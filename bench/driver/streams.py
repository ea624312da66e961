"""The stream driver: opens many streams, checks every event of each, and measures how late each one arrived.

One thread, one epoll, raw sockets, so that it fits on one core beside the paced mock. Every stream has to deliver all
its numbered events, in order, exactly once, then a finish reason, ``[DONE]`` and a clean end of the chunked body. The
result is one JSON object on stdout; times in microseconds after the instant the mock had planned.

    python driver/streams.py --url http://127.0.0.1:9000/v1/chat/completions --body body.json --streams 2000
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import select
import socket
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

_MARK = re.compile(rb"~(\d{6})@(\d{20})~")
_FINISH = re.compile(rb'"finish_reason":\s*"stop"')
_LONGEST_MARK = 40


class Broken(Exception):
    """The bytes of an answer were not what HTTP/1.1 or the mock promise."""


@dataclass(slots=True)
class Stream:
    """One open stream: what is still undecoded, and what has been checked."""

    connection: socket.socket
    events: int
    status: int = 0
    undecoded: bytes = b""
    text: bytes = b""
    received: int = 0
    done: int = 0
    finished: bool = False
    ended: bool = False
    fault: str = ""

    def feed(self, data: bytes, now_ns: int, lateness_us: array[int]) -> None:
        """Take bytes off the wire; raises ``Broken`` when they cannot be right."""
        if self.undecoded:
            data = self.undecoded + data
            self.undecoded = b""
        if not self.status:
            data = self._take_head(data)
        while data:
            line_end = data.find(b"\r\n")
            end = line_end + 2 + int(data[:line_end], 16) if line_end > 0 else len(data)
            if line_end < 0 or len(data) < end + 2:
                self.undecoded = data
                return
            if end == line_end + 2:
                self.ended = True
                return
            self._take_text(data[line_end + 2 : end], now_ns, lateness_us)
            data = data[end + 2 :]

    def _take_head(self, data: bytes) -> bytes:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            self.undecoded = data
            return b""
        self.status = int(head[9:12])
        if self.status != 200:
            raise Broken(f"status {self.status}")
        if b"transfer-encoding: chunked" not in head.lower():
            raise Broken("not a chunked answer")
        return rest

    def _take_text(self, text: bytes, now_ns: int, lateness_us: array[int]) -> None:
        if self.text:
            text = self.text + text
        last = 0
        for match in _MARK.finditer(text):
            if int(match[1]) != self.received:
                raise Broken(f"event {int(match[1])} where {self.received} was due")
            self.received += 1
            lateness_us.append((now_ns - int(match[2])) // 1000)
            last = match.end()
        if self.received == self.events:
            rest = text[last:]
            self.finished = self.finished or _FINISH.search(rest) is not None
            self.done += rest.count(b"[DONE]")
            self.text = b"" if b"[DONE]" in rest else rest
        else:
            self.text = text[max(last, len(text) - _LONGEST_MARK) :]

    def verdict(self) -> str:
        """Empty when the stream was perfect, else the first thing that was wrong."""
        if self.fault:
            return self.fault
        if self.received != self.events:
            return "events missing"
        if not self.finished:
            return "no finish reason"
        if self.done != 1:
            return f"{self.done} x [DONE]"
        return "" if self.ended else "no clean end"


@dataclass(slots=True)
class Drive:
    """All the streams of a run, on one epoll."""

    address: tuple[str, int]
    request: bytes
    events: int
    streams: dict[int, Stream] = field(default_factory=dict)
    finished: list[Stream] = field(default_factory=list)
    lateness_us: array[int] = field(default_factory=lambda: array("q"))
    opened: int = 0
    most_open: int = 0
    _epoll: select.epoll = field(default_factory=select.epoll)

    def run(self, count: int, per_second: float, deadline_s: float) -> None:
        """Open ``count`` streams at an even rate and read until all have ended or ``deadline_s`` has passed."""
        start = time.monotonic()
        while (now := time.monotonic()) < start + deadline_s:
            while self.opened < min(count, (now - start) * per_second):
                self._open()
            if self.opened == count and not self.streams:
                return
            self._read_ready()
        for stream in self.streams.values():
            stream.fault = stream.fault or "not ended in time"
        self.finished.extend(self.streams.values())

    def _open(self) -> None:
        self.opened += 1
        connection = socket.socket()
        stream = Stream(connection, self.events)
        try:
            connection.connect(self.address)
            connection.sendall(self.request)
            connection.settimeout(0.0)
        except OSError as error:
            stream.fault = f"connect: {error.strerror}"
            self.finished.append(stream)
            connection.close()
            return
        self.streams[connection.fileno()] = stream
        self.most_open = max(self.most_open, len(self.streams))
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _read_ready(self) -> None:
        for descriptor, _ in self._epoll.poll(0.002, 128):
            stream = self.streams[descriptor]
            try:
                data = stream.connection.recv(16384)
                if not data:
                    raise Broken("closed early")
                stream.feed(data, time.monotonic_ns(), self.lateness_us)
            except (Broken, OSError, ValueError) as error:
                stream.fault = str(error)
            if stream.ended or stream.fault:
                del self.streams[descriptor]
                self._epoll.unregister(descriptor)
                stream.connection.close()
                self.finished.append(stream)

    def report(self, elapsed_s: float) -> dict[str, object]:
        """The figures of the run, as they go to stdout."""
        faults: dict[str, int] = {}
        for stream in self.finished:
            verdict = stream.verdict()
            if verdict:
                faults[verdict] = faults.get(verdict, 0) + 1
        late = sorted(self.lateness_us)
        expected = self.opened * self.events
        received = sum(stream.received for stream in self.finished)
        return {
            "streams": self.opened,
            "most_open": self.most_open,
            "perfect": self.opened - sum(faults.values()),
            "faults": faults,
            "events_expected": expected,
            "events_received": received,
            "events_lost": expected - received,
            "elapsed_s": round(elapsed_s, 3),
            "driver_cpu_s": round(time.process_time(), 3),
            "late_p50_us": _percentile(late, 0.50),
            "late_p99_us": _percentile(late, 0.99),
            "late_max_us": late[-1] if late else None,
        }


def _percentile(ordered: Sequence[int], share: float) -> int | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def _request(url: str, body: bytes, headers: Sequence[str]) -> tuple[tuple[str, int], bytes]:
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    lines = [
        f"POST {parts.path} HTTP/1.1",
        f"Host: {host}:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return (host, port), "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", required=True)
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--header", action="append", default=[], help="'Name: value', repeatable")
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--events", type=int, default=400, help="numbered events each stream has to deliver")
    parser.add_argument("--open-per-second", type=float, default=500.0)
    parser.add_argument("--deadline", type=float, default=90.0, help="seconds after which what is open has failed")
    options = parser.parse_args()
    address, request = _request(options.url, options.body.read_bytes(), options.header)
    drive = Drive(address, request, options.events)
    gc.freeze()
    gc.disable()
    start = time.monotonic()
    drive.run(options.streams, options.open_per_second, options.deadline)
    print(json.dumps(drive.report(time.monotonic() - start)))


if __name__ == "__main__":
    main()
