"""Chat templates: the check of Jinja's brackets and blocks, and version 1's ``prompt_style`` turned into Jinja."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PIECES = re.compile(r"\{\{-?|-?\}\}|\{%[-+]?|[-+]?%\}|\{#-?|-?#\}")
_PAIRS = {"{{": "}}", "{%": "%}", "{#": "#}"}
_TAG = re.compile(r"\{%[-+]?\s*(\w+)(.*?)[-+]?%\}", re.DOTALL)
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_STRING = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_BLOCKS = ("for", "if", "macro", "filter", "call", "block", "raw", "generation", "set")


def looks_like_jinja(text: str) -> bool:
    return "{{" in text or "{%" in text


def template_problem(text: str) -> str | None:
    """What cannot be right about a Jinja text, or ``None``: unclosed brackets and blocks, and no messages in it."""
    plain = _COMMENT.sub("", text)
    if problem := _brackets(plain):
        return problem
    open_blocks: list[str] = []
    for match in _TAG.finditer(plain):
        word, rest = match[1], match[2]
        if word.startswith("end"):
            if not open_blocks or open_blocks[-1] != word[3:]:
                return f"has {{% {word} %}} where {'nothing' if not open_blocks else open_blocks[-1]} is open"
            open_blocks.pop()
        elif word in _BLOCKS and not (word == "set" and "=" in _STRING.sub("", rest)):
            open_blocks.append(word)
    if open_blocks:
        return f"leaves {{% {open_blocks[-1]} %}} open"
    if "messages" not in plain:
        return "never uses messages"
    return None


def _brackets(text: str) -> str | None:
    position = 0
    while match := _PIECES.search(text, position):
        piece = match[0].replace("-", "").replace("+", "")
        if piece not in _PAIRS:
            # ``}}`` may end a nested object in text outside of brackets, which Jinja prints as it is.
            position = match.end()
            continue
        end = _end_of(text, match.end(), _PAIRS[piece])
        if end is None:
            return f"opens {piece} at character {match.start() + 1} and never closes it"
        position = end
    return None


def _end_of(text: str, start: int, closing: str) -> int | None:
    """The place after ``closing``, strings skipped."""
    position = start
    while position < len(text):
        if text[position] in "'\"" and (string := _STRING.match(text, position)):
            position = string.end()
        elif text.startswith(closing, position):
            return position + len(closing)
        else:
            position += 1
    return None


def from_prompt_style(style: Mapping[str, Any]) -> str | None:
    """The Jinja text that builds the prompt of a version 1 ``prompt_style``; ``None`` where the style is not known."""
    name = str(style.get("style_name") or "").upper()
    system = str(style.get("system_prompt") or "")
    roles = [str(role) for role in style.get("roles") or ("user", "assistant")]
    user, assistant = [*roles, "user", "assistant"][:2] if len(roles) < 2 else roles[:2]
    intra = str(style.get("intra_message_sep") or "")
    inter = str(style.get("inter_message_sep") or "")
    if name == "ADD_COLON_SINGLE":
        return _turns(system + intra, f"{user}: ", f"{assistant}: ", intra, intra, f"{assistant}:")
    if name == "ADD_COLON_TWO":
        return _turns(system + intra, f"{user}: ", f"{assistant}: ", intra, inter, f"{assistant}:")
    if name == "NO_COLON_TWO":
        return _turns(system, user, assistant, intra, inter, assistant)
    if name in ("QWEN", "CHATML"):
        return _turns(
            f"<|im_start|>system\n{system or 'You are a helpful assistant.'}<|im_end|>\n",
            "<|im_start|>user\n",
            "<|im_start|>assistant\n",
            "<|im_end|>\n",
            "<|im_end|>\n",
            "<|im_start|>assistant\n",
        )
    return None


STYLES = ("ADD_COLON_SINGLE", "ADD_COLON_TWO", "NO_COLON_TWO", "QWEN", "CHATML")


def _turns(system: str, user: str, assistant: str, after_user: str, after_assistant: str, opening: str) -> str:
    """A system message of the conversation stands before the style's own turns."""
    return (
        f"{{{{ {_quoted(system)} }}}}"
        "{% for message in messages %}"
        "{% if message['role'] == 'assistant' %}"
        f"{{{{ {_quoted(assistant)} + message['content'] + {_quoted(after_assistant)} }}}}"
        "{% elif message['role'] == 'system' %}{{ message['content'] + '\\n' }}"
        "{% else %}"
        f"{{{{ {_quoted(user)} + message['content'] + {_quoted(after_user)} }}}}"
        "{% endif %}{% endfor %}"
        f"{{% if add_generation_prompt %}}{{{{ {_quoted(opening)} }}}}{{% endif %}}"
    )


def _quoted(text: str) -> str:
    """A string of Jinja, which writes them as JSON does."""
    return json.dumps(text, ensure_ascii=False)
