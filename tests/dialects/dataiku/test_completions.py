"""Completions of the unmodified client, in both releases."""

from __future__ import annotations

import json
import time

import pytest

from tests.dialects.dataiku.clients import SINCE_15, ClientError
from tests.dialects.dataiku.conftest import Run
from tests.dialects.dataiku.serving import MANY, Served


def test_a_completion_has_text_tokens_cost_and_a_finish_reason(run: Run) -> None:
    raw = run("""
        completion = project.get_llm("custom:box:chat").new_completion()
        completion.with_message("How to code an agent in Dataiku?")
        response = completion.execute()
        assert response.success
        assert response.text == response._raw["text"]
        return response._raw
    """)
    usage = {
        "promptTokens": 10,
        "completionTokens": 4,
        "totalTokens": 14,
        "tokenCountsAreEstimated": False,
        "estimatedCost": 0.000018,
    }
    assert raw == {"ok": True, "text": "one two three ☃", "finishReason": "stop", **usage, "totalUsage": usage}


def test_numbers_that_are_not_known_are_left_out(run: Run) -> None:
    raw = run("""return project.get_llm("down").new_completion().with_message("Hi").execute()._raw""")
    assert None not in raw.values()
    plain = run("""return project.get_llm("echo").new_completion().with_message("Hi").execute()._raw""")
    assert "estimatedCost" not in plain
    assert None not in plain.values()


@pytest.mark.parametrize("name", ["chat", "box/chat", "custom:box:chat"])
def test_every_name_of_a_model_is_an_id(run: Run, name: str) -> None:
    assert run(f"return project.get_llm({name!r}).new_completion().with_message('Hi').execute().text")


def test_several_queries_are_made_at_once_and_answered_in_their_order(run: Run, hub: Served) -> None:
    started = time.monotonic()
    texts = run(f"""
        completions = project.get_llm("echo").new_completions()
        for number in range({MANY}):
            completions.new_completion().with_message("query %d" % number)
        return [one.text if one.success else None for one in completions.execute().responses]
    """)
    assert texts == [None if number == 8 else f"query {number}" for number in range(MANY)]
    started = time.monotonic()
    run("""
        completions = project.get_llm("slow").new_completions()
        for number in range(10):
            completions.new_completion().with_message("query")
        assert len(completions.execute().responses) == 10
    """)
    assert time.monotonic() - started < 2.5  # one after the other: 3 s


def test_queries_stay_within_the_concurrency_of_the_model(run: Run) -> None:
    assert run("""
        completions = project.get_llm("narrow").new_completions()
        for number in range(12):
            completions.new_completion().with_message("query")
        return all(one.success for one in completions.execute().responses)
    """)


def test_one_query_that_fails_does_not_fail_the_others(run: Run) -> None:
    raw = run("""
        completions = project.get_llm("echo").new_completions()
        completions.new_completion().with_message("good")
        completions.new_completion().with_message("bad", role="nobody")
        return [one._raw for one in completions.execute().responses]
    """)
    assert raw[0]["text"] == "good"
    assert raw[1]["ok"] is False
    assert "'nobody'" in raw[1]["errorMessage"]


def test_settings_reach_the_model_under_their_names(run: Run, hub: Served) -> None:
    run("""
        completion = project.get_llm("echo").new_completion()
        completion.with_message("Be brief.", role="system").with_message("Hi")
        completion.settings.update({
            "temperature": 0.5, "topP": 0.9, "topK": 40, "maxOutputTokens": 7, "stopSequences": ["END"],
            "frequencyPenalty": 0.1, "presencePenalty": 0.2, "logitBias": {"50256": -100}, "seed": 3,
            "logProbs": True, "topLogProbs": 2,
        })
        completion.execute()
    """)
    sent = hub.sent_to("echo")[-1].fields()
    assert sent == {
        "model": "echo",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "max_tokens": 7,
        "stop": ["END"],
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "logit_bias": {"50256": -100},
        "seed": 3,
        "logprobs": True,
        "top_logprobs": 2,
    }


