"""Code that people bring, written into files."""

from __future__ import annotations

import json
from pathlib import Path

ECHO = '''
"""Functions in the form of byom.llm."""

import asyncio
import os
import sys
import time

from byom.llm import EmbedModel, Model

VERSION = "one"


def setup(api_key):
    print("set up", flush=True)
    return api_key


async def answer(model, prompt):
    if "die" in prompt:
        os._exit(3)
    if "raise" in prompt:
        raise ValueError("the code does not like this")
    print("asked", prompt, flush=True)
    return f"{VERSION}: {prompt}", (3, 5)


def vectors(model, texts):
    return [[float(len(text)), 1.0] for text in texts], (len(texts), 0)


echo = Model(
    name="echo", setup_fn=setup, fn=answer, api_key="none", rate_limit=(4000, 10), cost=(1e-6, 2e-6),
    context_window=4096,
)
embed = EmbedModel(name="lengths", setup_fn=setup, fn=vectors, api_key="none", batch_size=16)
broken = 17
'''
PLUGIN_LLM = """
import time

from dataiku.llm.python import BaseLLM


class Echo(BaseLLM):
    def __init__(self):
        pass

    def set_config(self, config, plugin_config):
        self.secret = config["api_key"]["param_set_api_key"]
        self.greeting = config.get("greeting", "")

    def process(self, query, settings, trace):
        return {"text": f"{self.greeting}{self.secret}", "promptTokens": 2, "completionTokens": 1}

    def process_stream(self, query, settings, trace):
        if "long" in query["messages"][-1]["content"]:
            for number in range(500):
                yield {"chunk": {"text": f"{number} "}}
                time.sleep(0.02)
        yield {"chunk": {"text": f"{self.greeting}{self.secret}"}}
        yield {"footer": {"promptTokens": 2, "completionTokens": 1, "finishReason": "STOP"}}
"""


def write_echo(folder: Path) -> Path:
    """A file with `echo` (chat), `embed` (embeddings) and `broken`, which is no model."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "models.py"
    path.write_text(ECHO)
    return path


def rewrite(path: Path, *changes: tuple[str, str]) -> None:
    """Edit a file as somebody at an editor does."""
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def write_plugin(folder: Path) -> Path:
    """A plugin in the tutorial's form: its model answers with the secret of the one who calls."""
    llm = folder / "python-llms" / "custom-chat-plugin"
    preset = folder / "parameter-sets" / "parameter-custom-llm"
    for path in (llm, preset):
        path.mkdir(parents=True)
    _json(folder / "plugin.json", {"id": "tutorial", "version": "1.0.0", "meta": {"label": "Tutorial"}})
    _json(llm / "llm.json", {"meta": {"label": "Echo"}, "params": [
        {"name": "greeting", "type": "STRING", "label": "Greeting", "defaultValue": ""},
        {"name": "pin", "type": "PASSWORD", "label": "Pin"},
        {"name": "api_key", "type": "PRESET", "parameterSetId": "parameter-custom-llm", "mandatory": True},
    ]})  # fmt: skip
    _json(preset / "parameter-set.json", {"meta": {"label": "Keys"}, "params": [
        {"name": "param_set_api_key", "type": "CREDENTIAL_REQUEST", "label": "API key",
         "credentialRequestSettings": {"type": "SINGLE_FIELD"}},
        {"name": "region", "type": "STRING", "label": "Region", "defaultValue": "eu"},
        {"name": "shared", "type": "PASSWORD", "label": "Shared secret"},
    ]})  # fmt: skip
    (llm / "llm.py").write_text(PLUGIN_LLM)
    return folder


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))
