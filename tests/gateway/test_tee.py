"""The byte parser of event streams: what it forwards, whatever the pieces that a stream comes in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byom.gateway.tee import MAX_HELD, StreamTee, UsageForm, event_data

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chunk(text: str = "", **changes: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "c-1", "object": "chat.completion.chunk", "choices": [choice]} | changes


def event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def forwarded(pieces: list[bytes], form: UsageForm = "strip") -> tuple[bytes, StreamTee]:
    tee = StreamTee(form)
    out = b"".join(map(tee.feed, pieces))
    rest, _ = tee.finish()
    return out + rest, tee


def cut(data: bytes, places: list[int]) -> list[bytes]:
    places = sorted({min(place, len(data)) for place in places})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


_TEXT = st.text(alphabet='a\n\r\u2028\u0085😀漢"\\:,[]{} ', max_size=8)
_LINE_END = st.sampled_from(["\n", "\r\n", "\r"])
_PAYLOAD = st.one_of(
    _TEXT.map(chunk),
    _TEXT.map(lambda text: chunk(text, usage=None)),
    st.just({"id": "c-1", "choices": [], "usage": USAGE}),
    _TEXT.map(lambda text: chunk(text, usage=USAGE)),
    _TEXT.map(lambda text: {"usage": None} | chunk(text)),
    _TEXT.map(lambda text: chunk(text, error=None)),
    _TEXT.map(lambda text: {"error": {"message": text}}),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A legal event stream, in any spelling."""
    parts = ["\ufeff"] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 5))):
        end = draw(_LINE_END)
        lines = draw(st.lists(st.sampled_from([": comment", "id: 7", "retry: 3000", "event: message"]), max_size=2))
        text = json.dumps(draw(_PAYLOAD), ensure_ascii=False, separators=draw(st.sampled_from([(",", ":"), None])))
        lines.append(draw(st.sampled_from(["data: ", "data:"])) + text)
        parts += [end.join(lines), end, end]
    if draw(st.booleans()):
        parts.append("data: [DONE]\n\n")
    return "".join(parts).encode()


@given(streams(), st.lists(st.integers(0, 400), max_size=12), st.sampled_from(["strip", "last", "as-is"]))
def test_a_stream_is_forwarded_the_same_however_it_is_split(stream: bytes, places: list[int], form: UsageForm) -> None:
    """gateway checklist 16, 17: no split of the bytes changes what the caller gets."""
    whole, one = forwarded([stream], form)
    parts, many = forwarded(cut(stream, places), form)
    single, bytewise = forwarded([stream[at : at + 1] for at in range(len(stream))], form)
    assert parts == whole
    assert single == whole
    assert one.usage == many.usage == bytewise.usage
    assert one.done == many.done == bytewise.done
    assert one.usage_chunk(None) == many.usage_chunk(None) == bytewise.usage_chunk(None)


@given(streams(), st.lists(st.integers(0, 400), max_size=12))
def test_a_stream_that_is_to_pass_as_it_is_loses_no_byte_but_its_end(stream: bytes, places: list[int]) -> None:
    """gateway checklist 16, 17, 23: ``[DONE]`` alone is kept back, and given when it is asked for."""
    out, tee = forwarded(cut(stream, places), "as-is")
    if tee.failed:
        assert stream.startswith(out)
    else:
        assert out + (tee.done_event if tee.done else b"") == stream


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_bytes_that_are_no_event_stream_break_nothing(noise: bytes, places: list[int]) -> None:
    """gateway checklist 15, 17: no upstream can make the parser fail, and any split gives the same."""
    assert forwarded(cut(noise, places))[0] == forwarded([noise])[0]


def test_usage_that_was_not_asked_for_is_taken_out_and_read() -> None:
    """gateway checklist 11."""
    stream = event(chunk("a", usage=None)) + event({"id": "c-1", "choices": [], "usage": USAGE}) + DONE
    out, tee = forwarded([stream])
    assert out == event(chunk("a"))
    assert tee.usage is not None
    assert tee.usage.total_tokens == 5
    assert tee.answer_id == "c-1"


def test_usage_on_a_chunk_with_text_is_taken_out_and_the_text_stays() -> None:
    """gateway checklist 10, 11: also with further fields in the event."""
    out, tee = forwarded([b"id: 4\r\n: note\r\ndata: " + json.dumps(chunk("a", usage=USAGE)).encode() + b"\r\n\r\n"])
    assert b"usage" not in out
    assert out.startswith(b"id: 4\n: note\ndata: {")
    assert tee.usage is not None


