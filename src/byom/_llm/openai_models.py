"""OpenAI's models in LLooM's call shapes, without the ``openai`` package."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from byom._llm.models import FIELDS, Counted, EmbedModel, Model
from byom._llm.openai_server import OpenAIServer
from byom._llm.price import packaged_context_window, packaged_price
from byom.models.collect import collect
from byom.models.function import Tokens
from byom.models.protocols import ChatModel, EmbeddingModel
from byom.models.streams import closing
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.embeddings import Embeddings
from byom.types.model_info import ModelInfo
from byom.types.usage import Price, Usage

DEFAULT_RATE_LIMIT = (300, 10.0)
"""``(n_requests, seconds)`` of an `OpenAIModel` that is given none; the models below are given less by default."""
_SLOWER = dict.fromkeys(("gpt-4", "gpt-4-turbo", "gpt-4-turbo-preview", "gpt-4o"), (20, 10.0))


async def call_llm_fn(model: Any, prompt: str) -> tuple[str, Tokens]:
    """What an `OpenAIModel` calls by default. The client may also be one of the ``openai`` package."""
    if isinstance(model.client, OpenAIServer):
        info = ModelInfo(name=model.label)
        answer = await collect(_ServerChatModel(model, info).chat(_request(prompt)))
        return answer.text, _told(answer.usage)
    request = with_defaults(_request(prompt), model.args)
    fields = {name: getattr(request, name) for name in FIELDS if getattr(request, name) is not None}
    made = model.client.chat.completions.create(model=model.name, messages=request.messages, **fields, **request.extra)
    completion = await made if inspect.isawaitable(made) else made
    usage = completion.usage
    return completion.choices[0].message.content or "", (
        (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    )


async def call_embed_fn(model: Any, texts: str | Sequence[str]) -> tuple[list[list[float]], Tokens]:
    """What an `OpenAIEmbedModel` calls by default."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    if isinstance(model.client, OpenAIServer):
        result = await _ServerEmbeddingModel(model, ModelInfo(name=model.label)).embed(texts)
        return result.vectors, _told(result.usage)
    made = model.client.embeddings.create(model=model.name, input=texts, **model.args)
    answer = await made if inspect.isawaitable(made) else made
    usage = answer.usage
    return [one.embedding for one in answer.data], (usage.prompt_tokens if usage else 0, 0)


class _Known(Counted):
    """What is known of a model by its name and its server, where nothing else is said."""

    _cost: Any = None
    _context_window: int | None = None

    @property
    def cost(self) -> Any:
        """Dollars per token: what was given, else ``(input, output)`` of the packaged price table, else ``None``."""
        if self._cost is not None:
            return self._cost
        price = self._packaged()
        return None if price is None else (_dollars(price.input), _dollars(price.output))

    @cost.setter
    def cost(self, cost: Any) -> None:
        self._cost = cost

    @property
    def context_window(self) -> int | None:
        """Tokens: what was given, else as the packaged table has it."""
        if self._context_window is not None:
            return self._context_window
        return packaged_context_window(self._url(), self.name)

    @context_window.setter
    def context_window(self, tokens: int | None) -> None:
        self._context_window = tokens

    @property
    def price(self) -> Price | None:
        """From ``cost``, else from the packaged price table; ``None``: not known."""
        return super().price if self._cost is not None else self._packaged()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if isinstance(self.client, OpenAIServer):
            await self.client.aclose()

    @property
    def sends_whole_requests(self) -> bool:
        """Whether nothing stands between a request and the server: `openai_address` says where that is."""
        made = self.setup_fn
        return self.fn in (call_llm_fn, call_embed_fn) and isinstance(made, partial) and made.func is OpenAIServer

    def openai_address(self) -> tuple[str, str | None]:
        """Base URL and key, for a program that sends the requests itself."""
        server: OpenAIServer = self.client
        return server.address()

    def _packaged(self) -> Price | None:
        return packaged_price(self._url(), self.name)

    def _url(self) -> str:
        return str(getattr(self.client, "base_url", ""))


