"""Models that remember: an exact-match cache of whole answers."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

import msgspec

from byom.models.protocols import ChatModel, EmbeddingModel
from byom.models.streams import closing
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.embeddings import Embeddings
from byom.types.usage import Usage

OnHit = Callable[[Usage], None]


class Store(Protocol):
    """Where answers are kept. May forget at any time; never hands out what is older than it was told."""

    async def get(self, key: bytes) -> bytes | None: ...

    async def set(self, key: bytes, value: bytes, seconds: float) -> None: ...


class MemoryStore:
    """In this process: at most ``max_bytes``, the least recently used goes first."""

    def __init__(self, max_bytes: int = 64 * 1024 * 1024, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: bytes) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() >= entry[0]:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[1]

    async def set(self, key: bytes, value: bytes, seconds: float) -> None:
        if key in self._entries:
            self._drop(key)
        if len(value) > self._max_bytes:
            return
        self._entries[key] = (self._clock() + seconds, value)
        self._bytes += len(value)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self._bytes -= len(self._entries.pop(key)[1])


_events = msgspec.json.Decoder(list[ChatEvent])
_vector = msgspec.json.Decoder(list[float])
_canonical = msgspec.json.Encoder(order="deterministic")


def _key(*parts: object) -> bytes:
    return hashlib.sha256(_canonical.encode(parts)).digest()


class CachedChatModel:
    """``model``, whose complete answers are replayed when the same request comes again.

    ``scope`` separates tenants, ``version`` changes with the model's settings; both are part of the key, as are all
    parameters. Calls with a temperature other than 0, or with tools, are kept only if ``sampled`` is set.
    ``on_hit`` gets the usage that was saved.
    """

    def __init__(
        self,
        model: ChatModel,
        store: Store,
        *,
        scope: str = "",
        version: int = 0,
        seconds: float = 3600.0,
        sampled: bool = False,
        on_hit: OnHit | None = None,
    ) -> None:
        self.info = model.info
        self._model = model
        self._store = store
        self._prefix = ("chat", scope, model.info.name, version)
        self._seconds = seconds
        self._sampled = sampled
        self._on_hit = on_hit

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """As the model's. An answer that fails or is broken off is not kept."""
        if not self._is_cacheable(request):
            async with closing(self._model.chat(request)) as live:
                async for event in live:
                    yield event
            return
        key = _key(self._prefix, request)
        kept = await self._store.get(key)
        if kept is not None:
            events = _events.decode(kept)
            self._hit(events)
            for event in events:
                yield event
            return
        answer: list[ChatEvent] = []
        async with closing(self._model.chat(request)) as live:
            async for event in live:
                answer.append(event)
                yield event
        await self._store.set(key, msgspec.json.encode(answer), self._seconds)

    async def aclose(self) -> None:
        await self._model.aclose()

    def _is_cacheable(self, request: ChatRequest) -> bool:
        return self._sampled or (request.temperature == 0 and not request.tools and not request.extra.get("tools"))

    def _hit(self, events: list[ChatEvent]) -> None:
        if self._on_hit is not None:
            self._on_hit(next((event.usage for event in reversed(events) if event.usage), Usage(estimated=True)))


class CachedEmbeddingModel:
    """``model``, asked only for the texts that are not kept yet. One entry for each text."""

    def __init__(
        self,
        model: EmbeddingModel,
        store: Store,
        *,
        scope: str = "",
        version: int = 0,
        seconds: float = 3600.0,
        on_hit: OnHit | None = None,
    ) -> None:
        self.info = model.info
        self._model = model
        self._store = store
        self._prefix = ("embed", scope, model.info.name, version)
        self._seconds = seconds
        self._on_hit = on_hit

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """One vector for each text; the usage is that of the texts that were really sent."""
        keys = [_key(self._prefix, text) for text in texts]
        kept = [await self._store.get(key) for key in keys]
        missing = list(dict.fromkeys(text for text, value in zip(texts, kept, strict=True) if value is None))
        fresh = await self._model.embed(missing) if missing else Embeddings(vectors=[], usage=Usage())
        by_text = dict(zip(missing, fresh.vectors, strict=True))
        for text, vector in by_text.items():
            await self._store.set(_key(self._prefix, text), msgspec.json.encode(vector), self._seconds)
        if texts and not missing and self._on_hit is not None:
            self._on_hit(Usage())
        vectors = [
            by_text[text] if value is None else _vector.decode(value) for text, value in zip(texts, kept, strict=True)
        ]
        return Embeddings(vectors=vectors, usage=fresh.usage, model=fresh.model or self.info.name)

    async def aclose(self) -> None:
        await self._model.aclose()
