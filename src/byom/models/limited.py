"""Models that keep to limits: each call is admitted before it begins and settled when it ends, however it ends."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, Sequence

from byom.errors import BudgetExceeded, LimitExceeded
from byom.limits.decision import LimitRefusal
from byom.limits.limiter import Grant, Limiter
from byom.models.protocols import ChatModel, EmbeddingModel
from byom.models.streams import closing
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.embeddings import Embeddings
from byom.types.limits import Scope
from byom.types.model_info import ModelInfo
from byom.types.tokens import estimate_messages, estimate_tokens
from byom.types.usage import Usage

DEFAULT_ANSWER_TOKENS = 512
"""Reserved for the answer of a call without ``max_tokens``."""


class _Gate:
    """Admission to one set of scopes."""

    def __init__(self, info: ModelInfo, limiter: Limiter, scopes: tuple[Scope, ...]) -> None:
        self._info = info
        self._limiter = limiter
        self._scopes = scopes
        self._max_wait = min((scope.limits.max_wait for scope in scopes if scope.limits), default=0.0)

    async def enter(self, usage: Usage) -> Grant:
        """Raises `LimitExceeded` or `BudgetExceeded`; ``usage`` is the estimate that is reserved."""
        cost = self._cost(usage)
        decision = self._limiter.admit(self._scopes, usage.total_tokens, cost)
        if decision is None:
            decision = await self._limiter.wait(self._scopes, usage.total_tokens, cost, self._max_wait)
        if isinstance(decision, LimitRefusal):
            raise self._refused(decision)
        return decision

    def leave(self, grant: Grant, usage: Usage) -> None:
        self._limiter.settle(grant, usage.total_tokens, self._cost(usage))

    def _cost(self, usage: Usage) -> int:
        return self._info.price.cost(usage) if self._info.price else 0

    def _refused(self, refusal: LimitRefusal) -> LimitExceeded:
        kind = BudgetExceeded if refusal.budget else LimitExceeded
        known = math.isfinite(refusal.retry_after)
        then = f" Try again in {refusal.retry_after:.3g} s." if known else " It will not be let in later either."
        return kind(
            f"Model '{self._info.name}' is over its limit of {refusal.rule} ({refusal.scope}).{then}",
            retry_after=refusal.retry_after if known else None,
            details={"scope": refusal.scope, "rule": refusal.rule},
        )


class LimitedChatModel:
    """``model`` under the limits of ``scopes``, waiting for its turn as long as the strictest of them says.

    Put it innermost, below `RetryingChatModel`, so that each attempt counts.
    """

    def __init__(self, model: ChatModel, limiter: Limiter, scopes: tuple[Scope, ...]) -> None:
        self.info = model.info
        self._model = model
        self._gate = _Gate(model.info, limiter, scopes)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """As the model's; settled with the tokens so far when it is broken off. Raises `LimitExceeded`."""
        prompt = estimate_messages(request.messages)
        answer = request.max_tokens if request.max_tokens is not None else DEFAULT_ANSWER_TOKENS
        grant = await self._gate.enter(Usage(prompt_tokens=prompt, completion_tokens=answer * (request.n or 1)))
        used: Usage | None = None
        text: list[str] = []
        try:
            async with closing(self._model.chat(request)) as events:
                async for event in events:
                    used = event.usage or used
                    text.append(event.text + event.reasoning)
                    yield event
        finally:
            # An answer that never began was not charged by anybody; one that was broken off costs what came.
            so_far = Usage(prompt_tokens=prompt, completion_tokens=estimate_tokens("".join(text)))
            self._gate.leave(grant, used or (so_far if text else Usage()))

    async def aclose(self) -> None:
        await self._model.aclose()


class LimitedEmbeddingModel:
    """``model`` under the limits of ``scopes``; as `LimitedChatModel`."""

    def __init__(self, model: EmbeddingModel, limiter: Limiter, scopes: tuple[Scope, ...]) -> None:
        self.info = model.info
        self._model = model
        self._gate = _Gate(model.info, limiter, scopes)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """As the model's. Raises `LimitExceeded`."""
        grant = await self._gate.enter(Usage(prompt_tokens=sum(map(estimate_tokens, texts))))
        used = Usage()
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: self._gate.leave(grant, used))
            result = await self._model.embed(texts)
            used = result.usage
        return result

    async def aclose(self) -> None:
        await self._model.aclose()