def test_the_first_chunk_of_azure_without_choices_passes() -> None:
    """gateway checklist 23: only a chunk that holds usage is taken out."""
    first = {"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    assert forwarded([event(first | {"usage": None})])[0] == event(first)
    out, _ = forwarded([json_spaced(first | {"usage": None})])
    assert json.loads(event_data(out) or b"") == first


def test_a_null_usage_that_was_not_asked_for_is_taken_out_wherever_it_stands() -> None:
    """gateway checklist 10: also as the first field, and in a read of several events."""
    out, _ = forwarded([event(chunk("a")) + event({"usage": None} | chunk("b")) + event(chunk("c"))])
    assert b"usage" not in out
    assert out == b"".join(event(chunk(text)) for text in "abc")


def json_spaced(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def test_usage_that_was_asked_for_comes_once_and_last() -> None:
    """gateway checklist 10: running totals become one last chunk, the others say null."""
    running = [event(chunk(text, usage=USAGE)) for text in "ab"]
    out, tee = forwarded([*running, DONE], "last")
    payloads = [json.loads(line[6:]) for line in out.decode().split("\n\n") if line]
    assert [payload["usage"] for payload in payloads] == [None, None]
    last = json.loads(event_data(tee.usage_chunk(None)) or b"")
    assert last == {"id": "c-1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}


def test_nothing_passes_after_done() -> None:
    """gateway checklist 13."""
    out, tee = forwarded([event(chunk("a")), DONE, event(chunk("b")), b": c\n\n", DONE])
    assert out == event(chunk("a"))
    assert tee.done


def test_nothing_passes_after_an_error() -> None:
    """gateway checklist 14: an upstream that sends ``[DONE]`` after an error does not make the end a good one."""
    error = event({"error": {"message": "broken"}})
    out, tee = forwarded([event(chunk("a")) + error + DONE])
    assert out == event(chunk("a")) + error
    assert tee.failed
    assert not tee.done


@pytest.mark.parametrize(
    ("last", "whole"),
    [
        (chunk("a"), False),
        (chunk("a", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]), True),
        (chunk("a", choices=[{"index": 0, "delta": {}, "finish_reason": ""}]), False),
        (chunk('"finish_reason":"stop"'), False),
        ({"type": "response.completed", "response": {"id": "r"}}, True),
        ({"type": "message_stop"}, True),
    ],
)
def test_a_stream_is_whole_when_its_last_events_say_so(last: dict[str, Any], whole: bool) -> None:
    """gateway checklist 15."""
    tee = StreamTee("strip")
    tee.feed(event(chunk("x")) + event(last))
    assert tee.finish() == (b"", whole)


def test_half_an_event_at_the_end_is_not_forwarded() -> None:
    """gateway checklist 15: a reader would fail on it before it sees the error event."""
    out, tee = forwarded([event(chunk("a")), b'data: {"id":"c-1","cho'])
    assert out == event(chunk("a"))
    assert not tee.done


def test_a_last_event_without_an_empty_line_is_forwarded() -> None:
    """gateway checklist 13, 17."""
    out, tee = forwarded([event(chunk("a")), b"data: [DONE]"])
    assert out == event(chunk("a"))
    assert tee.done


@pytest.mark.parametrize("size", [1024 * 1024, MAX_HELD + 5])
def test_an_event_of_any_length_passes(size: int) -> None:
    """gateway checklist 18: one that is too long to be held passes unseen, and the stream is read again after it."""
    stream = event(chunk("x" * size)) + event({"choices": [], "usage": USAGE}) + DONE
    out, tee = forwarded([stream[at : at + 65536] for at in range(0, len(stream), 65536)])
    assert out == event(chunk("x" * size))
    assert tee.usage is not None
    assert tee.done


def test_what_is_held_of_a_long_event_is_bounded() -> None:
    """gateway checklist 18, 19."""
    tee = StreamTee("strip")
    passed = 0
    for _ in range(200):
        passed += len(tee.feed(b"x" * 65536))
    assert tee.inside_event
    assert passed >= 200 * 65536 - MAX_HELD - 65536
