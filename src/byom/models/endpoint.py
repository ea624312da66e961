"""Models behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import httpx2
import msgspec

from byom.errors import BadRequest, ByomError, UpstreamProtocol, UpstreamTimeout, UpstreamUnreachable
from byom.models.wire import (
    MaxTokensField,
    chat_body,
    decoded,
    events_of,
    raise_error_in,
    usage_of,
    vectors_of,
)
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.embeddings import Embeddings
from byom.types.model_info import ModelInfo
from byom.types.target import NetworkPolicy, Target, Timeouts
from byom.types.tokens import estimate_messages, estimate_tokens
from byom.types.usage import Usage
from byom.upstream.answer_errors import error_for
from byom.upstream.client import client_for
from byom.upstream.problems import of_failure
from byom.upstream.sse import SSEDecoder
from byom.upstream.url import Endpoint

_MAX_ERROR_BODY = 64 * 1024
_DONE = b"[DONE]"
_DRAIN_SECONDS = 0.25


class _EndpointModel:
    """What both kinds share: the client, its time-outs, and the translation of its errors."""

    def __init__(
        self,
        target: Target,
        info: ModelInfo,
        *,
        upstream_model: str | None = None,
        policy: NetworkPolicy = NetworkPolicy(),  # noqa: B008 - frozen
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        client: httpx2.AsyncClient | None = None,
    ) -> None:
        """``client``: use this one, and leave closing it to its owner."""
        self.info = info
        self._model = upstream_model or info.name
        self._target = target
        self._timeouts = timeouts
        self._own_client = client is None
        self._client = client or client_for(target, policy, timeouts=timeouts)

    async def aclose(self) -> None:
        if self._own_client:
            await self._client.aclose()

    @contextlib.asynccontextmanager
    async def _post(self, route: str, body: dict[str, Any]) -> AsyncIterator[tuple[httpx2.Response, float | None]]:
        """The answer, its head read and its status good, and the loop time at which all must be over.

        Leaving closes the connection, whatever happens.
        """
        try:
            content = msgspec.json.encode(body)
        except (TypeError, ValueError) as error:
            raise BadRequest(f"The request cannot be written as JSON: {error}") from error
        headers = {"content-type": "application/json", "accept": "text/event-stream, application/json"}
        request = self._client.build_request("POST", route, content=content, headers=headers)
        deadline = asyncio.get_running_loop().time() + self._timeouts.total if self._timeouts.total else None
        response: httpx2.Response | None = None
        try:
            async with self._within(self._timeouts.first_byte, deadline, "did not begin to answer within {:g} s"):
                response = await self._client.send(request, stream=True)
            if response.status_code // 100 != 2:
                raise await self._failed(response, deadline)
            yield response, deadline
        except httpx2.HTTPError as error:
            raise self._broken(error) from error
        finally:
            if response is not None:
                await response.aclose()

    @contextlib.asynccontextmanager
    async def _within(self, seconds: float, deadline: float | None, what: str) -> AsyncIterator[None]:
        """At most ``seconds``, and not beyond the deadline. Encloses single waits, never a ``yield`` to the caller."""
        loop = asyncio.get_running_loop()
        ends = [loop.time() + seconds] if seconds else []
        ends += [deadline] if deadline is not None else []
        try:
            async with asyncio.timeout_at(min(ends, default=None)) as clock:
                yield
        except TimeoutError as error:
            if not clock.expired():
                raise
            if deadline is not None and loop.time() >= deadline:
                what, seconds = "was not done within {:g} s", self._timeouts.total
            raise UpstreamTimeout(f"Model '{self.info.name}' {what.format(seconds)}.") from error

    async def _failed(self, response: httpx2.Response, deadline: float | None) -> ByomError:
        body = b""
        async with contextlib.aclosing(self._parts(response, deadline)) as parts:
            async for part in parts:
                body += part
                if len(body) > _MAX_ERROR_BODY:
                    break
        return error_for(
            response.status_code, response.headers, body, secret=self._target.authorization, model=self.info.name
        )

    async def _parts(self, response: httpx2.Response, deadline: float | None) -> AsyncGenerator[bytes, None]:
        """The body's pieces as they arrive, with the idle time-out between them."""
        parts = aiter(response.aiter_bytes())
        while True:
            async with self._within(
                self._timeouts.idle, deadline, "fell silent for {:g} s in the middle of its answer"
            ):
                part = await anext(parts, None)
            if part is None:
                return
            yield part

    def _broken(self, error: httpx2.HTTPError) -> ByomError:
        target = self._target
        if isinstance(error, httpx2.ReadError | httpx2.RemoteProtocolError | httpx2.DecodingError):
            return UpstreamUnreachable(f"The connection to the server of model '{self.info.name}' broke: {error}")
        endpoint = Endpoint(scheme=target.scheme, host=target.host, port=target.port, base_path=target.base_path)
        problem = of_failure(error, endpoint, endpoint.url(), timeout=self._timeouts.connect)
        kind = UpstreamTimeout if problem.code == "timeout" else UpstreamUnreachable
        return kind(str(problem), details={"problem": problem.code} | problem.details)


