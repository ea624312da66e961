"""The append-only spool: a record that was appended survives the process, whatever ends it."""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections import deque
from pathlib import Path

import msgspec

from byom.errors import Unavailable
from byom.ledger.row import Row
from byom.ledger.segment import MAPPABLE, Segment, create_segment, file_system

SEGMENT_BYTES = 8 * 1024 * 1024
LONGEST_RECORD = 64 * 1024
"""Bytes. Longer rows lose their list of attempts and the ends of their texts."""
LONGEST_TEXT = 2000
RESERVE = 4
"""With no next segment, the last ``1 / RESERVE`` of the present one is kept for calls that are under way."""


class SpoolFull(Unavailable):
    """There is no room for another row. Check `Spool.accepting` before letting calls in: then this does not happen."""

    code = "ledger_full"


class Spool:
    """Appends rows to segment files of this process in ``folder``.

    `append` belongs to one thread (the event loop's); `prepare`, `sync` and `release` may be called from one other.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, mapped: bool | None = None) -> None:
        self._folder = folder
        self._size = segment_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._mapped = (file_system(folder) in MAPPABLE) if mapped is None else mapped
        self._encode = msgspec.msgpack.Encoder().encode
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._made = 0
        self._lock = threading.Lock()
        self._next: Segment | None = None
        self.full = False
        """The disk has no room for another segment."""
        self.appended = 0
        """Rows appended since the start."""
        self._current = self._create()
        self._append = self._current.append
        self.segments: deque[Segment] = deque([self._current])
        """Not yet released ones, oldest first; the last one is being written."""
        self.prepare()

    def append(self, row: Row) -> None:
        """Store one row. When this returns, ``kill -9`` cannot lose it. Raises `SpoolFull`."""
        try:
            payload = self._encode(row)
        except UnicodeEncodeError:
            payload = self._encode(trimmed(row))
        if len(payload) > LONGEST_RECORD or not self._append(payload):
            self._append_elsewhere(row, payload)
        self.appended += 1

    def _append_elsewhere(self, row: Row, payload: bytes) -> None:
        if len(payload) > LONGEST_RECORD:
            payload = self._encode(trimmed(row))
            if self._append(payload):
                return
        self._rotate()
        if not self._append(payload):
            raise SpoolFull("a row larger than a segment of the spool cannot be stored")

    def _rotate(self) -> None:
        with self._lock:
            segment, self._next = self._next, None
        if segment is None:
            try:
                segment = self._create()
            except OSError as error:
                self.full = True
                raise SpoolFull(f"the disk of {self._folder} has no room for the ledger") from error
        full, self._current = self._current, segment
        self._append = segment.append
        self.segments.append(segment)
        full.rest()

    @property
    def accepting(self) -> bool:
        """There is room for the calls under way and more. When false, refuse new calls with `SpoolFull`."""
        current = self._current
        return not self.full or self._next is not None or current.end < current.size - current.size // RESERVE

    def prepare(self) -> None:
        """Make the next segment in advance, so that `append` need not. Call it now and then off the event loop."""
        if self._next is not None:
            return
        try:
            segment = self._create()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            self.full = True
            return
        self.full = False
        with self._lock:
            spare, self._next = self._next, segment
        if spare is not None:
            self._discard(spare)

    def _create(self) -> Segment:
        with self._lock:
            self._made += 1
            number = self._made
        path = self._folder / f"{self._name}-{number:08d}.seg"
        return create_segment(path, self._size, mapped=self._mapped)

    def sync(self) -> None:
        """Flush to the disk what a power failure would lose."""
        for segment in tuple(self.segments)[-2:]:
            try:
                segment.sync()
            except OSError as error:
                if error.errno not in (errno.EBADF, errno.EINVAL):  # released meanwhile
                    raise

    def release(self, segment: Segment) -> None:
        """All its rows are in the database: delete it. Not the one being written."""
        self.segments.remove(segment)
        self._discard(segment)

    def _discard(self, segment: Segment) -> None:
        segment.path.unlink(missing_ok=True)
        segment.close()

    def close(self, *, drained: bool) -> None:
        """Close everything; when ``drained``, nothing is left to recover and the files go."""
        with self._lock:
            spare, self._next = self._next, None
        if spare is not None:
            self._discard(spare)
        while self.segments:
            segment = self.segments.popleft()
            if drained:
                self._discard(segment)
            else:
                segment.close()

    @property
    def bytes_used(self) -> int:
        return sum(segment.end for segment in tuple(self.segments))


def trimmed(row: Row) -> Row:
    """The row with texts that are too long, or no text at all (lone surrogates), made harmless. Never the money."""
    changes: dict[str, object] = {
        name: text.encode("utf-8", "replace").decode()[:LONGEST_TEXT]
        for name in row.__struct_fields__
        if isinstance(text := getattr(row, name), str)
    }
    return msgspec.structs.replace(row, attempt_list=None, **changes)
