"""Looks at an event stream as it passes: usage, end, errors. Forwards the bytes of each event as they came.

Only whole events are forwarded, so that a comment line can be put between two of them at any time, and an event with
usage that the caller did not ask for can be left out. Nearly every read from an upstream holds whole events without
anything of interest: those pass after a few searches for fixed bytes.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from byom.gateway.usage import Answer, read_answer
from byom.types.usage import Usage

MAX_HELD = 4 * 1024 * 1024
"""Bytes of one unfinished event that are held back; a longer one is passed on unseen."""

LARGE_READ = 4096
SAMPLE = 2048
"""Bytes. The events in the first ``SAMPLE`` bytes of a read of ``LARGE_READ`` or more stand for all of it."""
FINISHING = 1024
"""Bytes in which the last events of a stream stand: the one that finishes, or says why it cannot."""

UsageForm = Literal["strip", "last", "as-is"]
"""``strip``: none reaches the caller. ``last``: once, in a last chunk without choices. ``as-is``: as it comes."""

_BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"\r\n|\n|\r")
_DONE = b"[DONE]"
_NULL_USAGE = b',"usage":null'
_PLAIN_END = b"\n\ndata: [DONE]\n\n"
_BOM = b"\xef\xbb\xbf"
_FINISHED = re.compile(
    rb'"finish_reason"\s*:\s*"[^"]|"type"\s*:\s*"(?:response\.(?:completed|incomplete)|message_stop)"'
)
_FAILED = re.compile(rb'"type"\s*:\s*"(?:response\.failed|error)"')
_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.encode


class StreamTee:
    """``usage_form``: how the caller is to see usage."""

    __slots__ = (
        "_after_cr",
        "_form",
        "_held",
        "_last",
        "_parts",
        "_special",
        "_unseen",
        "_usage_event",
        "_usage_raw",
        "answer_id",
        "done",
        "done_event",
        "events",
        "failed",
        "usage",
    )

    def __init__(self, usage_form: UsageForm) -> None:
        self._form = usage_form
        self._parts: list[bytes] = []
        """The unfinished event, as it came."""
        self._held = 0
        self._last: list[bytes] = []
        self._unseen = False
        self._after_cr: bytes | None = None
        """The last event ended in a CR that may be half of a CRLF: what to make of an LF that follows."""
        self._special = False
        """No read can pass without a closer look: one of the above, or the stream has ended."""
        self._usage_event = b""
        self._usage_raw: msgspec.Raw | None = None
        self.usage: Usage | None = None
        self.done = False
        """``data: [DONE]`` came by. It is not forwarded but kept in ``done_event``."""
        self.done_event = b"data: [DONE]\n\n"
        self.failed = False
        """An event with an error came by."""
        self.events = 0
        """Events with data, about: one for each token with most servers."""
        self.answer_id = ""

    @property
    def inside_event(self) -> bool:
        """A part of an event has been forwarded, so nothing may be put in now."""
        return self._unseen

    def feed(self, data: bytes) -> bytes:
        """The bytes to forward now, perhaps none."""
        if self._parts or self._special or not data.endswith((b"\n\n", b"\r\n\r\n")):
            return self._feed_slowly(data)
        # Each search goes over all bytes of a large read, so there are as few as can be.
        if self._form == "strip":
            usage = data.find(b'"usage"')
            if usage > 0 and data.startswith(_NULL_USAGE, usage - 1):
                data = data.replace(_NULL_USAGE, b"")
                usage = data.find(b'"usage"')
        elif len(data) < LARGE_READ:
            usage = data.find(b'"usage"')
            while usage >= 0 and data.startswith(b":null", usage + 7):
                usage = data.find(b'"usage"', usage + 12)
        else:
            usage = _usage_at_the_ends(data)
        first = self._first_of_interest(data, usage)
        if first < 0:
            return self._pass(data)
        # A read of many events: those before the first one of interest pass without a look at each.
        start = data.rfind(b"\n\n", 0, first) + 2
        if start < 2 or b"\r" in data:
            return self._feed_slowly(data)
        return self._pass(data[:start]) + self._feed_slowly(data[start:])

    def _first_of_interest(self, data: bytes, usage: int) -> int:
        """Where the first bytes stand that an event worth reading must have; -1 where there are none."""
        capital = data.find(b"D")
        done = data.find(_DONE, capital - 1) if capital > 0 else -1
        # An error ends a stream, so it stands at the end of a read.
        found = [at for at in (done, data.find(b'"error"', -LARGE_READ)) if at >= 0]
        if usage >= 0:
            found.append(usage)
        return min(found) if found else -1

    def _pass(self, data: bytes) -> bytes:
        """Forward whole events without anything of interest."""
        if len(data) < LARGE_READ:
            count = data.count(b"data:")
        else:
            count = data.count(b"data:", 0, SAMPLE) * len(data) // SAMPLE
        if count:
            self.events += count
            self._remember(data)
        return data

    def _remember(self, data: bytes) -> None:
        self._last.append(data)
        if len(self._last) > 3:
            del self._last[0]

    def _feed_slowly(self, data: bytes) -> bytes:
        out: list[bytes] = []
        if self._after_cr is not None and data:
            if data.startswith(b"\n"):
                out.append(self._after_cr)
                data = data[1:]
            self._after_cr = None
        # Only a line's end can end an event: bytes that come one by one are not joined again and again.
        if b"\n" in data or b"\r" in data:
            held, buffer = self._held, data
            if self._parts:
                buffer = b"".join((*self._parts, data))
            out += self._whole_events(buffer, max(0, held - 3))
        elif data:
            self._parts.append(data)
            self._held += len(data)
        if self._unseen or self._held > MAX_HELD:
            out.append(self._pass_unseen())
        self._special = self._unseen or self._after_cr is not None or self.done or self.failed
        return b"".join(out)

    def _whole_events(self, buffer: bytes, search_from: int) -> list[bytes]:
        """What to forward of the events that end in ``buffer``; the rest of it is held back."""
        out: list[bytes] = []
        start = 0
        for match in _BOUNDARY.finditer(buffer, search_from):
            event = buffer[start : match.end()]
            start = match.end()
            kept = event if self._unseen else self._look(event)
            self._unseen = False
            out.append(kept)
            if start == len(buffer) and buffer.endswith(b"\r"):
                self._after_cr = b"\n" if kept.endswith(b"\r") else b""
        rest = buffer[start:] if start else buffer
        self._parts = [rest] if rest else []
        self._held = len(rest)
        return out

    def _pass_unseen(self) -> bytes:
        """What is held of an event that is too long to be held, but for line ends: an event's end may begin there."""
        self._unseen = True
        buffer = b"".join(self._parts)
        passed = buffer.rstrip(b"\r\n")
        rest = buffer[len(passed) :]
        self._parts = [rest] if rest else []
        self._held = len(rest)
        return passed

    def _look(self, event: bytes) -> bytes:
        """Read one whole event; what of it to forward."""
        if self.done or self.failed:
            # Nothing counts after the end; a second [DONE] would end the caller's next read.
            return b""
        if self._form == "strip" and _NULL_USAGE in event:
            event = event.replace(_NULL_USAGE, b"")
        data = event_data(event)
        if data is None:
            return event
        if data.strip() == _DONE:
            self.done = True
            self.done_event = _terminated(event)
            return b""
        self.events += 1
        self._remember(event)
        if b'"usage"' not in data and b'"error"' not in data:
            return event
        answer = read_answer(data)
        if answer is None:
            return event
        if answer.id:
            self.answer_id = answer.id
        if answer.failed or (self._form == "as-is" and _FAILED.search(data)):
            self.failed = True
        return self._take_usage(event, data, answer)

    def _take_usage(self, event: bytes, data: bytes, answer: Answer) -> bytes:
        nested = answer.response or answer.message
        if nested is not None:
            # The responses and messages routes: usage is a part of some events for every caller.
            if nested.id:
                self.answer_id = nested.id
            if nested.usage is not None:
                self.usage = nested.usage.tokens()
            return event
        if answer.usage is not None:
            usage = answer.usage.tokens()
            if self.usage is not None and not usage.prompt_tokens:
                # The messages route says first what went in, and last what came out.
                usage = msgspec.structs.replace(self.usage, completion_tokens=usage.completion_tokens)
            self.usage = usage
        if self._form == "as-is" or self.failed or b'"usage"' not in data:
            return event
        bare = answer.empty_choices or not len(memoryview(answer.choices))
        if answer.usage is not None and bare:
            self._usage_event = _terminated(event) if self._form == "last" else b""
            return b""
        fields = _top_level(data)
        found = fields.pop("usage", None)
        if found is None or (answer.usage is None and self._form == "last"):
            return event
        if self._form == "last":
            self._usage_raw = found
            fields["usage"] = msgspec.Raw(b"null")
        return _with_data(event, _one_line(fields))

    def usage_chunk(self, usage: dict[str, Any] | None) -> bytes:
        """The last chunk with usage for a caller who asked for it, else nothing.

        ``usage`` is what it says where the upstream has said nothing; ``None``: then there is no such chunk.
        """
        if self._form != "last" or self._usage_event:
            return self._usage_event
        said: object = self._usage_raw if self._usage_raw is not None else usage
        if said is None:
            return b""
        fields: dict[str, Any] = dict(self._last_fields())
        fields["choices"] = []
        fields["usage"] = said
        return b"data: " + _one_line(fields) + b"\n\n"

    def _last_fields(self) -> dict[str, msgspec.Raw]:
        for piece in reversed(self._last):
            for event in reversed(_BOUNDARY.split(piece)):
                data = event_data(event)
                if data is not None:
                    try:
                        return _top_level(data)
                    except msgspec.DecodeError:
                        continue
        return {}

    def finish(self) -> tuple[bytes, bool]:
        """At the upstream's clean end: what is left to forward, and whether the stream was whole.

        Whole means: ``[DONE]`` came, or a choice said why it finished, or another route's last event came.
        """
        rest = b"".join(self._parts)
        self._parts, self._held = [], 0
        if not self._unseen:
            rest = self._last_event(rest.strip(b"\r\n"))
        whole = self.done or (not self.failed and any(map(_FINISHED.search, self._last)))
        return rest, whole

    def _last_event(self, rest: bytes) -> bytes:
        """An event without the empty line after it. Half of one would only break the reader of the caller."""
        data = event_data(rest)
        if data is None:
            return b""
        whole = self._form == "as-is" or data.strip() == _DONE or read_answer(data) is not None
        return self._look(rest + b"\n\n") if whole else b""


