"""Embeddings, rerankings and images of the unmodified client."""

from __future__ import annotations

import pytest

from byom.server.dialects.dataiku.embeddings import truncated
from byom.types.tokens import estimate_tokens
from tests.dialects.dataiku.clients import ClientError
from tests.dialects.dataiku.conftest import Run
from tests.dialects.dataiku.serving import PICTURE, Served


def test_every_text_gets_its_vector(run: Run, hub: Served) -> None:
    vectors = run("""
        query = project.get_llm("custom:box:vectors").new_embeddings()
        query.add_text("one").add_text("two").add_text("one")
        return query.execute().get_embeddings()
    """)
    assert [len(vector) for vector in vectors] == [4, 4, 4]
    assert vectors[0] == vectors[2] != vectors[1]
    assert hub.sent_to("vectors")[-1].fields()["input"] == ["one", "two", "one"]


def test_an_embedding_that_fails_says_why(run: Run) -> None:
    code = """return project.get_llm("vectors-down").new_embeddings().add_text("one").execute().get_embeddings()"""
    with pytest.raises(ClientError, match="on fire"):
        run(code)


def test_an_image_is_refused_where_texts_are_embedded(run: Run) -> None:
    with pytest.raises(ClientError, match="embedding of an image"):
        run("""return project.get_llm("vectors").new_embeddings().add_image(b"png").execute().get_embeddings()""")


@pytest.mark.parametrize("text", ["word " * 5000, "x" * 40_000, "語" * 9000])
def test_a_text_that_is_too_long_is_cut_to_the_tokens_that_fit(text: str) -> None:
    cut = truncated(text, 512)
    assert text.startswith(cut)
    assert 400 <= estimate_tokens(cut) <= 512
    assert truncated("short", 512) == "short"


def test_documents_come_in_the_order_of_their_relevance(run: Run, hub: Served) -> None:
    ranked = run("""
        query = project.get_llm("ranker").new_reranking().with_query("red apple")
        query.with_document("a blue car").with_document("a red apple").with_document("a red car")
        return [[one.index, one.relevance_score] for one in query.execute().documents]
    """)
    assert ranked == [[1, 1.0], [2, 0.5], [0, 0.0]]
    assert hub.sent_to("ranker")[-1].fields()["query"] == "red apple"


def test_a_reranking_that_fails_says_why(run: Run) -> None:
    raw = run("""
        response = project.get_llm("down").new_reranking().with_query("q").with_document("d").execute()
        return [response.success, response._resp["errorMessage"]]
    """)
    assert raw[0] is False
    assert "on fire" in raw[1]


def test_an_image_comes_where_the_models_server_makes_one(run: Run, hub: Served) -> None:
    found = run("""
        query = project.get_llm("chat").new_images_generation().with_prompt("a cat")
        query.width, query.height, query.images_to_generate = 512, 256, 1
        return query.execute().first_image(as_type="str")
    """)
    assert found == PICTURE
    sent = hub.sent_to("chat")[-1].fields()
    assert (sent["prompt"], sent["size"], sent["n"]) == ("a cat", "512x256", 1)


def test_what_no_model_can_draw_is_an_error_that_says_so(run: Run) -> None:
    with pytest.raises(ClientError, match="negative prompts"):
        run("""
            query = project.get_llm("chat").new_images_generation().with_prompt("a cat").with_negative_prompt("a dog")
            return query.execute().first_image(as_type="str")
        """)
    with pytest.raises(ClientError, match="on fire"):
        run(
            """return project.get_llm("down").new_images_generation().with_prompt("cat").execute().first_image("str")"""
        )
