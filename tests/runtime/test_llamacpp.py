"""llama.cpp for real: chat, completions, streams, embeddings, rerank, its faults and its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from byom.runtime.engines.known import known_engines
from byom.runtime.fetch.fetcher import Fetcher
from byom.runtime.hardware import Hardware
from byom.runtime.launching import LaunchRequest, Prepared, prepare_launch
from byom.runtime.memory import NotEnoughMemory
from byom.runtime.process import EngineProcess, EngineStartError
from byom.runtime.specs.read import read_spec
from byom.runtime.supervisor import EngineSupervisor, Restarts
from byom.runtime.weights.info import WeightsCorrupt
from tests.runtime.processes import alive, children, gone

pytest.importorskip("xllamacpp", reason="the extra llamacpp is not installed")

MACHINE = Hardware(cpus=2, memory_total=8 << 30, memory_available=4 << 30)
MESSAGES = [{"role": "user", "content": "hello"}]


def tokens(text: str) -> int:
    """Of the tiny vocabulary: the start, and the bytes; each space, one before the text too, has three."""
    return 1 + len(f" {text}".replace(" ", "___"))


def spec_of(path: Path, abilities: tuple[str, ...] = ("chat",), **fields: Any) -> dict[str, Any]:
    entry = {"model_format": "ggufv2", "model_size_in_billions": 0.001, "quantization": "F32", "model_uri": str(path)}
    return {"version": 1, "model_name": "tiny", "model_ability": list(abilities), "model_specs": [entry], **fields}


async def prepared(document: dict[str, Any], kind: str = "LLM", hardware: Hardware = MACHINE, **asked: Any) -> Prepared:
    spec = read_spec(document, kind).spec
    async with Fetcher(Path("/nonexistent"), environ={}) as fetcher:
        request = LaunchRequest(**asked)
        return await prepare_launch(spec, request, engines=known_engines(), fetcher=fetcher, hardware=hardware)


def whole(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


async def drain(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


@asynccontextmanager
async def running(document: dict[str, Any], kind: str = "LLM", **asked: Any) -> AsyncIterator[httpx2.AsyncClient]:
    ready = await prepared(document, kind, **asked)
    process = EngineProcess(ready.choice.engine, ready.launch)
    await process.start()
    headers = {"authorization": f"Bearer {process.token}"}
    try:
        async with httpx2.AsyncClient(base_url=process.base_url, headers=headers, timeout=30) as client:
            yield client
    finally:
        await process.stop()


async def test_it_chats_with_true_counts(tiny_gguf: Path) -> None:
    async with running(spec_of(tiny_gguf)) as client:
        body = {"model": "tiny", "messages": MESSAGES, "max_tokens": 4, "temperature": 0}
        answer = (await client.post("/chat/completions", json=body)).json()
        assert answer["model"] == "tiny"
        assert answer["usage"]["prompt_tokens"] == tokens("user: hello\nassistant: ")
        assert answer["usage"]["completion_tokens"] == 4
        plain = (await client.post("/completions", json={"model": "tiny", "prompt": "x", "max_tokens": 3})).json()
        assert plain["object"] == "text_completion"
        assert plain["usage"]["completion_tokens"] <= 3
        assert (await client.post("/chat/completions", json=body, headers={"authorization": ""})).status_code == 401
        too_long = await client.post("/completions", json={"model": "tiny", "prompt": "x" * 9000})
        assert too_long.status_code == 400
        assert "context" in too_long.json()["error"]["message"]


async def test_it_streams_with_usage_at_the_end(tiny_gguf: Path) -> None:
    async with running(spec_of(tiny_gguf)) as client:
        body = {"messages": MESSAGES, "max_tokens": 5, "stream": True, "stream_options": {"include_usage": True}}
        async with client.stream("POST", "/chat/completions", json=body) as answer:
            lines = [line[6:] async for line in answer.aiter_lines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        assert json.loads(lines[-2])["usage"]["completion_tokens"] == 5


async def test_a_template_and_stops_of_the_spec_are_used(tiny_gguf: Path) -> None:
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    async with running(spec_of(tiny_gguf, chat_template=template)) as client:
        answer = (await client.post("/chat/completions", json={"messages": MESSAGES, "max_tokens": 1})).json()
        assert answer["usage"]["prompt_tokens"] == tokens("hello")
    greedy = {"prompt": "b", "max_tokens": 9, "temperature": 0, "logit_bias": [["Q", 50]]}
    async with running(spec_of(tiny_gguf)) as client:
        answer = (await client.post("/completions", json=greedy)).json()
        assert answer["choices"][0]["text"].startswith("QQ")
    async with running(spec_of(tiny_gguf, stop=["QQ"])) as client:
        answer = (await client.post("/completions", json=greedy)).json()
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["choices"][0]["text"] == ""


async def test_it_embeds(tiny_gguf: Path) -> None:
    document = spec_of(tiny_gguf, dimensions=64)
    del document["model_ability"]
    async with running(document, "embedding") as client:
        answer = (await client.post("/embeddings", json={"input": ["one", "two"]})).json()
        assert [len(one["embedding"]) for one in answer["data"]] == [64, 64]
        assert answer["usage"]["prompt_tokens"] > 0


async def test_it_reranks(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    from tests.runtime.tiny_gguf import write_tiny_gguf

    document = spec_of(write_tiny_gguf(tmp_path / "rank.gguf", rank=True))
    del document["model_ability"]
    async with running(document, "rerank") as client:
        answer = (await client.post("/rerank", json={"query": "a", "documents": ["b", "c"]})).json()
        assert sorted(result["index"] for result in answer["results"]) == [0, 1]


async def test_eight_calls_at_a_time_are_served(tiny_gguf: Path) -> None:
    async with running(spec_of(tiny_gguf), arguments={"n_parallel": 8}) as client:
        body = {"messages": MESSAGES, "max_tokens": 20}
        answers = await asyncio.gather(*(client.post("/chat/completions", json=body) for _ in range(16)))
        assert {answer.status_code for answer in answers} == {200}


async def test_an_engine_killed_in_a_stream_is_started_again(tiny_gguf: Path) -> None:
    ready = await prepared(spec_of(tiny_gguf))
    states: list[str] = []
    supervisor = EngineSupervisor(
        lambda: EngineProcess(ready.choice.engine, ready.launch),
        restarts=Restarts(first=0.01),
        on_change=lambda one: states.append(one.state),
    )
    await supervisor.start()
    first = supervisor.process
    assert first is not None
    assert first.pid is not None
    headers = {"authorization": f"Bearer {first.token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as client:
        body = {"prompt": "x", "max_tokens": 500, "stream": True, "ignore_eos": True}
        async with client.stream("POST", f"{first.base_url}/completions", json=body) as answer:
            pieces = answer.aiter_raw()
            await anext(pieces)
            os.kill(first.pid, signal.SIGKILL)
            with pytest.raises(httpx2.TransportError):
                await drain(pieces)
    async with asyncio.timeout(20):
        while supervisor.restarts == 0 or not supervisor.ready:  # noqa: ASYNC110 - the states come one by one
            await asyncio.sleep(0.01)
    second = await supervisor.wait_until_ready(20)
    assert second is not first
    assert states == ["starting", "ready", "restarting", "ready"]
    assert second.pid is not None
    pid = second.pid
    await supervisor.stop()
    assert not alive(pid)


async def test_a_damaged_file_is_refused_with_what_to_do(tiny_gguf: Path, tmp_path: Path) -> None:
    cut = write(tmp_path / "cut.gguf", whole(tiny_gguf)[:-100_000])
    document = spec_of(tiny_gguf)
    with pytest.raises(WeightsCorrupt, match="cut short: 100000 bytes are missing"):
        await prepared(document, model_path=str(cut))
    page = write(tmp_path / "page.gguf", b"<html>not found</html>" * 10)
    with pytest.raises(WeightsCorrupt, match="page of text"):
        await prepared(document, model_path=str(page))


async def test_weights_that_llama_cpp_refuses_leave_its_last_words(tiny_gguf: Path, tmp_path: Path) -> None:
    before = children()
    odd = write(tmp_path / "odd.gguf", whole(tiny_gguf).replace(b"blk.1.attn_q.weight", b"blk.1.attn_z.weight"))
    ready = await prepared(spec_of(odd))
    process = EngineProcess(ready.choice.engine, ready.launch)
    with pytest.raises(EngineStartError, match=r"llama\.cpp cannot serve") as caught:
        await process.start()
    assert "attn_q" in caught.value.message
    assert children() == before


async def test_what_does_not_fit_is_refused_before_it_is_loaded(tiny_gguf: Path) -> None:
    small = Hardware(cpus=2, memory_total=1 << 30, memory_available=100 << 20)
    with pytest.raises(NotEnoughMemory, match=r"Not enough memory on this machine: about .* are needed"):
        await prepared(spec_of(tiny_gguf), hardware=small)


async def test_a_model_that_loads_can_be_stopped(tiny_gguf: Path) -> None:
    ready = await prepared(spec_of(tiny_gguf))
    loading = asyncio.Event()
    process = EngineProcess(
        ready.choice.engine, ready.launch, on_stage=lambda one: one.stage == "process" and loading.set()
    )
    starting = asyncio.ensure_future(process.start())
    await loading.wait()
    pid = process.pid
    assert pid is not None
    await process.stop()
    with pytest.raises(EngineStartError, match="was stopped while it loaded"):
        await starting
    await gone(pid)
