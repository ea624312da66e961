"""The tutorial's plugin the whole way: added to a hub, called by users with their own keys, from a notebook's code."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from byom.client import Client
from byom.host.worker.dataiku_shim import FOLDER
from byom.testing import Behavior, FakeUpstream, RecordedRequest
from tests.host.plugins import samples
from tests.node.serving import hub_process

CALLS = 1000
SEED = Path(__file__).parents[4] / "shared" / "seeds" / "003_c0097a7d15852883.txt"


class Hub(NamedTuple):
    url: str
    keys: dict[str, str]
    """Of ann and bob, who have entered a credential, and of cleo, who has not."""
    upstream: FakeUpstream


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    def echo(request: RecordedRequest) -> Behavior:
        return Behavior(text=f"{request.header('authorization')} {request.json()['input']}", prompt_tokens=3)

    home = tmp_path_factory.mktemp("home")
    with FakeUpstream(echo) as upstream, hub_process(home) as url:
        folder = samples.tutorial(tmp_path_factory.mktemp("plugin"), upstream.base_url)
        keys = {}
        with Client(url, (home / "admin.key").read_text().strip()) as client:
            params = {"model": "gpt-x", "api_key": "OpenAI"}
            model = {"id": "custom-chat-plugin", "name": "gpt", "params": params}
            client.add(str(folder), name="openai", models=[model], python=sys.executable)
            for name in ("ann", "bob", "cleo"):
                client.users.create(name)
                keys[name] = client.keys.create(f"of-{name}", user=name)["token"]
        for name in ("ann", "bob"):
            with Client(url, keys[name]) as client:
                client.credentials.set("openai", "OpenAI", "param_set_api_key", f"sk-of-{name}")
        yield Hub(url, keys, upstream)


async def ask(http: httpx2.AsyncClient, key: str, content: str, model: str = "gpt") -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": content}]}
    return await http.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})


async def test_two_users_at_once_never_call_with_the_others_credential(hub: Hub) -> None:
    async with httpx2.AsyncClient(base_url=hub.url, timeout=60, limits=httpx2.Limits(max_connections=32)) as http:

        async def call(number: int) -> tuple[str, str]:
            name = ("ann", "bob")[number % 2]
            answer = await ask(http, hub.keys[name], f"from {name}")
            assert answer.status_code == 200, answer.text
            return name, answer.json()["choices"][0]["message"]["content"]

        answers = await asyncio.gather(*(call(number) for number in range(CALLS)))
    assert len(answers) == CALLS
    assert all(text == f"Bearer sk-of-{name} from {name}" for name, text in answers)


async def test_a_user_without_a_credential_is_told_where_to_enter_it(hub: Hub) -> None:
    async with httpx2.AsyncClient(base_url=hub.url, timeout=60) as http:
        answer = await ask(http, hub.keys["cleo"], "Hello")
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert error["code"] == "credential_missing"
    assert "byom credentials set" in error["message"]


@pytest.mark.parametrize("model", ["gpt", "openai/gpt", "custom:openai:gpt"])
async def test_its_model_has_all_three_names(hub: Hub, model: str) -> None:
    async with httpx2.AsyncClient(base_url=hub.url, timeout=60) as http:
        answer = (await ask(http, hub.keys["ann"], "Hello", model)).json()
    assert answer["choices"][0]["message"]["content"] == "Bearer sk-of-ann Hello"
    assert answer["usage"]["prompt_tokens"] == 3


def notebook_code() -> str:
    """The code block of the tutorial, word for word."""
    if not SEED.is_file():
        pytest.skip("the text of the tutorial is not here")
    text = SEED.read_text(encoding="utf-8")
    lines = text[text.index("    import dataiku\n") : text.index("    print(resp.text)")].splitlines()
    return "\n".join(line.removeprefix("    ") for line in [*lines, "    print(resp.text)"]) + "\n"


def test_the_tutorials_notebook_runs_word_for_word(hub: Hub) -> None:
    pytest.importorskip("dataikuapi", reason="the package dataiku-api-client is not installed")
    code = notebook_code().replace('LLM_ID = ""', 'LLM_ID = "custom:openai:gpt"')
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": FOLDER, "BYOM_URL": hub.url, "BYOM_API_KEY": hub.keys["bob"]},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Bearer sk-of-bob How to code an agent in Dataiku?\n"