class OpenAIModel(_Known, Model):
    """A chat model of OpenAI, or of any server that speaks its API (``base_url``, else ``OPENAI_BASE_URL``).

    ``args`` are sent with each call: ``temperature``, ``max_tokens``, … and ``system_prompt``. The key is ``api_key``,
    else ``OPENAI_API_KEY``. Without ``cost`` the packaged price table is asked, without ``rate_limit`` it is 300 calls
    in 10 seconds (20 for gpt-4, gpt-4-turbo and gpt-4o).
    """

    def __init__(
        self,
        name: str,
        api_key: str | None = None,
        setup_fn: Callable[[Any], Any] | None = None,
        fn: Callable[..., Any] = call_llm_fn,
        rate_limit: Sequence[float] | None = None,
        context_window: int | None = None,
        cost: Any = None,
        *,
        base_url: str | None = None,
        **args: Any,
    ) -> None:
        super().__init__(
            name,
            setup_fn or partial(OpenAIServer, base_url),
            fn,
            api_key,
            rate_limit or _SLOWER.get(name, DEFAULT_RATE_LIMIT),
            cost=cost,
            context_window=context_window,
            **args,
        )

    def _bare(self, info: ModelInfo) -> ChatModel:
        direct = self.fn is call_llm_fn and isinstance(self.client, OpenAIServer)
        return _ServerChatModel(self, info) if direct else super()._bare(info)


class OpenAIEmbedModel(_Known, EmbedModel):
    """An embedding model of OpenAI; as `OpenAIModel`. ``dimensions`` in ``args`` asks for vectors of that length."""

    def __init__(
        self,
        name: str,
        setup_fn: Callable[[Any], Any] | None = None,
        fn: Callable[..., Any] = call_embed_fn,
        api_key: str | None = None,
        batch_size: int | None = 2048,
        cost: Any = None,
        *,
        rate_limit: Sequence[float] | None = None,
        context_window: int | None = None,
        base_url: str | None = None,
        **args: Any,
    ) -> None:
        super().__init__(
            name,
            setup_fn or partial(OpenAIServer, base_url),
            fn,
            api_key,
            batch_size,
            rate_limit=rate_limit,
            cost=cost,
            context_window=context_window,
            **args,
        )

    def _bare(self, info: ModelInfo) -> EmbeddingModel:
        direct = self.fn is call_embed_fn and isinstance(self.client, OpenAIServer)
        return _ServerEmbeddingModel(self, info) if direct else super()._bare(info)


class _ServerChatModel:
    """The model's server, with its ``args`` in every request that does not say otherwise."""

    def __init__(self, model: Any, info: ModelInfo) -> None:
        self.info = info
        self._model = model

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        request = with_defaults(request, self._model.args)
        async with closing(self._model.client.chat_model(self.info, self._model.name).chat(request)) as events:
            async for event in events:
                yield event

    async def aclose(self) -> None:
        """The connections are the model object's."""


class _ServerEmbeddingModel:
    """As `_ServerChatModel`."""

    def __init__(self, model: Any, info: ModelInfo) -> None:
        self.info = info
        self._model = model

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        model = self._model
        size, dimensions = model.batch_size or 1, model.args.get("dimensions")
        server: OpenAIServer = model.client
        return await server.embedding_model(self.info, model.name, batch=size, dimensions=dimensions).embed(texts)

    async def aclose(self) -> None:
        """The connections are the model object's."""


def with_defaults(request: ChatRequest, args: dict[str, Any]) -> ChatRequest:
    """The request with ``args`` where it says nothing; ``system_prompt`` goes before messages that have none."""
    values = {name: value for name, value in args.items() if name != "system_prompt"}
    named = {name: values.pop(name) for name in FIELDS & values.keys()}
    unsaid = {name: value for name, value in named.items() if getattr(request, name) is None}
    messages = request.messages
    prompt = args.get("system_prompt")
    if prompt and not any(message.get("role") in ("system", "developer") for message in messages):
        messages = [{"role": "system", "content": prompt}, *messages]
    return msgspec.structs.replace(request, messages=messages, extra=values | request.extra, **unsaid)


def _request(prompt: str) -> ChatRequest:
    return ChatRequest(messages=[{"role": "user", "content": prompt}])


def _told(usage: Usage | None) -> Tokens:
    """What the server told; an estimate is nobody's word."""
    return (usage.prompt_tokens, usage.completion_tokens) if usage and not usage.estimated else (0, 0)


def _dollars(pico: int) -> float:
    return float(Decimal(pico).scaleb(-12))
