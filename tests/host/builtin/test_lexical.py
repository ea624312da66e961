"""What the embedding model ``lexical`` makes of texts."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byom.errors import BadRequest
from byom.host.builtin.lexical import DIMENSIONS, LexicalModel, embedding
from byom.host.builtin.tokens import count_tokens
from byom.host.builtin.work import Workers
from byom.host.served import RerankModel, SizedEmbeddingModel
from byom.models.protocols import EmbeddingModel


@pytest.fixture
def model():
    workers = Workers()
    yield LexicalModel(workers)
    workers.close()


def likeness(first: str, second: str) -> float:
    return sum(a * b for a, b in zip(embedding(first), embedding(second), strict=True))


@given(st.text(min_size=1, max_size=100).filter(str.strip), st.integers(1, 64))
def test_vectors_have_length_one(text, dimensions):
    vector = embedding(text, dimensions)
    assert len(vector) == dimensions
    length = math.sqrt(sum(value * value for value in vector))
    assert length == pytest.approx(1.0) or length == 0.0, "features of opposite sign may cancel in one dimension"


def test_an_ordinary_text_never_has_an_empty_vector():
    assert all(any(embedding(text)) for text in ("a", "?", "東京", "one two three", "🙂"))


def test_shared_words_and_parts_of_words_bring_texts_near():
    assert likeness("the quick brown fox", "a quick brown fox jumps") > 0.5
    assert likeness("evaluate the models", "evaluation of a model") > likeness("evaluate the models", "river fish")
    assert likeness("colour", "color") > 0.2
    assert likeness("Größe", "GRÖSSE") > 0.9
    assert likeness("日本の首都", "日本の都市") > likeness("日本の首都", "猫と魚")
    assert abs(likeness("entirely different words", "nothing here overlaps")) < 0.25


def test_vectors_are_the_same_in_another_process():
    code = "from byom.host.builtin.lexical import embedding; print(sum(embedding('same everywhere')[::3]))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{sum(embedding('same everywhere')[::3])}\n"}


async def test_dimensions_can_be_chosen_within_bounds(model):
    assert len((await model.embed(["x"])).vectors[0]) == DIMENSIONS
    assert len((await model.embed(["x"], 17)).vectors[0]) == 17
    for impossible in (0, -1, 5000):
        with pytest.raises(BadRequest) as refused:
            await model.embed(["x"], impossible)
        assert refused.value.param == "dimensions"


async def test_usage_counts_the_tokens_of_all_texts(model):
    texts = ["one two", "three, four"]
    assert (await model.embed(texts)).usage.prompt_tokens == sum(map(count_tokens, texts)) == 5


async def test_rerank_puts_the_nearest_document_first(model):
    documents = ["The cat sat on the mat.", "Rivers flow to the sea.", "A river in Europe: the Rhine.", ""]
    made = await model.rerank("european rivers such as the Rhine", documents)
    assert made.documents[0].index == 2
    assert sorted(item.index for item in made.documents) == [0, 1, 2, 3]
    assert all(0 <= item.score <= 1 for item in made.documents)
    assert made.documents[-1].score == 0


async def test_a_document_equal_to_the_query_scores_one(model):
    made = await model.rerank("exactly this text", ["exactly this text", "something else"])
    assert made.documents[0].score == pytest.approx(1.0)


def test_it_satisfies_the_protocols(model):
    assert isinstance(model, EmbeddingModel)
    assert isinstance(model, SizedEmbeddingModel)
    assert isinstance(model, RerankModel)
