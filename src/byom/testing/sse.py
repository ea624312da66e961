"""Spelling of server-sent events: the usual one, and legal ones that readers often get wrong."""

from __future__ import annotations

import json
from typing import Any

from byom.testing.behavior import Behavior


class EventWriter:
    """Turns payloads into the bytes of events, in the spelling that a behaviour asks for."""

    def __init__(self, behavior: Behavior) -> None:
        features = behavior.sse
        self._end = b"\r\n" if "crlf" in features else b"\r" if "cr" in features else b"\n"
        self._data = b"data:" if "no_space" in features else b"data: "
        self._comments = "comments" in features
        self._fields = "event_fields" in features
        self._multiline = "multiline" in features
        self._bom = b"\xef\xbb\xbf" if "bom" in features else b""
        self._broken = behavior.malformed == "bad_sse"
        self._count = 0

    def event(self, payload: dict[str, Any], name: str | None = None) -> bytes:
        """One event; ``name`` is sent as its ``event`` field."""
        lines: list[bytes] = []
        if self._comments:
            lines.append(b": comment %d" % self._count)
        if self._fields:
            lines += [b"id: %d" % self._count, b"retry: 3000"]
        if name is not None:
            lines.append(b"event: " + name.encode())
        elif self._fields:
            lines.append(b"event: message")
        if self._broken:
            text = json.dumps(payload)
            lines.append(self._data + text[: len(text) // 2].encode())
        elif self._multiline:
            # Indented JSON has its line breaks between tokens, so each line can be a data field of its own.
            lines += [self._data + line.encode() for line in json.dumps(payload, indent=1).split("\n")]
        else:
            lines.append(self._data + json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        return self._finish(lines)

    def done(self) -> bytes:
        return self._finish([self._data + b"[DONE]"])

    def _finish(self, lines: list[bytes]) -> bytes:
        start = self._bom if self._count == 0 else b""
        self._count += 1
        return start + self._end.join(lines) + self._end * 2
