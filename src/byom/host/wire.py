"""OpenAI's requests, read into the types of the object path. Every problem is a `BadRequest` with its ``param``."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec

from byom.errors import BadRequest
from byom.types.chat import ChatRequest

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_PATH = re.compile(r" - at `\$\.?([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
MAX_INPUTS = 2048
T = TypeVar("T")

Positive = Annotated[int, msgspec.Meta(ge=1)]


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Sampling(msgspec.Struct, kw_only=True):
    """Fields that chat and completion requests share."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_tokens: Positive | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: Positive | None = None

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True

    @property
    def stops(self) -> list[str] | None:
        return [self.stop] if isinstance(self.stop, str) else self.stop


class ChatFields(Sampling, kw_only=True):
    messages: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    max_completion_tokens: Positive | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None


class CompletionFields(Sampling, kw_only=True):
    prompt: str | list[str]
    suffix: str | None = None
    echo: bool | None = None
    logprobs: int | None = None


class EmbeddingFields(msgspec.Struct, kw_only=True):
    model: str
    input: str | list[str]
    encoding_format: str | None = None
    dimensions: Positive | None = None


class RerankFields(msgspec.Struct, kw_only=True):
    model: str
    query: str
    documents: Annotated[list[str | dict[str, Any]], msgspec.Meta(min_length=1, max_length=10_000)]
    top_n: Positive | None = None
    return_documents: bool | None = None

    def texts(self) -> list[str]:
        """The documents' texts; a document is a text or an object with one."""
        found = [each if isinstance(each, str) else each.get("text") for each in self.documents]
        texts = [text for text in found if isinstance(text, str)]
        if len(texts) != len(found):
            raise BadRequest("Each document must be text or an object with 'text'.", param="documents")
        return texts


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    except RecursionError as error:
        raise BadRequest("The body nests too deeply.", code="invalid_json") from error
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object.", code="invalid_json")
    return value


def convert(fields: dict[str, Any], kind: type[T]) -> T:
    """The fields as their type. Unknown fields are left alone."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        path, missing = _PATH.search(text), _MISSING.search(text)
        param = missing.group(1) if missing is not None else path.group(1) if path is not None else None
        raise BadRequest(f"{text.partition(' - at ')[0]}: {param}" if param else text, param=param) from error


def chat_request(fields: dict[str, Any], known: ChatFields) -> ChatRequest:
    """A chat request; what `ChatRequest` has no name for goes into ``extra``."""
    for position, message in enumerate(known.messages):
        if message.get("role") not in _ROLES:
            raise BadRequest(f"role must be one of {', '.join(sorted(_ROLES))}.", param=f"messages[{position}].role")
    named = set(ChatFields.__struct_fields__)
    limit = known.max_completion_tokens if known.max_completion_tokens is not None else known.max_tokens
    return ChatRequest(
        messages=known.messages,
        temperature=known.temperature,
        top_p=known.top_p,
        max_tokens=limit,
        stop=known.stops,
        seed=known.seed,
        n=known.n,
        tools=known.tools,
        tool_choice=known.tool_choice,
        response_format=known.response_format,
        extra={name: value for name, value in fields.items() if name not in named},
    )


def completion_requests(known: CompletionFields) -> list[ChatRequest]:
    """One chat request for each prompt of a legacy completion request."""
    if known.logprobs is not None:
        raise BadRequest("This model has no log probabilities: leave out logprobs.", param="logprobs")
    if known.suffix:
        raise BadRequest("suffix is not supported.", param="suffix")
    prompts = [known.prompt] if isinstance(known.prompt, str) else known.prompt
    if not 1 <= len(prompts) <= MAX_INPUTS:
        raise BadRequest(f"prompt must be a text or 1 to {MAX_INPUTS} texts.", param="prompt")
    return [
        ChatRequest(
            messages=[{"role": "user", "content": prompt}],
            temperature=known.temperature,
            top_p=known.top_p,
            max_tokens=known.max_tokens,
            stop=known.stops,
            seed=known.seed,
            n=known.n,
        )
        for prompt in prompts
    ]


def embedding_inputs(known: EmbeddingFields) -> list[str]:
    """The texts to embed. Token arrays are refused: another model's tokens mean nothing here."""
    inputs = [known.input] if isinstance(known.input, str) else known.input
    if not 1 <= len(inputs) <= MAX_INPUTS:
        raise BadRequest(f"input must be a text or 1 to {MAX_INPUTS} texts.", param="input")
    if any(not text for text in inputs):
        raise BadRequest("input must not contain an empty text.", param="input")
    if known.encoding_format not in (None, "float", "base64"):
        raise BadRequest("encoding_format must be float or base64.", param="encoding_format")
    return inputs
