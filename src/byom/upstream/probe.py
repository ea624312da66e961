"""Find out what a model can do by asking it, at a bounded cost."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import msgspec

from byom.errors import ByomError, DestinationDenied, UpstreamAuth, UpstreamError
from byom.types.target import NetworkPolicy, Target, Timeouts
from byom.types.tokens import estimate_tokens
from byom.types.usage import Usage
from byom.upstream.ability_report import SHORT, STREAMS, AbilityReport, Kind, ProbePlan, plan
from byom.upstream.answer_errors import message_of, redacted, retry_after
from byom.upstream.client import client_for
from byom.upstream.exchange import Answer, exchange
from byom.upstream.network import Resolver, default_resolver
from byom.upstream.probe_steps import CHAT_STEPS, Finding, text_of
from byom.upstream.problems import Problem
from byom.upstream.report import decoded_object
from byom.upstream.servers import parse_models
from byom.upstream.sse import SSEDecoder
from byom.upstream.url import Endpoint

__all__ = ["AbilityReport", "Finding", "Kind", "ProbePlan", "Progress", "plan", "probe"]

Progress = Callable[[str, Finding], None]
"""Called with each ability as soon as it is known."""

_REFUSED = (400, 404, 405, 415, 422, 501)
_MAX_PAUSE = 10.0


async def probe(
    target: Target,
    model: str,
    *,
    kind: Kind = "auto",
    policy: NetworkPolicy = NetworkPolicy(),  # noqa: B008 - frozen
    timeout: float = 60.0,
    progress: Progress | None = None,
    resolver: Resolver | None = None,
) -> AbilityReport:
    """Ask the model named ``model`` at ``target`` for each ability in turn. `plan` says beforehand what it may cost.

    A refusal is a "no" with the server's words; a time-out or a failing server leaves "unknown". With ``auto`` a model
    that refuses chat is asked nothing further about it, so an embedding model costs one refused chat call.
    Raises `UpstreamAuth` when the key is rejected, `DestinationDenied` by the network policy, and `UpstreamError` when
    the first call gets no answer at all. ``timeout``: seconds for each call.
    """
    resolver = resolver or default_resolver()
    async with client_for(target, policy, timeouts=Timeouts(connect=min(timeout, 10.0)), resolver=resolver) as client:
        session = _Session(target, model, client, resolver, timeout, progress)
        await session.read_context()
        if kind in ("auto", "embed"):
            await session.embeddings()
        if kind in ("auto", "chat"):
            await session.chat()
        if kind == "rerank" or (kind == "auto" and not session.report.can("chat")):
            await session.rerank()
        return session.report


class _Session:
    """One probe, with its report as it grows."""

    def __init__(
        self,
        target: Target,
        model: str,
        client: httpx2.AsyncClient,
        resolver: Resolver,
        timeout: float,
        progress: Progress | None,
    ) -> None:
        self._base = target.base_path
        self._endpoint = Endpoint(scheme=target.scheme, host=target.host, port=target.port, base_path=target.base_path)
        self._secret = target.authorization
        self._model = model
        self._client = client
        self._resolver = resolver
        self._timeout = timeout
        self._progress = progress
        self._answered = False
        self.report = AbilityReport(model=model, findings={}, usage=Usage())

    def _set(self, ability: str, finding: Finding) -> None:
        self.report.findings[ability] = finding
        if self._progress is not None:
            self._progress(ability, finding)

    async def _exchange(self, method: str, route: str, json: Any = None) -> Answer | Problem:
        return await exchange(
            self._client,
            self._endpoint,
            self._resolver,
            method,
            f"{self._base}/{route}",
            timeout=self._timeout,
            json=json,
        )

    async def _post(self, route: str, body: dict[str, Any]) -> Answer | Finding:
        """The answer of a call that was served, or else the finding that its failure amounts to."""
        answer = await self._exchange("POST", route, body)
        self.report.calls += 1
        if isinstance(answer, Answer) and answer.status == 429:
            pause = retry_after(answer.headers)
            if pause is not None and pause <= _MAX_PAUSE:
                await asyncio.sleep(pause)
                answer = await self._exchange("POST", route, body)
                self.report.calls += 1
        if isinstance(answer, Problem):
            if answer.code == "denied":
                raise DestinationDenied(str(answer), details=answer.details)
            if not self._answered:
                raise UpstreamError(str(answer), details={"problem": answer.code})
            return Finding("unknown", answer.message)
        return self._judged(answer, body)

    def _judged(self, answer: Answer, body: Mapping[str, Any]) -> Answer | Finding:
        said = redacted(message_of(answer.body)[0], self._secret)[:160]
        if answer.status in (401, 403):
            raise UpstreamAuth(f"The server rejected the key (HTTP {answer.status}): {said}")
        self._answered = True
        if answer.status == 200:
            self._count(answer, body)
            return answer
        return Finding("no" if answer.status in _REFUSED else "unknown", f"HTTP {answer.status}: {said}")

    def _count(self, answer: Answer, body: Mapping[str, Any]) -> None:
        decoded = decoded_object(answer.body)
        self._add_usage(decoded.get("usage"), body, text_of(decoded))

    def _add_usage(self, told: Any, body: Mapping[str, Any], text: str) -> None:
        usage = self.report.usage
        if isinstance(told, Mapping) and isinstance(told.get("prompt_tokens"), int):
            usage.prompt_tokens += told["prompt_tokens"]
            usage.completion_tokens += told.get("completion_tokens") or 0
            return
        asked = body.get("messages") or body.get("input") or body.get("prompt") or body.get("documents")
        usage.prompt_tokens += estimate_tokens(str(asked)[:2000])
        usage.completion_tokens += estimate_tokens(text)
        usage.estimated = True

    async def read_context(self) -> None:
        """What the list of models tells; costs nothing, and may be missing."""
        answer = await self._exchange("GET", "models")
        listed = parse_models(answer.body) if isinstance(answer, Answer) and answer.status == 200 else None
        for one in listed or ():
            if one.id in (self._model, f"{self._model}:latest"):
                self.report.context_window = one.context_window

    async def embeddings(self) -> None:
        body = {"model": self._model, "input": "a"}
        answer = await self._post("embeddings", body)
        size = _vector_size(answer) if isinstance(answer, Answer) else None
        if isinstance(answer, Finding) or size is None:
            refused = answer if isinstance(answer, Finding) else Finding("no", "the answer has no vector")
            self._set("embed", refused)
            return
        self.report.dimensions = size
        self._set("embed", Finding("yes", f"a vector of {size} numbers came"))
        await self._dimensions(body, size)

    async def _dimensions(self, body: dict[str, Any], size: int) -> None:
        wanted = max(size // 2, 1)
        answer = await self._post("embeddings", body | {"dimensions": wanted})
        if isinstance(answer, Finding):
            self._set("dimensions", answer)
            return
        got = _vector_size(answer)
        value: Finding = Finding("no", f"{wanted} dimensions were asked for, {got} came")
        self._set("dimensions", Finding("yes", f"{wanted} asked for, {wanted} came") if got == wanted else value)

    async def rerank(self) -> None:
        body = {"model": self._model, "query": "a cat", "documents": ["a kitten", "a train"]}
        answer = await self._post("rerank", body)
        if isinstance(answer, Finding):
            self._set("rerank", answer)
            return
        results = decoded_object(answer.body).get("results")
        served = isinstance(results, list) and len(results) == 2
        self._set("rerank", Finding("yes", "two documents were scored") if served else Finding("no", "no scores came"))

    async def chat(self) -> None:
        if not await self._basic():
            return
        await self._streams()
        for step in CHAT_STEPS:
            answer = await self._post("chat/completions", self._body(step.messages(), step.max_tokens) | step.fields)
            self._set(step.ability, answer if isinstance(answer, Finding) else step.judge(decoded_object(answer.body)))
        body = {"model": self._model, "prompt": "1 2 3", "max_tokens": SHORT}
        answer = await self._post("completions", body)
        self._set("generate", answer if isinstance(answer, Finding) else _completion(answer))

    def _body(self, messages: list[dict[str, Any]], max_tokens: int) -> dict[str, Any]:
        field = self.report.max_tokens_field or "max_tokens"
        return {"model": self._model, "messages": messages, field: max_tokens}

    async def _basic(self) -> bool:
        """The first chat call finds out the token field and whether system messages are taken."""
        system = {"role": "system", "content": "Answer in one word."}
        user = {"role": "user", "content": "Say hi."}
        messages = [system, user]
        answer: Answer | Finding = Finding("unknown", "")
        for _ in range(3):
            answer = await self._post("chat/completions", self._body(messages, SHORT))
            if isinstance(answer, Answer) or answer.value != "no":
                break
            said = answer.evidence.lower()
            if "max_completion_tokens" in said and self.report.max_tokens_field is None:
                self.report.max_tokens_field = "max_completion_tokens"
            elif "system" in said and system in messages:
                self._set("system", answer)
                messages = [user]
            else:
                break
        if isinstance(answer, Finding):
            self.report.max_tokens_field = None
            self._set("chat", answer)
            return False
        decoded = decoded_object(answer.body)
        if not isinstance(decoded.get("choices"), list) or not decoded["choices"]:
            self.report.max_tokens_field = None
            self._set("chat", Finding("no", "the answer has no choices"))
            return False
        self.report.max_tokens_field = self.report.max_tokens_field or "max_tokens"
        self._set("chat", Finding("yes", f"it answered '{text_of(decoded).strip()[:40]}'"))
        if "system" not in self.report.findings:
            self._set("system", Finding("yes", "a system message was accepted"))
        return True

    async def _streams(self) -> None:
        body = self._body([{"role": "user", "content": "Say hi."}], SHORT)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        first: list[float] = []
        for attempt in range(STREAMS):
            result = await self._stream(body)
            if isinstance(result, Finding):
                if attempt == 0 and "stream_options" in result.evidence and "stream_options" in body:
                    del body["stream_options"]
                    self._set("stream_usage", result)
                    continue
                self.report.findings.setdefault("streaming", result)
                break
            self._note_stream(result)
            if result.first_ms is not None:
                first.append(result.first_ms)
        if first:
            self.report.first_token_ms = round(statistics.median(first), 2)

    def _note_stream(self, stream: _Stream) -> None:
        if "streaming" not in self.report.findings:
            proof = f"{stream.events} events came" if stream.events else "the answer came in one piece"
            self._set("streaming", Finding("yes" if stream.events else "no", proof))
        if "stream_usage" not in self.report.findings:
            told = stream.usage is not None
            self._set("stream_usage", Finding("yes" if told else "no", "usage came" if told else "no usage came"))

    async def _stream(self, body: dict[str, Any]) -> _Stream | Finding:
        self.report.calls += 1
        content = msgspec.json.encode(body)
        headers = {"content-type": "application/json"}
        request = self._client.build_request("POST", "chat/completions", content=content, headers=headers)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.send(request, stream=True)
                try:
                    if response.status_code != 200:
                        return self._refused_stream(response, await response.aread())
                    stream = _Stream(began)
                    async for part in response.aiter_bytes():
                        stream.feed(part)
                finally:
                    await response.aclose()
        except (httpx2.HTTPError, ByomError, TimeoutError) as error:
            return Finding("unknown", f"the stream broke: {type(error).__name__}")
        self._add_usage(stream.usage, body, stream.text)
        return stream

    def _refused_stream(self, response: httpx2.Response, body: bytes) -> Finding:
        said = redacted(message_of(body)[0], self._secret)[:160]
        status = response.status_code
        return Finding("no" if status in _REFUSED else "unknown", f"HTTP {status}: {said}")


class _Stream:
    """What one event stream shows."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._decoder = SSEDecoder()
        self.first_ms: float | None = None
        self.usage: Any = None
        self.events = 0
        self.text = ""

    def feed(self, part: bytes) -> None:
        for data in self._decoder.feed(part):
            chunk = decoded_object(data)
            choices = chunk.get("choices")
            self.events += isinstance(choices, list)
            self.usage = chunk.get("usage") or self.usage
            for choice in choices if isinstance(choices, list) else ():
                self._note(choice.get("delta") if isinstance(choice, Mapping) else None)

    def _note(self, delta: Any) -> None:
        if not isinstance(delta, Mapping):
            return
        text = delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(text, str) and text:
            self.text += text
            if self.first_ms is None:
                self.first_ms = (time.perf_counter() - self._began) * 1000


def _vector_size(answer: Answer) -> int | None:
    data = decoded_object(answer.body).get("data")
    entry = data[0] if isinstance(data, list) and data else None
    vector = entry.get("embedding") if isinstance(entry, Mapping) else None
    return len(vector) if isinstance(vector, list) and vector else None


def _completion(answer: Answer) -> Finding:
    choices = decoded_object(answer.body).get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) and "text" in choices[0]:
        return Finding("yes", f"it went on with '{str(choices[0]['text']).strip()[:40]}'")
    return Finding("no", "the answer has no text")
