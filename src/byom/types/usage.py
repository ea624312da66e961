"""Tokens used, what a token costs, and what a call cost.

Money is an integer number of picodollars (1e-12 US dollar): one token at $0.0375 per million tokens costs
37,500 picodollars, so every published price is a whole number, and sums are exact.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

PICO = 10**12


class Usage(msgspec.Struct, kw_only=True, gc=False):
    """Tokens of one call.

    ``prompt_tokens`` includes ``cached_tokens`` and ``audio_prompt_tokens`` (OpenAI's way of counting);
    ``cache_write_tokens`` are likewise a part of ``prompt_tokens``. ``completion_tokens`` includes
    ``reasoning_tokens`` and ``audio_completion_tokens``. ``estimated`` marks counts that no server confirmed.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_prompt_tokens: int = 0
    audio_completion_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class PriceTier(msgspec.Struct, kw_only=True, frozen=True):
    """Another price for all tokens of a call whose prompt is longer than ``above`` tokens."""

    above: int
    price: Price


class Price(msgspec.Struct, kw_only=True, frozen=True):
    """Picodollars per token. ``None`` for a part means: as its whole (cached as input, audio as text)."""

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    request: int = 0
    """Picodollars for each call, whatever its tokens."""
    source: str = "user"
    """Where the price comes from: ``user``, ``local`` (free, runs here) or the packaged table's name."""
    version: str = ""
    """Version of the packaged table, or a digest of the user's price; kept in every ledger row."""
    tiers: tuple[PriceTier, ...] = ()
    """Prices of longer prompts, by rising ``above``; the last one that applies holds for the whole call."""

    def cost(self, usage: Usage) -> int:
        """Picodollars for this usage; every token is counted once, in its own class."""
        for tier in reversed(self.tiers):
            if usage.prompt_tokens > tier.above:
                return tier.price.cost(usage)
        special = usage.cached_tokens or usage.cache_write_tokens or usage.audio_prompt_tokens
        if not special and not usage.audio_completion_tokens:
            return self.request + usage.prompt_tokens * self.input + usage.completion_tokens * self.output
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        written = min(usage.cache_write_tokens, usage.prompt_tokens - cached)
        audio_in = min(usage.audio_prompt_tokens, usage.prompt_tokens - cached - written)
        audio_out = min(usage.audio_completion_tokens, usage.completion_tokens)
        plain_in = usage.prompt_tokens - cached - written - audio_in
        plain_out = usage.completion_tokens - audio_out
        return (
            self.request
            + plain_in * self.input
            + cached * (self.input if self.cached_input is None else self.cached_input)
            + written * (self.input if self.cache_write is None else self.cache_write)
            + audio_in * (self.input if self.audio_input is None else self.audio_input)
            + plain_out * self.output
            + audio_out * (self.output if self.audio_output is None else self.audio_output)
        )


def to_pico(dollars: Decimal | str | int) -> int:
    """Picodollars for an amount in dollars. Raises ``ValueError`` when it is not a whole number of them."""
    amount = Decimal(dollars) * PICO
    if amount != amount.to_integral_value():
        raise ValueError(f"{dollars} dollars is finer than one picodollar")
    return int(amount)


def to_dollars(pico: int | None) -> Decimal | None:
    """The exact amount in dollars, or ``None`` where the price is not known."""
    return None if pico is None else Decimal(pico).scaleb(-12)


def per_million(dollars: Decimal | str | int) -> int:
    """Picodollars per token for a price in dollars per million tokens."""
    amount = Decimal(dollars) * 10**6
    if amount != amount.to_integral_value():
        raise ValueError(f"{dollars} dollars per million tokens has more than six decimals")
    return int(amount)
