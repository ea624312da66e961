"""The last lines that a child process wrote, for the message that says why it failed."""

from __future__ import annotations

from collections import deque

_MAX_LINE = 4096


class OutputTail:
    """Keeps the last lines, without a secret that the child may have printed."""

    def __init__(self, secret: str, lines: int = 200) -> None:
        self._secret = secret
        self._lines: deque[str] = deque(maxlen=lines)
        self._open = b""

    def feed(self, data: bytes) -> list[str]:
        """Takes in output as it comes; returns the lines that are now whole."""
        *whole, rest = (self._open + data).split(b"\n")
        self._open = rest[-_MAX_LINE:]
        shown = [self._shown(line) for line in whole]
        self._lines.extend(shown)
        return shown

    def text(self) -> str:
        """The lines so far, the unfinished one included."""
        last = [self._shown(self._open)] if self._open else []
        return "\n".join([*self._lines, *last])

    def _shown(self, line: bytes) -> str:
        return line[-_MAX_LINE:].decode("utf-8", "replace").rstrip("\r").replace(self._secret, "[token]")
