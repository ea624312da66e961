"""Class models, driven directly: the four eras of AgentStudio's messages, text and images, state and users."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from byom.host.worker.contract import CallError, LoadError
from byom.host.worker.contracts.class_calls import usage_of
from tests.host.contracts.calls import events, text, usage
from tests.host.contracts.conftest import Load
from tests.host.contracts.pictures import data_uri, image_part

MIXED = {
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is"}, image_part(data_uri()), "this?"]},
        {"role": "assistant", "content": "A picture."},
        {"role": "user", "content": "Sure?"},
    ]
}
SHOWS = """
def shown(content):
    return content if isinstance(content, str) else f"<{content.dtype} {content.shape} {content[0][0].tolist()}>"
"""
EXPECTED = "system=Be brief.|user=What is|user=<uint8 (3, 2, 3) [255, 0, 0]>|user=this?|assistant=A picture.|user=Sure?"
ERAS = {
    "pre-A, no name": """
class Mine:
    def compose_messages(self, intermedia_msg):
        return [(msg["role"], msg["content"]) for msg in intermedia_msg]
    def generate_response(self, messages, **kwargs):
        return "|".join(f"{role}={shown(content)}" for role, content in self.compose_messages(messages)), {}
""",
    "A, dictionaries": """
from agent_studio.llm.base_model import BaseModel
class Mine(BaseModel):
    name = "Mine"
    def compose_messages(self, intermedia_msg):
        return [(msg["role"], msg["content"]) for msg in intermedia_msg]
    def generate_response(self, messages, **kwargs):
        return "|".join(f"{r}={shown(c)}" for r, c in self.compose_messages(intermedia_msg=messages)), {}
""",
    "B, PromptSeg": """
from agent_studio.llm.base_model import BaseModel
from agent_studio.utils.prompt import PromptSeg
class Mine(BaseModel):
    name = "Mine"
    def compose_messages(self, intermedia_msg):
        return [(msg.role, msg.content) for msg in intermedia_msg]
    def generate_response(self, messages: list[PromptSeg], **kwargs):
        return "|".join(f"{role}={shown(content)}" for role, content in self.compose_messages(messages)), {}
""",
    "C, format_messages": """
from agent_studio.llm.base_model import BaseModel
from agent_studio.utils.types import Message, MessageList
class Mine(BaseModel):
    name = "Mine"
    def format_messages(self, raw_messages: MessageList):
        return [(msg.role, msg.content) for msg in raw_messages]
    def generate_response(self, messages: MessageList, **kwargs):
        return "|".join(f"{role}={shown(content)}" for role, content in self.format_messages(messages)), {}
""",
    "D, _format_messages": """
from agent_studio.llm.base_model import BaseModel
from agent_studio.utils.types import Message, MessageList
class Mine(BaseModel):
    name = "Mine"
    def _format_messages(self, raw_messages: MessageList):
        return [(msg.role, msg.content) for msg in raw_messages]
    def generate_response(self, messages: MessageList, **kwargs):
        return "|".join(f"{role}={shown(content)}" for role, content in self._format_messages(messages)), {}
""",
    "byom's own, asynchronous": """
import asyncio
from byom.llm import BaseModel
class Mine(BaseModel):
    async def generate_response(self, messages, **kwargs):
        await asyncio.sleep(0)
        return "|".join(f"{msg.role}={shown(msg['content'])}" for msg in messages), {}
""",
    "asynchronous in name": """
class Mine:
    async def generate_response(self, messages, **kwargs):
        return "|".join(f"{msg.role}={shown(msg['content'])}" for msg in messages), {}
