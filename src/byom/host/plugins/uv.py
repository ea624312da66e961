"""uv, which makes environments: found, and run as a program whose words are read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path

from byom.errors import ByomError, MissingExtra

LAST_LINES = 15
LONGEST_LINE = 1 << 16
PATIENCE = 5.0
"""Seconds that a cancelled uv has to clean up."""


class UvFailed(ByomError):
    """uv could not do what it was told; the message has its last words."""

    status = 400
    type = "invalid_request_error"
    code = "environment_failed"


def program() -> str:
    """Path of the program ``uv``: of the Python package, else on the path. Raises `MissingExtra`."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
        if found is None:
            raise MissingExtra("plugins", "Building the environment of a plugin") from None
        return found


def environment() -> dict[str, str]:
    """The variables that uv gets: what names proxies, authorities and indexes, and none of the hub's own. Of an active
    environment it is told nothing: it must not install there."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BYOM_", "OPENAI_")) and name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    } | {"UV_NO_PROGRESS": "1", "NO_COLOR": "1"}


async def lines(
    arguments: Sequence[str], folder: Path, extra: Mapping[str, str] | None = None
) -> AsyncGenerator[str, None]:
    """Run uv in ``folder`` and give its lines as they come. Closing the iterator ends uv and what it started. Raises
    `UvFailed` where it does not end well."""
    process = await asyncio.create_subprocess_exec(
        program(), *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        cwd=folder, env=environment() | dict(extra or {}), start_new_session=True, limit=LONGEST_LINE,
    )  # fmt: skip
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=LAST_LINES)
    try:
        while line := await _line(process.stdout):
            last.append(line)
            yield line.rstrip()
        if await process.wait() != 0:
            words = "".join(last).strip() or f"it ended with {process.returncode} and said nothing"
            raise UvFailed(f"uv {arguments[0]} failed:\n{words}")
    finally:
        await _ended(process)


async def _line(stream: asyncio.StreamReader) -> str:
    try:
        return (await stream.readline()).decode("utf-8", "replace")
    except ValueError:  # longer than the limit: what came is dropped
        return "…\n"


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(process.wait()), PATIENCE)
    if process.returncode is None:
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: asyncio.subprocess.Process, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, sign)
