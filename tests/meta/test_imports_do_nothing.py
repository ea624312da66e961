"""Importing opens no socket, writes no file, starts no process, and loads nothing heavy."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import byom

WATCH = """
import os, sys
quiet = True
def watch(event, args):
    if not quiet:
        return
    if event == "open":
        mode, flags = args[1], args[2]
        writes = (isinstance(mode, str) and any(sign in mode for sign in "wax+")) or flags & (os.O_WRONLY | os.O_RDWR)
        if not writes or args[0] == os.devnull:
            return
    elif not event.startswith(("socket.", "subprocess.", "os.fork", "os.posix_spawn", "os.system", "os.mkdir",
                               "os.remove", "os.rename", "os.chmod", "sqlite3.connect")):
        return
    if event in ("socket.gethostname", "socket.__new__"):
        if event == "socket.gethostname":
            return
    raise AssertionError(f"importing does something: {event} {args}")
sys.addaudithook(watch)
"""
HEAVY = {
    "alembic", "anyio", "asyncpg", "cryptography", "fastapi", "genai_prices", "httpx2", "numpy", "openai", "pandas",
    "prometheus_client", "pydantic", "rich", "sklearn", "sqlalchemy", "starlette", "torch", "transformers", "typer",
    "uvicorn", "uvloop",
}  # fmt: skip
NEVER = {"numpy", "openai", "pandas", "sklearn", "torch", "transformers"}
"""Not even the whole program needs these."""
SCRIPTS = ("byom.catalog.migrations", "byom.host.builtin.__main__")
"""Programs that others start: Alembic loads its own scripts."""
MODULES = [
    module.name
    for module in pkgutil.walk_packages(byom.__path__, "byom.", onerror=lambda name: None)
    if not module.name.startswith(SCRIPTS)
]
IMPORT_MILLISECONDS = 150


def python(program: str) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_byom_does_nothing_and_loads_nothing_heavy() -> None:
    loaded = python(WATCH + "import byom\nprint('\\n'.join(sys.modules))").split()
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_import_byom_is_quick() -> None:
    program = "import time; began = time.perf_counter(); import byom; print(time.perf_counter() - began)"
    best = min(float(python(program)) for _ in range(3))
    assert best * 1000 <= IMPORT_MILLISECONDS


def test_no_module_does_anything_when_it_is_imported() -> None:
    """Gateway checklist 78."""
    loaded = python(f"{WATCH}import importlib\nfor name in {MODULES!r}: importlib.import_module(name)\n"
                    "print('\\n'.join(sys.modules))").split()  # fmt: skip
    assert not NEVER & {name.partition(".")[0] for name in loaded}


@pytest.mark.parametrize("face", ["byom.client", "byom.testing", "byom.errors", "byom.settings", "byom.types.chat"])
def test_a_public_module_can_be_imported_alone(face: str) -> None:
    python(f"{WATCH}import {face}")


def test_every_module_belongs_to_the_package() -> None:
    files = {path.relative_to(Path(byom.__path__[0])).as_posix() for path in Path(byom.__path__[0]).rglob("*.py")}
    named = {name.removeprefix("byom.").replace(".", "/") for name in MODULES}
    missing = {
        file
        for file in files
        if not file.startswith(("catalog/migrations", "host/builtin/__main__"))
        and file.removesuffix("/__init__.py").removesuffix(".py") not in named | {"__init__"}
    }
    assert not missing
