"""Shapes of queries, settings and answers, for annotations only: at run time they are plain dictionaries."""

from __future__ import annotations

from typing import Any, Dict, List, TypedDict  # noqa: UP035 - evaluated on Python 3.9


class SingleCompletionQuery(TypedDict, total=False):
    messages: List[Dict[str, Any]]  # noqa: UP006
    context: Dict[str, Any]  # noqa: UP006


class CompletionSettings(TypedDict, total=False):
    temperature: float
    maxOutputTokens: int
    topP: float
    topK: int
    stopSequences: List[str]  # noqa: UP006
    frequencyPenalty: float
    presencePenalty: float
    logitBias: Dict[str, float]  # noqa: UP006
    logProbs: bool
    topLogProbs: int
    seed: int
    tools: List[Dict[str, Any]]  # noqa: UP006
    toolChoice: Dict[str, Any]  # noqa: UP006
    responseFormat: Dict[str, Any]  # noqa: UP006


class CompletionResponse(TypedDict, total=False):
    text: str
    toolCalls: List[Dict[str, Any]]  # noqa: UP006
    finishReason: str
    promptTokens: int
    completionTokens: int
    totalTokens: int
    estimatedCost: float
