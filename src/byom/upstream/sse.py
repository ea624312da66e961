"""Server-sent events from bytes, incrementally."""

from __future__ import annotations

from byom.errors import UpstreamProtocol

DEFAULT_MAX_EVENT = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class SSEDecoder:
    """Feed it bytes as they come, get the ``data`` of each complete event.

    Lines end with CRLF, LF or CR and nothing else (U+2028 inside JSON does not end a line). Several ``data`` lines
    are joined with LF; comments and the fields ``event``, ``id`` and ``retry`` are passed over. Splitting is done on
    bytes, so a character may be cut anywhere. There is no limit to a line but ``max_event`` bytes for a whole event.
    """

    def __init__(self, *, max_event: int = DEFAULT_MAX_EVENT) -> None:
        self._max_event = max_event
        self._pieces: list[bytes] = []
        """Parts of the unfinished line: joined once at its end, so that long lines cost linear time."""
        self._data: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._started = False
        self._head = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Data of the events that this chunk completes. Raises `UpstreamProtocol` when an event grows too long."""
        if not self._started:
            chunk = self._without_bom(chunk)
        if not chunk:
            return []
        if self._after_cr:
            # CRLF may be cut in its middle: this LF belongs to the line that the CR ended.
            self._after_cr = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        return self._feed_lines(chunk)

    def finish(self) -> bytes | None:
        """Call at the end of the stream: the data of an event whose closing blank line never came, if there is one."""
        if self._head and not self._started:
            self._started = True
            self._pieces.append(self._head)
        if self._pieces:
            self._line(b"".join(self._pieces))
            self._pieces = []
        return self._take()

    def _without_bom(self, chunk: bytes) -> bytes:
        self._head += chunk
        if len(self._head) < 3 and _BOM.startswith(self._head):
            return b""
        self._started = True
        chunk, self._head = self._head.removeprefix(_BOM), b""
        return chunk

    def _feed_lines(self, chunk: bytes) -> list[bytes]:
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        self._grow(len(lines[0]))
        self._pieces.append(lines[0])
        if len(lines) == 1:
            return []
        events: list[bytes] = []
        lines[0] = b"".join(self._pieces)
        last = lines.pop()
        for line in lines:
            if line:
                self._line(line)
            else:
                data = self._take()
                if data is not None:
                    events.append(data)
        self._pieces = [last] if last else []
        self._grow(len(last))
        return events

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._max_event:
            raise UpstreamProtocol(f"An event of the stream is longer than {self._max_event} bytes.")

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._grow(len(value))
        elif line == b"data":
            self._data.append(b"")

    def _take(self) -> bytes | None:
        self._size = 0
        if not self._data:
            return None
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data = []
        return data