""",
}


@pytest.mark.parametrize("code", ERAS.values(), ids=ERAS)
def test_every_era_reads_text_and_images(load: Load, code: str) -> None:
    served = load(SHOWS + code, "Mine")[0]
    assert served.description.name == "Mine"
    assert served.description.abilities == ["chat", "vision"]
    assert text(served, MIXED) == EXPECTED


def test_the_name_of_the_class_is_the_models(load: Load) -> None:
    code = "class P:\n    name = 'my-provider'\n    def generate_response(self, messages, **kwargs): return 'x', {}\n"
    assert load(code)[0].description.name == "my-provider"


KEYWORDS = "class K:\n    def generate_response(self, messages, **kwargs): return repr(sorted(kwargs.items())), {}\n"
USER = [{"role": "user", "content": "?"}]


def test_only_the_model_and_what_was_sent_become_keywords(load: Load) -> None:
    served = load(KEYWORDS)[0]
    assert text(served, "?") == "[('model', 'K')]"
    request = {"messages": USER, "model": "other", "temperature": 0, "max_completion_tokens": 9, "stream": True, "n": 1}
    assert text(served, request) == "[('max_tokens', 9), ('model', 'K'), ('temperature', 0)]"


def test_keywords_can_be_renamed(load: Load) -> None:
    served = load(KEYWORDS, model="hf/model", rename={"max_tokens": "max_new_tokens"})[0]
    assert text(served, {"messages": USER, "max_tokens": 9}) == "[('max_new_tokens', 9), ('model', 'hf/model')]"


def test_one_class_can_be_several_models(load: Load) -> None:
    served = load(KEYWORDS, models=["gpt-4o", "gpt-4o-mini"])
    assert [one.description.name for one in served] == ["gpt-4o", "gpt-4o-mini"]
    assert text(served[1], "?") == "[('model', 'gpt-4o-mini')]"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def generate_response(self, messages): return 'x', {}", r"must take \*\*kwargs"),
        ("def generate_response(self, messages, model): return 'x', {}", r"must take \*\*kwargs"),
        ("def generate_response(self, **kwargs): return 'x', {}", "takes no argument"),
        ("def generate_response(self, messages, tokenizer, **kwargs): return 'x', {}", "takes messages, tokenizer"),
        (
            "def __init__(self, path): pass\n    def generate_response(self, messages, **kwargs): ...",
            "without arguments",
        ),
    ],
)
def test_a_class_of_the_wrong_shape_is_refused_with_what_to_change(load: Load, code: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        load(f"class Mine:\n    {code}\n")


def test_settings_may_come_among_the_args_and_the_rest_of_them_are_keywords_of_every_call(load: Load) -> None:
    args = {"instances": "shared", "models": "a, b", "rename": {"max_tokens": "length"}, "do_sample": False, "top_k": 1}
    served = load(KEYWORDS, args=args)
    assert [one.description.name for one in served] == ["a", "b"]
    assert served[0].description.concurrency == 1
    request = {"messages": USER, "max_tokens": 9, "top_k": 5}
    assert text(served[1], request) == "[('do_sample', False), ('length', 9), ('model', 'b'), ('top_k', 5)]"


def test_a_model_may_be_called_otherwise_than_its_code_calls_it(load: Load) -> None:
    served = load(KEYWORDS, rename={"K": "mine"})[0]
    assert (served.description.name, text(served, "?")) == ("mine", "[('model', 'K')]")


@pytest.mark.parametrize(
    "options", [{"instances": "many"}, {"instances": 3}, {"calls_per_instance": 0}, {"rename": "x"}]
)
def test_options_that_mean_nothing_are_refused(load: Load, options: dict[str, Any]) -> None:
    with pytest.raises(LoadError):
        load(KEYWORDS, **options)


# --- what comes back


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, None),
        (None, None),
        ({"total_tokens": None}, None),
        (
            {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
            {"prompt_tokens": 7, "completion_tokens": 3},
        ),
        ({"prompt_tokens": 7, "completion_tokens": None}, {"prompt_tokens": 7}),
        ({"input_tokens": 7, "output_tokens": 3}, {"prompt_tokens": 7, "completion_tokens": 3}),
        ({"prompt_tokens": np.int64(7), "completion_tokens": 3}, {"prompt_tokens": 7, "completion_tokens": 3}),
        ({"total_tokens": 12}, {"prompt_tokens": 10, "completion_tokens": 2, "estimated": True}),
        ({"total_tokens": 1}, {"prompt_tokens": 0, "completion_tokens": 1, "estimated": True}),
        ({"prompt_tokens": "seven", "total_tokens": True}, None),
        ("not a dictionary", None),
    ],
)
def test_info_becomes_usage_with_care(info: Any, expected: Any) -> None:
    assert usage_of(info, "8 chars.") == expected


@pytest.mark.parametrize("result", ["(None, {})", "('', {'total_tokens': None})", "None"])
def test_no_text_is_empty_text(load: Load, result: str) -> None:
    served = load(f"class C:\n    def generate_response(self, messages, **kwargs): return {result}\n")[0]
    assert events(served, "?") == [{"index": 0, "finish_reason": "stop"}]


@pytest.mark.parametrize("result", ["('a', {}, 1)", "3", "(b'x', {})"])
def test_what_is_no_text_is_an_error(load: Load, result: str) -> None:
    served = load(f"class C:\n    def generate_response(self, messages, **kwargs): return {result}\n")[0]
    with pytest.raises(CallError, match="generate_response of C"):
        text(served, "?")


def test_usage_of_several_answers_is_added_up(load: Load) -> None:
    info = {"prompt_tokens": 7, "completion_tokens": 1}
    code = f"class C:\n    def generate_response(self, messages, **kwargs): return 'x', {info}\n"
    assert usage(load(code)[0], {"messages": USER, "n": 2}) == {"prompt_tokens": 14, "completion_tokens": 2}


def test_what_the_class_raises_is_told_and_kept_for_the_log(load: Load) -> None:
    served = load("class C:\n    def generate_response(self, messages, **kwargs): return self.client, {}\n")[0]
    with pytest.raises(CallError, match="generate_response of C raised AttributeError") as caught:
        text(served, "?")
    assert isinstance(caught.value.__cause__, AttributeError)


def test_a_class_that_cannot_be_made_says_so_at_the_call(load: Load) -> None:
    code = """
        class C:
            def __init__(self): raise OSError("no weights")
            def generate_response(self, messages, **kwargs): ...
    """
    with pytest.raises(CallError, match="raised OSError: no weights"):
        text(load(code)[0], "?")


def test_a_call_does_not_see_what_another_changed_in_its_messages(load: Load) -> None:
    code = """
        class C:
            def generate_response(self, messages, **kwargs):
                messages[0]["content"] += "!"
                return messages.pop(0)["content"], {}
    """
    served = load(code)[0]
    made = events(served, {"messages": USER, "n": 2})
    assert [event["text"] for event in made if "text" in event] == ["?!", "?!"]
