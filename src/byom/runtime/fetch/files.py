"""What is fetched, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """Where it goes, relative to the model's folder."""
    url: str
    size: int | None = None
    sha256: str | None = None
    optional: bool = False
    """Left out, without a word, where it is not there."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, of all files together; ``total`` is ``None`` until every size is known."""

    file: str
    done: int
    total: int | None
    files_done: int
    files: int

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        if self.total:
            return min(self.done / self.total, 1.0)
        return self.files_done / max(self.files, 1)


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """Weights on this machine."""

    path: Path
    """The GGUF file (the first of several) or the folder."""
    parts: tuple[Path, ...] = ()
    """Further files of a GGUF in several."""
    projector: Path | None = None


OnProgress = Callable[[Progress], None]
