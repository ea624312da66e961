"""Finding the classes of a plugin: which module, which class, which of its methods are really written."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from ..contract import LoadError
from ..dataiku_shim import FOLDER as DATAIKU

COMPONENTS = "python-llms"
BASES = {"BaseLLM": "chat", "BaseEmbeddingModel": "embed", "BaseRerankingModel": "rerank"}
VARIANTS = {
    "chat": ("aprocess_stream", "process_stream", "aprocess", "process"),
    "embed": ("aprocess", "process"),
    "rerank": ("aprocess", "process"),
}
"""The methods of each ability, the one that is preferred first."""


def prepare(folder: Path, plugin_id: str) -> None:
    """Put the module ``dataiku`` and the plugin's shared code on the path, for good: this process runs one plugin."""
    for place in (DATAIKU, str(folder / "python-lib")):
        if place not in sys.path:
            sys.path.insert(0, place)
    importlib.import_module("dataiku.plugin_libs").folders[plugin_id] = str(folder)


def components(folder: Path) -> list[str]:
    """Names of the plugin's model components: the folders that have an ``llm.py``."""
    return sorted(path.parent.name for path in (folder / COMPONENTS).glob("*/llm.py"))


def module_of(folder: Path, component: str) -> ModuleType:
    """The module ``llm.py`` of a component. Raises `LoadError` naming file and line."""
    path = folder / COMPONENTS / component / "llm.py"
    if component not in components(folder):
        known = ", ".join(components(folder)) or "none"
        raise LoadError(f"the plugin has no component {component!r} with an llm.py (it has: {known})")
    name = f"byom_plugin_{''.join(sign if sign.isalnum() else '_' for sign in component)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{_shown(path)} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their class's module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(name, None)
        raise LoadError(_import_problem(path, error)) from error
    return module


def _import_problem(path: Path, error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{_shown(path)}:{error.lineno}: {error.msg}"
    line = _line_in(path, error)
    where = f"{_shown(path)}:{line}" if line else _shown(path)
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{where}: there is no module {error.name!r}. Add its package to code-env/python/spec/requirements.txt"
            " (or the module to python-lib) and build the environment again"
        )
    return f"{where}: importing it raised {type(error).__name__}: {error}"


def _line_in(path: Path, error: BaseException) -> int | None:
    found, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == str(path):
            found = frame.tb_lineno
        frame = frame.tb_next
    return found


def _shown(path: Path) -> str:
    return "/".join(path.parts[-3:])


def class_for(module: ModuleType, ability: str, wanted: str | None = None) -> type:
    """The class that serves an ability: the one whose base says so, else the one of ``wanted``, else, for chat, the
    only class with a ``process`` method. Raises `LoadError` naming what was found."""
    classes = [value for value in vars(module).values() if inspect.isclass(value) and _name_of_base(value) is None]
    own = [kind for kind in classes if kind.__module__ == module.__name__]
    if wanted is not None:
        for kind in classes:
            if kind.__name__ == wanted:
                return kind
        raise LoadError(f"llm.py has no class {wanted!r} (it has: {_names(classes)})")
    for group in (own, classes):
        fitting = _most_derived(kind for kind in group if ability_of(kind) == ability)
        fitting = [kind for kind in fitting if written(kind, ability)] or fitting
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise LoadError(
                f"llm.py has {len(fitting)} classes for {ability}: {_names(fitting)}. Keep one, or name it in the"
                " model's options as class"
            )
    bare = [kind for kind in own if ability_of(kind) is None and written(kind, ability)]
    if ability == "chat" and len(bare) == 1:
        return bare[0]
    base = next(name for name, of in BASES.items() if of == ability)
    raise LoadError(
        f"llm.py has no class for {ability}: write one that is derived from {base} (it has: {_names(classes)})"
    )


def abilities_of(module: ModuleType) -> list[str]:
    """What the module's classes can do, by their bases."""
    found = []
    for ability in VARIANTS:
        try:
            class_for(module, ability)
        except LoadError:
            continue
        found.append(ability)
    return found


def ability_of(kind: type) -> str | None:
    """By the base it is derived from, the nearest first."""
    for one in kind.__mro__[1:]:
        name = _name_of_base(one)
        if name is not None:
            return BASES[name]
    return None


def written(kind: type, ability: str) -> list[str]:
    """The methods for an ability that the class, or one of its own bases, really writes, in order of preference. A
    method that is written in the other manner (``async def process``) counts as what it is."""
    found = []
    for name in VARIANTS[ability]:
        method = getattr(kind, name, None)
        if callable(method) and not getattr(method, "byom_not_written", False):
            found.append(name)
    return sorted(found, key=lambda name: VARIANTS[ability].index(manner(kind, name)))


def manner(kind: type, name: str) -> str:
    """``process`` → ``aprocess`` where it is a coroutine function, and the like."""
    method = inspect.unwrap(getattr(kind, name))
    asynchronous = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
    return "a" + name if asynchronous and not name.startswith("a") else name


def _name_of_base(kind: type) -> str | None:
    own = kind.__name__ in BASES and kind.__module__.startswith("dataiku.llm.")
    return kind.__name__ if own else None


def _most_derived(kinds: Iterable[type]) -> list[type]:
    distinct = list(dict.fromkeys(kinds))
    return [kind for kind in distinct if not any(other is not kind and issubclass(other, kind) for other in distinct)]


def _names(kinds: Iterable[Any]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in kinds)) or "no class"
