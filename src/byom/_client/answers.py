"""What the methods of a client return."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, overload

import msgspec

from byom._client.told import Told
from byom.errors import UpstreamProtocol
from byom.models.collect import ChatAnswer, ChatChoice, collect
from byom.models.wire import events_of, usage_of, vectors_of
from byom.types.chat import ChatEvent
from byom.types.usage import Usage

__all__ = ["Answer", "ChatChoice", "Piece", "Ranked", "Ranking", "Vectors"]


class Answer(ChatAnswer, kw_only=True):
    """A whole answer; as text it is its first choice's text. `choices` has all of them."""

    raw: dict[str, Any] = {}
    """The JSON object as it came; empty for an answer that was streamed."""
    request_id: str = ""
    """The hub's id of the call: the ledger's row has it."""
    cost: Decimal | None = None
    """Dollars; ``None`` where the price is not known, or where the hub tells it in the ledger alone (streams)."""

    def __str__(self) -> str:
        return self.text


class Piece(ChatEvent, kw_only=True):
    """A part of a streamed answer; as text it is its text, so ``print(piece, end="")`` shows the answer."""

    def __str__(self) -> str:
        return self.text


class Vectors(msgspec.Struct, kw_only=True):
    """``vectors[i]`` belongs to ``texts[i]``; iterating and indexing give the vectors."""

    vectors: list[list[float]]
    usage: Usage | None = None
    model: str | None = None
    request_id: str = ""
    cost: Decimal | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[list[float]]:
        return iter(self.vectors)

    @overload
    def __getitem__(self, index: int) -> list[float]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[float]]: ...
    def __getitem__(self, index: int | slice) -> list[float] | list[list[float]]:
        return self.vectors[index]


class Ranked(msgspec.Struct, frozen=True):
    """One document of a ranking."""

    index: int
    """Its place among the documents that were given."""
    score: float
    document: str


class Ranking(msgspec.Struct, kw_only=True):
    """Documents, the most relevant first."""

    results: list[Ranked]
    usage: Usage | None = None
    model: str | None = None
    request_id: str = ""
    cost: Decimal | None = None

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.results)


def pieces_of(chunk: dict[str, Any], model: str) -> list[Piece]:
    """The pieces in a chunk of a stream, or in a whole answer; usage comes with the last of them."""
    events = events_of(_as_chat(chunk), model)
    pieces = [Piece(**{name: getattr(event, name) for name in ChatEvent.__struct_fields__}) for event in events]
    usage = usage_of(chunk.get("usage"))
    if usage is not None:
        if not pieces:
            pieces.append(Piece(raw=chunk))
        pieces[-1].usage = usage
    return pieces


def _as_chat(chunk: dict[str, Any]) -> dict[str, Any]:
    """A text completion's choices in the form of a chat's."""
    choices = chunk.get("choices")
    if not isinstance(choices, list) or not any(isinstance(one, dict) and "text" in one for one in choices):
        return chunk
    return chunk | {"choices": [one | {"delta": {"content": one.get("text")}} for one in choices]}


async def answer_of(body: dict[str, Any], model: str, said: Told) -> Answer:
    """The answer in a JSON object."""

    async def events() -> AsyncIterator[ChatEvent]:
        for piece in pieces_of(body, model):
            yield piece

    return whole(await collect(events()), raw=body, said=said)


def whole(collected: ChatAnswer, *, raw: dict[str, Any], said: Told) -> Answer:
    return Answer(
        choices=collected.choices,
        usage=collected.usage,
        model=collected.model,
        raw=raw,
        request_id=said.request_id,
        cost=said.cost,
    )


def vectors_answer(body: Mapping[str, Any], count: int, model: str, said: Told) -> Vectors:
    """The embeddings in a JSON object, in the order of the texts."""
    return Vectors(
        vectors=vectors_of(body, count, model),
        usage=usage_of(body.get("usage")),
        model=body.get("model"),
        request_id=said.request_id,
        cost=said.cost,
    )


def ranking_answer(body: Mapping[str, Any], documents: Sequence[str], model: str, said: Told) -> Ranking:
    """The ranking in a JSON object. Raises `UpstreamProtocol` where it is none."""
    results = body.get("results")
    if not isinstance(results, list):
        raise UpstreamProtocol(f"The answer of model '{model}' has no 'results'.")
    ranked = [_ranked(entry, documents, model) for entry in results]
    return Ranking(
        results=sorted(ranked, key=lambda one: -one.score),
        usage=usage_of(body.get("usage")),
        model=body.get("model"),
        request_id=said.request_id,
        cost=said.cost,
    )


def _ranked(entry: Any, documents: Sequence[str], model: str) -> Ranked:
    index = entry.get("index") if isinstance(entry, Mapping) else None
    score = entry.get("relevance_score", entry.get("score")) if isinstance(entry, Mapping) else None
    if not isinstance(index, int) or not 0 <= index < len(documents) or not isinstance(score, int | float):
        raise UpstreamProtocol(f"The answer of model '{model}' names a document that was not given, or has no score.")
    return Ranked(index, float(score), documents[index])