def test_no_limit_of_tokens_is_no_limit(run: Run, hub: Served) -> None:
    run("""
        completion = project.get_llm("echo").new_completion().with_message("Hi")
        completion.settings.update({"maxOutputTokens": 0, "stopSequences": [], "temperature": None})
        completion.execute()
    """)
    assert set(hub.sent_to("echo")[-1].fields()) == {"model", "messages"}


def test_json_output_is_json(run: Run, hub: Served) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    found = run(f"""
        completion = project.get_llm("json").new_completion().with_message("Which city?")
        completion.with_json_output(schema={schema!r}, strict=True)
        return completion.execute().json
    """)
    assert found == {"city": "Oslo"}
    wanted = hub.sent_to("json")[-1].fields()["response_format"]
    assert wanted == {"type": "json_schema", "json_schema": {"name": "response", "schema": schema, "strict": True}}


def test_json_without_a_schema_and_in_a_code_fence_is_json_too(run: Run, hub: Served) -> None:
    assert run("""
        completion = project.get_llm("fenced").new_completion().with_message("Which city?").with_json_output()
        return completion.execute().json
    """) == {"city": "Oslo"}
    assert hub.sent_to("fenced")[-1].fields()["response_format"] == {"type": "json_object"}


def test_structured_output_is_an_instance_of_the_model_class(run: Run) -> None:
    assert (
        run("""
        import pydantic
        class Place(pydantic.BaseModel):
            city: str
        completion = project.get_llm("json").new_completion().with_message("Which city?")
        completion.with_structured_output(Place)
        return completion.execute().parsed.city
    """)
        == "Oslo"
    )