class EndpointChatModel(_EndpointModel):
    """Chat through ``POST {base}/chat/completions``, streamed where the server can."""

    def __init__(
        self,
        target: Target,
        info: ModelInfo,
        *,
        upstream_model: str | None = None,
        policy: NetworkPolicy = NetworkPolicy(),  # noqa: B008 - frozen
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        client: httpx2.AsyncClient | None = None,
        max_tokens_field: MaxTokensField = "max_tokens",
        ask_usage: bool = True,
    ) -> None:
        super().__init__(target, info, upstream_model=upstream_model, policy=policy, timeouts=timeouts, client=client)
        self._max_tokens_field = max_tokens_field
        self._ask_usage = ask_usage

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Events as they arrive; the last one carries the finish reason and the usage (estimated where none came).

        Raises an error of the `UpstreamError` branch, or what the server's status means (`BadRequest`,
        `LimitExceeded`, `ModelNotFound`, …). A stream that ends before its finish reason raises `UpstreamProtocol`.
        """
        ask_usage = self._ask_usage
        assembly = _Assembly(request)
        try:
            async with contextlib.aclosing(self._events(request, assembly, ask_usage)) as events:
                async for event in events:
                    yield event
        except BadRequest as error:
            # Older servers refuse the field, before they have generated anything.
            if not ask_usage or assembly.begun or "stream_options" not in error.message:
                raise
        else:
            return
        self._ask_usage = False
        async with contextlib.aclosing(self._events(request, assembly, ask_usage=False)) as events:
            async for event in events:
                yield event

    async def _events(
        self, request: ChatRequest, assembly: _Assembly, ask_usage: bool
    ) -> AsyncGenerator[ChatEvent, None]:
        body = chat_body(request, self._model, max_tokens_field=self._max_tokens_field, ask_usage=ask_usage)
        async with self._post("chat/completions", body) as (response, deadline):
            streamed = "event-stream" in response.headers.get("content-type", "")
            chunks = (self._streamed if streamed else self._whole)(response, deadline, assembly)
            async with contextlib.aclosing(chunks) as pieces:
                async for chunk in pieces:
                    for event in assembly.add(chunk, self.info.name):
                        yield event
        for event in assembly.end(self.info.name):
            yield event

    async def _streamed(
        self, response: httpx2.Response, deadline: float | None, assembly: _Assembly
    ) -> AsyncGenerator[dict[str, Any], None]:
        decoder = SSEDecoder()
        async with contextlib.aclosing(self._parts(response, deadline)) as parts:
            async for part in parts:
                for data in decoder.feed(part):
                    if data == _DONE:
                        assembly.done = True
                        await _drain(parts)
                        return
                    yield self._chunk(data)
        rest = decoder.finish()
        if rest == _DONE:
            assembly.done = True
        elif rest:
            yield self._chunk(rest)

    async def _whole(
        self, response: httpx2.Response, deadline: float | None, assembly: _Assembly
    ) -> AsyncGenerator[dict[str, Any], None]:
        """A server that does not stream answers all at once."""
        body = b"".join([part async for part in self._parts(response, deadline)])
        chunk = self._chunk(body)
        if not isinstance(chunk.get("choices"), list):
            raise UpstreamProtocol(f"The server of model '{self.info.name}' answered without 'choices'.")
        assembly.done = True
        yield chunk

    def _chunk(self, data: bytes) -> dict[str, Any]:
        chunk = decoded(data, self.info.name, self._target.authorization)
        raise_error_in(chunk, self.info.name, self._target.authorization)
        return chunk


async def _drain(parts: AsyncIterator[bytes]) -> None:
    """Read the end of the body, which comes with or right after [DONE]: only then can the connection be used again."""
    with contextlib.suppress(TimeoutError, httpx2.HTTPError, ByomError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in parts:
                pass


class _Assembly:
    """Holds the finishing event back until its usage is known: it comes one chunk later."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._held: ChatEvent | None = None
        self._usage: Usage | None = None
        self._text: list[str] = []
        self.begun = False
        self.done = False

    def add(self, chunk: dict[str, Any], model: str) -> list[ChatEvent]:
        self.begun = True
        self._usage = usage_of(chunk.get("usage")) or self._usage
        ready: list[ChatEvent] = []
        for event in events_of(chunk, model):
            self._text.append(event.text + event.reasoning)
            if event.tool_calls:
                self._text.extend(str(call.get("function", "")) for call in event.tool_calls)
            if self._held is not None:
                ready.append(self._held)
                self._held = None
            if event.finish_reason is not None:
                self._held = event
            else:
                ready.append(event)
        return ready

    def end(self, model: str) -> list[ChatEvent]:
        if self._held is None and not self.done:
            raise UpstreamProtocol(f"The answer of model '{model}' ended early: no finish reason and no [DONE].")
        last = self._held or ChatEvent()
        last.usage = self._usage or self._estimate()
        return [last]

    def _estimate(self) -> Usage:
        return Usage(
            prompt_tokens=estimate_messages(self._request.messages),
            completion_tokens=estimate_tokens("".join(self._text)),
            estimated=True,
        )


