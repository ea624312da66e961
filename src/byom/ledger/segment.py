"""One file of the spool: records one after another, each readable only once it is whole.

Layout: 16 bytes of header (`MAGIC`), then records of ``length`` (4 bytes), ``crc`` (4 bytes), payload. ``crc`` is
the CRC-32 of the payload, begun with the length. The rest of the file is zeros, so a length of zero ends it.
The payload is written before its length and checksum: a process that is killed half-way leaves a record that is
not there.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from zlib import crc32

try:
    import fcntl
except ImportError:  # pragma: no cover  (Windows)
    fcntl = None  # type: ignore[assignment]

MAGIC = b"BYOM spool 1\n\0\0\0"
FIRST = len(MAGIC)
HEADER = struct.Struct("<II")
_pack_into = HEADER.pack_into
_pack = HEADER.pack
READ_BYTES = 2 * 1024 * 1024
"""More than the largest record."""

MAPPABLE = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs", "overlay", "f2fs"})
"""File systems on which space that was allocated is really there, so that writing to mapped memory cannot fail."""


class Segment(Protocol):
    """A segment that is being written. ``end`` is where the next record goes."""

    path: Path
    end: int
    size: int

    def append(self, payload: bytes) -> bool:
        """Write one record; ``False`` when there is no room for it."""

    def read(self, start: int, limit: int) -> tuple[list[bytes], int]:
        """Up to ``limit`` payloads from ``start`` on, and where to go on reading."""

    def rest(self) -> None:
        """Nothing is appended any more: hold no memory until it is read."""

    def sync(self) -> None:
        """Have the operating system write it to the disk."""

    def close(self) -> None:
        """Let go of the file; another process may recover it then."""


def create_file(path: Path, size: int) -> int:
    """A new, locked, allocated segment file, open for reading and writing.

    It gets its final name when it is locked, so that nobody recovers it before. Raises ``OSError`` (``ENOSPC``) when
    the disk has no room for all of it.
    """
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if not lock(fd):
            raise BlockingIOError(errno.EAGAIN, "another process has locked the new segment", str(fresh))
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
        else:
            os.truncate(fd, size)
        os.pwrite(fd, MAGIC, 0) if hasattr(os, "pwrite") else os.write(fd, MAGIC)
        fresh.rename(path)
    except BaseException:
        os.close(fd)
        fresh.unlink(missing_ok=True)
        raise
    return fd


def lock(fd: int) -> bool:
    """Mark the file as one of a living process; ``False`` when another one has it."""
    if fcntl is None:
        return True  # pragma: no cover  (Windows refuses to delete a file that is open: that is the lock there)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class MappedSegment:
    """Written through mapped memory: no system call for a record."""

    __slots__ = ("_fd", "_map", "end", "path", "size")

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.end = FIRST
        self._fd = create_file(path, size)
        self._map = mmap.mmap(self._fd, size)

    def append(self, payload: bytes) -> bool:
        start = self.end
        length = len(payload)
        end = start + 8 + length
        if end > self.size:
            return False
        area = self._map
        area[start + 8 : end] = payload
        _pack_into(area, start, length, crc32(payload, length))
        self.end = end
        return True

    def read(self, start: int, limit: int) -> tuple[list[bytes], int]:
        return split(self._map, start, self.end, limit)

    def rest(self) -> None:
        if hasattr(self._map, "madvise"):
            # The pages stay in the system's cache, changed ones too: the mapping is shared with the file.
            self._map.madvise(mmap.MADV_DONTNEED)

    def sync(self) -> None:
        os.fdatasync(self._fd)  # writes mapped pages too, and, unlike mmap.flush, lets other threads run

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)


class WrittenSegment:
    """Written with one system call a record, for file systems and systems where memory cannot be mapped safely."""

    __slots__ = ("_fd", "end", "path", "size")

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.end = FIRST
        self._fd = create_file(path, size)
        os.lseek(self._fd, FIRST, os.SEEK_SET)

    def append(self, payload: bytes) -> bool:
        length = len(payload)
        if self.end + 8 + length > self.size:
            return False
        record = _pack(length, crc32(payload, length)) + payload
        written = os.write(self._fd, record)
        if written != len(record):
            os.lseek(self._fd, self.end, os.SEEK_SET)
            return False
        self.end += written
        return True

    def read(self, start: int, limit: int) -> tuple[list[bytes], int]:
        area = os.pread(self._fd, min(self.end - start, READ_BYTES), start)
        payloads, length = split(area, 0, len(area), limit)
        return payloads, start + length

    def rest(self) -> None:
        """It holds none."""

    def sync(self) -> None:
        getattr(os, "fdatasync", os.fsync)(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def split(area: bytes | mmap.mmap, start: int, end: int, limit: int) -> tuple[list[bytes], int]:
    """Payloads of the whole records between ``start`` and ``end``, unchecked, and where the next one begins."""
    payloads: list[bytes] = []
    while start + 8 <= end and len(payloads) < limit:
        length, _ = HEADER.unpack_from(area, start)
        if start + 8 + length > end:
            break
        payloads.append(area[start + 8 : start + 8 + length])
        start += 8 + length
    return payloads, start


def records(area: bytes | mmap.mmap) -> Iterator[bytes]:
    """Payloads of a segment that somebody else wrote, up to the first record that is not whole."""
    size = len(area)
    if area[:FIRST] != MAGIC:
        return
    start = FIRST
    while start + 8 <= size:
        length, checksum = HEADER.unpack_from(area, start)
        payload = area[start + 8 : start + 8 + length]
        if not length or len(payload) != length or crc32(payload, length) != checksum:
            return
        yield payload
        start += 8 + length


def file_system(folder: Path) -> str:
    """Type of the file system that holds ``folder``; empty where it cannot be told."""
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        return ""
    device = folder.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.read_text().splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[2] == name:
            return right.split()[0]
    return ""


def create_segment(path: Path, size: int, *, mapped: bool) -> Segment:
    return MappedSegment(path, size) if mapped else WrittenSegment(path, size)
