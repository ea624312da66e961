from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byom.errors import UpstreamProtocol
from byom.upstream.sse import SSEDecoder


def read(stream: bytes, size: int = 0) -> list[bytes]:
    decoder = SSEDecoder()
    step = size or max(len(stream), 1)
    events = [event for at in range(0, len(stream), step) for event in decoder.feed(stream[at : at + step])]
    rest = decoder.finish()
    return [*events, rest] if rest is not None else events


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7])
@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", [b""]),
        (b": comment\n\ndata: a\n\n", [b"a"]),
        (b"event: x\nid: 7\nretry: 10\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"datum: a\n\n", []),
        ("data: \U0001f600\u2028\u0085ж\n\n".encode(), ["\U0001f600\u2028\u0085ж".encode()]),
        (b"", []),
        (b"\xef\xbb", []),
    ],
)
def test_every_legal_spelling_is_read_whatever_the_chunks_are(stream: bytes, events: list[bytes], size: int) -> None:
    """Gateway checklist 16 and 17."""
    assert read(stream, size) == events


def test_a_very_long_line_passes_in_linear_time_and_has_an_upper_bound() -> None:
    """Gateway checklist 18."""
    long = b"data: " + b"x" * 4_000_000 + b"\n\n"
    assert len(read(long, 1000)[0]) == 4_000_000
    decoder = SSEDecoder(max_event=1000)
    with pytest.raises(UpstreamProtocol, match="longer than 1000 bytes"):
        decoder.feed(b"data: " + b"x" * 2000)
    decoder = SSEDecoder(max_event=1000)
    with pytest.raises(UpstreamProtocol):
        decoder.feed(b"data: 1234567890\n" * 200)


def test_many_events_never_count_as_one_long_event() -> None:
    decoder = SSEDecoder(max_event=100)
    for _ in range(500):
        assert decoder.feed(b"data: 0123456789\n\n") == [b"0123456789"]


@given(
    st.lists(st.text(max_size=20), max_size=6),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
)
def test_what_is_written_is_read(texts: list[str], end: bytes, sizes: list[int]) -> None:
    stream = b"".join(b"data: " + json.dumps(text, ensure_ascii=False).encode() + end + end for text in texts)
    decoder = SSEDecoder()
    found: list[bytes] = []
    at = turn = 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert [json.loads(event) for event in found] == texts
