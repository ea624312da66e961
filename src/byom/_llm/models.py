"""LLooM's model objects, which also pace, count and convert themselves."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Protocol, Self

import msgspec

from byom._llm.batched import BatchedEmbeddingModel, BatchSize, OneTextAtATime
from byom._llm.pace import Pace, scopes_of
from byom._llm.price import price_of_cost
from byom._llm.spending import Spending
from byom._llm.threads import FunctionCaller
from byom.errors import UpstreamProtocol
from byom.host.worker.contracts import declared
from byom.host.worker.contracts.results import ResultError, TextList, text_and_tokens, vectors_and_tokens
from byom.ledger.row import Row
from byom.limits.limiter import Limiter
from byom.models.collect import collect
from byom.models.function import FunctionChatModel, FunctionEmbeddingModel, Tokens, prompt_of
from byom.models.limited import LimitedChatModel, LimitedEmbeddingModel
from byom.models.metered import Meter, MeteredChatModel, MeteredEmbeddingModel
from byom.models.protocols import ChatModel, EmbeddingModel
from byom.types.chat import ChatRequest
from byom.types.limits import Scope
from byom.types.model_info import ModelInfo
from byom.types.usage import Price, Usage, to_dollars

FIELDS = frozenset({"temperature", "top_p", "max_tokens", "stop", "seed", "tools", "tool_choice", "response_format"})


class Write(Protocol):
    def __call__(self, row: Row, /) -> None: ...


class Generated(msgspec.Struct, kw_only=True):
    """The answer to one prompt."""

    text: str
    usage: Usage
    """``estimated`` where the function told no tokens."""
    cost: Decimal | None
    """Dollars; ``None`` where the model's price is not known."""


class Embedded(msgspec.Struct, kw_only=True):
    """``vectors[i]`` belongs to ``texts[i]``."""

    vectors: list[list[float]]
    usage: Usage
    cost: Decimal | None


class Counted(declared.DeclaredModel):
    """What both kinds of model objects have: their price, their own pace, and what they have spent.

    A model object belongs to one event loop at a time; its rate limit holds from one to the next.
    """

    _embedding = False

    def _declared(self) -> None:
        self.spent = Spending()
        """Calls, tokens and dollars of this object, its `as_chat_model` and `as_embedding_model` included."""
        self._scopes = scopes_of(self.rate_limit)
        self._pace = Pace(self._scopes)
        self._who = f"{getattr(self.fn, '__name__', 'The function')!r} of model {self.label!r}"
        self._call = FunctionCaller(self._who, self.fn)

    @property
    def price(self) -> Price | None:
        """The price of each token; ``None``: not known."""
        return price_of_cost(self.cost, embedding=self._embedding)

    def _info(self) -> ModelInfo:
        abilities = frozenset({"embed"} if self._embedding else {"chat"})
        return ModelInfo(name=self.label, abilities=abilities, context_window=self.context_window, price=self.price)

    def _meter(self, info: ModelInfo, write: Write | None) -> Meter:
        def both(row: Row) -> None:
            self.spent.add(row)
            if write is not None:
                write(row)

        return Meter(info, both, upstream_model=self.name or info.name)

    async def aclose(self) -> None:
        """Let go of connections, where the model holds some itself."""

    def _copy(self, values: dict[str, Any]) -> Self:
        """This model for one call: what that call changes in ``args`` is seen by no other."""
        mine = copy.copy(self)
        mine.args = self.args | values
        return mine


