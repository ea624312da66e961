"""User code in files, loaded by the contracts directly; nothing of it stays behind."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from byom.host.worker.contract import Served
from byom.host.worker.contracts import choose, stand_ins

Load = Callable[..., list[Served]]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    stand_ins.remove()
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith(("numpy", "PIL", "byom.", "encodings")):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write user code to a file."""

    def write(code: str, name: str = "mymodel.py") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(code), encoding="utf-8")
        return path

    return write


@pytest.fixture
def load(write: Write) -> Load:
    """Load an object of user code, as the worker does."""

    def load(code: str, name: str = "", **options: Any) -> list[Served]:
        path = write(code)
        return choose.load(f"{path}:{name}" if name else str(path), options)

    return load
