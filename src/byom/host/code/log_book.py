"""What the workers print: the end of it in memory, all of it (within bounds) to whoever follows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

_MAX_LINE = 8192
_KEPT_LINES = 2000
_KEPT_BYTES = 2**20
_BURST = 2 * 2**20
_RATE = 256 * 2**10


class Hider(Protocol):
    def hide(self, text: str) -> str: ...


class LogBook:
    """Lines with their time and source.

    Code may print 256 KiB a second for ever, and 2 MiB at once; what goes beyond is counted and left out.

    Args:
        hider: takes secrets out of a line.
        sink: gets every line that is kept; it must not block.
    """

    def __init__(
        self,
        hider: Hider,
        sink: Callable[[str], None],
        *,
        burst: int = _BURST,
        rate: int = _RATE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hider = hider
        self._sink = sink
        self._lines: deque[str] = deque()
        self._bytes = 0
        self._burst = burst
        self._rate = rate
        self._room = float(burst)
        self._clock = clock
        self._filled = clock()
        self._left_out = 0

    def write(self, source: str, text: str) -> None:
        """Lines of a source: the front itself, or a worker."""
        for line in text.splitlines() or [""]:
            self._line(source, line[:_MAX_LINE])

    def allow(self, size: int) -> bool:
        """Whether so much more may be written now; what may not is counted."""
        now = self._clock()
        self._room = min(self._burst, self._room + (now - self._filled) * self._rate)
        self._filled = now
        if self._room < size:
            self._left_out += size
            return False
        self._room -= size
        if self._left_out:
            count, self._left_out = self._left_out, 0
            self._line("log", f"… {count} bytes of output were left out: too much was printed at once")
        return True

    def tail(self, lines: int) -> list[str]:
        """The last lines, the oldest first."""
        kept = list(self._lines)
        return kept[-lines:] if lines > 0 else []

    def _line(self, source: str, line: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        shown = f"{stamp} [{source}] {self._hider.hide(line)}"
        self._lines.append(shown)
        self._bytes += len(shown)
        while len(self._lines) > _KEPT_LINES or self._bytes > _KEPT_BYTES:
            self._bytes -= len(self._lines.popleft())
        self._sink(shown)


class LineSplitter:
    """Bytes as they come, out as whole lines. A line without end is cut."""

    def __init__(self) -> None:
        self._open = b""

    def feed(self, data: bytes) -> list[str]:
        *whole, rest = (self._open + data).split(b"\n")
        if len(rest) > _MAX_LINE:
            whole.append(rest)
            rest = b""
        self._open = rest
        return [line.decode("utf-8", "replace").rstrip("\r") for line in whole]

    def end(self) -> list[str]:
        """What is left when no more comes."""
        rest, self._open = self._open, b""
        return [rest.decode("utf-8", "replace")] if rest else []
