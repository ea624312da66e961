"""Which way of writing a model a target is."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

from ..contract import LoadError, Served
from . import stand_ins
from .python_object import is_class_model, is_function_model, locate


def load(target: str, options: dict[str, Any]) -> list[Served]:
    """A folder with ``plugin.json`` is a plugin, an object with ``setup_fn`` and ``fn`` or a function a function model,
    a class or an instance with ``generate_response`` a class model, and an object with ``byom_models(options)`` says
    itself what it serves. Raises `LoadError` for everything else."""
    if (Path(target) / "plugin.json").is_file():
        from . import plugin

        return plugin.load(target, options)
    if options.get("stand_ins", True):
        stand_ins.install()
    found, name = locate(target)
    if callable(getattr(found, "byom_models", None)):
        models: list[Served] = found.byom_models(options)
        return models
    # Asked first: a class model may well have attributes of these names, a function model has no generate_response.
    if is_class_model(found):
        from . import klass

        return klass.serve(found, target, options)
    if is_function_model(found) or _is_function(found):
        from . import function

        return function.serve(found, name, options)
    raise LoadError(
        f"{target} is {_described(found)}. A model is a function, an object of byom.llm, or a class with "
        "generate_response(messages, **kwargs)."
    )


def _is_function(found: Any) -> bool:
    if isinstance(found, (tuple, list)):
        return len(found) == 2 and all(map(callable, found))
    return callable(found) and not isinstance(found, (type, types.ModuleType))


def _described(found: Any) -> str:
    if isinstance(found, type):
        return "a class without generate_response"
    if isinstance(found, types.ModuleType):
        return "a module"
    return f"of type {type(found).__name__}"
