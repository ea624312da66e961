"""Weights through the library: the flow of Xinference's documentation, and the client's own names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from byom.client import Client
from byom.errors import BadRequest, Conflict, NotFound
from tests.client.hubs import RunningHub
from tests.server.launching.specs import gguf_spec

SEED = Path(__file__).parents[3] / "shared" / "seeds" / "001_97256befac270958.txt"
FROM_XINFERENCE, FROM_BYOM = "from xinference.client import Client", "from byom.client import Client"


def seed_blocks() -> list[str]:
    """The Python blocks of the documentation of custom models of Xinference v0.1.3."""
    if not SEED.exists():
        pytest.skip("the documentation of Xinference v0.1.3 is not beside the repository")
    lines, blocks, inside = SEED.read_text(encoding="utf-8").splitlines(), [], None
    for line in lines:
        if line.startswith(".. code-block:: python"):
            inside = []
            blocks.append(inside)
        elif inside is not None and (not line.strip() or line.startswith("   ")):
            inside.append(line[3:])
        else:
            inside = None
    return ["\n".join(block) for block in blocks]


def test_the_documented_flow_of_xinference_runs_with_nothing_changed_but_the_import(
    running_hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Must show: the seed's code blocks, on a GGUF"""
    monkeypatch.setenv("BYOM_API_KEY", running_hub.key)
    spec, register, launch, generate = seed_blocks()
    names: dict[str, Any] = {}
    exec(spec, names)
    path = gguf_spec(tmp_path)["model_specs"][0]["model_uri"]
    (entry,) = names["custom_model"]["model_specs"]
    assert entry["quantizations"] == ["4-bit", "8-bit", "none"]
    # The two billion parameters of the documentation, made small: the rest of the spec is as it stands there.
    entry |= {"model_format": "ggufv2", "quantizations": ["F32"], "model_uri": path}
    entry["model_file_name_template"] = "tiny.gguf"
    assert FROM_XINFERENCE in register
    register = register.replace(FROM_XINFERENCE, FROM_BYOM)
    exec(re.sub(r'endpoint = ".*"', f"endpoint = {running_hub.url!r}", register), names)
    with names["client"] as client:
        exec(launch, names)
        assert names["uid"] == "nsql-2B"
        before, last = generate.strip().rsplit("\n", 1)
        exec(f"{before}\nanswer = {last}", names)
        answer = names["answer"]
        assert answer["object"] == "text_completion"
        assert answer["choices"][0]["finish_reason"] in ("stop", "length")
        assert answer["choices"][0]["text"]
        usage = answer["usage"]
        # A token a byte, and the one that begins every text.
        assert usage["prompt_tokens"] == len(names["text"].encode()) + 1 or usage["prompt_tokens"] > 200
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert client.list_models()["nsql-2B"]["model_name"] == "nsql-2B"
        client.terminate_model(model_uid="nsql-2B")
        client.unregister_model(model_type="LLM", model_name="nsql-2B")
        assert client.list_models() == {}


def test_a_spec_is_registered_shown_replaced_and_taken_back(
    client: Client, tmp_path: Path, unused_name: Callable[[str], str]
) -> None:
    name = unused_name("spec")
    spec = gguf_spec(tmp_path, name)
    client.specs.register(json.dumps(spec))
    assert name in [one["model_name"] for one in client.specs.list("LLM")]
    assert client.specs.get(name)["context_length"] == 256
    with pytest.raises(Conflict, match="already registered"):
        client.specs.register(spec)
    client.specs.register({**spec, "context_length": 128}, replace=True)
    assert client.specs.get(name)["context_length"] == 128
    with pytest.raises(BadRequest, match="model_format"):
        client.specs.register({**spec, "model_specs": [{"model_format": "ggml"}]}, replace=True)
    assert client.specs.get(name)["context_length"] == 128
    client.specs.unregister(name)
    with pytest.raises(NotFound):
        client.specs.get(name)


def test_a_launch_tells_how_far_it_is_and_answers_chat_and_completion(
    client: Client, tmp_path: Path, unused_name: Callable[[str], str]
) -> None:
    name = unused_name("tiny")
    client.specs.register(gguf_spec(tmp_path, name), persist=False)
    explained = client.launches.explain(name)
    assert explained["engine"] == "llama.cpp"
    assert any("chosen" in reason for reason in explained["reasons"])
    stages: list[str] = []
    started = client.launches.start(name, on_event=lambda kind, news: stages.append(f"{kind} {news['state']}"))
    assert started["state"] == "ready"
    assert stages[-1] == "stage ready"
    assert client.chat(name, "Hello", max_tokens=4).usage.completion_tokens == 4
    handle = client.get_model(name)
    chat = handle.chat([{"role": "user", "content": "Hello"}], generate_config={"max_tokens": 3})
    assert chat["usage"]["completion_tokens"] == 3
    assert client.launches.unload(name)["state"] == "unloaded"
    assert client.launches.load(name)["state"] == "ready"
    assert "ready" in client.launches.logs(name)
    client.launches.stop(name)
    with pytest.raises(NotFound):
        client.launches.get(name)


def test_arguments_of_launch_model_may_have_the_names_of_xinference(
    client: Client, tmp_path: Path, unused_name: Callable[[str], str]
) -> None:
    name = unused_name("tiny")
    client.register_model("LLM", json.dumps(gguf_spec(tmp_path, name)), persist=False)
    uid = client.launch_model(
        name, model_engine="llama.cpp", model_uid=f"{name}-two", model_size_in_billions=1, model_format="ggufv2",
        quantization="F32", replica=2, n_gpu=None, n_ctx=128, n_batch=64,
    )  # fmt: skip
    shown = client.describe_model(uid)
    assert shown["context_length"] == 128
    assert len(shown["replicas"]) == 2
    client.terminate_model(uid)
