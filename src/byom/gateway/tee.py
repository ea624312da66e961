"""Looks at an event stream as it passes: usage, end, errors. Forwards the bytes of each event as they came.

Only whole events are forwarded, so that a comment line can be put between two of them at any time, and an event with
usage that the caller did not ask for can be left out. Nearly every read from an upstream holds whole events without
anything of interest: those pass after a few searches for fixed bytes.
"""

from __future__ import annotations

import re

import msgspec

from byom.gateway.usage import Answer, read_answer
from byom.types.usage import Usage

MAX_HELD = 16 * 1024 * 1024
"""Bytes of one unfinished event that are held back; a longer one is passed on unseen."""

_BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"\r\n|\n|\r")
_DONE = b"[DONE]"
_NULL_USAGE = b',"usage":null'
_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class StreamTee:
    """``wants_usage``: the caller asked for usage, so it is left in."""

    __slots__ = (
        "_carry",
        "_last",
        "_unseen",
        "_wants_usage",
        "answer_id",
        "done",
        "error",
        "events",
        "failed",
        "last_was_done",
        "usage",
    )

    def __init__(self, *, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._carry = b""
        self._last: list[bytes] = []
        self._unseen = False
        self.usage: Usage | None = None
        self.done = False
        """``data: [DONE]`` came by."""
        self.failed = False
        """An event with an error came by."""
        self.events = 0
        """Events with data, about: one for each token with most servers."""
        self.answer_id = ""

    def feed(self, data: bytes) -> bytes:
        """The bytes to forward now, perhaps none."""
        if (
            not self._carry
            and not self.done
            and data.endswith((b"\n\n", b"\r\n\r\n"))
            and _DONE not in data
            and b'"error"' not in data
            and not self._unseen
        ):
            if not self._wants_usage and _NULL_USAGE in data:
                data = data.replace(_NULL_USAGE, b"")
            if b'"usage"' not in data:
                self.events += data.count(b"data:")
                self._last.append(data)
                if len(self._last) > 3:
                    del self._last[0]
                return data
        return self._feed_slowly(data)

    def _feed_slowly(self, data: bytes) -> bytes:
        carry = self._carry + data if self._carry else data
        out: list[bytes] = []
        start = 0
        # A boundary can begin at most three bytes before the new data.
        search_from = max(0, len(self._carry) - 3)
        for match in _BOUNDARY.finditer(carry, search_from):
            event = carry[start : match.end()]
            start = match.end()
            if self._unseen:
                self._unseen = False
                out.append(event)
                continue
            kept = self._look(event)
            if kept:
                out.append(kept)
        rest = carry[start:] if start else carry
        if self._unseen or len(rest) > MAX_HELD:
            self._unseen = True
            out.append(rest)
            rest = b""
        self._carry = rest
        return b"".join(out)

    def _look(self, event: bytes) -> bytes:
        """Read one whole event; what of it to forward."""
        data = event_data(event)
        if data is None:
            return event
        if self.done:
            # Nothing counts after the end; a second [DONE] would end the caller's next read.
            return b""
        if data.strip() == _DONE:
            self.done = True
            return event
        self.events += 1
        self._last.append(event)
        if len(self._last) > 3:
            del self._last[0]
        if b'"usage"' not in data and b'"error"' not in data:
            return event
        answer = read_answer(data)
        if answer is None:
            return event
        if answer.id:
            self.answer_id = answer.id
        if answer.failed:
            self.failed = True
            return event
        return self._take_usage(event, data, answer)

    def _take_usage(self, event: bytes, data: bytes, answer: Answer) -> bytes:
        if answer.response is not None:
            # The responses route: usage is a part of its last event for every caller.
            if answer.response.id:
                self.answer_id = answer.response.id
            if answer.response.usage is not None:
                self.usage = answer.response.usage.tokens()
            return event
        if answer.usage is not None:
            self.usage = answer.usage.tokens()
        if self._wants_usage or not len(memoryview(answer.choices)):
            return event
        if answer.empty_choices:
            return b""
        fields = _top_level(data)
        fields.pop("usage", None)
        return b"data: " + msgspec.json.encode(fields) + b"\n\n"

    def finish(self) -> tuple[bytes, bool]:
        """At the upstream's clean end: what is left to forward, and whether the stream was whole.

        Whole means: ``[DONE]`` came, or a choice said why it finished, or the responses route's last event came.
        """
        rest = b""
        if self._carry:
            rest = self._look(self._carry.rstrip(b"\r\n") + b"\n\n") if not self._unseen else self._carry
            self._carry = b""
        whole = self.done or (not self.failed and any(map(_finishes, self._last)))
        return rest, whole


def _finishes(event: bytes) -> bool:
    if re.search(rb'"finish_reason"\s*:\s*"', event):
        return True
    return b"response.completed" in event or b"response.incomplete" in event


def event_data(event: bytes) -> bytes | None:
    """The data of an event: its ``data`` lines joined with newlines; ``None`` where it has none."""
    if event.startswith(b"data: ") and event.endswith(b"\n\n") and event.count(b"\n") == 2 and b"\r" not in event:
        return event[6:-2]
    if event.startswith(b"\xef\xbb\xbf"):
        event = event[3:]
    lines: list[bytes] = []
    for line in _LINE.split(event):
        name, colon, value = line.partition(b":")
        if name == b"data" and (colon or line == b"data"):
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None
