"""AgentStudio's own model server as a model of ours; a stand-in for it unpickles with stock pickle."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import itertools
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from PIL import Image

from byom.catalog.forms import ModelForm
from byom.errors import (
    BadRequest,
    ByomError,
    MissingExtra,
    UpstreamError,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from byom.host.agentstudio.server import arguments, served_models, target_of
from byom.host.child import ChildHost
from byom.models.agentstudio.wire import MessageForm, decode_reply
from byom.models.collect import ChatAnswer, collect
from byom.server.hub import Hub
from byom.server.in_process import StreamingASGITransport
from byom.settings import Settings
from byom.testing import Behavior, FakeUpstream
from byom.types.chat import ChatRequest
from byom.types.target import NetworkPolicy, Timeouts
from tests.dialects.agentstudio.stand_ins import Array, installed, message

ROOT = Path(__file__).parents[3]
PIXELS = bytes(n * 5 % 256 for n in range(4 * 6 * 3))


def image_uri(kind: str = "PNG") -> str:
    out = io.BytesIO()
    Image.frombytes("RGB", (6, 4), PIXELS).save(out, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def picture(url: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


@contextlib.contextmanager
def model_server() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.dialects.agentstudio.model_server"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with model_server() as url:
        yield url


async def ask(url: str, model: str, *messages: dict[str, Any], **given: Any) -> ChatAnswer:
    fields = {name: given.pop(name) for name in ("tools", "n", "response_format", "temperature") if name in given}
    (served,) = served_models(url, [model], **given)
    try:
        return await collect(served.chat(ChatRequest(messages=list(messages) or [HELLO], **fields)))
    finally:
        await served.aclose()


HELLO = {"role": "user", "content": "Hello ☃"}


@pytest.mark.parametrize(
    ("form", "kind"),
    [(MessageForm.MESSAGE, "Message"), (MessageForm.PROMPT_SEG, "PromptSeg"), (MessageForm.DICT, "dict")],
)
async def test_the_server_gets_text_and_images_in_its_own_classes(server: str, form: MessageForm, kind: str) -> None:
    long = "x" * 70_000
    answer = await ask(
        server,
        "gpt-4o",
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": long},
                {"type": "image_url", "image_url": {"url": image_uri(), "detail": "low"}},
            ],
        },
        {"role": "assistant", "content": "Yes."},
        {"role": "tool", "tool_call_id": "1", "content": "A result ☃"},
        form=form,
        temperature=0.5,
    )
    assert json.loads(answer.text) == [
        [kind, "system", "Be brief."],
        [kind, "user", long],
        [kind, "user", [4, 6, 3, hashlib.sha256(PIXELS).hexdigest()]],
        [kind, "assistant", "Yes."],
        [kind, "user", "A result ☃"],
    ]
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
async def test_other_image_formats_are_decoded(server: str, kind: str) -> None:
    part = {"type": "image_url", "image_url": {"url": image_uri(kind)}}
    answer = await ask(server, "gpt-4o", {"role": "user", "content": [part]})
    assert json.loads(answer.text)[0][2][:3] == [4, 6, 3]


async def test_counts_are_taken_over_and_what_is_missing_is_estimated(server: str) -> None:
    usage = {}
    for model in ("gpt-counted", "gemini-total", "gpt-none", "gpt-empty"):
        found = (await ask(server, model)).usage
        assert found is not None
        usage[model] = found
    assert (usage["gpt-counted"].prompt_tokens, usage["gpt-counted"].completion_tokens) == (7, 3)
    assert not usage["gpt-counted"].estimated
    assert (usage["gemini-total"].prompt_tokens, usage["gemini-total"].estimated) == (5, True)
    assert usage["gpt-none"].estimated
    assert usage["gpt-none"].prompt_tokens > 0
    assert usage["gpt-empty"].completion_tokens == 0


@pytest.mark.parametrize(
    ("model", "kind", "said"),
    [
        ("gpt-broken", UpstreamError, "its own log"),
        ("llama", UpstreamError, "'gpt' or 'gemini'"),
        ("gpt-list", UpstreamProtocol, "not text but list"),
        ("gpt-object", UpstreamProtocol, "not imported"),
    ],
)
async def test_what_the_server_does_wrong_is_said(server: str, model: str, kind: type[ByomError], said: str) -> None:
    with pytest.raises(kind, match=said):
        await ask(server, model)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{}", "lacks"),
        (b"<html>", "not JSON"),
        (b'{"message": "x", "info": "x"}', "base64"),
        (b'{"message": 1}', "lacks"),
    ],
)
async def test_answers_that_are_none_are_refused(body: bytes, said: str) -> None:
    async with FakeUpstream(models=("gpt",)) as upstream:
        upstream.set_path("/generate", Behavior(body=body))
        with pytest.raises(UpstreamProtocol, match=said):
            await ask(upstream.base_url, "gpt")


async def test_a_server_that_is_silent_or_not_there() -> None:
    async with FakeUpstream(models=("gpt",)) as upstream:
        upstream.set_path("/generate", Behavior(hang=True))
        with pytest.raises(UpstreamTimeout):
            await ask(upstream.base_url, "gpt", timeouts=Timeouts(first_byte=0.1))
        url = upstream.base_url
    with pytest.raises(UpstreamUnreachable):
        await ask(url, "gpt")
    with pytest.raises(ByomError, match="allow"):
        await ask(url, "gpt", policy=NetworkPolicy(allow_loopback=False))


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "file"}]}, "messages[0].content[0]"),
        (picture("http://x/y.png"), "messages[0].content[0]"),
        (picture("data:image/png;base64,AAAA"), "messages[0].content[0]"),
        (picture("data:image/png;base64,A"), "messages[0].content[0]"),
        (picture("data:image/png,AAAA"), "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": ["text"]}, "messages[0].content[0]"),
        ({"role": "user", "content": None}, "messages[0].content"),
        ({"role": "critic", "content": "x"}, "messages[0].role"),
        ({"role": "assistant", "content": None, "tool_calls": [{}]}, "messages[0].tool_calls"),
    ],
)  # fmt: skip
async def test_what_the_protocol_has_no_form_for_is_named(server: str, message: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await ask(server, "gpt-4o", message)
    assert refused.value.param == param


@pytest.mark.parametrize("field", [{"n": 2}, {"tools": [{}]}, {"response_format": {"type": "json_object"}}])
async def test_parameters_that_change_the_answer_are_refused(server: str, field: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        await ask(server, "gpt-4o", **field)


async def test_a_very_large_image_in_a_small_file_is_refused(server: str) -> None:
    out = io.BytesIO()
    Image.new("1", (9000, 9000)).save(out, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    part = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(BadRequest, match="pixels"):
        await ask(server, "gpt-4o", {"role": "user", "content": [part]})


async def test_without_pillow_images_are_refused_and_text_is_not(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"byom\[images\]"):
        await ask(server, "gpt-4o", picture(image_uri_of_nothing()))
    assert (await ask(server, "gpt-counted")).text == "counted"


def image_uri_of_nothing() -> str:
    return "data:image/png;base64,AAAA"


async def test_models_of_one_server_take_turns() -> None:
    async with FakeUpstream(models=("gpt",)) as upstream:
        upstream.set_path("/generate", Behavior(body=b"{}", latency=0.05))
        models = served_models(upstream.base_url, ["gpt-a", "gpt-b"])
        calls = [collect(model.chat(ChatRequest(messages=[HELLO]))) for model in models * 3]
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.gather(*(model.aclose() for model in models))
        times = [(request.received_at, request.ended_at) for request in upstream.requests]
        assert len(times) == 6
        for (_, ended), (began, _) in itertools.pairwise(times):
            assert ended is not None
            assert ended <= began + 0.02


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authorization"),
    [
        ("http://box:8000", "box", 8000, "", None),
        ("box:8000/", "box", 8000, "", None),
        ("https://box.example.org/studio/generate", "box.example.org", 443, "/studio", None),
        ("http://me:p%40ss@box:8000/", "box", 8000, "", "Basic " + base64.b64encode(b"me:p@ss").decode()),
    ],
)
def test_addresses_as_people_write_them(url: str, host: str, port: int, path: str, authorization: str | None) -> None:
    target = target_of(url)
    assert (target.host, target.port, target.base_path, target.authorization) == (host, port, path, authorization)
    assert "p@ss" not in repr(target)


async def test_the_host_program_serves_it_to_openai_s_client(server: str) -> None:
    """As the hub starts it."""
    args = arguments(server, ["gpt-counted", "gpt-4o"], concurrency=2, policy=NetworkPolicy(allow_public=False))
    async with (
        ChildHost("byom.host.agentstudio", args) as host,
        openai.AsyncOpenAI(base_url=host.base_url, api_key=host.token, max_retries=0) as client,
    ):
        assert sorted([one.id async for one in await client.models.list()]) == ["gpt-4o", "gpt-counted"]
        answer = await client.chat.completions.create(model="gpt-counted", messages=[HELLO])
        assert answer.choices[0].message.content == "counted"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 3)
        pieces = [
            piece.choices[0].delta.content or ""
            async for piece in await client.chat.completions.create(model="gpt-counted", messages=[HELLO], stream=True)
            if piece.choices
        ]
        assert "".join(pieces) == "counted"
        with pytest.raises(openai.BadRequestError, match="tools"):
            await client.chat.completions.create(
                model="gpt-4o", messages=[HELLO], tools=[{"type": "function", "function": {"name": "f"}}]
            )


async def test_the_host_program_keeps_to_the_hub_s_network_policy(server: str) -> None:
    args = arguments(server, ["gpt-4o"], policy=NetworkPolicy(allow_loopback=False), verify_tls=False)
    async with (
        ChildHost("byom.host.agentstudio", args) as host,
        openai.AsyncOpenAI(base_url=host.base_url, api_key=host.token, max_retries=0) as client,
    ):
        with pytest.raises(openai.PermissionDeniedError):
            await client.chat.completions.create(model="gpt-4o", messages=[HELLO])


def test_the_host_program_says_what_is_wrong_with_its_arguments() -> None:
    command = [sys.executable, "-m", "byom.host.agentstudio", "--url", "ftp://x", "--model", "gpt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "ftp" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_hub_between_agentstudio_s_client_and_its_server(server: str, tmp_path: Path) -> None:
    """There and back: an array of the client is an array of the server, to the bit."""
    with installed():
        sent = base64.b64encode(pickle.dumps([message("current", "user", Array((4, 6, 3), PIXELS))])).decode()
    async with (
        ChildHost("byom.host.agentstudio", ("--url", server, "--model", "gpt-4o")) as host,
        Hub.session(Settings(home=tmp_path / "home", no_auth=True)) as hub,
        httpx2.AsyncClient(transport=StreamingASGITransport(hub.app), base_url="http://localhost") as client,
    ):
        await hub.catalog.connections.create({"name": "studio", "url": host.base_url, "key": host.token}, actor="test")
        await hub.catalog.models.create_many([ModelForm(name="gpt-4o", connection="studio")], actor="test")
        answer = await client.post("/generate", json={"model": "gpt-4o", "messages": sent})
        assert answer.status_code == 200, answer.text
        text, info = decode_reply(**answer.json())
    assert json.loads(text) == [["Message", "user", [4, 6, 3, hashlib.sha256(PIXELS).hexdigest()]]]
    assert info == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
