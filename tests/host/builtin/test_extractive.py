"""What the chat model ``extractive`` answers."""

from __future__ import annotations

import csv
import json
import threading
import time
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byom.errors import BadRequest
from byom.host.builtin.centrality import rank
from byom.host.builtin.extract import INTRODUCTION, extract
from byom.host.builtin.extractive import ExtractiveModel
from byom.host.builtin.sentences import sentences
from byom.host.builtin.tokens import count_tokens
from byom.host.builtin.work import WorkCancelled, Workers
from byom.host.schema_instance import UnsupportedSchema, schema_instance
from byom.models.protocols import ChatModel
from byom.types.chat import ChatEvent, ChatRequest

RIVER = (
    "The Rhine rises in the Swiss Alps. The Rhine flows through Lake Constance. My cat likes fish very much. "
    "The Rhine carries more freight than any other river in Europe. Rivers in Europe such as the Rhine carry freight."
)
ABSTRACTS = Path(__file__).parents[4] / "shared" / "data" / "uist_abstracts_210.csv"


@pytest.fixture
def model():
    workers = Workers()
    yield ExtractiveModel(workers)
    workers.close()


async def ask(model: ExtractiveModel, content: str, **fields) -> tuple[str, list[ChatEvent]]:
    request = ChatRequest(messages=[{"role": "user", "content": content}], **fields)
    events = [event async for event in model.chat(request)]
    return "".join(event.text for event in events if event.index == 0), events


def quiet() -> None:
    """A check that never ends the work."""


async def test_the_answer_is_whole_sentences_in_their_order(model):
    said, events = await ask(model, RIVER)
    given = sentences(RIVER)
    found = sentences(said)
    assert found
    assert set(found) < set(given)
    assert [given.index(each) for each in found] == sorted(given.index(each) for each in found)
    assert "cat" not in said
    assert events[-2].finish_reason == "stop"


async def test_usage_is_exactly_the_count_of_the_documented_tokenizer(model):
    said, events = await ask(model, RIVER, n=3)
    assert events[-1].usage.prompt_tokens == count_tokens(RIVER)
    assert events[-1].usage.completion_tokens == 3 * count_tokens(said)
    assert {event.index for event in events} == {0, 1, 2}


async def test_a_question_or_greeting_gets_an_honest_introduction(model):
    for content in ("Hello!", "What is the capital of France?", "", "今日は"):
        assert (await ask(model, content))[0] == INTRODUCTION


async def test_a_question_pulls_the_sentences_that_share_its_words(model):
    plain = "Apples are red and sweet fruits. Bananas are yellow and long fruits. Plums are blue and small fruits."
    said, _ = await ask(model, f"{plain}\nWhich fruits are yellow and long?")
    assert said == "Bananas are yellow and long fruits."


async def test_only_what_the_user_said_is_extracted_from(model):
    messages = [
        {"role": "system", "content": "You are a system prompt that must never be repeated to anybody at all, ever."},
        {"role": "user", "content": [{"type": "text", "text": RIVER}]},
        {"role": "assistant", "content": "An earlier answer of the assistant that is not to be repeated either here."},
        {"role": "user", "content": "And what else?"},
    ]
    said = "".join([event.text async for event in model.chat(ChatRequest(messages=messages))])
    assert set(sentences(said)) <= set(sentences(RIVER))


async def test_max_tokens_cuts_at_a_word_with_reason_length(model):
    whole, _ = await ask(model, RIVER)
    said, events = await ask(model, RIVER, max_tokens=4)
    assert whole.startswith(said)
    assert whole[len(said)] in " ."
    assert events[-1].usage.completion_tokens == count_tokens(said) == 4
    assert events[-2].finish_reason == "length"
    assert (await ask(model, RIVER, max_tokens=count_tokens(whole)))[1][-2].finish_reason == "stop"


async def test_stop_sequences_end_the_answer_before_them(model):
    said, events = await ask(model, RIVER, stop=["nowhere", "Rhine"])
    assert said == "The"
    assert events[-1].usage.completion_tokens == 1


async def test_text_without_spaces_is_extracted_in_its_own_way(model):
    text = "東京は日本の首都である。大阪は日本の都市である。猫は魚が好きだ。日本の首都である東京は大きい都市である。"
    said, _ = await ask(model, text)
    assert said
    assert " " not in said
    assert all(sentence in text for sentence in sentences(said))
    assert "猫" not in said


async def test_the_same_request_has_the_same_answer_whatever_the_temperature(model):
    assert (await ask(model, RIVER, temperature=2.0, seed=1))[0] == (await ask(model, RIVER))[0]


