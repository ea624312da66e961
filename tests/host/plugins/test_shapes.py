"""What plugin code is asked, and what its answers become."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from byom.host.worker.contract import CallError
from byom.host.worker.contracts.plugin_answer import Answer
from byom.host.worker.contracts.plugin_query import chat_query, chat_settings, embedding_query, embedding_settings
from byom.host.worker.contracts.plugin_results import OneByOne, embedded, ranked
from byom.host.worker.contracts.plugin_trace import Span


class Pydantic:
    """An object as SDKs give it."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def model_dump(self) -> dict[str, Any]:
        return self._fields


class Array:
    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def tolist(self) -> list[Any]:
        return self._values


class TestAQuery:
    def test_has_messages_in_the_plugins_form(self) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
        request = {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "12 degrees"},
                {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "none"}]},
                {"role": "assistant", "content": None},
            ],
            "context": {"a": 1},
        }
        assert chat_query(request) == {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "a\nb"},
                {"role": "assistant", "toolCalls": [call]},
                {"role": "tool", "toolOutputs": [{"callId": "c1", "output": "12 degrees"}]},
                {"role": "tool", "toolOutputs": [{"callId": "c2", "output": "none"}]},
                {"role": "assistant", "content": ""},
            ],
            "context": {"a": 1},
        }

    def test_has_images_as_parts(self) -> None:
        content = [
            {"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        ]
        assert chat_query({"messages": [{"role": "user", "content": content}]})["messages"] == [
            {
                "role": "user",
                "parts": [
                    {"type": "TEXT", "text": "What?"},
                    {"type": "IMAGE_INLINE", "inlineImage": "QUJD", "imageMimeType": "image/png"},
                    {"type": "IMAGE_URI", "imageUrl": "https://example.org/a.png"},
                ],
            }
        ]

    def test_refuses_content_that_has_no_place_in_it(self) -> None:
        with pytest.raises(CallError, match="input_audio") as caught:
            chat_query({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]})
        assert caught.value.status == 400

    def test_of_texts_to_embed_has_them_all(self) -> None:
        assert embedding_query(["a", "b"]) == {"queries": [{"text": "a"}, {"text": "b"}]}
        assert embedding_query(["a"]) == {"queries": [{"text": "a"}], "text": "a"}
        assert embedding_settings({}) == {"textOverflowMode": "FAIL"}


class TestSettings:
    def test_have_the_plugins_names(self) -> None:
        tool = {"name": "weather", "description": "d", "parameters": {"type": "object"}, "strict": True}
        request = {
            "model": "m", "stream": True, "temperature": 0.5, "max_tokens": 10, "top_p": 0.9, "top_k": 5, "stop": "x",
            "frequency_penalty": 1, "presence_penalty": 2, "logit_bias": {"1": 2}, "logprobs": True,
            "top_logprobs": 3, "seed": 7, "tools": [{"type": "function", "function": tool}], "tool_choice": "required",
            "response_format": {"type": "json_schema", "json_schema": {"schema": {"a": 1}, "strict": True}},
        }  # fmt: skip
        assert chat_settings(request) == {
            "temperature": 0.5, "maxOutputTokens": 10, "topP": 0.9, "topK": 5, "stopSequences": ["x"],
            "frequencyPenalty": 1, "presencePenalty": 2, "logitBias": {"1": 2}, "logProbs": True,
            "topLogProbs": 3, "seed": 7, "tools": [{"type": "function", "function": tool}],
            "toolChoice": {"type": "required"}, "responseFormat": {"type": "json", "schema": {"a": 1}, "strict": True},
        }  # fmt: skip

    def test_leave_out_what_nobody_set(self) -> None:
        assert chat_settings({"temperature": None, "stop": [], "response_format": {"type": "text"}}) == {}

    def test_say_which_tool(self) -> None:
        choice = {"type": "function", "function": {"name": "weather"}}
        assert chat_settings({"tool_choice": choice}) == {"toolChoice": {"type": "tool_name", "name": "weather"}}

    def test_prefer_the_newer_name_of_the_bound(self) -> None:
        assert chat_settings({"max_tokens": 5, "max_completion_tokens": 7}) == {"maxOutputTokens": 7}

    def test_ask_for_any_json(self) -> None:
        assert chat_settings({"response_format": {"type": "json_object"}}) == {"responseFormat": {"type": "json"}}


RESPONSES = {
    "object": "response", "status": "completed",
    "output": [
        {"type": "reasoning"},
        {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip
COMPLETION = {
    "object": "chat.completion",
    "choices": [{"message": {"content": "Hi"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
MESSAGE = {
    "type": "message", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "max_tokens",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip
USED = {"prompt_tokens": 3, "completion_tokens": 2}
TOKENS = {"promptTokens": 3, "completionTokens": 2}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def whole(result: Any) -> tuple[str, list[Any], dict[str, Any]]:
    """Text, tool calls and last event of an answer in one piece."""
    answer = Answer()
    events = answer.whole(result) + answer.end()
    return gathered(events)


def streamed(*items: Any) -> tuple[str, list[Any], dict[str, Any]]:
    answer = Answer()
    return gathered([event for item in items for event in answer.piece(item)] + answer.end())


def gathered(events: list[dict[str, Any]]) -> tuple[str, list[Any], dict[str, Any]]:
    text = "".join(event.get("text", "") for event in events)
    return text, [call for event in events for call in event.get("tool_calls", ())], events[-1]


class TestAnAnswer:
    @pytest.mark.parametrize(
        ("result", "text"),
        [
            ("Hi", "Hi"), (b"Hi", "Hi"), ({"text": "Hi"}, "Hi"), (Pydantic(text="Hi"), "Hi"), ({"text": None}, ""),
            ({"text": {"a": 1}}, '{"a": 1}'), ('{"a": 1}', '{"a": 1}'), ('{"text": "Hi"}', '{"text": "Hi"}'),
            ("{not json", "{not json"), (COMPLETION, "Hi"), (json.dumps(COMPLETION), "Hi"), (RESPONSES, "Hi"),
            (Pydantic(**RESPONSES), "Hi"), (json.dumps(RESPONSES), "Hi"), (MESSAGE, "Hi"), ("", ""),
        ],
    )  # fmt: skip
    def test_may_be_text_a_dictionary_or_an_object(self, result: Any, text: str) -> None:
        assert whole(result)[0] == text

    @pytest.mark.parametrize(
        ("result", "finish"), [(RESPONSES, "tool_calls"), (COMPLETION, "length"), (MESSAGE, "length")]
    )
    def test_of_a_vendors_sdk_keeps_its_tokens_and_its_reason(self, result: Any, finish: str) -> None:
        assert whole(result)[2] == {"finish_reason": finish, "usage": USED}

    def test_of_a_vendors_sdk_keeps_its_tool_calls(self) -> None:
        assert whole(RESPONSES)[1] == [{"index": 0, **CALL}]

    def test_tells_tokens_in_either_place(self) -> None:
        assert whole({"text": "", "promptTokens": 3, "totalTokens": 5})[2]["usage"] == USED
        total = {"promptTokens": 3, "completionTokens": 2, "estimatedCost": 1e-7}
        assert whole({"text": "", "totalUsage": total})[2]["usage"] == {**USED, "cost": "0.0000001"}

    def test_marks_estimates(self) -> None:
        fields = {"text": "", "promptTokens": 3, "completionTokens": 2, "tokenCountsAreEstimated": True}
        assert whole(fields)[2]["usage"] == {**USED, "estimated": True}

    def test_without_tokens_says_nothing_of_them(self) -> None:
        assert whole({"text": "Hi", "promptTokens": None, "estimatedCost": None})[2] == {"finish_reason": "stop"}

    @pytest.mark.parametrize(
        ("result", "told"),
        [
            (5, "the plugin's answer is a int: return {'text': …}"),
            ({"txt": "Hi"}, "neither 'text' nor 'toolCalls', but txt"),
            ({"ok": False, "errorMessage": "quota"}, "the plugin's answer is an error: quota"),
        ],
    )
    def test_of_another_kind_is_refused(self, result: Any, told: str) -> None:
        with pytest.raises(CallError, match="answer") as caught:
            whole(result)
        assert told in caught.value.message

    def test_with_tool_calls_ends_for_them(self) -> None:
        assert whole({"text": "", "toolCalls": [CALL], "finishReason": "stop"})[2] == {"finish_reason": "tool_calls"}
        assert whole({"text": "", "toolCalls": [CALL], "finishReason": "length"})[2] == {"finish_reason": "length"}

    @pytest.mark.parametrize("arguments", ["{}", {}, None])
    def test_has_tool_calls_with_their_arguments_as_text(self, arguments: Any) -> None:
        call = {"type": "function", "id": "c1", "function": {"name": "f", "arguments": arguments}}
        assert whole({"toolCalls": [call]})[1:] == ([{"index": 0, **CALL}], {"finish_reason": "tool_calls"})


class TestAStream:
    @pytest.mark.parametrize(
        "items",
        [
            [
                {"chunk": {"text": "H"}},
                {"chunk": {"text": "i"}},
                {"footer": {"promptTokens": 3, "completionTokens": 2}},
            ],
            [{"text": "H"}, {"text": "i", "promptTokens": 3, "completionTokens": 2}],
            ["H", b"i", {"footer": {"totalUsage": {"promptTokens": 3, "completionTokens": 2}}}],
            [Pydantic(chunk=Pydantic(text="Hi"), footer=Pydantic(promptTokens=3, completionTokens=2))],
            [{"chunk": "Hi"}, {"chunk": {}}, {"chunk": None}, None, {"footer": {"promptTokens": 3, "totalTokens": 5}}],
            [{"chunk": {"type": "event", "eventKind": "AGENT_TURN"}}, {"footer": {"text": "Hi", **TOKENS}}],
            [{"object": "chat.completion.chunk", "choices": [{"delta": {"content": "Hi"}}]}, {"footer": TOKENS}],
        ],
    )
    def test_may_come_in_many_shapes(self, items: list[Any]) -> None:
        assert streamed(*items) == ("Hi", [], {"finish_reason": "stop", "usage": USED})

    def test_has_tool_calls_in_a_chunk_or_in_the_footer_but_once(self) -> None:
        expected = [{"index": 0, **CALL}]
        assert streamed({"chunk": {"toolCalls": [CALL]}}, {"footer": {}})[1] == expected
        assert streamed({"footer": {"toolCalls": [CALL]}})[1] == expected
        assert streamed({"chunk": {"toolCalls": [CALL]}}, {"footer": {"toolCalls": [CALL]}})[1] == expected

    def test_has_fragments_of_tool_calls_as_they_come(self) -> None:
        first = {"index": 1, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
        more = {"index": 1, "function": {"arguments": "{}"}}
        found = streamed({"chunk": {"toolCalls": [first]}}, {"chunk": {"toolCalls": [more]}})[1]
        assert found == [first, {"index": 1, "function": {"arguments": "{}"}}]

    def test_of_something_else_is_refused(self) -> None:
        with pytest.raises(CallError, match="gave a int: it has to yield"):
            streamed(5)


class TestVectors:
    @pytest.mark.parametrize(
        "result",
        [
            {"responses": [{"embedding": [1, 2]}, {"embedding": (3, 4)}]},
            {"embeddings": [[1, 2], [3, 4]]},
            {"data": [Pydantic(embedding=[1, 2]), {"embedding": [3, 4]}]},
            [[1, 2], Array([3, 4])],
            Array([[1, 2], [3, 4]]).tolist(),
        ],
    )
    def test_may_come_in_many_shapes(self, result: Any) -> None:
        assert embedded(result, 2)["vectors"] == [[1.0, 2.0], [3.0, 4.0]]

    def test_of_one_text_may_stand_alone(self) -> None:
        assert embedded({"embedding": Array([1]), "promptTokens": 3}, 1) == {
            "vectors": [[1.0]],
            "usage": {"prompt_tokens": 3},
        }
        with pytest.raises(OneByOne):
            embedded({"embedding": [1]}, 2)

    @pytest.mark.parametrize(
        ("result", "told"),
        [
            ({"responses": [{"embedding": [1]}]}, "1 vectors for 2 texts"),
            ({"responses": [{"embedding": [1]}, {"errorMessage": "too long"}]}, "text 1: too long"),
            ({"responses": [{"embedding": [1]}, {"embedding": [1, 2]}]}, "differ in length"),
            ({"responses": [{"embedding": []}, {"embedding": []}]}, "is empty"),
            ({"responses": [{"embedding": "a"}, {}]}, "a str and no list of numbers"),
            ({"answer": 1}, "has no vectors"), (None, "has no vectors"),
        ],
    )  # fmt: skip
    def test_that_are_missing_or_wrong_are_told(self, result: Any, told: str) -> None:
        with pytest.raises(CallError, match=told):
            embedded(result, 2)


class TestRankings:
    def test_are_sorted(self) -> None:
        rows = [{"index": 0, "relevanceScore": 0.1}, {"index": 1, "relevanceScore": 1}]
        assert ranked({"documents": rows}, 2)["documents"] == [{"index": 1, "score": 1.0}, {"index": 0, "score": 0.1}]

    @pytest.mark.parametrize(
        "result",
        [
            {}, {"documents": []}, {"documents": [{"index": 2, "relevanceScore": 1}]},
            {"documents": [{"index": 0}]}, {"documents": [{"index": "0", "relevanceScore": 1}]},
            {"documents": [{"index": 0, "relevanceScore": float("nan")}]},
        ],
    )  # fmt: skip
    def test_that_are_wrong_are_told(self, result: Any) -> None:
        with pytest.raises(CallError):
            ranked(result, 2)


def test_a_trace_is_nested_data() -> None:
    with Span("root") as root:
        with root.subspan("search") as search:
            search.attributes["hits"] = 3
            search.event("found").attributes["id"] = 7
        root.append_trace({"type": "span", "name": "foreign"})
        root.append_trace(SimpleNamespace(to_dict=lambda: {"name": "builder"}))
    found = root.to_dict()
    assert found["children"][0]["attributes"] == {"hits": 3}
    assert found["children"][0]["children"][0]["type"] == "event"
    assert [child["name"] for child in found["children"]] == ["search", "foreign", "builder"]
    assert found["duration"] >= 0
    json.dumps(found)
