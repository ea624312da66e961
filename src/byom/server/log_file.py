"""A log of bounded size: what code writes, on disk, without ever holding up who reads it from the code."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path

LARGEST = 4 * 1024 * 1024
"""Bytes of one file; there are at most two of a connection, the second one older."""
PENDING = 1024 * 1024
"""Bytes that wait to be written; what comes beyond them is counted and dropped."""
FOLLOW_SECONDS = 0.2
_BLOCK = 64 * 1024


def log_path(folder: Path, connection: str) -> Path:
    """``<folder>/<connection>.log``. Characters that a file's name cannot have become their numbers."""
    name = re.sub(r"[^\w.@+ -]|^\.", lambda found: f"%{ord(found[0]):02x}", connection)
    return folder / f"{name[:150]}.log"


class LogFile:
    """Lines are added at once and written soon, in a thread. Belongs to one event loop."""

    def __init__(self, path: Path, *, largest: int = LARGEST) -> None:
        self.path = path
        self._largest = largest
        self._pending: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._writing: asyncio.Task[None] | None = None

    @property
    def older(self) -> Path:
        """The file of before."""
        return self.path.with_name(self.path.name + ".1")

    def add(self, data: bytes) -> None:
        if self._size + len(data) > PENDING:
            self._dropped += len(data)
            return
        self._pending.append(data)
        self._size += len(data)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())

    async def move(self, path: Path) -> None:
        """Go on under another name."""
        await self.close()
        for before, after in ((self.path, path), (self.older, path.with_name(path.name + ".1"))):
            if await asyncio.to_thread(before.exists):
                await asyncio.to_thread(before.replace, after)
        self.path = path

    async def close(self) -> None:
        """Returns when everything is written."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        while self._pending:
            data, self._pending, self._size = b"".join(self._pending), [], 0
            if self._dropped:
                data += b"[%d bytes were written faster than they could be kept, and are lost]\n" % self._dropped
                self._dropped = 0
            await asyncio.to_thread(self._append, data)

    def _append(self, data: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            if file.tell() and file.tell() + len(data) > self._largest:
                self.path.replace(self.older)
            else:
                file.write(data[-self._largest :])
                return
        with self.path.open("ab") as file:
            file.write(data[-self._largest :])


def last_lines(path: Path, count: int, end: int | None = None) -> bytes:
    """The last ``count`` lines of a log, of the file before it too where that is needed. Empty without a log.

    ``end``: only so much of the newest file.
    """
    found = _tail(path, count, end)
    if found.count(b"\n") < count:
        found = _tail(path.with_name(path.name + ".1"), count - found.count(b"\n"), None) + found
    return found


def _tail(path: Path, count: int, end: int | None) -> bytes:
    if count <= 0:
        return b""
    try:
        with path.open("rb") as file:
            position = file.seek(0, 2) if end is None else end
            data = b""
            while position > 0 and data.count(b"\n") <= count:
                step = min(_BLOCK, position)
                position -= step
                file.seek(position)
                data = file.read(step) + data
    except FileNotFoundError:
        return b""
    lines = data.splitlines(keepends=True)
    return b"".join(lines[-count:])


async def follow(path: Path, count: int) -> AsyncGenerator[bytes, None]:
    """The last lines, and then what is added, for as long as somebody reads. A new file is begun at its start."""
    place = await asyncio.to_thread(_place, path)
    yield await asyncio.to_thread(last_lines, path, count, place[1])
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        place, data = await asyncio.to_thread(_news, path, place)
        if data:
            yield data


_Place = tuple[int, int]
"""The file (its inode), and how far it was read."""


def _place(path: Path) -> _Place:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size


def _news(path: Path, place: _Place) -> tuple[_Place, bytes]:
    file_id, read = place
    data = b""
    now, size = _place(path)
    if now != file_id:
        older = path.with_name(path.name + ".1")
        if file_id and _place(older)[0] == file_id:
            data = _from(older, read)  # what was written before the file was put aside
        read = 0
    if size > read:
        found = _from(path, read)
        data, read = data + found, read + len(found)
    return (now, read), data


def _from(path: Path, start: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(LARGEST)
    except FileNotFoundError:
        return b""