async def test_real_abstracts_are_answered_with_their_own_sentences(model):
    if not ABSTRACTS.exists():
        pytest.skip(f"{ABSTRACTS} is not there")
    with ABSTRACTS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    texts = [max(row.values(), key=lambda value: len(value or "")) for row in rows][:60]
    for text in texts:
        said, _ = await ask(model, text)
        assert set(sentences(said)) <= set(sentences(text)), text


SCHEMAS = [
    {"type": "object", "properties": {"summary": {"type": "string"}, "n": {"type": "integer"}}, "required": ["n"]},
    {"type": "array", "items": {"type": "string", "maxLength": 10}, "minItems": 2, "maxItems": 3},
    {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "none": {"type": "null"}},
        "additionalProperties": False,
    },
    {"enum": ["river", "cat"]},
    {"anyOf": [{"type": "string", "pattern": "^x"}, {"type": "number", "exclusiveMinimum": 1, "maximum": 2}]},
    {"type": "number", "minimum": 0.2, "maximum": 0.8},
    {"type": "integer", "multipleOf": 7, "minimum": 10},
    {"type": "integer", "maximum": -5},
    {"type": ["string", "null"], "minLength": 500},
    {"type": "string", "format": "date"},
    {"const": {"a": 1}},
    {
        "$defs": {"item": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
        "type": "object",
        "properties": {"patterns": {"type": "array", "items": {"$ref": "#/$defs/item"}}},
        "required": ["patterns"],
    },
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: str(schema)[:40])
async def test_json_satisfies_a_simple_schema(model, schema):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    said, _ = await ask(model, RIVER, response_format=form)
    jsonschema_rs.validate(schema, json.loads(said))


@given(
    low=st.integers(-50, 50),
    width=st.integers(0, 20),
    step=st.sampled_from([1, 2, 3, 5]),
    kind=st.sampled_from(["integer", "number"]),
    bounds=st.sampled_from([("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")]),
)
def test_numbers_lie_within_their_bounds_or_are_refused(low, width, step, kind, bounds):
    schema = {"type": kind, bounds[0]: low, bounds[1]: low + width, "multipleOf": step}
    try:
        made = schema_instance(schema, ["x"])
    except UnsupportedSchema:
        assert not any(jsonschema_rs.is_valid(schema, value) for value in range(low, low + width + 1))
    else:
        jsonschema_rs.validate(schema, made)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^a"},
        {"not": {}},
        {"$ref": "#"},
        {"$ref": "https://example.org/x"},
        {"type": "odd"},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "object", "required": ["a"], "additionalProperties": False},
    ],
    ids=str,
)
async def test_a_schema_that_cannot_be_satisfied_is_refused_clearly(model, schema):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(BadRequest, match="JSON schema") as refused:
        await ask(model, RIVER, response_format=form)
    assert refused.value.param == "response_format"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"extra": {"logprobs": True}}, "logprobs"),
        ({"n": 17}, "n"),
        ({"response_format": {"type": "xml"}}, "response_format"),
    ],
)
async def test_what_it_cannot_do_is_refused(model, fields, param):
    with pytest.raises(BadRequest) as refused:
        await ask(model, RIVER, **fields)
    assert refused.value.param == param


async def test_images_are_refused_by_name(model):
    request = ChatRequest(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])
    with pytest.raises(BadRequest, match="image_url"):
        _ = [event async for event in model.chat(request)]


def test_it_is_a_chat_model(model):
    assert isinstance(model, ChatModel)


def test_the_work_on_a_very_long_text_is_bounded():
    words = [f"word{number}" for number in range(997)]
    text = " ".join(
        "This is " + " ".join(words[(number * step) % 997] for step in range(1, 9)) + "." for number in range(8000)
    )
    started = time.process_time()
    assert extract([text], quiet).found
    assert time.process_time() - started < 10


@pytest.mark.parametrize("unit", [".", " ", "a", ":", "。", "- ", "a.", '."', "\n", "( ", "'a", "Aa. "])
def test_no_text_takes_quadratic_time(unit):
    started = time.process_time()
    extract([unit * 100_000], quiet)
    assert time.process_time() - started < 5


def test_work_that_nobody_wants_any_more_ends():
    wanted = threading.Event()
    rounds = 0

    def check() -> None:
        nonlocal rounds
        rounds += 1
        if rounds > 2:
            wanted.set()
            raise WorkCancelled

    with pytest.raises(WorkCancelled):
        rank([f"sentence number {number} of many" for number in range(1000)], "", check)
    assert wanted.is_set()
