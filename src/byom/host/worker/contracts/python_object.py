"""Finds the object that a target names: ``module:object``, ``/path/file.py:object`` or ``/path/file.py``."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from ..contract import LoadError
from .declared import DEFER_SETUP

_HERE = Path(__file__).parent
_PACKAGES = {
    "PIL": "pillow",
    "agent_studio": "git+https://github.com/computer-agents/agent-studio",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dotenv": "python-dotenv",
    "google.generativeai": "google-generativeai",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Modules whose package has another name."""


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Reads the source itself: a cached bytecode file may be older than a file that was edited within the second."""

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def find(target: str) -> Any:
    """The object that `locate` finds."""
    return locate(target)[0]


def locate(target: str) -> tuple[Any, str]:
    """The object and its name. Its module is imported, once a process. A file without an object's name gives the one
    model in it. Raises `LoadError`: with the line, and with the package to install where one is missing.
    """
    place, name = split(target)
    module = _imported(place)
    if not name:
        return _only_candidate(module, place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise LoadError(f"{place} has no {name!r}. {_offer(module)}")
        found = getattr(found, part)
    return found, name.rpartition(".")[2]


def split(target: str) -> tuple[str, str]:
    """File or module, and the object's name (``""``: none is given)."""
    place, colon, name = target.rpartition(":")
    if not colon or "/" in name or "\\" in name:
        place, name = target, ""
    if not place:
        raise LoadError(f"{target!r} names no code: write /path/file.py:object or module:object.")
    return place, name.strip()


def candidates(module: types.ModuleType) -> dict[str, Any]:
    """What may be meant in a module: model objects, classes and instances with ``generate_response``; without any of
    these, its functions."""
    own = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", module.__name__) in (module.__name__, None)
    }
    models = {
        name: value for name, value in vars(module).items() if not name.startswith("_") and is_function_model(value)
    }
    classes = {name: value for name, value in own.items() if isinstance(value, type) and is_class_model(value)}
    instances = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, (type, types.ModuleType)) and is_class_model(value)
    }
    found = models | instances or classes
    return found or {name: value for name, value in own.items() if isinstance(value, types.FunctionType)}


def is_function_model(value: Any) -> bool:
    """An object with ``fn`` and ``setup_fn``, whoever's class it is of."""
    if isinstance(value, (type, types.ModuleType)):
        return False
    return callable(getattr(value, "fn", None)) and hasattr(value, "setup_fn")


def is_class_model(value: Any) -> bool:
    """A class or an instance with a ``generate_response`` of its own."""
    return callable(getattr(value, "generate_response", None)) and not isinstance(value, types.ModuleType)


def _only_candidate(module: types.ModuleType, place: str) -> tuple[Any, str]:
    found = candidates(module)
    if len(found) != 1:
        raise LoadError(f"{place} does not say which object is meant. {_offer(module)}")
    name, value = found.popitem()
    return value, name


def _offer(module: types.ModuleType) -> str:
    found = sorted(candidates(module))
    if not found:
        return "It has no model, no class with generate_response and no function."
    place = getattr(module, "__file__", None) or module.__name__
    return "Name one of: " + ", ".join(f"{place}:{name}" for name in found)


def _imported(place: str) -> types.ModuleType:
    path = Path(place)
    is_file = path.suffix == ".py" or os.sep in place
    if is_file and not path.is_file():
        what = "is a folder without plugin.json: name a file in it" if path.is_dir() else "does not exist"
        raise LoadError(f"{place} {what}.")
    here = str(Path.cwd())
    if not is_file and not {"", here} & set(sys.path):
        sys.path.insert(0, here)
    deferred = os.environ.get(DEFER_SETUP)
    os.environ[DEFER_SETUP] = "1"
    try:
        return _from_file(path.resolve()) if is_file else importlib.import_module(place)
    except LoadError:
        raise
    except BaseException as error:  # user code: SystemExit and KeyboardInterrupt too
        raise LoadError(_explained(error, place, is_file)) from error
    finally:
        if deferred is None:
            del os.environ[DEFER_SETUP]


def _from_file(path: Path) -> types.ModuleType:
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
        name = f"_byom_code_{name}"  # a module of that name is in use by others
    spec = importlib.util.spec_from_file_location(name, path, loader=_FreshLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _explained(error: BaseException, place: str, is_file: bool) -> str:
    where = _line_of(error, place if is_file else None)
    if isinstance(error, SyntaxError):
        return f"{error.filename or place}:{error.lineno}: {error.msg}: {(error.text or '').strip()}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{where} imports {error.name!r}, which is not installed there. {install(error.name)}"
    if isinstance(error, SystemExit):
        return f"{where} ended the program (exit code {error.code}) while it was loaded."
    return f"{where} raised {type(error).__name__}: {error}"


def install(module: str) -> str:
    """The command that installs the package of a module into this interpreter's environment."""
    parts = module.split(".")
    known = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    package = next((_PACKAGES[one] for one in known if one in _PACKAGES), parts[0].replace("_", "-"))
    return f"Install it with: uv pip install --python {sys.executable} {package}"


def _line_of(error: BaseException, path: str | None) -> str:
    """``file:line`` of the user's own code, the innermost frame that is in the file where that is known."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and not frame.filename.startswith(str(_HERE))
    ]
    mine = [frame for frame in frames if path is not None and Path(frame.filename).resolve() == Path(path).resolve()]
    frame = next(iter(reversed(mine or [one for one in frames if "importlib" not in one.filename])), None)
    return f"{frame.filename}:{frame.lineno}" if frame else (path or "The module")
