"""Keeps secrets out of what is shown: logs and messages of code that may print anything."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SHORTEST = 6


class Secrecy:
    """Replaces known secrets in texts."""

    def __init__(self) -> None:
        self._pattern: re.Pattern[str] | None = None

    def know(self, secrets: Iterable[str]) -> None:
        """These, and no others."""
        # Texts are shown line by line, so a key of several lines is known by each of them.
        lines = {line for secret in secrets for line in secret.splitlines() if len(line) >= _SHORTEST}
        longest_first = sorted(lines, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def hide(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub("[secret]", text)
