"""The host application with models that a test holds in its hand."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable

import httpx2
import openai
import pytest
import uvicorn

from byom.errors import UpstreamTimeout
from byom.host.app import HostApp
from byom.host.builtin.work import WorkCancelled, Workers
from byom.models.protocols import ChatModel
from byom.testing import ScriptedModel
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.model_info import ModelInfo

FIELDS = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}


class GatedModel:
    """Says one word, then waits for the gate. Notes when its answer is ended early."""

    def __init__(self) -> None:
        self.info = ModelInfo(name="scripted")
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()
        self.ended_early = asyncio.Event()

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        ended = False
        try:
            yield ChatEvent(text="first")
            self.waiting.set()
            await self.gate.wait()
            yield ChatEvent(text=" second", finish_reason="stop")
            ended = True
        finally:
            if not ended:
                self.ended_early.set()

    async def aclose(self) -> None:
        self.gate.set()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., object]]:
    running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def start(model: ChatModel, **settings: object) -> str:
        listening = asyncio.Event()

        class Server(uvicorn.Server):
            async def startup(self, sockets=None) -> None:
                await super().startup(sockets)
                listening.set()

        config = uvicorn.Config(HostApp([model], **settings), port=0, log_level="critical", ws="none")
        server = Server(config)
        running.append((server, asyncio.create_task(server._serve())))
        await listening.wait()
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"

    yield start
    for server, task in running:
        server.should_exit = True
        await task


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_who_leaves_ends_the_model(serve, stream):
    model = GatedModel()
    url = await serve(model)
    async with httpx2.AsyncClient() as http:
        call = asyncio.create_task(http.post(f"{url}/chat/completions", json={**FIELDS, "stream": stream}))
        await model.waiting.wait()
        call.cancel()
    await asyncio.wait_for(model.ended_early.wait(), 5)


async def test_a_word_is_sent_as_soon_as_the_model_says_it(serve):
    model = GatedModel()
    url = await serve(model)
    async with openai.AsyncOpenAI(base_url=url, api_key="k") as client:
        stream = aiter(await client.chat.completions.create(**FIELDS, stream=True))
        await anext(stream)
        assert (await anext(stream)).choices[0].delta.content == "first"
        assert not model.gate.is_set()
        model.gate.set()
        rest = [chunk async for chunk in stream]
    assert [chunk.choices[0].delta.content for chunk in rest] == [" second", None]
    assert [chunk.choices[0].finish_reason for chunk in rest] == [None, "stop"]


async def test_a_model_that_fails_in_the_middle_of_a_stream_ends_it_with_an_error_event(serve):
    class Failing(ScriptedModel):
        async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
            yield ChatEvent(text="so far")
            raise UpstreamTimeout("the engine is silent")

    url = await serve(Failing())
    async with httpx2.AsyncClient() as http:
        text = (await http.post(f"{url}/chat/completions", json={**FIELDS, "stream": True})).text
    assert "so far" in text
    assert json.loads(text.strip().rpartition("data: ")[2])["error"]["code"] == "upstream_timeout"
    assert "[DONE]" not in text


@pytest.mark.parametrize(("error", "status"), [(UpstreamTimeout("slow"), 504), (RuntimeError("private detail"), 500)])
async def test_a_model_that_fails_before_its_first_word_gives_a_status(serve, error, status):
    url = await serve(ScriptedModel(error))
    async with httpx2.AsyncClient() as http:
        answer = await http.post(f"{url}/chat/completions", json=FIELDS)
    assert answer.status_code == status
    assert "private detail" not in answer.text


async def test_tool_calls_are_put_together_in_a_whole_answer(serve):
    def delta(index: int, arguments: str, **head: str) -> ChatEvent:
        function = {"arguments": arguments, **({"name": head["name"]} if head else {})}
        return ChatEvent(tool_calls=[{"index": index, "function": function, **({"id": head["id"]} if head else {})}])

    events = [delta(0, "", id="a", name="f"), delta(1, "", id="b", name="g"), delta(0, '{"x"'), delta(1, "{}")]
    url = await serve(ScriptedModel([*events, delta(0, ": 1}"), ChatEvent(finish_reason="tool_calls")]))
    async with openai.AsyncOpenAI(base_url=url, api_key="k") as client:
        choice = (await client.chat.completions.create(**FIELDS)).choices[0]
    assert [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [
        ("a", "f", '{"x": 1}'),
        ("b", "g", "{}"),
    ]
    assert choice.message.content is None
    assert choice.finish_reason == "tool_calls"


async def test_usage_that_no_model_told_is_left_out(serve):
    url = await serve(ScriptedModel([ChatEvent(text="x", reasoning="hm", finish_reason="stop")]))
    options = {"stream": True, "stream_options": {"include_usage": True}}
    async with httpx2.AsyncClient() as http:
        whole = (await http.post(f"{url}/chat/completions", json=FIELDS)).json()
        stream = (await http.post(f"{url}/chat/completions", json={**FIELDS, **options})).text
    assert "usage" not in whole
    assert whole["choices"][0]["message"]["reasoning_content"] == "hm"
    assert '"choices":[]' not in stream


async def test_falsy_and_unknown_fields_reach_the_model(serve):
    model = ScriptedModel()
    url = await serve(model)
    fields = {**FIELDS, "temperature": 0, "seed": 0, "stop": [], "max_completion_tokens": 5, "vendor": {"a": 1}}
    async with httpx2.AsyncClient() as http:
        await http.post(f"{url}/chat/completions", json=fields)
    seen = model.requests[0]
    assert (seen.temperature, seen.seed, seen.stop, seen.max_tokens) == (0, 0, [], 5)
    assert seen.extra == {"vendor": {"a": 1}}


async def test_a_body_over_the_limit_is_refused(serve):
    url = await serve(ScriptedModel(), max_body=1000)
    async with httpx2.AsyncClient() as http:
        answer = await http.post(f"{url}/chat/completions", json={**FIELDS, "pad": "x" * 1000})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"


async def test_models_are_closed_with_the_server():
    model = ScriptedModel()
    app = HostApp([model])
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert model.closed
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_work_in_a_thread_ends_when_its_caller_is_cancelled():
    workers = Workers(1)
    began, ended = threading.Event(), threading.Event()

    def work(check: Callable[[], None]) -> None:
        began.set()
        try:
            while True:
                check()
        except WorkCancelled:
            ended.set()
            raise

    call = asyncio.create_task(workers.run(work))
    assert await asyncio.to_thread(began.wait, 5)
    call.cancel()
    assert await asyncio.to_thread(ended.wait, 5)
    assert await workers.run(lambda check: "free again") == "free again"
    workers.close()
