"""What a fake upstream does wrong, seen byte by byte."""

from __future__ import annotations

import contextlib
import gzip
import json
import time
from collections.abc import Iterator

import httpx2
import openai
import pytest

from byom.testing import Behavior, FakeUpstream, RateLimit
from tests.testing.raw import RawCaller, unchunk

HELLO = [{"role": "user", "content": "hello there"}]


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def client(upstream: FakeUpstream) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=upstream.base_url, api_key="k", max_retries=0) as made:
        yield made


def events(answer: bytes) -> list[bytes]:
    return b"".join(unchunk(answer)[0]).split(b"\n\n")[:-1]


@pytest.mark.parametrize(
    ("cut", "reset", "tidy"), [("reset", True, False), ("close", False, False), ("end", False, True)]
)
def test_a_stream_is_cut_after_so_many_chunks(upstream, cut, reset, tidy):
    upstream.set_default(Behavior(chunks=10, cut_after_chunks=3, cut=cut))
    with RawCaller(upstream) as caller:
        caller.chat(stream=True)
        answer = caller.read_until(b"0\r\n\r\n") if tidy else None
        if answer is None:
            answer, was_reset = caller.read_all()
            assert was_reset is reset
    assert unchunk(answer)[1] is tidy
    assert len(events(answer)) == 4, "the role and three pieces"
    assert b"[DONE]" not in answer
    upstream.wait_until_idle_sync()
    assert upstream.disconnects == []
    assert upstream.requests[0].completed is tidy


def test_a_whole_answer_is_cut_in_half(upstream, client):
    upstream.set_default(Behavior(cut_after_chunks=1, cut="close"))
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="m", messages=HELLO)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_connection_is_dropped_instead_of_answered(upstream, how):
    upstream.set_default(Behavior(drop=how))
    with RawCaller(upstream) as caller:
        caller.chat()
        assert caller.read_all() == (b"", how == "reset")


@pytest.mark.parametrize("kind", ["not_json", "wrong_shape", "truncated_json", "html", "empty"])
def test_malformed_answers_are_not_what_was_asked_for(upstream, kind):
    upstream.set_default(Behavior(malformed=kind))
    answer = httpx2.post(f"{upstream.base_url}/chat/completions", json={"model": "m", "messages": HELLO})
    assert answer.status_code == 200
    if kind == "wrong_shape":
        assert not isinstance(answer.json()["choices"], list)
    else:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            answer.json()


def test_bad_events_carry_broken_json(upstream, client):
    upstream.set_default(Behavior(malformed="bad_sse"))
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        list(client.chat.completions.create(model="m", messages=HELLO, stream=True))


def test_a_dribble_splits_characters_between_packets(upstream, client):
    upstream.set_default(Behavior(text="naïve 👩‍🚀 東京 \u2028 \x85 end", dribble=1))
    stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "naïve 👩‍🚀 東京 \u2028 \x85 end"
    with RawCaller(upstream) as caller:
        caller.chat(stream=True)
        assert {len(chunk) for chunk in unchunk(caller.read_until(b"\r\n0\r\n\r\n"))[0]} == {1}


