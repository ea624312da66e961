"""Plugins of the kinds that people have, written into a folder."""

from __future__ import annotations

import json
from pathlib import Path

TUTORIAL_LLM = """
from dataiku.llm.python import BaseLLM
from openai import OpenAI


class MyLLM(BaseLLM):
    def __init__(self):
        pass

    def set_config(self, config, plugin_config):
        self.config = config
        self.api_key = config.get("api_key").get("param_set_api_key")
        self.model = config.get("model")
        self.client = OpenAI(api_key=self.api_key{client})

    def process(self, query, settings, trace):
        prompt = query["messages"][0]["content"]
        response = self.client.responses.create(model=self.model, input=prompt)
        return response.json()
"""

TYPESAFE_LIB = '''
class Configured:
    """A mixin that has its own set_config before the base's."""

    def set_config(self, config, plugin_config):
        super().set_config(config, plugin_config)
        self.timeout = config["timeout_sec"]
        self.plugin_config = plugin_config


def usage(prompt, completion):
    return {"promptTokens": prompt, "completionTokens": completion, "totalTokens": prompt + completion}
'''

TYPESAFE_CHAT = """
from dataiku.llm.python import BaseLLM
from dataiku.llm.python.types import CompletionResponse, CompletionSettings, SingleCompletionQuery
from typesafe_lib.configured import Configured, usage


class JevChatModel(Configured, BaseLLM):
    def __init__(self):
        self.calls = 0

    def process(self, query: SingleCompletionQuery, settings: CompletionSettings, trace) -> CompletionResponse:
        self.calls += 1
        with trace.subspan("jev") as span:
            span.attributes["timeout"] = self.timeout
        if settings.get("tools"):
            name = settings["tools"][0]["function"]["name"]
            call = {"type": "function", "id": "c1", "function": {"name": name, "arguments": "{}"}}
            return {"text": None, "toolCalls": [call], "finishReason": "TOOL_CALLS", **usage(5, 1)}
        text = query["messages"][-1]["content"].upper()
        return {"text": text, "finishReason": "STOP", "estimatedCost": 0.0025, **usage(3, 2)}
"""

TYPESAFE_RERANKER = """
from dataiku.llm.python import BaseRerankingModel
from typesafe_lib.configured import Configured


class JevReranker(Configured, BaseRerankingModel):
    def process(self, query, settings, trace):
        wanted = query["queryParts"][0]["text"]
        texts = ["".join(part["text"] for part in one["parts"]) for one in query["documents"]]
        scores = [{"index": at, "relevanceScore": float(text.count(wanted))} for at, text in enumerate(texts)]
        scores.sort(key=lambda one: -one["relevanceScore"])
        return {"documents": scores, "estimatedCost": 0.5, "totalUsage": {"promptTokens": 7, "totalTokens": 7}}
"""

OLLAMA = """
import json

from dataiku.llm.python import BaseLLM
from dataiku.llm.python.custom.base_embedding_model import BaseEmbeddingModel


class OllamaChat(BaseLLM):
    def set_config(self, config, plugin_config):
        self.words = config["words"]

    def get_max_parallelism(self):
        return 2

    def process(self, query, settings, trace):
        return {"text": " ".join(self.words)}

    def process_stream(self, query, settings, trace):
        for message in query["messages"]:
            for part in message.get("parts", ()):
                yield {"chunk": {"text": part["type"] + " "}}
        for word in self.words:
            yield {"chunk": {"text": word}}
        if settings.get("tools"):
            call = {"type": "function", "id": "t1", "function": {"name": "weather", "arguments": "{}"}}
            yield {"chunk": {"toolCalls": [call]}}
        yield {"footer": {"promptTokens": 4, "completionTokens": len(self.words), "finishReason": "stop"}}


class OllamaEmbedding(BaseEmbeddingModel):
    def process(self, query, settings, trace):
        if "queries" in query and "text" not in query:
            raise KeyError("text")
        return {"embedding": [float(len(query["text"])), 1.0]}
"""


