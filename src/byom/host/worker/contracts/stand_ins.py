"""Modules that a user's file imports only for the names of its base classes, where their packages are not installed.

Of ``byom.llm``, ``text_lloom`` and ``agent_studio`` the names that model code uses; nothing else of them, and never in
place of a package that is installed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import re
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

_MARK = "__byom_stand_in__"


def install() -> None:
    """From now on, for this process. Asked last, so that an installed package always wins. Repeating it is harmless."""
    if not any(isinstance(finder, StandInFinder) for finder in sys.meta_path):
        sys.meta_path.append(StandInFinder())


def remove() -> None:
    """Take it back, with the modules that it gave."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, StandInFinder)]
    for name in [name for name, module in sys.modules.items() if getattr(module, _MARK, False)]:
        del sys.modules[name]


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system's signature
        target: types.ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _MODULES:
            return None
        parent = fullname.rpartition(".")[0]
        if parent and not getattr(sys.modules.get(parent), _MARK, False):
            return None  # the package is installed: what it lacks, it lacks
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:  # noqa: ARG002
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module)[_MARK] = True
        vars(module).update(_MODULES[module.__name__]())


def _nothing() -> dict[str, Any]:
    return {}


def _lloom() -> dict[str, Any]:
    from . import declared, declared_openai

    return {
        "Model": declared.Model,
        "EmbedModel": declared.EmbedModel,
        "OpenAIModel": declared_openai.OpenAIModel,
        "OpenAIEmbedModel": declared_openai.OpenAIEmbedModel,
    }


def _byom() -> dict[str, Any]:
    from .base_model import BaseModel

    return {**_lloom(), "BaseModel": BaseModel}


def _workbench() -> dict[str, Any]:
    def lloom(*_: Any, **__: Any) -> Any:
        raise ImportError("this file makes a whole lloom session, which needs LLooM itself, and not just its models")

    return {"lloom": lloom}


def _agent_studio() -> dict[str, Any]:
    """The names in every module of it: they have moved more than once."""
    from .base_model import BaseModel
    from .messages import Message

    return {
        "BaseModel": BaseModel,
        "Message": Message,
        "MessageList": list,
        "PromptSeg": Message,
        "extract_from_response": extract_from_response,
        "Config": Config,
    }


def extract_from_response(response: str) -> str:
    """The code of the first fenced block; empty where there is none."""
    block = re.search(r"```[^\n`]*\n(.*?)```", response, re.DOTALL)
    return block[1].strip() if block else ""


class Config:
    """What model code reads of the configuration: AgentStudio's own defaults, and keys from the environment."""

    seed = 42
    max_retries = 3
    temperature = 0.0
    top_k = 1
    max_tokens = 4096
    env_server_port = 8000

    def __init__(self) -> None:
        self.openai_api_key = os.environ.get("OPENAI_API_KEY", "")
        self.anthropic_api_key = os.environ.get("ANTHROPIC_API_KEY", "")
        self.gemini_api_key = os.environ.get("GEMINI_API_KEY", "")
        self.vertexai_project_id = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
        self.vertexai_location = os.environ.get("GOOGLE_CLOUD_LOCATION", "")
        self.model_server = os.environ.get("MODEL_SERVER", "")


_MODULES: dict[str, Callable[[], dict[str, Any]]] = {
    "byom": _nothing,
    "byom.llm": _byom,
    "text_lloom": _nothing,
    "text_lloom.llm": _lloom,
    "text_lloom.workbench": _workbench,
    "agent_studio": _nothing,
    "agent_studio.llm": _agent_studio,
    "agent_studio.llm.base_model": _agent_studio,
    "agent_studio.llm.utils": _agent_studio,
    "agent_studio.utils": _nothing,
    "agent_studio.utils.types": _agent_studio,
    "agent_studio.utils.prompt": _agent_studio,
    "agent_studio.config": _agent_studio,
    "agent_studio.config.config": _agent_studio,
}
