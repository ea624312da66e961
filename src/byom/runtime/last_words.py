"""What an engine wrote last, for the message that says why it failed."""

from __future__ import annotations

import re
from collections import deque

_LONGEST_LINE = 2000
_TOLD = re.compile(
    r"error|fail|exception|cannot|unable|not enough|out of memory|killed|denied|invalid|no such", re.IGNORECASE
)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class LastWords:
    """The last lines of an engine's output, without its token and without colours."""

    def __init__(self, secret: str = "", keep: int = 400) -> None:
        self._secret = secret
        self._lines: deque[str] = deque(maxlen=keep)
        self._rest = b""

    def take(self, data: bytes) -> list[str]:
        """Takes in output as it comes; returns the lines that it completes."""
        *complete, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > 16 * _LONGEST_LINE:
            complete, self._rest = [*complete, self._rest], b""
        lines = [line for line in map(self._clean, complete) if line.strip()]
        self._lines.extend(lines)
        return lines

    def text(self, lines: int = 200) -> str:
        rest = [self._clean(self._rest)] if self._rest.strip() else []
        return "\n".join([*self._lines, *rest][-lines:])

    def story(self, lines: int = 8) -> str:
        """The lines that tell of trouble, or where none does the last ones."""
        all_lines = self.text().splitlines()
        told = [line for line in all_lines if _TOLD.search(line)]
        return "\n".join((told or all_lines)[-lines:])

    def _clean(self, line: bytes) -> str:
        text = _ESCAPES.sub("", line.decode("utf-8", "replace")).rstrip()
        if self._secret:
            text = text.replace(self._secret, "[token]")
        return text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 1] + "…"
