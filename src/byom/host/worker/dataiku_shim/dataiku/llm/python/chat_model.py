"""The base of chat models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from .configured import Configured
from .not_written import missing, not_written
from .types import CompletionResponse, CompletionSettings, SingleCompletionQuery


class BaseLLM(Configured):
    """A chat model. A subclass writes at least one of the four methods; the host takes the first of
    ``aprocess_stream``, ``process_stream``, ``aprocess``, ``process`` that is written."""

    @not_written
    def process(self, query: SingleCompletionQuery, settings: CompletionSettings, trace: Any) -> CompletionResponse:
        """The answer: ``{"text": …}`` at least."""
        raise missing(self, "process")

    @not_written
    async def aprocess(
        self, query: SingleCompletionQuery, settings: CompletionSettings, trace: Any
    ) -> CompletionResponse:
        raise missing(self, "aprocess")

    @not_written
    def process_stream(
        self, query: SingleCompletionQuery, settings: CompletionSettings, trace: Any
    ) -> Iterator[dict[str, Any]]:
        """Yields ``{"chunk": {"text": …}}``, and ``{"footer": {…}}`` in the end."""
        raise missing(self, "process_stream")

    @not_written
    def aprocess_stream(
        self, query: SingleCompletionQuery, settings: CompletionSettings, trace: Any
    ) -> AsyncIterator[dict[str, Any]]:
        raise missing(self, "aprocess_stream")
