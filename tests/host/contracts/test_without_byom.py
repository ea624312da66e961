"""The contracts as the worker has them: in an environment without byom and without any package, on every Python."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import byom
from tests.host.contracts.conftest import Write
from tests.host.interpreters import found, interpreter

WORKER = Path(byom.__file__).parent / "host" / "worker"
PROGRAM = """
import asyncio, importlib, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("byom_worker", sys.argv[1] + "/__init__.py",
                                              submodule_search_locations=[sys.argv[1]])
package = importlib.util.module_from_spec(spec)
sys.modules["byom_worker"] = package
spec.loader.exec_module(package)
contract = importlib.import_module("byom_worker.contract")
choose = importlib.import_module("byom_worker.contracts.choose")

async def chat(served, request):
    made = served.chat(request, contract.Context(user="ann"))
    return [event async for event in made] if served.asynchronous else list(made)

answers = {}
request = {"messages": [{"role": "user", "content": "hello"}]}
for name in sys.argv[3:]:
    served = choose.load(sys.argv[2] + ":" + name, {})[0]
    if "embed" in served.description.abilities:
        answers[name] = served.embed(["a", "bb"], {}, contract.Context())
    else:
        answers[name] = asyncio.run(chat(served, request))
print(json.dumps(answers))
"""
CODE = """
    import text_lloom.workbench as wb
    from agent_studio.utils.types import Message, MessageList
    from byom.llm import BaseModel, EmbedModel, Model, OpenAIModel

    def setup(api_key):
        import json as lent
        return api_key

    async def call(model, prompt): return lent.dumps([model.client, prompt]), [3, 2]

    def vectors(model, texts): return [[float(len(text))] for text in texts], [0, 0]

    chat = Model(name="chat", setup_fn=setup, fn=call, api_key="k", cost=[0, 0], rate_limit=(300, 10))
    embed = EmbedModel(name="", setup_fn=setup, fn=vectors, cost=(0), batch_size=2048)

    def plain(prompt):
        yield prompt
        yield "!"

    class Own(BaseModel):
        def generate_response(self, messages: MessageList, **kwargs):
            return self.compose_messages(messages)[0]["content"] + messages[0].role, {"total_tokens": None}
"""


@pytest.mark.parametrize("version", found())
def test_every_kind_of_code_runs(version: str, write: Write) -> None:
    python = interpreter(version)
    assert python is not None
    names = ["chat", "embed", "plain", "Own"]
    done = subprocess.run(
        [python, "-I", "-S", "-W", "error", "-c", PROGRAM, str(WORKER), str(write(CODE)), *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    end = {"index": 0, "finish_reason": "stop"}
    assert answers["chat"] == [
        {"index": 0, "text": '["k", "hello"]'},
        {**end, "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    ]
    assert answers["embed"] == {"vectors": [[1.0], [2.0]]}
    assert answers["plain"] == [{"index": 0, "text": "hello"}, {"index": 0, "text": "!"}, end]
    assert answers["Own"] == [{"index": 0, "text": "hellouser"}, end]
