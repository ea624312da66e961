"""``POST /generate`` for models that are at hand as objects, and what it shares with a hub's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from byom.errors import BadRequest, ModelNotFound
from byom.models.agentstudio.files import ImageFolder
from byom.models.agentstudio.translation import chat_messages, token_counts
from byom.models.agentstudio.wire import decode_messages, encode_reply
from byom.models.collect import collect
from byom.models.protocols import ChatModel
from byom.types.chat import ChatRequest

MAX_NAMES = 20


class GenerateRequest(msgspec.Struct):
    """The whole of what AgentStudio's client sends: no sampling parameter is among it."""

    model: str
    messages: str
    """Base64 of a pickle."""


def parse_request(body: bytes | Mapping[str, Any]) -> GenerateRequest:
    """The request in a JSON body, decoded or not. Raises `BadRequest`."""
    try:
        if isinstance(body, bytes):
            return msgspec.json.decode(body, type=GenerateRequest)
        return msgspec.convert(body, GenerateRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(
            f"The body must be a JSON object with 'model' and 'messages', both text: {str(error)[:200]}"
        ) from error


def unknown_model(name: str, known: Iterable[str]) -> ModelNotFound:
    """The error for a name that is not served, with those that are."""
    names = sorted(known)
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    there = f"There are: {', '.join(names[:MAX_NAMES])}{more}." if names else "There are none."
    return ModelNotFound(f"There is no model {name[:200]!r}. {there}", param="model")


def read_messages(request: GenerateRequest, folder: ImageFolder) -> list[dict[str, Any]]:
    """The request's messages in OpenAI's form. Takes tenths of a second for large images: call it in a thread."""
    return chat_messages(decode_messages(request.messages), folder)


async def generate(
    fields: Mapping[str, Any], find: Callable[[str], ChatModel], folder: ImageFolder | None = None
) -> bytes:
    """The JSON body that answers a request.

    Args:
        fields: the request's JSON object.
        find: the model of a name; raises `ModelNotFound`.
        folder: where images that are named by path may be read; by default nowhere.

    Raises `BadRequest`, and what ``find`` and the model raise.
    """
    request = parse_request(fields)
    model = find(request.model)
    messages = await asyncio.to_thread(read_messages, request, folder or ImageFolder())
    answer = await collect(model.chat(ChatRequest(messages=messages)))
    usage = answer.usage
    counts = (
        {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        }
        if usage is not None
        else None
    )
    return reply_body(answer.text, counts)


def reply_body(text: str, usage: Mapping[str, Any] | None) -> bytes:
    return msgspec.json.encode(encode_reply(text, token_counts(usage)))
