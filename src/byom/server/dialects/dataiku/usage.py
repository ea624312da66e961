"""What a call used and cost, in the client's fields. Numbers that are not known are left out, never null."""

from __future__ import annotations

from typing import Any

import msgspec

from byom.catalog.snapshot import Route, Snapshot
from byom.gateway.envelope import estimate_prompt
from byom.gateway.usage import read_answer
from byom.types.usage import Usage, to_dollars


def usage_of(data: dict[str, Any]) -> Usage | None:
    """Tokens as an answer of the gateway tells them; ``None`` where it does not."""
    said = data.get("usage")
    if not isinstance(said, dict):
        return None
    answer = read_answer(msgspec.json.encode({"usage": said}))
    if answer is None or answer.usage is None:
        return None
    usage = answer.usage.tokens()
    usage.estimated = usage.estimated or said.get("estimated") is True
    return usage


def estimated(route: Route, sent: bytes, produced: int) -> Usage | None:
    """Where the model's server does not say: what the ledger notes. ``None`` where the policy is not to estimate."""
    if route.missing_usage != "estimate":
        return None
    return Usage(prompt_tokens=estimate_prompt(sent), completion_tokens=produced, estimated=True)


def answering(snapshot: Snapshot, asked: Route, name: str) -> Route:
    """The model that answered: ``name`` says so where it was not the one that was asked."""
    return snapshot.routes.get(name, asked) if name else asked


def fields(usage: Usage | None, route: Route, *, cached: bool = False) -> dict[str, Any]:
    """``promptTokens``, ``completionTokens``, …, ``estimatedCost`` in US dollars; the same again in ``totalUsage``."""
    if usage is None:
        return {}
    found: dict[str, Any] = {
        "promptTokens": usage.prompt_tokens,
        "completionTokens": usage.completion_tokens,
        "totalTokens": usage.total_tokens,
        "tokenCountsAreEstimated": usage.estimated,
    }
    if usage.cached_tokens:
        found["cacheReadInputTokens"] = usage.cached_tokens
    if usage.cache_write_tokens:
        found["cacheWriteInputTokens"] = usage.cache_write_tokens
    if usage.reasoning_tokens:
        found["reasoningTokens"] = usage.reasoning_tokens
    cost = to_dollars(0 if cached else None if route.price is None else route.price.cost(usage))
    if cost is not None:
        found["estimatedCost"] = float(cost)
    return {**found, "totalUsage": dict(found)}
