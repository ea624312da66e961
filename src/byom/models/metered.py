"""Models that write the ledger: one row a call, however it ends."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence

from byom.errors import ByomError, LimitExceeded
from byom.ledger.row import Row, State
from byom.models.protocols import ChatModel, EmbeddingModel
from byom.models.streams import closing
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.embeddings import Embeddings
from byom.types.model_info import ModelInfo
from byom.types.tokens import estimate_messages, estimate_tokens
from byom.types.usage import Usage

Write = Callable[[Row], None]
_CLIENT_CLOSED = 499


class Meter:
    """Makes the rows of one model. ``write`` gets each; it must not block."""

    def __init__(
        self,
        info: ModelInfo,
        write: Write,
        *,
        connection: str = "",
        upstream_model: str | None = None,
        user: str = "",
        key: str = "",
        origin: str = "library",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._info = info
        self._write = write
        self._connection = connection
        self._upstream_model = upstream_model or info.name
        self._user = user
        self._key = key
        self._origin = origin
        self._clock = clock

    def begin(self, route: str, *, stream: bool) -> MeteredCall:
        """A call that begins now."""
        row = Row(
            id=f"req_{uuid.uuid4().hex}",
            at=time.time_ns() // 1000,
            key=self._key,
            user=self._user,
            connection=self._connection,
            model=self._info.name,
            upstream_model=self._upstream_model,
            route=route,
            status=200,
            state="ok",
            stream=stream,
            origin=self._origin,
        )
        return MeteredCall(row, self._info, self._write, self._clock)

    def hit(self, usage: Usage, *, route: str = "chat/completions") -> None:
        """Write the row of an answer from the cache: its tokens are shown, and it costs nothing."""
        call = self.begin(route, stream=False)
        call.end("cached", usage)


class MeteredCall:
    """One call, until its row is written."""

    def __init__(self, row: Row, info: ModelInfo, write: Write, clock: Callable[[], float]) -> None:
        self._row = row
        self._info = info
        self._write = write
        self._clock = clock
        self._began = clock()

    def first_token(self) -> None:
        """Note the time to the first token; later ones change nothing."""
        if self._row.first_token is None:
            self._row.first_token = self._elapsed()

    def end(self, state: State, usage: Usage, *, status: int = 200, error: str = "") -> None:
        row = self._row
        row.state, row.status, row.error = state, status, error
        row.prompt_tokens, row.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        row.cached_tokens, row.cache_write_tokens = usage.cached_tokens, usage.cache_write_tokens
        row.reasoning_tokens, row.estimated = usage.reasoning_tokens, usage.estimated
        row.latency = self._elapsed()
        price = self._info.price
        if state == "cached" or (state in ("refused", "error") and not usage.total_tokens):
            row.cost = 0
        elif price is not None:
            row.cost = price.cost(usage)
        row.price_version = price.version if price else ""
        self._write(row)

    def failed(self, error: BaseException, usage: Usage) -> None:
        """End with what an exception means: refused by a limit, an error, or broken off by the caller."""
        if isinstance(error, LimitExceeded) and "scope" in error.details:
            self.end("refused", usage, status=error.status, error=error.code)
        elif isinstance(error, ByomError):
            self.end("error", usage, status=error.status, error=error.code)
        elif isinstance(error, GeneratorExit | asyncio.CancelledError):
            self.end("cancelled", usage, status=_CLIENT_CLOSED, error="cancelled")
        else:
            self.end("error", usage, status=500, error="internal_error")

    def _elapsed(self) -> int:
        return round((self._clock() - self._began) * 1e6)


class MeteredChatModel:
    """``model``, with a row for each call."""

    def __init__(self, model: ChatModel, meter: Meter) -> None:
        self.info = model.info
        self._model = model
        self._meter = meter

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """As the model's. A call that is broken off is charged by an estimate of what had come."""
        call = self._meter.begin("chat/completions", stream=True)
        text: list[str] = []
        used: Usage | None = None
        finished = False
        try:
            async with closing(self._model.chat(request)) as events:
                async for event in events:
                    if event.text or event.reasoning or event.tool_calls:
                        call.first_token()
                    text.append(event.text + event.reasoning)
                    used = event.usage or used
                    finished = event.finish_reason is not None and event.usage is not None
                    yield event
        except BaseException as error:
            # Whoever stops reading after the last event has the whole answer.
            if finished and isinstance(error, GeneratorExit):
                call.end("ok", used or Usage())
            else:
                call.failed(error, used or self._so_far(request, text))
            raise
        call.end("ok", used or self._so_far(request, text))

    async def aclose(self) -> None:
        await self._model.aclose()

    def _so_far(self, request: ChatRequest, text: list[str]) -> Usage:
        if not text:
            return Usage()
        return Usage(
            prompt_tokens=estimate_messages(request.messages),
            completion_tokens=estimate_tokens("".join(text)),
            estimated=True,
        )


class MeteredEmbeddingModel:
    """``model``, with a row for each call."""

    def __init__(self, model: EmbeddingModel, meter: Meter) -> None:
        self.info = model.info
        self._model = model
        self._meter = meter

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        call = self._meter.begin("embeddings", stream=False)
        try:
            result = await self._model.embed(texts)
        except BaseException as error:
            call.failed(error, Usage())
            raise
        call.end("ok", result.usage)
        return result

    async def aclose(self) -> None:
        await self._model.aclose()
