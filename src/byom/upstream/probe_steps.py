"""The single questions of a probe: what is sent, what it may cost, and what an answer proves."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

Value = Literal["yes", "no", "unknown"]


class Finding(msgspec.Struct, frozen=True):
    """One ability, and what the server did that shows it."""

    value: Value
    evidence: str


class ChatStep(msgspec.Struct, frozen=True, kw_only=True):
    """One chat call about one ability."""

    ability: str
    prompt: str
    content: Any = None
    """Content parts in place of the prompt."""
    max_tokens: int
    prompt_tokens: int
    """A generous estimate, for the plan."""
    fields: dict[str, Any]
    judge: Callable[[Mapping[str, Any]], Finding]

    def messages(self) -> list[dict[str, Any]]:
        return [{"role": "user", "content": self.content or self.prompt}]


def first_message(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first choice's message; empty where the answer has none."""
    choice = _first_choice(answer)
    message = choice.get("message")
    return message if isinstance(message, Mapping) else {}


def text_of(answer: Mapping[str, Any]) -> str:
    content = first_message(answer).get("content")
    return content if isinstance(content, str) else ""


def _first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    return choice if isinstance(choice, Mapping) else {}


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text.strip())
    except msgspec.DecodeError:
        return None


def _tools(answer: Mapping[str, Any]) -> Finding:
    calls = first_message(answer).get("tool_calls")
    if not isinstance(calls, list) or not calls:
        said = text_of(answer)[:60]
        return Finding("unknown", f"the server accepts tools, but the model answered with text: '{said}'")
    function = calls[0].get("function") if isinstance(calls[0], Mapping) else None
    arguments = function.get("arguments") if isinstance(function, Mapping) else None
    if isinstance(arguments, str) and isinstance(_decoded(arguments), dict):
        return Finding("yes", f"the model called the tool with {arguments[:80]}")
    return Finding("unknown", "the model called the tool with arguments that are not JSON")


def _json_schema(answer: Mapping[str, Any]) -> Finding:
    decoded = _decoded(text_of(answer))
    # The prompt does not ask for JSON: only the schema can have brought it about.
    if isinstance(decoded, dict) and set(decoded) == {"verdict"} and decoded["verdict"] in ("warm", "cold"):
        return Finding("yes", f"the answer follows the schema: {text_of(answer).strip()[:60]}")
    if _first_choice(answer).get("finish_reason") == "length":
        return Finding("unknown", "the answer was cut off before it could follow the schema")
    return Finding("no", f"the schema was accepted and ignored: '{text_of(answer).strip()[:60]}'")


def _logprobs(answer: Mapping[str, Any]) -> Finding:
    logprobs = _first_choice(answer).get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if isinstance(content, list) and content and "logprob" in content[0]:
        return Finding("yes", "the answer has a log probability for each token")
    return Finding("no", "log probabilities were asked for and did not come")


def _vision(answer: Mapping[str, Any]) -> Finding:
    said = text_of(answer).strip()[:60]
    if "red" in said.lower():
        return Finding("yes", f"the model saw the colour of a picture: '{said}'")
    return Finding("unknown", f"a picture was accepted, but its colour was not seen: '{said}'")


def _several(answer: Mapping[str, Any]) -> Finding:
    choices = answer.get("choices")
    count = len(choices) if isinstance(choices, list) else 0
    return Finding("yes" if count == 2 else "no", f"n=2 gave {count} answer{'s' if count != 1 else ''}")


def red_square(size: int = 64) -> str:
    """A picture as a data URL: PNG, all red. Some models refuse pictures of fewer than 28 pixels a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\x00" + b"\xff\x00\x00" * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + b64encode(png).decode("ascii")


_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
_SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"verdict": {"type": "string", "enum": ["warm", "cold"]}},
            "required": ["verdict"],
            "additionalProperties": False,
        },
    },
}

CHAT_STEPS: tuple[ChatStep, ...] = (
    ChatStep(
        ability="tools",
        prompt="What is the weather in Paris? Use the tool.",
        max_tokens=64,
        prompt_tokens=200,
        fields={"tools": [_TOOL], "tool_choice": "auto"},
        judge=_tools,
    ),
    ChatStep(
        ability="json",
        prompt="Is the sun warm or cold?",
        max_tokens=32,
        prompt_tokens=80,
        fields={"response_format": _SCHEMA},
        judge=_json_schema,
    ),
    ChatStep(
        ability="logprobs",
        prompt="Say hi.",
        max_tokens=1,
        prompt_tokens=20,
        fields={"logprobs": True, "top_logprobs": 1},
        judge=_logprobs,
    ),
    ChatStep(
        ability="vision",
        prompt="",
        content=[
            {"type": "text", "text": "Which colour is this picture? One word."},
            {"type": "image_url", "image_url": {"url": red_square()}},
        ],
        max_tokens=8,
        prompt_tokens=400,
        fields={},
        judge=_vision,
    ),
    ChatStep(
        ability="n",
        prompt="Say hi.",
        max_tokens=1,
        prompt_tokens=20,
        fields={"n": 2},
        judge=_several,
    ),
)