def write(folder: Path, files: dict[str, str | dict[str, object]]) -> Path:
    """Each file by its name in the folder; objects become JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def tutorial(folder: Path, base_url: str | None = None, requirements: str = "openai\n") -> Path:
    """The plugin of Dataiku's tutorial: one chat model, a parameter set with a key that each user enters."""
    client = f", base_url={base_url!r}, max_retries=0" if base_url else ""
    return write(
        folder,
        {
            "plugin.json": """{
                // A comment, as generated files have them.
                "id": "tutorial-llm-connection", "version": "0.0.1",
                "meta": {"label": "Tutorial LLM connection", "icon": "icon-puzzle-piece", /* and one more */},
            }""",
            "python-llms/custom-chat-plugin/llm.json": """/* The descriptor of custom-chat-plugin */
            {
                "meta": {"label": "Custom chat", "description": "", "icon": "icon-puzzle-piece"},
                "params": [
                    {"name": "model", "label": "Model", "type": "STRING", "mandatory": true},
                    // The parameter set
                    {"name": "api_key", "type": "PRESET", "parameterSetId": "parameter-custom-llm"},
                ]
            }""",
            "python-llms/custom-chat-plugin/llm.py": TUTORIAL_LLM.replace("{client}", client),
            "parameter-sets/parameter-custom-llm/parameter-set.json": {
                "meta": {"label": "Parameters of the custom LLM", "pluralLabel": "Parameters"},
                "defaultDefinableInline": False,
                "defaultDefinableAtProjectLevel": False,
                "pluginParams": [],
                "params": [
                    {
                        "name": "param_set_api_key",
                        "label": "The API key",
                        "type": "CREDENTIAL_REQUEST",
                        "credentialRequestSettings": {"type": "SINGLE_FIELD"},
                        "mandatory": True,
                    }
                ],
            },
            "code-env/python/desc.json": {"acceptedPythonInterpreters": ["PYTHON39", "PYTHON311"], "forceConda": False},
            "code-env/python/spec/requirements.txt": requirements,
        },
    )


def typesafe(folder: Path) -> Path:
    """Two components, shared code, no code environment, mixins before the base."""
    params: list[object] = [
        {"type": "SEPARATOR", "label": "Service"},
        {"name": "connection", "type": "PRESET", "parameterSetId": "service", "mandatory": True},
        {"name": "timeout_sec", "type": "INT", "defaultValue": 30, "minI": 1, "maxI": 600},
        {"name": "temperature", "type": "DOUBLE", "defaultValue": 0.5},
        {"name": "instructions", "type": "TEXTAREA"},
    ]
    return write(
        folder,
        {
            "plugin.json": {
                "id": "typesafe",
                "version": "1.2.3",
                "meta": {"label": "Typesafe"},
                "params": [{"name": "region", "type": "SELECT", "defaultValue": "eu", "selectChoices": [
                    {"value": "eu", "label": "Europe"}, {"value": "us", "label": "America"}]}],
            },
            "python-llms/jev-chat/llm.json": {"meta": {"label": "Jev"}, "params": params},
            "python-llms/jev-chat/llm.py": TYPESAFE_CHAT,
            "python-llms/jev-reranker/llm.json": {"meta": {"label": "Jev reranker"}, "params": params},
            "python-llms/jev-reranker/llm.py": TYPESAFE_RERANKER,
            "python-lib/typesafe_lib/__init__.py": "",
            "python-lib/typesafe_lib/configured.py": TYPESAFE_LIB,
            "python-agents/ignored/agent.json": "this is not even JSON",
            "parameter-sets/service/parameter-set.json": {
                "params": [
                    {"name": "url", "type": "STRING", "defaultValue": "https://typesafe.example"},
                    {"name": "login", "type": "CREDENTIAL_REQUEST", "credentialRequestSettings": {"type": "BASIC"}},
                    {"name": "token", "type": "CREDENTIAL_REQUEST", "credentialRequestSettings": {
                        "type": "OAUTH2", "authorizationEndpoint": "", "scope": "a b"}},
                ],
                "pluginParams": [{"name": "tenant", "type": "PASSWORD"}],
            },
        },
    )  # fmt: skip


def ollama(folder: Path) -> Path:
    """One component with two classes, chat and embeddings, that streams."""
    return write(
        folder,
        {
            "plugin.json": {"id": "ollama-mesh", "version": "0.3.0", "meta": {"label": "Ollama"}},
            "python-llms/ollama/llm.json": {
                "params": [{"name": "words", "type": "STRINGS", "defaultValue": ["Hel", "lo"]}]
            },
            "python-llms/ollama/llm.py": OLLAMA,
        },
    )
