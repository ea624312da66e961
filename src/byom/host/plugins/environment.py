"""The environment that a plugin's code runs in: built with uv, once for the same needs, shared by versions that need
the same."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import msgspec

from byom.host.plugins import uv
from byom.host.plugins.folder import CodeEnv, Plugin
from byom.host.plugins.form import requirement_lines

READY = "byom-environment.json"
"""In a finished environment: what it was made of."""
LOOK = 0.2
"""Seconds between looks at whether another process has finished the same environment."""
_RESOLVED = re.compile(r"Resolved (\d+) package")
_DONE = re.compile(r"(Prepared|Installed|Audited) (\d+) package")
_PACKAGE = re.compile(r"^\s*(Downloading|Downloaded|Building|Built|\+)\s+(\S+?)(==\S+)?(\s|$)")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An environment that is to be there."""

    plugin: str
    folder: Path
    """``<home>/environments/<plugin>-<digest>``"""
    interpreter: str
    """What uv is told: a path of Python, or a version that it finds."""
    requirements: Path | None
    notes: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def ready(self) -> bool:
        return (self.folder / READY).is_file() and self.python.exists()


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """``stage``: waiting, creating, resolving, installing, ready; ``fraction`` from 0 to 1, ``None`` if not known."""

    stage: str
    text: str
    package: str | None = None
    fraction: float | None = None


async def plan(plugin: Plugin, home: Path) -> Plan | None:
    """What the plugin needs; ``None`` for one without a code environment: its code runs on BYOM's own Python. Python is
    the running one where the plugin accepts it, else the newest of those it accepts that this machine has."""
    needs = plugin.code_env
    if needs is None:
        return None
    interpreter, version, notes = await _interpreter(needs)
    digest = hashlib.sha256(f"{version} {sys.platform} {platform.machine()}\n".encode())
    for path in sorted(path for path in needs.folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(needs.folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    requirements = needs.folder / "requirements.txt"
    return Plan(
        plugin=plugin.id,
        folder=home / "environments" / f"{plugin.id}-{digest.hexdigest()[:16]}",
        interpreter=interpreter,
        requirements=requirements if requirement_lines(needs.requirements) else None,
        notes=notes,
    )


async def _interpreter(needs: CodeEnv) -> tuple[str, str, tuple[str, ...]]:
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    own = (sys.executable, platform.python_version(), ())
    if not needs.interpreters or running in needs.interpreters:
        return own
    newest_first = sorted(needs.interpreters, key=lambda one: [int(part) for part in one.split(".")], reverse=True)
    for wanted in newest_first:
        found = await _found(wanted)
        if found is not None:
            return found, f"{wanted} {found}", ()
    accepted = ", ".join(needs.interpreters)
    return *own[:2], (f"The plugin asks for Python {accepted}, which this machine has not: {running} is used.",)


async def _found(version: str) -> str | None:
    """An interpreter of this version on this machine."""
    arguments = ["python", "find", "--no-python-downloads", "--system", version]
    with contextlib.suppress(uv.UvFailed):
        said = [line async for line in uv.lines(arguments, Path("/"))]
        if said:
            return said[-1]
    # pyenv's programs on the path refuse to run versions that are not switched on, and uv ends there.
    return await asyncio.to_thread(_of_pyenv, version)


def _of_pyenv(version: str) -> str | None:
    root = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    versions = sorted(root.glob(f"versions/{version}.*/bin/python"), key=_patch_version)
    return str(versions[-1]) if versions else None


def _patch_version(python: Path) -> int:
    patch = python.parents[1].name.rpartition(".")[2]
    return int(patch) if patch.isdigit() else -1


async def build(wanted: Plan) -> AsyncGenerator[Progress, None]:
    """Make sure that the environment is there, telling how far it is. It is built aside and moved in place when it is
    complete, by one process at a time; what is broken off leaves nothing behind but what uv has downloaded. Closing the
    iterator breaks it off. Raises `UvFailed`."""
    for note in wanted.notes:
        yield Progress(stage="creating", text=note)
    if not wanted.ready:
        wanted.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (wanted.folder.parent / f".{wanted.folder.name}.lock").open("a") as lock:
            waited = False
            while not _locked(lock.fileno()):
                if not waited:
                    yield Progress(stage="waiting", text="Another process builds the same environment.")
                waited = True
                await asyncio.sleep(LOOK)
            if not wanted.ready:
                async with contextlib.aclosing(_build_aside(wanted)) as progress:
                    async for one in progress:
                        yield one
    yield Progress(stage="ready", text=f"The environment is ready: {wanted.folder}", fraction=1.0)


async def _build_aside(wanted: Plan) -> AsyncGenerator[Progress, None]:
    _forget_remains(wanted)
    aside = Path(tempfile.mkdtemp(prefix=f".{wanted.folder.name}-", dir=wanted.folder.parent))
    try:
        yield Progress(stage="creating", text="Creating the environment", fraction=0.0)
        create = ["venv", "--relocatable", "--no-project", "--no-python-downloads", "--clear",
                  "--python", wanted.interpreter, str(aside)]  # fmt: skip
        async with contextlib.aclosing(uv.lines(create, wanted.folder.parent)) as said:
            async for _ in said:
                continue
        if wanted.requirements is not None:
            install = ["pip", "install", "--no-python-downloads", "--python", str(aside / "bin" / "python"),
                       "-r", str(wanted.requirements)]  # fmt: skip
            yield Progress(stage="resolving", text="Looking for the packages", fraction=0.05)
            reading = _Reading()
            async with contextlib.aclosing(uv.lines(install, wanted.requirements.parent)) as said:
                async for line in said:
                    for progress in reading.line(line):
                        yield progress
        made_of = {"plugin": wanted.plugin, "interpreter": wanted.interpreter}
        await asyncio.to_thread(_into_place, aside, wanted.folder, json.dumps(made_of))
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _into_place(aside: Path, folder: Path, made_of: str) -> None:
    (aside / READY).write_text(made_of, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


class _Reading:
    """Makes progress of uv's words."""

    def __init__(self) -> None:
        self.packages = 0
        self.fetched = 0
        self.far = 0.0

    def line(self, line: str) -> Iterator[Progress]:
        package = None
        if found := _RESOLVED.search(line):
            self.packages = int(found[1])
            self.far = 0.2
        elif found := _DONE.search(line):
            self.far = 0.9 if found[1] == "Prepared" else 0.98
        elif found := _PACKAGE.search(line):
            package = found[2]
            if found[1] in ("Downloaded", "Built") and self.packages:
                self.fetched += 1
                self.far = max(self.far, 0.2 + 0.7 * min(1.0, self.fetched / self.packages))
        else:
            return
        yield Progress(stage="installing", text=line.strip(), package=package, fraction=self.far or None)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget_remains(wanted: Plan) -> None:
    """Of builds of this environment that were killed: with the lock in hand, nobody works on them."""
    for path in wanted.folder.parent.glob(f".{wanted.folder.name}-*"):
        shutil.rmtree(path, ignore_errors=True)


def unused(home: Path, in_use: set[Path]) -> list[Path]:
    """Finished environments that no plan of ``in_use`` names."""
    return sorted(path.parent for path in (home / "environments").glob(f"*/{READY}") if path.parent not in in_use)


def remove(environment: Path) -> None:
    """Take an environment away; half of one is never seen."""
    aside = environment.with_name(f".{environment.name}-removed-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        environment.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
