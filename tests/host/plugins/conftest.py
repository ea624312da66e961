"""Plugins are loaded into this process: what they bring with them goes when the test ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

FOREIGN = ("dataiku", "typesafe_lib", "byom_plugin_")


@pytest.fixture(autouse=True)
def clean_modules() -> Iterator[None]:
    path = list(sys.path)
    held = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith(FOREIGN) and _ours(name)}
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith(FOREIGN) and _ours(name)]:
        del sys.modules[name]
    sys.modules.update(held)


def _ours(name: str) -> bool:
    return not name.startswith("dataikuapi")