@pytest.mark.parametrize(
    "features",
    [
        *(("no_space",), ("crlf",), ("cr",), ("comments",), ("bom",), ("event_fields",), ("multiline",)),
        ("no_space", "crlf", "comments", "bom", "event_fields", "multiline"),
    ],
    ids="+".join,
)
def test_every_spelling_of_events_says_the_same(upstream, features):
    upstream.set_default(Behavior(text="one two", sse=frozenset(features)))
    with httpx2.stream(
        "POST", f"{upstream.base_url}/chat/completions", json={"model": "m", "messages": HELLO, "stream": True}
    ) as answer:
        raw = answer.read().decode("utf-8-sig")
    text = raw.replace("\r\n", "\n").replace("\r", "\n")
    said = ""
    for event in text.split("\n\n"):
        data = "\n".join(line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:"))
        if data and data != "[DONE]":
            said += json.loads(data)["choices"][0]["delta"].get("content", "")
    assert said == "one two"
    assert raw.rstrip().endswith("[DONE]")
    assert ("\r" in raw) is ("crlf" in features or "cr" in features)
    assert ("data: [DONE]" in raw) is ("no_space" not in features)


def test_done_and_finish_can_be_left_out(upstream):
    upstream.set_default(Behavior(omit_done=True, omit_finish=True))
    fields = {"model": "m", "messages": HELLO, "stream": True}
    answer = httpx2.post(f"{upstream.base_url}/chat/completions", json=fields).text
    assert "[DONE]" not in answer
    assert '"finish_reason": "stop"' not in answer


def test_a_huge_event_is_one_line(upstream, client):
    upstream.set_default(Behavior(huge_event=1 << 20, text="x"))
    stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
    assert sum(len(chunk.choices[0].delta.content or "") for chunk in stream) == (1 << 20) + 1


def test_an_error_event_in_the_middle_of_a_stream_reaches_the_sdk(upstream, client):
    upstream.set_default(Behavior(chunks=5, error_after_chunks=2))
    stream = iter(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    seen = [next(stream) for _ in range(3)]
    with pytest.raises(openai.APIError, match="The engine stopped"):
        next(stream)
    assert "".join(chunk.choices[0].delta.content for chunk in seen) == "w0 w1 "


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_every_status_becomes_its_error_of_the_sdk(upstream, client, status, error):
    upstream.enqueue(Behavior(status=status, error={"message": "no", "code": "c"}, retry_after=7, retry_after_ms=7000))
    with pytest.raises(error) as raised:
        client.chat.completions.create(model="m", messages=HELLO)
    assert raised.value.code == "c"
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.response.headers["retry-after-ms"] == "7000"


def test_calls_over_the_rate_are_refused_and_counted(upstream):
    upstream.set_default(Behavior(rate_limit=RateLimit(3, 60)))
    with httpx2.Client() as http:
        url, fields = f"{upstream.base_url}/chat/completions", {"model": "m", "messages": HELLO}
        answers = [http.post(url, json=fields) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert upstream.rate_limit_violations == 2
    assert 55 <= float(answers[-1].headers["retry-after"]) <= 61
    assert int(answers[-1].headers["retry-after-ms"]) <= 60_001


def test_whole_and_streamed_bodies_can_be_compressed(upstream, client):
    upstream.set_default(Behavior(text="squeeze me", gzip=True))
    answer = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.parse().choices[0].message.content == "squeeze me"
    stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "squeeze me"
    with RawCaller(upstream) as caller:
        caller.chat(stream=True)
        raw = b"".join(unchunk(caller.read_until(b"0\r\n\r\n"))[0])
    assert b"[DONE]" in gzip.decompress(raw)


def test_a_kept_alive_connection_is_closed_without_notice(upstream):
    upstream.set_default(Behavior(close_idle="after_response"))
    with RawCaller(upstream) as caller:
        caller.chat()
        answer, was_reset = caller.read_all()
    assert b"200 OK" in answer
    assert b"connection: close" not in answer
    assert not was_reset


def test_a_kept_alive_connection_is_reset_by_the_next_request(upstream):
    upstream.set_default(Behavior(close_idle="on_next_request", text="."))
    with RawCaller(upstream) as caller:
        caller.chat()
        assert b"200 OK" in caller.read_until(b"}}")
        caller.chat()
        assert caller.read_all() == (b"", True)
    assert len(upstream.requests) == 1


def test_cookies_and_headers_are_sent(upstream):
    upstream.set_default(Behavior(set_cookie="session=1", headers={"x-vendor": "v"}))
    answer = httpx2.get(f"{upstream.base_url}/models")
    assert answer.headers["set-cookie"] == "session=1"
    assert answer.headers["x-vendor"] == "v"


def test_waiting_times_are_kept(upstream):
    upstream.set_default(Behavior(chunks=3, latency=0.05, first_byte_delay=0.05, chunk_interval=0.05, silent=0.05))
    fields = {"model": "m", "messages": HELLO, "stream": True}
    started = time.monotonic()
    httpx2.post(f"{upstream.base_url}/chat/completions", json=fields)
    assert time.monotonic() - started >= 0.24


def test_a_hung_call_stays_open_until_the_caller_leaves(upstream):
    upstream.set_default(Behavior(hang=True))
    with RawCaller(upstream) as caller:
        caller.chat()
        upstream.wait_for_requests_sync()
        assert upstream.open_requests == 1
    gone = upstream.wait_for_disconnect_sync()
    assert gone.request is upstream.requests[0]
    assert upstream.open_requests == 0


def test_a_stream_can_stall_after_some_chunks(upstream):
    upstream.set_default(Behavior(chunks=5, hang_after_chunks=2))
    with RawCaller(upstream) as caller:
        caller.chat(stream=True)
        assert b"w1 " in caller.read_until(b"w1 ")
    assert upstream.wait_for_disconnect_sync().chunks_sent == 2


def test_a_caller_who_does_not_read_is_not_sent_everything(upstream):
    upstream.set_default(Behavior(tokens=("y" * 1_000_000,) * 50))
    with RawCaller(upstream) as caller:
        caller.chat(stream=True)
        caller.read_until(b"yyyy")
        with contextlib.suppress(TimeoutError):
            upstream.wait_until_idle_sync(timeout=0.3)
        assert upstream.requests[0].chunks_sent < 50
    upstream.wait_for_disconnect_sync()
