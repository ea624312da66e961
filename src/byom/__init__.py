"""BYOM (bring your own model): connect any model once, use it everywhere.

>>> import byom
>>> byom.chat("extractive", "…").text        # doctest: +SKIP
>>> byom.embed("lexical", ["one", "two"])    # doctest: +SKIP

These calls go to the hub that ``BYOM_URL`` and ``BYOM_API_KEY`` name, else to the hub that runs for ``BYOM_HOME``, else
to one that is started inside this process.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byom.client import AsyncClient as AsyncClient
    from byom.client import Client as Client
    from byom.client import chat as chat
    from byom.client import connect as connect
    from byom.client import embed as embed

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__", "chat", "connect", "embed"]

# Imported with their first use, so that ``import byom`` costs next to nothing.
_LAZY = dict.fromkeys(("AsyncClient", "Client", "chat", "connect", "embed"), "byom.client")


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'byom' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
