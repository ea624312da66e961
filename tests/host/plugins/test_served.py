"""Plugins behind a host of code, as a hub calls them: over HTTP, with the calling user's name."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from byom.host.plugins import environment
from byom.host.plugins.configuration import ConfiguredModel, Preset, configuration
from byom.host.plugins.folder import Plugin, read
from byom.testing import Behavior, FakeUpstream, RecordedRequest
from tests.host.plugins import samples
from tests.host.plugins.test_environment import built, planned, plugin_folder

CALLS = 1000
KEYS = {"1": "sk-ann-0000", "2": "sk-bob-1111"}
NAMES = {"1": "ann", "2": "bob", "3": "cleo"}


class Host:
    """One host of code, of one plugin."""

    def __init__(self, plugin: Plugin, document: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "byom.host.code", "--token-stdin", "--configuration-stdin"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        document = {"target": str(plugin.folder), "hub_url": "http://hub.example", **document}
        self.process.stdin.write(b"secret\n" + json.dumps(document).encode() + b"\n")
        self.process.stdin.flush()
        self.url = f"http://127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"

    def client(self) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_connections=32)
        return httpx2.AsyncClient(
            base_url=self.url, headers={"Authorization": "Bearer secret"}, timeout=60, limits=limits
        )

    def stop(self) -> None:
        with suppress(BrokenPipeError):
            self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(20)
        self.process.stdout.close()  # type: ignore[union-attr]


@pytest.fixture
def serve() -> Iterator[Callable[[Plugin, dict[str, Any]], Host]]:
    running: list[Host] = []

    def start(plugin: Plugin, document: dict[str, Any]) -> Host:
        running.append(Host(plugin, document))
        return running[-1]

    yield start
    for one in running:
        one.stop()


async def ask(http: httpx2.AsyncClient, model: str, content: str, user: str = "", **more: Any) -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": content}], **more}
    return await http.post("/v1/chat/completions", json=body, headers={"x-byom-user": user} if user else {})


def pieces_of(stream: str) -> list[str]:
    """The texts of a stream of events."""
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    texts = [event["choices"][0]["delta"].get("content") for event in events if event["choices"]]
    return [text for text in texts if text]


async def test_two_users_with_two_credentials_call_at_once_and_never_with_the_others(
    tmp_path: Path, serve: Callable[[Plugin, dict[str, Any]], Host]
) -> None:
    def echo(request: RecordedRequest) -> Behavior:
        return Behavior(text=f"{request.header('authorization')} {request.json()['input']}")

    with FakeUpstream(echo) as upstream:
        plugin = read(samples.tutorial(tmp_path, upstream.base_url))
        document = configuration(
            plugin,
            [ConfiguredModel(name="gpt", values={"model": "gpt-x", "api_key": "OpenAI"})],
            [Preset(name="OpenAI", parameter_set="parameter-custom-llm")],
        )
        document["users"] = {
            user: {
                "name": name,
                "credentials": {"OpenAI": {"param_set_api_key": KEYS[user]}} if user in KEYS else {},
            }
            for user, name in NAMES.items()
        }
        host = serve(plugin, document)
        async with host.client() as http:

            async def call(number: int) -> tuple[str, str]:
                user = "12"[number % 2]
                answer = await ask(http, "gpt", f"from {user}", user)
                assert answer.status_code == 200, answer.text
                return user, answer.json()["choices"][0]["message"]["content"]

            answers = await asyncio.gather(*(call(number) for number in range(CALLS)))
            refused = await ask(http, "gpt", "from 3", "3")
    assert len(answers) == CALLS
    assert [text for user, text in answers] == [f"Bearer {KEYS[user]} from {user}" for user, _ in answers]
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert error["code"] == "credential_missing"
    assert "param_set_api_key" in error["message"]
    assert "http://hub.example/api/me/credentials" in error["message"]


async def test_chat_streams_tools_embeddings_and_rankings_of_plugins(
    tmp_path: Path, serve: Callable[[Plugin, dict[str, Any]], Host]
) -> None:
    plugin = read(samples.ollama(tmp_path))
    host = serve(plugin, configuration(plugin, [ConfiguredModel(name="o")]))
    async with host.client() as http:
        answer = (await ask(http, "o", "Hello")).json()
        assert answer["choices"][0]["message"]["content"] == "Hello"
        assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (4, 2)
        streamed = (await ask(http, "o", "Hello", stream=True)).text
        assert pieces_of(streamed) == ["Hel", "lo"]
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
        called = (await ask(http, "o", "Hello", tools=tools)).json()["choices"][0]
        assert called["finish_reason"] == "tool_calls"
        assert called["message"]["tool_calls"][0]["function"]["name"] == "weather"
        vectors = (await http.post("/v1/embeddings", json={"model": "o", "input": ["a", "bbb"]})).json()["data"]
        assert [one["embedding"] for one in vectors] == [[1.0, 1.0], [3.0, 1.0]]


@pytest.mark.parametrize("interpreters", [[], ["PYTHON39"]], ids=["own-python", "python-3.9"])
async def test_a_plugin_runs_in_its_own_environment(
    tmp_path: Path, serve: Callable[[Plugin, dict[str, Any]], Host], interpreters: list[str]
) -> None:
    folder = plugin_folder(tmp_path / "plugin", acceptedPythonInterpreters=interpreters)
    llm = folder / "python-llms" / "ollama" / "llm.py"
    llm.write_text(
        "import importlib.util, sys, tinyvendor\n"
        + llm.read_text().replace('{"text": " ".join(self.words)}', '{"text": f"{tinyvendor.VALUE} {sys.prefix}"}')
        .replace("def process_stream", "def not_process_stream")
    )  # fmt: skip
    plugin = read(folder)
    wanted = await planned(folder, tmp_path / "home")
    if wanted.notes:
        pytest.skip("this machine has no Python 3.9")
    await built(wanted)
    document = configuration(plugin, [ConfiguredModel(name="o")]) | {"python": str(wanted.python)}
    host = serve(plugin, document)
    async with host.client() as http:
        answer = await ask(http, "o", "Hello")
    assert answer.json()["choices"][0]["message"]["content"] == f"42 {wanted.folder}"
    assert environment.unused(tmp_path / "home", set()) == [wanted.folder]
