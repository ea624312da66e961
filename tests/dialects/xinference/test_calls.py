"""Calls of models by the client, in three releases: launched ones, which are real, and others."""

from __future__ import annotations

import time

import pytest

from tests.dialects.xinference.clients import SINCE_1, SINCE_4, ClientError
from tests.dialects.xinference.conftest import Run
from tests.dialects.xinference.serving import Served

CHAT = 'chat([{"role": "user", "content": "Hello"}], generate_config={"max_tokens": 5%s})'


def test_a_model_generates_with_real_token_counts(run: Run) -> None:
    answer = run("""return client.get_model("tiny").generate("SELECT", {"max_tokens": 5})""")
    assert answer["object"] == "text_completion"
    assert answer["model"] == "tiny"
    assert 1 <= answer["usage"]["completion_tokens"] <= 5
    assert answer["usage"]["prompt_tokens"] >= 6
    (choice,) = answer["choices"]
    assert choice["finish_reason"] in ("stop", "length")
    assert isinstance(choice["text"], str)
    assert choice["logprobs"] is None


def test_a_model_chats(run: Run) -> None:
    answer = run(f"""return client.get_model("tiny").{CHAT % ""}""")
    assert answer["object"] == "chat.completion"
    message = answer["choices"][0]["message"]
    assert message["role"] == "assistant"
    assert isinstance(message["content"], str)
    assert 1 <= answer["usage"]["completion_tokens"] <= 5


@SINCE_4
def test_thinking_is_switched_off_by_a_field_that_the_template_gets(run: Run, hub: Served) -> None:
    run("""return client.get_model("remote-chat").chat([{"role": "user", "content": "Hi"}], enable_thinking=False)""")
    assert hub.upstream.requests[-1].fields()["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}


def test_completions_and_chats_stream(run: Run) -> None:
    pieces = run("""return list(client.get_model("tiny").generate("SELECT", {"max_tokens": 5, "stream": True}))""")
    assert {piece["object"] for piece in pieces} == {"text_completion"}
    assert pieces[-1]["choices"][0]["finish_reason"] in ("stop", "length")
    chunks = run(f"""return list(client.get_model("tiny").{CHAT % ', "stream": True'})""")
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert "assistant" in [chunk["choices"][0]["delta"].get("role") for chunk in chunks], chunks[:2]
    assert chunks[-1]["choices"][0]["finish_reason"] in ("stop", "length")


def test_the_usage_of_a_stream_comes_where_it_is_asked_for(run: Run) -> None:
    options = ', "stream": True, "stream_options": {"include_usage": True}'
    *_, last = run(f"""return list(client.get_model("tiny").{CHAT % options})""")
    assert last["choices"] == []
    assert 1 <= last["usage"]["completion_tokens"] <= 5


def test_texts_become_vectors(run: Run) -> None:
    answer = run("""return client.get_model("vectors").create_embedding(["one", "two", "one"])""")
    assert answer["object"] == "list"
    vectors = [one["embedding"] for one in answer["data"]]
    assert [len(vector) for vector in vectors] == [64, 64, 64]
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-4)
    assert vectors[0] != vectors[1]
    assert answer["usage"]["prompt_tokens"] > 0
    single = run("""return client.get_model("vectors").create_embedding("one")""")
    assert single["data"][0]["embedding"] == pytest.approx(vectors[0], abs=1e-4)


def test_documents_are_ranked(run: Run) -> None:
    answer = run("""
        ranker = client.get_model("ranker")
        return ranker.rerank(["a blue car", "an apple", "a car"], "apple", return_documents=True, return_len=True)
    """)
    scores = [one["relevance_score"] for one in answer["results"]]
    assert sorted(scores, reverse=True) == scores
    documents = {0: "a blue car", 1: "an apple", 2: "a car"}
    assert {one["index"]: one["document"]["text"] for one in answer["results"]} == documents
    assert answer["id"]
    assert set(answer["meta"]) == {"api_version", "billed_units", "tokens", "warnings"}
    assert answer["meta"]["tokens"]["input_tokens"] > 0
    plain = run("""return client.get_model("ranker").rerank(["a car", "an apple"], "apple", top_n=1)""")
    assert [one["document"] for one in plain["results"]] == [None]
    assert plain["meta"]["tokens"] is None


def test_a_ranking_of_an_endpoint_has_the_same_form(run: Run, hub: Served) -> None:
    answer = run("""return client.get_model("remote-ranker").rerank(["a blue car", "a red apple"], "red apple")""")
    assert [one["index"] for one in answer["results"]] == [1, 0]
    sent = hub.upstream.requests[-1].fields()
    assert sent["documents"] == ["a blue car", "a red apple"]
    assert not {"kwargs", "return_len", "max_chunks_per_doc"} & sent.keys()


def test_whoever_ranks_otherwise_is_answered_as_the_server_answers(hub: Served) -> None:
    import httpx2

    body = {"model": "remote-ranker", "query": "red apple", "documents": ["a blue car", "a red apple"]}
    headers = {"authorization": f"Bearer {hub.key}"}
    answer = httpx2.post(f"{hub.url}/v1/rerank", json=body, headers=headers, trust_env=False).json()
    assert "meta" not in answer
    assert {one["index"] for one in answer["results"]} == {0, 1}