def read_whole(data: bytes, usage_form: UsageForm) -> tuple[bytes, Answer] | None:
    """A whole stream that came in one read and is as plain as most are: what to forward, and its event with usage.

    Plain: it ends with ``[DONE]``, the event before that has the usage and no choices, no other one has usage (but
    null), and there is no error. ``None`` for all others, which `StreamTee` reads event by event.
    """
    if not data.endswith(_PLAIN_END) or usage_form == "as-is":
        return None
    if usage_form == "strip" and data.find(_NULL_USAGE) >= 0:
        data = data.replace(_NULL_USAGE, b"")
    start = data.rfind(b"\n\ndata: ", 0, -len(_PLAIN_END)) + 2
    last = data[start : -len(_PLAIN_END)]
    if start < 2 or not last.startswith(b"data: {") or last.find(b'"usage":{') < 0 or last.find(b"\r") >= 0:
        return None
    # Servers that send usage in other events too do so from the first one on, or in the one that finishes.
    before = max(0, data.rfind(b"\n\ndata: ", 0, start - 2))
    other = _has_usage(data[: data.find(b"\n\n")]) or _has_usage(data[before:start])
    if other or data.find(b'"error"', -FINISHING) >= 0 or _ends_before(data, start):
        return None
    answer = read_answer(last[6:])
    if answer is None or answer.usage is None or not answer.empty_choices:
        return None
    return (data if usage_form == "last" else data[:start] + _PLAIN_END[2:]), answer


