"""Which launched models were unloaded, for the hub's next start."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

log = logging.getLogger("byom.server")


class Resting:
    """A small file. Its loss costs nothing but loading what nobody calls."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> set[str]:
        """Blocks. Empty where there is none."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=set[str])
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return set()

    def write(self, names: set[str]) -> None:
        """Blocks."""
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_bytes(msgspec.json.encode(sorted(names)))
            new.replace(self._path)
        except OSError as error:
            log.warning("which models are unloaded was not written: %s", error)
