"""Streamed completions of the unmodified client, in both releases."""

from __future__ import annotations

import json
import re

import httpx2
import pytest

from tests.dialects.dataiku.clients import SINCE_15, ClientError, DataikuClient
from tests.dialects.dataiku.conftest import Run
from tests.dialects.dataiku.serving import Served


def test_chunks_come_one_by_one_and_a_footer_last(run: Run) -> None:
    kinds, texts, footer = run("""
        completion = project.get_llm("chat").new_completion().with_message("Hi")
        chunks = list(completion.execute_streamed())
        return [[one.type for one in chunks], [one.data.get("text") for one in chunks[:-1]], chunks[-1].data]
    """)
    assert kinds == ["content"] * 4 + ["footer"]
    assert texts == ["one", " two", " three", " ☃"]
    assert footer["finishReason"] == "stop"
    assert (footer["promptTokens"], footer["completionTokens"], footer["totalTokens"]) == (10, 4, 14)
    assert footer["estimatedCost"] == footer["totalUsage"]["estimatedCost"] == 0.000018


@SINCE_15
def test_a_collected_stream_is_the_same_as_a_completion(run: Run) -> None:
    streamed, whole = run("""
        completion = project.get_llm("thinks").new_completion().with_message("Hi")
        chunks = completion.execute_streamed(collect_response=True)
        list(chunks)
        return [chunks.response._raw, completion.execute()._raw]
    """)
    assert {name: value for name, value in whole.items() if value} == streamed


def test_tool_calls_come_in_pieces_with_an_index(run: Run) -> None:
    pieces = run("""
        completion = project.get_llm("tools").new_completion().with_message("Hi")
        completion.settings["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
        return [call for one in completion.execute_streamed() for call in one.data.get("toolCalls", [])]
    """)
    whole: dict[int, dict[str, str]] = {}
    for piece in pieces:
        call = whole.setdefault(piece["index"], {"id": "", "name": "", "arguments": ""})
        assert piece["type"] == "function"
        call["id"] = piece.get("id") or call["id"]
        call["name"] = piece["function"].get("name") or call["name"]
        call["arguments"] += piece["function"].get("arguments") or ""
    assert [call["name"] for call in whole.values()] == ["weather", "time"]
    assert json.loads(whole[0]["arguments"]) == {"city": "Oslo"}
    assert whole[0]["id"] == "call_1"
    assert len(pieces) > 2


@SINCE_15
def test_collected_tool_calls_are_whole(run: Run) -> None:
    calls = run("""
        chunks = project.get_llm("tools").new_completion().with_message("Hi").execute_streamed(collect_response=True)
        list(chunks)
        return chunks.response.tool_calls
    """)
    assert [call["function"]["name"] for call in calls] == ["weather", "time"]
    assert json.loads(calls[1]["function"]["arguments"]) == {"zone": "CET"}


ALL = (
    """return [one.data for one in project.get_llm({model!r}).new_completion().with_message("Hi").execute_streamed()]"""
)


def test_a_failure_before_the_first_chunk_is_an_error_answer(run: Run) -> None:
    with pytest.raises(ClientError, match=r"upstream_error: .*HTTP 500.*on fire") as caught:
        run(ALL.format(model="down"))
    assert "DataikuException" in caught.value.classes
    with pytest.raises(ClientError, match="bad_input: This input is wrong"):
        run(ALL.format(model="wrong"))


@pytest.mark.parametrize(("model", "said"), [("breaks", "broke|connection"), ("fails-midway", "The engine stopped")])
def test_a_failure_after_the_first_chunk_is_an_exception(
    run: Run, dataiku: DataikuClient, model: str, said: str
) -> None:
    """15.x asks for errors as events. 14.x would take one for the end, so its connection is broken."""
    with pytest.raises(ClientError) as caught:
        run(ALL.format(model=model))
    if dataiku.series < 15:
        assert caught.value.classes[0] == "ChunkedEncodingError"
    else:
        assert caught.value.classes[0] == "LLMException"
        assert re.search(said, str(caught.value))


def test_a_caller_who_stops_reading_stops_the_model(run: Run, hub: Served) -> None:
    before = len(hub.upstream.disconnects)
    run("""
        chunks = project.get_llm("endless").new_completion().with_message("Hi").execute_streamed()
        next(chunks)
        chunks.close()
        import gc
        gc.collect()
    """)
    hub.upstream.wait_for_disconnect_sync(count=before + 1)
    assert hub.upstream.disconnects[-1].request.model == "endless"


def test_estimated_tokens_of_a_stream_are_marked(run: Run) -> None:
    footer = run(ALL.format(model="no-usage"))[-1]
    assert footer["tokenCountsAreEstimated"] is True
    assert footer["totalTokens"] > 0


def test_the_events_are_named_and_comments_keep_the_connection_alive(hub: Served) -> None:
    body = {"query": {"messages": [{"role": "user", "content": "Hi"}]}, "settings": {}, "llmId": "silent"}
    with httpx2.stream(
        "POST",
        f"{hub.url}/dip/publicapi/projects/P/llms/streamed-completion",
        content=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {hub.key}"},
        trust_env=False,
        timeout=30,
    ) as answer:
        raw = answer.read().decode()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert "content-encoding" not in answer.headers
    assert "\r" not in raw
    blocks = raw.removesuffix("\n\n").split("\n\n")
    assert ": ping" in blocks
    events = [block.split("\n") for block in blocks if block != ": ping"]
    assert [name for name, _ in events] == ["event: completion-chunk"] * 4 + ["event: completion-end"]
    assert all(json.loads(data.removeprefix("data: ")) for _, data in events)


def test_the_client_reads_past_the_comments(run: Run) -> None:
    found = run(ALL.format(model="silent"))
    assert "".join(piece.get("text", "") for piece in found) == "one two three ☃"
