"""A model on the object path that says what a test tells it to."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from byom.testing.other_wire import text_vector
from byom.testing.prompt import prompt_text
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.embeddings import Embeddings
from byom.types.model_info import ModelInfo
from byom.types.usage import Usage

_PIECE = re.compile(r"\s*\S+|\s+$")

Answer = str | Sequence[ChatEvent] | BaseException | Callable[[ChatRequest], str]
"""A text, the exact events, an error to raise, or a function of the request that gives a text."""


class ScriptedModel:
    """Satisfies `ChatModel` and `EmbeddingModel`.

    Answers are used in order; the last one goes on being used, and without any the user's words are echoed. A text
    is streamed word by word with usage that counts words. Records ``requests``, ``embedded`` texts, how many
    answers were ``abandoned`` before their end, and whether it was ``closed``.
    """

    def __init__(self, *answers: Answer, info: ModelInfo | None = None, dimensions: int = 8) -> None:
        self.info = info or ModelInfo(
            name="scripted", abilities=frozenset({"chat", "generate", "embed"}), dimensions=dimensions
        )
        self.requests: list[ChatRequest] = []
        self.embedded: list[str] = []
        self.abandoned = 0
        self.closed = False
        self._answers: deque[Answer] = deque(answers)
        self._dimensions = dimensions

    def enqueue(self, *answers: Answer) -> None:
        """Further answers, after those that are still to come."""
        self._answers.extend(answers)

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """The next answer. Raises it where it is an error."""
        self.requests.append(request)
        answer = self._next()
        if isinstance(answer, BaseException):
            raise answer
        ended = False
        try:
            for event in self._events(answer, request):
                yield event
            ended = True
        finally:
            self.abandoned += not ended

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Equal vectors for equal texts."""
        self.embedded.extend(texts)
        usage = Usage(prompt_tokens=sum(len(text.split()) for text in texts))
        vectors = [text_vector(text, self._dimensions) for text in texts]
        return Embeddings(vectors=vectors, usage=usage, model=self.info.name)

    async def aclose(self) -> None:
        self.closed = True

    def _next(self) -> Answer | None:
        if len(self._answers) > 1:
            return self._answers.popleft()
        return self._answers[0] if self._answers else None

    def _events(self, answer: Any, request: ChatRequest) -> Sequence[ChatEvent]:
        prompt = prompt_text({"messages": request.messages})
        if answer is None:
            answer = f"echo: {prompt}"
        elif callable(answer):
            answer = answer(request)
        if not isinstance(answer, str):
            return list(answer)
        pieces = _PIECE.findall(answer)
        usage = Usage(prompt_tokens=len(prompt.split()), completion_tokens=len(pieces))
        last = ChatEvent(finish_reason="stop", usage=usage, model=self.info.name)
        return [*(ChatEvent(text=piece) for piece in pieces), last]
