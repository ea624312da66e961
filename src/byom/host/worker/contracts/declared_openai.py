"""LLooM's `OpenAIModel` and `OpenAIEmbedModel` for code whose environment has neither byom nor ``openai``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from . import openai_wire
from .declared import DeclaredModel, EmbedModel, Model


class OpenAIAddress:
    """The client: where the calls go, and with which key."""

    def __init__(self, base_url: str | None, api_key: str | None) -> None:
        self.base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or openai_wire.OPENAI).rstrip("/")
        self.key = api_key or os.environ.get("OPENAI_API_KEY")
        if self.base_url == openai_wire.OPENAI and not self.key:
            raise ValueError("OpenAI needs a key: give api_key, or set OPENAI_API_KEY")

    def __repr__(self) -> str:
        return f"OpenAIAddress({self.base_url!r})"


def call_llm_fn(model: Any, prompt: str) -> tuple[str, tuple[int, int]]:
    """What an `OpenAIModel` calls by default."""
    args = dict(model.args)
    system = args.pop("system_prompt", None)
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    body = {**args, "model": model.name, "messages": messages}
    answer = openai_wire.complete(model.client.base_url, model.client.key, "chat/completions", body)
    choices = answer.get("choices") or [{}]
    return (choices[0].get("message") or {}).get("content") or "", openai_wire.tokens(answer)


def call_embed_fn(model: Any, texts: str | Sequence[str]) -> tuple[list[list[float]], tuple[int, int]]:
    """What an `OpenAIEmbedModel` calls by default."""
    body = {**model.args, "model": model.name, "input": [texts] if isinstance(texts, str) else list(texts)}
    return openai_wire.vectors(openai_wire.complete(model.client.base_url, model.client.key, "embeddings", body))


class _AtServer(DeclaredModel):
    """A model whose requests go to its server as they are, where it has functions of nobody else's."""

    _own_setup = False

    @property
    def sends_whole_requests(self) -> bool:
        """Whether nothing stands between a request and the server: see `openai_address`."""
        return self._own_setup and self.fn in (call_llm_fn, call_embed_fn)

    def openai_address(self) -> tuple[str, str | None]:
        """Base URL and key of the server."""
        return self.client.base_url, self.client.key


class OpenAIModel(_AtServer, Model):
    """See `byom.llm.OpenAIModel`."""

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
        self._own_setup = setup_fn is None
        setup_fn = setup_fn or (lambda key: OpenAIAddress(base_url, key))
        super().__init__(name, setup_fn, fn, api_key, rate_limit, cost=cost, context_window=context_window, **args)


class OpenAIEmbedModel(_AtServer, EmbedModel):
    """See `byom.llm.OpenAIEmbedModel`."""

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
        self._own_setup = setup_fn is None
        setup_fn = setup_fn or (lambda key: OpenAIAddress(base_url, key))
        super().__init__(
            name,
            setup_fn,
            fn,
            api_key,
            batch_size,
            rate_limit=rate_limit,
            cost=cost,
            context_window=context_window,
            **args,
        )
