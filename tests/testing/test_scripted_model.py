"""The model that stands in on the object path."""

from __future__ import annotations

import pytest

from byom.errors import UpstreamTimeout
from byom.models.protocols import ChatModel, EmbeddingModel
from byom.testing import ScriptedModel
from byom.types.chat import ChatEvent, ChatRequest

ASK = ChatRequest(messages=[{"role": "user", "content": "how are you"}])


async def said(model: ScriptedModel) -> str:
    return "".join([event.text async for event in model.chat(ASK)])


def test_it_satisfies_both_protocols():
    model = ScriptedModel()
    assert isinstance(model, ChatModel)
    assert isinstance(model, EmbeddingModel)


async def test_answers_come_in_order_and_the_last_one_stays():
    model = ScriptedModel("one", lambda request: f"{len(request.messages)} message", [ChatEvent(text="exact")])
    assert [await said(model) for _ in range(4)] == ["one", "1 message", "exact", "exact"]
    assert model.requests == [ASK] * 4


async def test_without_answers_it_echoes_and_counts_words():
    events = [event async for event in ScriptedModel().chat(ASK)]
    assert "".join(event.text for event in events) == "echo: how are you"
    assert (events[-1].usage.prompt_tokens, events[-1].usage.completion_tokens) == (3, 4)
    assert events[-1].finish_reason == "stop"


async def test_an_error_in_the_script_is_raised():
    with pytest.raises(UpstreamTimeout):
        await said(ScriptedModel(UpstreamTimeout("slow")))


async def test_an_answer_that_is_not_read_to_its_end_is_noticed():
    model = ScriptedModel("many words to say")
    events = model.chat(ASK)
    await anext(events)
    await events.aclose()
    assert model.abandoned == 1


async def test_equal_texts_have_equal_vectors():
    made = await ScriptedModel(dimensions=4).embed(["a", "b c", "a"])
    assert made.vectors[0] == made.vectors[2] != made.vectors[1]
    assert len(made.vectors[0]) == 4
    assert made.usage.prompt_tokens == 4


async def test_closing_is_recorded():
    model = ScriptedModel()
    await model.aclose()
    assert model.closed
