"""``transformers serve`` for real, where it is installed: here, or in the environment BYOM_TEST_TRANSFORMERS names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from byom.runtime.engines.known import known_engines
from byom.runtime.fetch.fetcher import Fetcher
from byom.runtime.hardware import Hardware
from byom.runtime.launching import LaunchRequest, prepare_launch
from byom.runtime.process import EngineProcess
from byom.runtime.process_tree import descendants
from byom.runtime.specs.read import read_spec
from tests.runtime.processes import gone

PYTHON = os.environ.get("BYOM_TEST_TRANSFORMERS", sys.executable)
ENGINES = known_engines({"transformers": PYTHON} if "BYOM_TEST_TRANSFORMERS" in os.environ else None)
MACHINE = Hardware(cpus=2, memory_total=8 << 30, memory_available=4 << 30)
MAKE = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
words = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
end = words["<eos>"] = len(words)
tokens = Tokenizer(models.BPE(vocab=words, merges=[]))
tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokens.decoder = decoders.ByteLevel()
PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<eos>", pad_token="<eos>").save_pretrained(sys.argv[1])
LlamaForCausalLM(LlamaConfig(
    vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=512, eos_token_id=end, pad_token_id=end, bos_token_id=end,
)).save_pretrained(sys.argv[1])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = next(engine for engine in ENGINES if engine.name == "transformers")
    if transformers.installed().version is None:
        pytest.skip("the extra transformers is not installed")
    path = tmp_path_factory.mktemp("pytorch")
    subprocess.run([PYTHON, "-c", MAKE, str(path)], check=True, capture_output=True)
    return path


async def test_the_first_custom_model_spec_runs_on_real_weights(folder: Path, tmp_path: Path) -> None:
    entry = {"model_format": "pytorch", "model_size_in_billions": 2, "quantizations": ["4-bit", "8-bit", "none"]}
    document = {
        "version": 1,
        "model_name": "nsql-2B",
        "model_lang": ["en"],
        "model_ability": ["generate", "chat"],
        "chat_template": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
        "model_specs": [{**entry, "model_id": "NumbersStation/nsql-2B", "model_uri": str(folder)}],
    }
    spec = read_spec(document).spec
    async with Fetcher(tmp_path / "models", environ={}) as fetcher:
        ready = await prepare_launch(spec, LaunchRequest(), engines=ENGINES, fetcher=fetcher, hardware=MACHINE)
    assert ready.launch.variant.quantization == "none"
    process = EngineProcess(ready.choice.engine, ready.launch, start_timeout=180)
    await process.start()
    try:
        assert process.pid is not None
        below = descendants(process.pid)
        async with httpx2.AsyncClient(base_url=process.base_url, timeout=60) as client:
            body = {"model": process.served_model, "prompt": "SELECT", "max_tokens": 5}
            answer = (await client.post("/completions", json=body)).json()
            assert answer["usage"]["prompt_tokens"] == len("SELECT")
            messages = [{"role": "user", "content": "hello"}]
            body = {"model": process.served_model, "messages": messages, "max_tokens": 3}
            answer = (await client.post("/chat/completions", json=body)).json()
            assert answer["usage"]["prompt_tokens"] == len("hello")
    finally:
        await process.stop()
    for pid in below:
        await gone(pid)
