"""Calls of user code over the wire."""

from __future__ import annotations

import base64
import json
import pickle

from tests.host.code.conftest import ask, error_of, status, text_of


async def test_an_answer_of_the_code_is_an_answer_of_openai(host):
    async with host().client() as http:
        answer = (await ask(http, "say hello")).json()
        assert answer["choices"][0]["message"]["content"] == "hello"
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["usage"]["estimated"] is True
        assert answer["usage"]["completion_tokens"] == 1
        counted = (await ask(http, "counted")).json()
        assert counted["choices"][0] | {"message": None} == {
            "index": 0, "message": None, "logprobs": None, "finish_reason": "length",
        }  # fmt: skip
        assert counted["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def test_a_stream_has_the_pieces_as_the_code_gives_them(host):
    async with host().client() as http:
        answer = await ask(http, "counted", stream=True, stream_options={"include_usage": True})
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        texts = [event["choices"][0]["delta"].get("content") for event in events if event["choices"]]
        assert [text for text in texts if text] == ["one ", "two"]
        assert events[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        assert answer.text.endswith("data: [DONE]\n\n")


async def test_embeddings_come_in_batches_that_the_code_takes(host):
    async with host().client() as http:
        answer = (await http.post("/v1/embeddings", json={"model": "vectors", "input": ["a", "b", "c"]})).json()
        assert [one["embedding"] for one in answer["data"]] == [[2.0], [2.0], [1.0]]
        assert answer["usage"]["estimated"] is True


async def test_vectors_that_are_none_are_a_clear_error(host):
    async with host().client() as http:

        async def embedded(text: str):
            return await http.post("/v1/embeddings", json={"model": "vectors", "input": text})

        assert (await embedded("whole")).json()["data"][0]["embedding"] == [1.0, 2.0]
        assert "not finite" in error_of(await embedded("nan"))["message"]
        assert "no valid vectors" in error_of(await embedded("text"))["message"]
        assert "0 vectors for 1 texts" in error_of(await embedded("few"))["message"]


async def test_rerank_and_abilities_that_the_code_lacks(host):
    async with host().client() as http:
        answer = await http.post("/v1/rerank", json={"model": "vectors", "query": "q", "documents": ["a", "b"]})
        assert [one["index"] for one in answer.json()["results"]] == [0, 1]
        refused = error_of(await http.post("/v1/embeddings", json={"model": "sync", "input": "a"}))
        assert refused["code"] == "unsupported_ability"
        assert error_of(await ask(http, "say x", model="vectors"))["code"] == "unsupported_ability"
        assert "sync, single, async, vectors" in error_of(await ask(http, "say x", model="other"))["message"]


async def test_models_are_listed_with_everything_that_their_code_says(host):
    async with host().client() as http:
        models = (await http.get("/v1/models")).json()["data"]
        vectors = next(model for model in models if model["id"] == "vectors")
        assert vectors["byom"]["batch_size"] == 2
        assert vectors["byom"]["cost"] == {"input": "0.000001", "output": "0"}
        assert vectors["dimensions"] == 1
        assert [(one["name"], one["state"]) for one in (await status(http))["models"]] == [
            ("sync", "ready"), ("single", "ready"), ("async", "ready"), ("vectors", "ready"),
        ]  # fmt: skip


async def test_errors_of_the_code_are_short_for_the_caller_and_whole_in_the_log(host):
    async with host().client() as http:
        answer = await ask(http, "fail bad input")
        assert answer.status_code == 502
        assert error_of(answer)["message"] == "ValueError: bad input"
        assert error_of(answer)["code"] == "code_error"
        refused = await ask(http, "refuse")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
        assert error_of(refused)["code"] == "too_soon"
        assert "SystemExit: 3" in error_of(await ask(http, "leave"))["message"]
        log = "\n".join((await http.get("/-/logs?lines=500")).json()["lines"])
        assert "raise ValueError(rest)" in log
        assert "byom_worker" not in log


async def test_what_the_code_prints_is_in_the_log(host):
    async with host().client() as http:
        assert text_of(await ask(http, "tell a story")) == "told"
        lines = (await http.get("/-/logs")).json()["lines"]
        for text in ("out: a story", "err: a story", "from a child"):
            assert any(line.endswith(f"[worker-1] {text}") for line in lines)
        assert (await http.get("/-/logs?lines=1")).json()["lines"] == lines[-1:]


async def test_code_that_closes_its_output_and_reads_its_input_harms_nobody(host):
    async with host().client() as http:
        assert text_of(await ask(http, "close")) == "''"
        assert text_of(await ask(http, "say still here")) == "still here"


async def test_agentstudio_s_client_is_answered_in_its_own_way(host):
    messages = base64.b64encode(pickle.dumps([{"role": "user", "content": "say hello"}])).decode()
    async with host().client(headers={"Authorization": ""}) as http:
        answer = await http.post("/agentstudio/secret//generate", json={"model": "sync", "messages": messages})
        assert answer.status_code == 200, answer.text
        assert pickle.loads(base64.b64decode(answer.json()["message"])) == "hello"
        info = pickle.loads(base64.b64decode(answer.json()["info"]))
        assert info["completion_tokens"] == 1
        missing = await http.post("/agentstudio/secret/generate", json={"model": "other", "messages": messages})
        assert missing.status_code == 404


async def test_an_answer_that_is_no_json_is_a_clear_error(host):
    async with host().client() as http:
        # an event with NaN cannot be sent; the call fails, the worker goes on
        assert "ValueError" in error_of(await ask(http, "number"))["message"]
        assert text_of(await ask(http, "say on")) == "on"