class Model(Counted, declared.Model):
    """A language model made of two functions, as LLooM has it.

    ``setup_fn(api_key)`` returns the ``client``; ``async def fn(model, prompt)``, or ``def``, returns
    ``(text, (in_tokens, out_tokens))``. ``rate_limit`` is ``(n_requests, seconds)``, ``cost`` dollars per token as
    ``(input, output)`` or one number; every other keyword is in ``args``. A function that blocks keeps nobody waiting.

        answer = await model.generate("Why is the sky blue?")
        answer.text, answer.usage.total_tokens, answer.cost, model.spent.cost
    """

    async def generate(self, prompt: str, **values: Any) -> Generated:
        """One answer, when the rate limit lets the call in. ``values`` (``temperature``, ``max_tokens``, …) are in
        ``model.args`` for this call. Raises what the function raised, as an `UpstreamError` that names it."""
        known = {name: values.pop(name) for name in FIELDS & values.keys()}
        request = ChatRequest(messages=[{"role": "user", "content": prompt}], **known, extra=values)
        rows: list[Row] = []
        answer = await collect(self.as_chat_model(write=rows.append).chat(request))
        return Generated(text=answer.text, usage=answer.usage or Usage(), cost=to_dollars(rows[-1].cost))

    def as_chat_model(
        self, *, limiter: Limiter | None = None, scopes: tuple[Scope, ...] = (), write: Write | None = None
    ) -> ChatModel:
        """This model under its own rate limit and counted in `spent`.

        ``limiter`` with ``scopes``: further limits, shared with other models. ``write`` gets a row for each call.
        """
        info = self._info()
        model: ChatModel = LimitedChatModel(self._bare(info), self._pace, self._scopes)
        if limiter is not None:
            model = LimitedChatModel(model, limiter, scopes)
        return MeteredChatModel(model, self._meter(info, write))

    def _bare(self, info: ModelInfo) -> ChatModel:
        return FunctionChatModel(self._answer, info)

    async def _answer(self, request: ChatRequest) -> tuple[str, Tokens]:
        values = {name: getattr(request, name) for name in FIELDS if getattr(request, name) is not None}
        result = await self._call(self._copy(values | request.extra), prompt_of(request))
        try:
            return text_and_tokens(result, self._who)
        except ResultError as error:
            raise UpstreamProtocol(f"{error}.") from error


class EmbedModel(Counted, declared.EmbedModel):
    """An embedding model made of two functions: ``fn(model, texts)`` returns ``(embeddings, tokens)``.

    With a ``batch_size`` the function gets at most so many texts, as a list; without one it gets a single text and
    returns its vector. Everything else is as in `Model`.
    """

    _embedding = True

    def _declared(self) -> None:
        super()._declared()
        self._batch = BatchSize(self.batch_size or 1)

    async def embed(self, texts: str | Sequence[str]) -> Embedded:
        """One vector for each text, in order. Raises as `Model.generate` does."""
        rows: list[Row] = []
        result = await self.as_embedding_model(write=rows.append).embed([texts] if isinstance(texts, str) else texts)
        costs = [row.cost for row in rows]
        whole = None if None in costs else sum(cost for cost in costs if cost is not None)
        return Embedded(vectors=result.vectors, usage=result.usage, cost=to_dollars(whole))

    def as_embedding_model(
        self, *, limiter: Limiter | None = None, scopes: tuple[Scope, ...] = (), write: Write | None = None
    ) -> EmbeddingModel:
        """As `Model.as_chat_model`. Each batch is a call."""
        info = self._info()
        model: EmbeddingModel = LimitedEmbeddingModel(self._bare(info), self._pace, self._scopes)
        if limiter is not None:
            model = LimitedEmbeddingModel(model, limiter, scopes)
        return BatchedEmbeddingModel(MeteredEmbeddingModel(model, self._meter(info, write)), self._batch)

    def _bare(self, info: ModelInfo) -> EmbeddingModel:
        return FunctionEmbeddingModel(self._answer, info)

    async def _answer(self, texts: list[str]) -> tuple[list[list[float]], Tokens]:
        argument = texts[0] if self.batch_size is None else TextList(texts)
        result = await self._call(self._copy({}), argument)
        try:
            vectors, told = vectors_and_tokens(result, len(texts), self._who)
        except ResultError as error:
            raise UpstreamProtocol(f"{error}.") from error
        if vectors is None:
            raise OneTextAtATime(f"{self._who} returned one vector for {len(texts)} texts: it takes one at a time.")
        return vectors, told
