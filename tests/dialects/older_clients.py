"""Older releases of other systems' clients, which ``make test`` installs beside the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

LOCKS = Path(__file__).parents[2] / "requirements"


def folder_of(name: str) -> Path:
    """The folder to put on ``PYTHONPATH``; skipped, with a line that says so, where it is missing or out of date."""
    lock = LOCKS / f"client-{name}.txt"
    folder = Path(sys.prefix) / "clients" / name
    stamp = folder / ".lock"
    if not stamp.is_file() or stamp.read_bytes() != lock.read_bytes():
        said = f"the client {name} is not installed: 'make test' does it (scripts/install-clients)"
        assert os.environ.get("CI") != "true", said
        pytest.skip(said)
    return folder
