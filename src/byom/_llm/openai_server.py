"""OpenAI's API, or any server that speaks it, as the client of a model object."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING

from byom.errors import ConfigError

if TYPE_CHECKING:
    import httpx2

    from byom.models.endpoint import EndpointChatModel, EndpointEmbeddingModel
    from byom.models.wire import MaxTokensField
    from byom.types.model_info import ModelInfo
    from byom.types.target import Target

OPENAI = "https://api.openai.com/v1"


class OpenAIServer:
    """Where the calls go, and with which key. Connections are made per event loop, with the first call."""

    def __init__(self, base_url: str | None = None, api_key: str | None = None) -> None:
        """Without arguments from ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``, else OpenAI itself.

        Raises `ConfigError` without a key for OpenAI, and `BadRequest` for a URL that is none.
        """
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
        self._key = key = api_key or os.environ.get("OPENAI_API_KEY")
        self._target = _target(self.base_url, key)
        self.is_openai = self._target.host == "api.openai.com"
        if self.is_openai and not key:
            raise ConfigError("OpenAI needs a key: give api_key, or set OPENAI_API_KEY.", param="api_key")
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = (
            weakref.WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"OpenAIServer({self.base_url!r})"

    def address(self) -> tuple[str, str | None]:
        """URL before the routes, and key."""
        target = self._target
        return f"{target.scheme}://{_bracketed(target.host)}:{target.port}{target.base_path}", self._key

    def chat_model(self, info: ModelInfo, name: str) -> EndpointChatModel:
        """For the running event loop. ``name``: as the server knows the model."""
        from byom.models.endpoint import EndpointChatModel

        # OpenAI's newer models refuse max_tokens, and other servers do not know the other name.
        field: MaxTokensField = "max_completion_tokens" if self.is_openai else "max_tokens"
        return EndpointChatModel(self._target, info, upstream_model=name, client=self._client(), max_tokens_field=field)

    def embedding_model(
        self, info: ModelInfo, name: str, *, batch: int, dimensions: int | None
    ) -> EndpointEmbeddingModel:
        """As `chat_model`."""
        from byom.models.endpoint import EndpointEmbeddingModel

        return EndpointEmbeddingModel(
            self._target, info, upstream_model=name, client=self._client(), batch=batch, dimensions=dimensions
        )

    async def aclose(self) -> None:
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _client(self) -> httpx2.AsyncClient:
        from byom.types.target import NetworkPolicy
        from byom.upstream.client import client_for

        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = client_for(self._target, NetworkPolicy())
        return self._clients[loop]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _target(base_url: str, key: str | None) -> Target:
    from byom.types.target import Target
    from byom.upstream.url import parse_endpoint

    endpoint = parse_endpoint(base_url)
    return Target(
        scheme=endpoint.scheme,
        host=endpoint.host,
        port=endpoint.port,
        base_path=endpoint.candidates()[0],
        authorization=f"Bearer {key}" if key else None,
    )