class EndpointEmbeddingModel(_EndpointModel):
    """Embeddings through ``POST {base}/embeddings``, in batches."""

    def __init__(
        self,
        target: Target,
        info: ModelInfo,
        *,
        upstream_model: str | None = None,
        policy: NetworkPolicy = NetworkPolicy(),  # noqa: B008 - frozen
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        client: httpx2.AsyncClient | None = None,
        dimensions: int | None = None,
        batch: int = 256,
    ) -> None:
        """``dimensions``: ask the server for vectors of this length. ``batch``: most texts in one call."""
        super().__init__(target, info, upstream_model=upstream_model, policy=policy, timeouts=timeouts, client=client)
        self._dimensions = dimensions
        self._batch = batch

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """One vector for each text, in order; no call for no texts. Errors as in `EndpointChatModel.chat`."""
        result = Embeddings(vectors=[], usage=Usage())
        for start in range(0, len(texts), self._batch):
            part = list(texts[start : start + self._batch])
            answer = await self._call(part)
            result.vectors += vectors_of(answer, len(part), self.info.name)
            usage = usage_of(answer.get("usage"))
            result.usage.estimated |= usage is None
            result.usage.prompt_tokens += usage.prompt_tokens if usage else sum(map(estimate_tokens, part))
            result.model = answer["model"] if isinstance(answer.get("model"), str) else result.model
        if len({len(vector) for vector in result.vectors}) > 1:
            raise UpstreamProtocol(f"The server of model '{self.info.name}' sent embeddings of different lengths.")
        return result

    async def _call(self, texts: list[str]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "input": texts, "encoding_format": "float"}
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        async with self._post("embeddings", body) as (response, deadline):
            content = b"".join([part async for part in self._parts(response, deadline)])
        answer = decoded(content, self.info.name, self._target.authorization)
        raise_error_in(answer, self.info.name, self._target.authorization)
        return answer
