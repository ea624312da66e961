"""Classes that Dataiku's client brings, imported when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any


def class_of(module: str, name: str, names: Sequence[str]) -> Any:
    """Raises `AttributeError` for a name that is none of ``names``, `ImportError` saying which package is missing."""
    if name not in names:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module("dataikuapi.dss.langchain"), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{module}.{name} needs the module {error.name}: pip install dataiku-api-client six langchain-core",
            name=error.name,
        ) from error
