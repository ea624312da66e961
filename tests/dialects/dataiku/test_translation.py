"""Requests and answers that no client and no server would send: translated, or refused with a clear error."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byom.catalog.snapshot import Route
from byom.server.dialects.dataiku import completion, usage
from byom.server.dialects.dataiku.application import api_path
from byom.server.dialects.dataiku.chat_request import chat_body
from byom.server.dialects.dataiku.credentials import Place
from byom.server.dialects.dataiku.failure import Failure
from byom.server.dialects.dataiku.messages import chat_messages
from byom.server.dialects.dataiku.openai_surface import rest_of
from byom.server.dialects.dataiku.request import token_of
from byom.types.target import Target
from byom.types.usage import Price, Usage

NOWHERE = Target(scheme="http", host="", port=0, base_path="")
ROUTE = Route(
    name="m", model_id="1", connection="c", connection_id="2", upstream_model="m", target=NOWHERE,
    abilities=frozenset({"chat"}),
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ROLES = st.sampled_from(["user", "system", "assistant", "tool", "memoryFragment", "nobody"])
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["TEXT", "IMAGE_INLINE", "IMAGE_URI", "AUDIO"])},
    optional={
        "text": VALUES,
        "inlineImage": VALUES | st.text(max_size=40),
        "imageUrl": VALUES,
        "imageMimeType": VALUES,
    },
)
MESSAGE = st.fixed_dictionaries(
    {"role": ROLES | VALUES},
    optional={
        "content": st.text(max_size=8) | VALUES,
        "parts": st.lists(PART, max_size=2) | VALUES,
        "toolCalls": st.lists(st.dictionaries(st.sampled_from(["id", "function"]), VALUES), max_size=2) | VALUES,
        "toolOutputs": st.lists(st.dictionaries(st.sampled_from(["callId", "output", "parts"]), VALUES)) | VALUES,
    },
)
SETTINGS = st.dictionaries(
    st.sampled_from(["temperature", "maxOutputTokens", "stopSequences", "tools", "toolChoice", "responseFormat"]),
    VALUES
    | st.fixed_dictionaries({"type": st.sampled_from(["json", "tool_name", "auto"])}, optional={"schema": VALUES}),
)
CHOICE = st.fixed_dictionaries(
    {"message": st.dictionaries(st.sampled_from(["content", "tool_calls", "refusal", "reasoning"]), VALUES) | VALUES},
    optional={"finish_reason": VALUES, "logprobs": VALUES},
)


@given(st.lists(MESSAGE, max_size=3) | VALUES, SETTINGS)
def test_whatever_is_asked_becomes_a_request_or_a_clear_error(messages: Any, settings: Any) -> None:
    with contextlib.suppress(Failure):
        body = chat_body(ROUTE, {"messages": messages}, settings)
        assert msgspec.json.encode(body)
        assert {message["role"] for message in body["messages"]} <= {"user", "system", "assistant", "tool"}


@given(st.dictionaries(st.sampled_from(["choices", "usage"]), VALUES | st.lists(CHOICE, max_size=2)))
def test_whatever_is_answered_becomes_a_response_or_a_clear_error(data: dict[str, Any]) -> None:
    with contextlib.suppress(Failure):
        found = completion.read(data, json_wanted=True) | usage.fields(usage.usage_of(data), ROUTE)
        assert None not in found.values()
        assert isinstance(found.get("text", ""), str)


@given(VALUES)
def test_whatever_an_error_says_becomes_an_error_object(said: Any) -> None:
    for failure in (Failure.of_body(said), Failure.of_body({"error": said}), Failure.of_answer(500, b"<html>")):
        assert all(isinstance(text, str) and text for text in (failure.body() | failure.details()).values())


@given(st.binary(max_size=40), st.sampled_from([b"Basic ", b"Bearer ", b"", b"basic", b"Digest "]))
def test_whatever_is_sent_as_a_key_is_a_text(value: bytes, scheme: bytes) -> None:
    assert isinstance(token_of({b"authorization": scheme + value}), str)


def test_a_key_is_the_user_name_whatever_the_password() -> None:
    for pair in ("sk-byom-a", "sk-byom-a:", "sk-byom-a:password"):
        assert token_of({b"authorization": b"Basic " + base64.b64encode(pair.encode())}) == "sk-byom-a"
    assert token_of({}) is None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/dip/publicapi/projects/P/llms", "/projects/P/llms"),
        ("//dip/publicapi//projects/", "/projects"),
        ("/public/api/projects/P", "/projects/P"),
    ],
)
def test_slashes_are_collapsed(path: str, found: str) -> None:
    assert api_path(path) == found


def test_only_the_paths_of_a_project_are_openais() -> None:
    assert rest_of("/projects/P/llms/openai/v1/chat/completions") == "chat/completions"
    assert rest_of("/projects/P/llms/openai/v2/chat/completions") is None
    assert rest_of("/projects/P/Q/llms/openai/v1/models") is None


def test_outputs_of_parallel_tools_in_one_message_become_one_message_each() -> None:
    outputs = [{"callId": "a", "output": "1"}, {"callId": "b", "output": "2"}]
    found = chat_messages({"messages": [{"role": "tool", "toolOutputs": outputs}]})
    assert [(message["tool_call_id"], message["content"]) for message in found] == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
    ],
)
def test_the_kind_of_an_inline_image_is_found_in_its_bytes(head: bytes, kind: str) -> None:
    image = base64.b64encode(head.ljust(64, b"\0")).decode()
    part = {"type": "IMAGE_INLINE", "inlineImage": image}
    found = chat_messages({"messages": [{"role": "user", "parts": [part]}]})
    assert found[0]["content"][0]["image_url"]["url"] == f"data:{kind};base64,{image}"


def test_cost_is_exact_and_unknown_without_a_price() -> None:
    used = Usage(prompt_tokens=3, completion_tokens=2, cached_tokens=1)
    priced = msgspec.structs.replace(ROUTE, price=Price(input=1_000_000, output=2_000_000, cached_input=500_000))
    assert usage.fields(used, priced)["estimatedCost"] == 0.0000065
    assert usage.fields(used, priced, cached=True)["estimatedCost"] == 0.0
    assert "estimatedCost" not in usage.fields(used, ROUTE)["totalUsage"]
    assert usage.fields(None, priced) == {}


def test_the_name_of_a_credential_is_the_one_that_the_client_builds() -> None:
    place = Place("my-plugin", "a set", 'the "preset"', "field")
    assert Place.of(place.name) == place
    assert place.name.startswith('"PLUGIN", "my-plugin"')
    with pytest.raises(Failure):
        Place.of("box")