def test_every_model_of_the_hub_is_one_for_the_client(run: Run) -> None:
    text = run("""
        model = client.get_model("remote-chat")
        assert type(model).__name__.endswith("ChatModelHandle")
        return model.chat([{"role": "user", "content": "Hi"}])["choices"][0]["message"]["content"]
    """)
    assert text == "one two three"
    assert run("""return type(client.get_model("remote-ranker")).__name__""").endswith("RerankModelHandle")
    assert run("""return type(client.get_model("vectors")).__name__""").endswith("EmbeddingModelHandle")


def test_a_caller_without_administration_may_list_describe_and_call(run: Run, hub: Served) -> None:
    found = run(f"""return [sorted(client.list_models()), client.get_model("tiny").{CHAT % ""}]""", key=hub.key)
    assert {"tiny", "vectors", "ranker", "remote-chat"} <= set(found[0])
    assert 1 <= found[1]["usage"]["completion_tokens"] <= 5


def test_errors_of_calls_say_what_is_wrong(run: Run) -> None:
    with pytest.raises(ClientError, match=r"detail: There is no model 'tinny' here\. Did you mean 'tiny'"):
        run("""return client.get_model("tinny")""")
    with pytest.raises(ClientError, match="on fire") as failed:
        run("""return client.get_model("remote-down").chat([{"role": "user", "content": "Hi"}])""")
    assert failed.value.kind == "RuntimeError"


@SINCE_4
def test_errors_of_an_engine_say_what_is_wrong(run: Run) -> None:
    with pytest.raises(ClientError, match=r"detail: (?!4)"):
        run("""return client.get_model("tiny").chat([{"role": "nobody"}])""")


@SINCE_4
def test_an_embedding_of_a_model_that_makes_none_is_refused_in_words(run: Run) -> None:
    with pytest.raises(ClientError, match=r"detail: (?!4|5)"):
        run("""
            model = client.get_model("vectors")
            model._model_uid = "tiny"
            return model.create_embedding("one")
        """)


ABORTED = """
    import threading
    model = client.get_model("remote-endless")
    stream = model.chat(
        [{"role": "user", "content": "Hi"}],
        generate_config={"stream": True, "request_id": rid, "max_tokens": 10000},
    )
    next(stream)
    far = client.get_progress(rid)["progress"] if hasattr(client, "get_progress") else 0.0
    said = client.abort_request("remote-endless", rid)
    try:
        for piece in stream:
            pass
    except Exception as error:
        return [said, str(error), far]
"""


def test_a_request_is_aborted_by_its_id_while_it_streams(run: Run, xinference: object) -> None:
    said, error, far = run(ABORTED, rid="my-request")
    assert said == {"msg": "DONE"}
    assert "aborted" in error
    assert 0.0 <= far < 1.0
    with pytest.raises(ClientError, match="no call under way"):
        run("""return client.get_progress("my-request")""")


def test_a_caller_aborts_its_own_requests_only(run: Run, hub: Served) -> None:
    said = run(
        """
        model = client.get_model("remote-endless")
        config = {"stream": True, "request_id": "of-admin"}
        stream = model.chat([{"role": "user", "content": "Hi"}], generate_config=config)
        next(stream)
        other = Client(url, api_key=ann)
        first = other.abort_request("remote-endless", "of-admin")
        return [first, client.abort_request("remote-endless", "of-admin")]
        """,
        ann=hub.key,
    )
    assert said == [{"msg": "NOT_FOUND"}, {"msg": "DONE"}]


def test_aborting_what_is_not_there_is_no_error(run: Run) -> None:
    assert run("""return client.abort_request("nobody", "some")""") == {"msg": "NO_OP"}
    assert run("""return client.abort_request("tiny", "some")""") == {"msg": "NOT_FOUND"}


@SINCE_1
def test_an_abort_that_comes_first_waits_for_its_request(run: Run) -> None:
    started = time.monotonic()
    with pytest.raises(ClientError, match="aborted"):
        run("""
            assert client.abort_request("remote-endless", "early", block_duration=20) == {"msg": "NOT_FOUND"}
            config = {"stream": True, "request_id": "early"}
            model = client.get_model("remote-endless")
            return list(model.chat([{"role": "user", "content": "Hi"}], generate_config=config))
        """)
    assert time.monotonic() - started < 15


@SINCE_1
def test_the_asynchronous_client_does_the_same(run: Run) -> None:
    found = run("""
        import asyncio
        from xinference_client import AsyncRESTfulClient

        async def all_of_it():
            client = AsyncRESTfulClient(url, api_key=key)
            try:
                model = await client.get_model("tiny")
                answer = await model.generate("SELECT", {"max_tokens": 3})
                config = {"max_tokens": 3, "stream": True}
                stream = await model.chat([{"role": "user", "content": "Hi"}], generate_config=config)
                pieces = [piece async for piece in stream]
                vectors = await (await client.get_model("vectors")).create_embedding("one")
                ranked = await (await client.get_model("ranker")).rerank(["a", "b"], "a")
                names = await client.list_model_registrations("LLM")
                progress = await client.get_launch_model_progress("tiny")
                return [answer["usage"]["completion_tokens"], len(pieces) > 1, len(vectors["data"]),
                        len(ranked["results"]), [one["model_name"] for one in names], progress["progress"]]
            finally:
                await client.close()

        return asyncio.run(all_of_it())
    """)
    assert 1 <= found[0] <= 3
    assert found[1:4] == [True, 1, 2]
    assert "tiny" in found[4]
    assert found[5] == 1.0
