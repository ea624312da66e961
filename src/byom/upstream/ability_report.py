"""What a probe will spend, and what it found."""

from __future__ import annotations

from typing import Literal

import msgspec

from byom.types.usage import Usage
from byom.upstream.probe_steps import CHAT_STEPS, Finding

STREAMS = 3
"""Streamed calls, for the median time to the first token."""
SHORT = 4
"""Tokens of the shortest answers; some servers refuse 1."""
_SHORT_PROMPT = 40

Kind = Literal["auto", "chat", "embed", "rerank"]


class ProbePlan(msgspec.Struct, frozen=True):
    """The most that a probe will do. Calls that a server refuses cost nothing."""

    model: str
    calls: int
    prompt_tokens: int
    """About this many."""
    max_tokens: int
    """Answer tokens, never more."""
    steps: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"Probing '{self.model}' makes up to {self.calls} calls, about {self.prompt_tokens} tokens of prompts "
            f"and at most {self.max_tokens} tokens of answers: {', '.join(self.steps)}"
        )


class AbilityReport(msgspec.Struct, kw_only=True):
    """What a model can do, each with its evidence. What was not found out is ``unknown``, never a guess."""

    model: str
    findings: dict[str, Finding] = {}
    """By ability: chat, system, streaming, stream_usage, tools, json, logprobs, vision, n, generate, embed,
    dimensions, rerank."""
    context_window: int | None = None
    dimensions: int | None = None
    first_token_ms: float | None = None
    """Median of three streamed calls."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    calls: int = 0
    usage: Usage = msgspec.field(default_factory=Usage)
    """What the answers said was used; estimated where one did not say."""

    def can(self, ability: str) -> bool:
        finding = self.findings.get(ability)
        return finding is not None and finding.value == "yes"

    def abilities(self) -> frozenset[str]:
        """Those that the catalog knows and the probe has seen."""
        known = ("chat", "generate", "embed", "rerank", "vision", "tools", "json")
        return frozenset(ability for ability in known if self.can(ability))


def plan(model: str, kind: Kind = "auto") -> ProbePlan:
    """What `probe` may spend on ``model``. ``kind``: what the server is known to be for, if that is known."""
    steps: list[str] = []
    calls = prompt = answer = 0
    if kind in ("auto", "embed"):
        steps += ["embed", "dimensions"]
        calls, prompt = calls + 2, prompt + 2 * 8
    if kind in ("auto", "rerank"):
        steps.append("rerank")
        calls, prompt = calls + 1, prompt + 24
    if kind in ("auto", "chat"):
        steps += ["chat", "system", "streaming", *(step.ability for step in CHAT_STEPS), "generate"]
        # The first call may be repeated with the other token field and without a system message.
        calls += 3 + STREAMS + len(CHAT_STEPS) + 1
        prompt += (4 + STREAMS) * _SHORT_PROMPT + sum(step.prompt_tokens for step in CHAT_STEPS)
        answer += (4 + STREAMS) * SHORT + sum(step.max_tokens * step.fields.get("n", 1) for step in CHAT_STEPS)
    return ProbePlan(model, calls, prompt, answer, tuple(steps))