def _has_usage(event: bytes) -> bool:
    """Usage that is not null stands in it."""
    return event.find(b'"usage":{') >= 0 or event.find(b'"usage": ') >= 0


def _ends_before(data: bytes, end: int) -> bool:
    """Whether ``[DONE]`` stands before ``end``. One byte is found ten times as fast as several, and D is rare."""
    at = data.find(b"D", 0, end)
    while at >= 0:
        if data.startswith(_DONE, at - 1):
            return True
        at = data.find(b"D", at + 1, end)
    return False


def _usage_at_the_ends(data: bytes) -> int:
    """Where usage that is not null stands in a large read. Servers send it in every event, or in the last ones."""
    for name in (b'"usage":{', b'"usage": '):
        at = data.find(name, 0, SAMPLE)
        if at < 0:
            at = data.find(name, -LARGE_READ)
        if at >= 0:
            return at
    return -1


def event_data(event: bytes) -> bytes | None:
    """The data of an event: its ``data`` lines joined with newlines; ``None`` where it has none."""
    if event.startswith(b"data: ") and event.endswith(b"\n\n") and event.count(b"\n") == 2 and b"\r" not in event:
        return event[6:-2]
    lines = [value for name, value in _fields(event.removeprefix(_BOM)) if name == b"data"]
    return b"\n".join(lines) if lines else None


def _fields(event: bytes) -> list[tuple[bytes, bytes]]:
    """Name and value of each line; a comment has the empty name."""
    found = []
    for line in _LINE.split(event):
        name, _, value = line.partition(b":")
        if line:
            found.append((name, value.removeprefix(b" ")))
    return found


def _one_line(fields: dict[str, Any]) -> bytes:
    """As JSON without line ends, which would end a field of the event; strings hold them escaped."""
    return _encode(fields).replace(b"\n", b" ")


def _terminated(event: bytes) -> bytes:
    """The event with an empty line after it that no later byte belongs to."""
    return event.rstrip(b"\r\n") + b"\n\n"


def _with_data(event: bytes, data: bytes) -> bytes:
    """The event with other data; its further fields stay."""
    bom = _BOM if event.startswith(_BOM) else b""
    others = [b"%b: %b\n" % field for field in _fields(event.removeprefix(_BOM)) if field[0] != b"data"]
    return bom + b"".join(others) + b"data: " + data + b"\n\n"
