"""``POST /generate`` for models that are objects: what a host without a hub answers."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from byom.errors import BadRequest, ModelNotFound, UpstreamError
from byom.models.agentstudio.access import route_and_token
from byom.models.agentstudio.generate import generate, unknown_model
from byom.models.protocols import ChatModel
from byom.testing import ScriptedModel
from byom.types.chat import ChatEvent
from byom.types.model_info import ModelInfo
from tests.dialects.agentstudio.stand_ins import Array, message, pickled


def find_in(*models: ChatModel) -> Any:
    def find(name: str) -> ChatModel:
        for model in models:
            if model.info.name == name:
                return model
        raise unknown_model(name, [model.info.name for model in models])

    return find


def fields(model: str, messages: Any) -> dict[str, str]:
    return {"model": model, "messages": base64.b64encode(pickled(messages, 4)).decode()}


def read(body: bytes) -> tuple[Any, Any]:
    values = json.loads(body)
    assert sorted(values) == ["info", "message"]
    message, info = (pickle.loads(base64.b64decode(values[name])) for name in ("message", "info"))
    return message, info


def scripted(*answers: Any, name: str = "mine") -> ScriptedModel:
    return ScriptedModel(*answers, info=ModelInfo(name=name))


async def test_a_model_that_is_an_object_answers(tmp_path: Path) -> None:
    model = scripted("Hello from code")
    sent = [
        message("current", "user", "Look:"),
        message("current", "user", Array((1, 1, 3), b"abc")),
        message("current", "assistant", "I see."),
    ]
    text, info = read(await generate(fields("mine", sent), find_in(model)))
    assert text == "Hello from code"
    assert info["completion_tokens"] == 3
    assert info["total_tokens"] == info["prompt_tokens"] + 3
    user, assistant = model.requests[0].messages
    assert [part["type"] for part in user["content"]] == ["text", "image_url"]
    assert user["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert assistant == {"role": "assistant", "content": "I see."}


async def test_an_array_that_stands_in_many_messages_is_written_once() -> None:
    model = scripted("x")
    screen = Array((1, 1, 3), b"abc")
    await generate(fields("mine", [message("current", "user", screen)] * 3), find_in(model))
    urls = [part["image_url"]["url"] for part in model.requests[0].messages[0]["content"]]
    assert len(urls) == 3
    assert urls[0] is urls[1] is urls[2]


async def test_an_answer_without_usage_has_no_counts() -> None:
    events = [ChatEvent(text="a"), ChatEvent(finish_reason="stop")]
    assert read(await generate(fields("mine", [message("current", "user", "x")]), find_in(scripted(events)))) == (
        "a",
        {},
    )


async def test_what_is_wrong_is_an_error_of_ours() -> None:
    hello = [message("current", "user", "x")]
    with pytest.raises(ModelNotFound, match="There are: mine"):
        await generate(fields("other", hello), find_in(scripted("x")))
    with pytest.raises(ModelNotFound, match="There are none"):
        await generate(fields("other", hello), find_in())
    with pytest.raises(BadRequest):
        await generate({"model": "mine"}, find_in(scripted("x")))
    with pytest.raises(UpstreamError, match="down"):
        await generate(fields("mine", hello), find_in(scripted(UpstreamError("down"))))
    many = unknown_model("x", [f"model-{n}" for n in range(1000)])
    assert len(many.message) < 500


def basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


KEY = "sk-byom-abc-def"


@pytest.mark.parametrize(
    ("path", "header", "found"),
    [
        ("/generate", None, ("/generate", None)),
        ("//generate", f"Bearer {KEY}", ("/generate", KEY)),
        ("/generate/", basic(f"{KEY}:"), ("/generate", KEY)),
        ("/generate", basic(f"{KEY}:x"), ("/generate", KEY)),
        ("/generate", basic(f"me:{KEY}"), ("/generate", KEY)),
        ("/generate", basic("me:token"), ("/generate", "token")),
        ("/generate", basic("token:"), ("/generate", "token")),
        ("/generate", "Basic !!", ("/generate", "")),
        ("/generate", "Digest x", ("/generate", None)),
        (f"/agentstudio/{KEY}/generate", None, ("/generate", KEY)),
        (f"//agentstudio//{KEY}//generate", basic("netrc:other"), ("/generate", KEY)),
        ("/agentstudio/generate", basic(f"{KEY}:"), ("/generate", KEY)),
        ("/agentstudio", None, ("/", None)),
    ],
)
def test_a_caller_says_who_it_is(path: str, header: str | None, found: tuple[str, str | None]) -> None:
    assert route_and_token(path, header) == found
