"""A model behind AgentStudio's own model server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import httpx2

from byom.errors import BadRequest, UpstreamError, UpstreamProtocol
from byom.models.agentstudio.errors import WireError
from byom.models.agentstudio.translation import agent_messages, usage_of
from byom.models.agentstudio.wire import MAX_REPLY, MessageForm, decode_reply, encode_messages
from byom.models.endpoint import _EndpointModel
from byom.models.wire import decoded
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.model_info import ModelInfo
from byom.types.target import NetworkPolicy, Target, Timeouts
from byom.types.tokens import estimate_messages, estimate_tokens
from byom.types.usage import Usage

_KNOWN = ("gpt", "gemini")
"""What a model's name must contain for an unchanged server to know it."""


class AgentStudioChatModel(_EndpointModel):
    """Chat through ``POST {base}/generate``.

    The protocol has neither streaming nor parameters: an answer is one event, and temperature, length limits and the
    like are not passed on. Tools, answers of a given form and several choices are refused.

    Args:
        form: what this server takes for a message.
        turns: bounds the calls at once, for all models of one server; by default one call, since the server answers
            one after the other, and more of them would only wait there.
    """

    def __init__(
        self,
        target: Target,
        info: ModelInfo,
        *,
        upstream_model: str | None = None,
        form: MessageForm = MessageForm.MESSAGE,
        turns: asyncio.Semaphore | None = None,
        policy: NetworkPolicy = NetworkPolicy(),  # noqa: B008 - frozen
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        client: httpx2.AsyncClient | None = None,
    ) -> None:
        super().__init__(target, info, upstream_model=upstream_model, policy=policy, timeouts=timeouts, client=client)
        self._form = form
        self._turns = turns or asyncio.Semaphore(1)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """One event. Raises `BadRequest` for what the protocol cannot say, and errors of the `UpstreamError` branch."""
        _check(request)
        messages = await asyncio.to_thread(self._written, request)
        async with self._turns:
            text, info = await self._call({"model": self._model, "messages": messages})
        estimate = Usage(
            prompt_tokens=estimate_messages(request.messages), completion_tokens=estimate_tokens(text), estimated=True
        )
        yield ChatEvent(text=text, finish_reason="stop", usage=usage_of(info, estimate), model=self._model)

    def _written(self, request: ChatRequest) -> str:
        return encode_messages(agent_messages(request.messages), self._form)

    async def _call(self, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        try:
            async with self._post("generate", body) as (response, deadline):
                content = await self._whole(self._parts(response, deadline))
        except UpstreamError as error:
            if error.details.get("upstream_status") == 500:
                raise type(error)(f"{error.message.rstrip('.')}. {self._hint()}", details=error.details) from error
            raise
        answer = decoded(content, self.info.name, self._target.authorization)
        try:
            return await asyncio.to_thread(decode_reply, answer.get("message"), answer.get("info"))
        except WireError as error:
            raise UpstreamProtocol(
                f"The server of model '{self.info.name}' sent an answer that was not read: {error.message}"
            ) from error

    async def _whole(self, pieces: AsyncGenerator[bytes, None]) -> bytes:
        content = bytearray()
        async with contextlib.aclosing(pieces) as parts:
            async for part in parts:
                content += part
                if len(content) > 3 * MAX_REPLY:
                    raise UpstreamProtocol(f"The server of model '{self.info.name}' answers without an end.")
        return bytes(content)

    def _hint(self) -> str:
        """AgentStudio's server says nothing but 500, whatever went wrong."""
        if any(part in self._model for part in _KNOWN):
            return "AgentStudio's server says no more than that; its own log does."
        return (
            "An unchanged AgentStudio server knows models whose name contains 'gpt' or 'gemini' only, "
            f"and {self._model!r} does not."
        )


def _check(request: ChatRequest) -> None:
    if (request.n or 1) > 1:
        raise BadRequest("AgentStudio's protocol gives one answer a call.", param="n")
    for name in ("tools", "response_format"):
        if getattr(request, name):
            raise BadRequest(f"AgentStudio's protocol has no {name}.", param=name, code="unsupported_parameter")