@SINCE_15
def test_json_that_is_wanted_only_if_supported_is_not_asked_of_other_models(run: Run, hub: Served) -> None:
    for model in ("echo", "json"):
        run(f"""
            completion = project.get_llm({model!r}).new_completion().with_message("Hi")
            completion.with_json_output(if_supported=True).execute()
        """)
    assert "response_format" not in hub.sent_to("echo")[-1].fields()
    assert "response_format" in hub.sent_to("json")[-1].fields()


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def test_tool_calls_go_both_ways(run: Run, hub: Served) -> None:
    calls = run(f"""
        completion = project.get_llm("tools").new_completion().with_message("Weather in Oslo?")
        completion.settings["tools"] = [{TOOL!r}]
        completion.settings["toolChoice"] = {{"type": "tool_name", "name": "weather"}}
        response = completion.execute()
        assert response.text is None
        return response.tool_calls
    """)
    assert [(call["type"], call["function"]["name"]) for call in calls] == [
        ("function", "weather"),
        ("function", "time"),
    ]
    assert calls[0]["id"] == "call_1"
    assert json.loads(calls[0]["function"]["arguments"]) == {"city": "Oslo"}
    sent = hub.sent_to("tools")[-1].fields()
    assert sent["tools"] == [TOOL]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "weather"}}

    text = run(f"""
        completion = project.get_llm("echo").new_completion().with_message("Weather in Oslo?")
        completion.with_message("I look.", role="assistant")
        completion.with_tool_calls({calls!r})
        completion.with_tool_output("rain", {calls[0]["id"]!r})
        completion.with_tool_output("noon", "call_2")
        return completion.execute().text
    """)
    assert text == "noon"
    messages = hub.sent_to("echo")[-1].fields()["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    assert messages[1]["content"] == "I look."
    assert messages[1]["tool_calls"][0] == {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": calls[0]["function"]["arguments"]},
    }
    assert messages[2] == {"role": "tool", "tool_call_id": "call_1", "content": "rain"}


@pytest.mark.parametrize(("given", "sent"), [("required", "required"), ("auto", "auto"), ("none", "none")])
def test_tool_choices(run: Run, hub: Served, given: str, sent: str) -> None:
    run(f"""
        completion = project.get_llm("tools").new_completion().with_message("Weather?")
        tool = {TOOL!r}
        tool["function"]["compatible"] = True
        completion.settings.update({{"tools": [tool], "toolChoice": {{"type": {given!r}}}}})
        completion.execute()
    """)
    fields = hub.sent_to("tools")[-1].fields()
    assert fields["tool_choice"] == sent
    assert fields["tools"] == [TOOL]


def test_images_travel_inline_and_by_address(run: Run, hub: Served) -> None:
    run("""
        message = project.get_llm("json").new_completion().new_multipart_message()
        message.with_text("What is this?").with_inline_image(b"\\x89PNG\\r\\n\\x1a\\nrest")
        message.with_inline_image("/9j/AAAA", mime_type="image/jpeg").with_image_url("https://example.org/cat.png")
        message.add().execute()
    """)
    parts = hub.sent_to("json")[-1].fields()["messages"][0]["content"]
    assert parts[0] == {"type": "text", "text": "What is this?"}
    assert [part["image_url"]["url"].partition(",")[0] for part in parts[1:]] == [
        "data:image/png;base64",
        "data:image/jpeg;base64",
        "https://example.org/cat.png",
    ]


@SINCE_15
def test_parts_of_tool_outputs_are_texts_and_images(run: Run, hub: Served) -> None:
    run("""
        completion = project.get_llm("echo").new_completion().with_message("Look.")
        completion.with_tool_calls([{"type": "function", "id": "c", "function": {"name": "see", "arguments": "{}"}}])
        completion.new_multipart_tool_output("c").with_text("a cat").with_image_url("https://example.org/c.png").add()
        completion.execute()
    """)
    messages = hub.sent_to("echo")[-1].fields()["messages"]
    assert messages[1]["content"] is None
    assert messages[2] == {"role": "tool", "tool_call_id": "c", "content": "a cat"}
    assert messages[3]["content"][0]["image_url"]["url"] == "https://example.org/c.png"


def test_cached_and_reasoning_tokens_and_the_reasoning_are_told(run: Run) -> None:
    raw = run("""return project.get_llm("thinks").new_completion().with_message("Hi").execute()._raw""")
    assert raw["cacheReadInputTokens"] == 4
    assert raw["reasoningTokens"] == 3
    assert raw["additionalInformation"] == {"reasoning": "let me see"}


def test_tokens_that_no_server_counted_are_estimated_and_marked(run: Run, hub: Served) -> None:
    raw = run("""return project.get_llm("no-usage").new_completion().with_message("Hi").execute()._raw""")
    assert raw["tokenCountsAreEstimated"] is True
    row = hub.calls("no-usage")[0]
    assert (raw["promptTokens"], raw["completionTokens"]) == (row["prompt_tokens"], row["completion_tokens"])


def test_the_cost_is_that_of_the_model_which_answered(run: Run) -> None:
    raw = run("""return project.get_llm("fallback").new_completion().with_message("Hi").execute()._raw""")
    assert raw["text"] == "one two three ☃"
    assert raw["estimatedCost"] == pytest.approx((10 * 2 + 4 * 10) / 1_000_000)


def test_the_cost_is_that_of_the_ledger_under_the_callers_name(run: Run, hub: Served) -> None:
    raw = run("""return project.get_llm("expensive").new_completion().with_message("Hi").execute()._raw""")
    row = hub.calls("expensive")[0]
    assert float(row["cost"]) == pytest.approx(raw["estimatedCost"])
    assert row["user"] == "ann"


@SINCE_15
def test_a_followup_continues_the_conversation(run: Run, hub: Served) -> None:
    run("""
        response = project.get_llm("chat").new_completion().with_message("Hi").execute()
        assert response.total_usage["promptTokens"] == 10
        response.prepare_followup().with_message("Go on").execute()
    """)
    messages = hub.sent_to("chat")[-1].fields()["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]


def test_guardrails_are_refused_and_not_left_out(run: Run) -> None:
    with pytest.raises(ClientError, match="guardrails"):
        run("""
            completion = project.get_llm("chat").new_completion().with_message("Hi")
            completion.new_guardrail("PIIDetector").add()
            completion.execute()
        """)
