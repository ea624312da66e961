"""Files that import LLooM, AgentStudio or byom where none of them is installed."""

from __future__ import annotations

import importlib
import sys
import types

import pytest

from byom.host.worker.contract import LoadError
from byom.host.worker.contracts import stand_ins
from tests.host.contracts.calls import text
from tests.host.contracts.conftest import Load

AGENT_STUDIO = [
    "from agent_studio.llm.base_model import BaseModel",
    "from agent_studio.llm.base_model import BaseModel, PromptSeg",
    "from agent_studio.llm.base_model import BaseModel\nfrom agent_studio.utils.prompt import PromptSeg",
    "from agent_studio.llm import BaseModel\nfrom agent_studio.utils.types import Message, MessageList",
    "from agent_studio.config import Config\nfrom agent_studio.llm.base_model import BaseModel\nconfig = Config()",
]


@pytest.mark.parametrize("imports", AGENT_STUDIO)
def test_an_agent_studio_class_loads_as_it_is(load: Load, imports: str) -> None:
    code = f"{imports}\nclass Mine(BaseModel):\n    name = 'mine'\n"
    code += "    def generate_response(self, messages, **kwargs):\n        return messages[0]['content'], {}\n"
    served = load(code)[0]
    assert (served.description.name, text(served, "Hello")) == ("mine", "Hello")


def test_a_lloom_file_loads_as_it_is(load: Load) -> None:
    code = """
        import text_lloom.workbench as wb
        from text_lloom.llm import Model, EmbedModel, OpenAIModel, OpenAIEmbedModel
        async def call(model, prompt): return prompt.upper(), [0, 0]
        m = Model(setup_fn=lambda key: None, fn=call, name="shout", cost=[0, 0], rate_limit=(300, 10))
    """
    assert text(load(code)[0], "hello") == "HELLO"


def test_an_installed_package_always_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    real = types.ModuleType("text_lloom")
    real.__path__ = []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "text_lloom", real)
    stand_ins.install()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("text_lloom.llm")
    assert importlib.import_module("byom.llm").Model.__module__ == "byom._llm.models"


def test_they_can_be_switched_off(load: Load) -> None:
    with pytest.raises(LoadError, match=r"imports 'agent_studio', .* install .*agent-studio"):
        load("from agent_studio.llm.base_model import BaseModel\n", stand_ins=False)


def test_nothing_else_of_a_package_is_made_up() -> None:
    stand_ins.install()
    stand_ins.install()
    assert sum(isinstance(finder, stand_ins.StandInFinder) for finder in sys.meta_path) == 1
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("agent_studio.envs")


def test_code_is_taken_out_of_the_first_fence() -> None:
    assert stand_ins.extract_from_response("So:\n```python\nclick(1)\nexit()\n```\n```\nno\n```") == "click(1)\nexit()"
    assert stand_ins.extract_from_response("no code") == ""
