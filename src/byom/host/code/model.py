"""A model whose code runs in workers, as the object path sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from byom.errors import BadRequest, UpstreamProtocol
from byom.host.answers import added
from byom.host.caller import current_user
from byom.host.code.configuration import HostConfig
from byom.host.code.credentials import config_for
from byom.host.code.ending import Ending, of_input
from byom.host.code.pool import Pool
from byom.host.code.queue import Begun
from byom.host.served import RankedDocument, Ranking
from byom.host.worker.vectors import unpack
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.embeddings import Embeddings
from byom.types.model_info import ModelInfo
from byom.types.usage import Price, Usage, to_pico


class WorkerModel:
    """Chat, embeddings and rerank, as far as the code offers them; anything else is refused with a clear 400."""

    def __init__(self, pool: Pool, description: dict[str, Any]) -> None:
        self.info = info_of(description)
        self.max_dimensions = 2**31
        self._pool = pool
        self._description = description

    async def aclose(self) -> None:
        """Nothing of its own: the workers belong to the pool."""

    # --- chat

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Events as the code gives them; what it leaves out at the end (reason, usage) is added."""
        self._needs("chat")
        begun = await self._begin("chat", _chat_fields(request, self.info.name))
        ending = Ending(request)
        error: BaseException | None = None
        try:
            while (given := await begun.call.next(self._pool.config.timeout)) is not None:
                event = _event(given, self.info.name)
                if ending.saw(event, given.get("usage")):
                    yield event
        except BaseException as problem:
            error = problem
            raise
        finally:
            self._pool.leave(begun, error)
        for last in ending.events():
            yield last

    # --- embeddings and rerank

    async def embed(self, texts: Sequence[str], dimensions: int | None = None) -> Embeddings:
        """One vector for each text, in batches of the size that the code takes."""
        self._needs("embed")
        size = self._description.get("batch_size") or len(texts) or 1
        options = {} if dimensions is None else {"dimensions": dimensions}
        vectors: list[list[float]] = []
        usage: Usage | None = None
        for start in range(0, len(texts), size):
            batch = list(texts[start : start + size])
            made = await self._whole("embed", {"texts": batch, "options": options})
            vectors += _vectors(made, len(batch), self.info.name)
            usage = added(usage, of_input(made.get("usage"), batch))
        return Embeddings(vectors=vectors, usage=usage or Usage(), model=self.info.name)

    async def rerank(self, query: str, documents: Sequence[str]) -> Ranking:
        """All documents, the best first."""
        self._needs("rerank")
        made = await self._whole("rerank", {"query": query, "documents": list(documents)})
        try:
            ranked = msgspec.convert(made.get("documents"), list[RankedDocument], strict=False)
        except msgspec.ValidationError as error:
            raise UpstreamProtocol(f"The code of model {self.info.name} gave no valid ranking: {error}") from error
        if any(not 0 <= one.index < len(documents) for one in ranked):
            raise UpstreamProtocol(f"The code of model {self.info.name} ranked a document that it was not given.")
        ranked.sort(key=lambda one: -one.score)
        return Ranking(documents=ranked, usage=of_input(made.get("usage"), [query, *documents]))

    async def _whole(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        begun = await self._begin(kind, request)
        error: BaseException | None = None
        try:
            return await begun.call.result(self._pool.config.timeout)
        except BaseException as problem:
            error = problem
            raise
        finally:
            self._pool.leave(begun, error)

    async def _begin(self, kind: str, request: dict[str, Any]) -> Begun:
        config: HostConfig = self._pool.config
        user = current_user.get()
        about = {
            "user": user,
            "config": config_for(config, self.info.name, user),
            "plugin_config": config.plugin_config,
        }
        return await self._pool.call(self.info.name, kind, request, about)

    def _needs(self, ability: str) -> None:
        if ability not in self.info.abilities:
            raise BadRequest(
                f"The model {self.info.name!r} does not do {ability}.", param="model", code="unsupported_ability"
            )


def info_of(description: dict[str, Any]) -> ModelInfo:
    """What the code says of a model, in the hub's words; the whole of it is in ``details``."""
    return ModelInfo(
        name=description["name"],
        abilities=frozenset(description.get("abilities") or ("chat",)),
        context_window=description.get("context_window"),
        dimensions=description.get("dimensions"),
        price=_price(description.get("cost")),
        details={"byom": description},
    )


def _price(cost: dict[str, str] | None) -> Price | None:
    if not cost:
        return None
    try:
        return Price(input=to_pico(Decimal(cost["input"])), output=to_pico(Decimal(cost["output"])))
    except (KeyError, ValueError, InvalidOperation):
        return None


def _chat_fields(request: ChatRequest, model: str) -> dict[str, Any]:
    fields = {name: value for name, value in msgspec.structs.asdict(request).items() if value is not None}
    extra = fields.pop("extra")
    return {**extra, **fields, "model": model}


def _event(event: dict[str, Any], model: str) -> ChatEvent:
    fields = {name: value for name, value in event.items() if name != "usage" and value is not None}
    try:
        return msgspec.convert({**fields, "usage": None}, ChatEvent)
    except msgspec.ValidationError as error:
        raise UpstreamProtocol(f"The code of model {model} gave an event that is not one: {error}") from error


def _vectors(made: dict[str, Any], count: int, model: str) -> list[list[float]]:
    try:
        vectors = unpack(made) if "packed" in made else msgspec.convert(made.get("vectors"), list[list[float]])
    except msgspec.ValidationError as error:
        raise UpstreamProtocol(f"The code of model {model} gave no valid vectors: {error}") from error
    if len(vectors) != count:
        raise UpstreamProtocol(f"The code of model {model} gave {len(vectors)} vectors for {count} texts.")
    return vectors
