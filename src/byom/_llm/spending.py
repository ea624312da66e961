"""What a model's calls used and cost."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from byom.ledger.row import Row
from byom.types.usage import to_dollars


class Spending(msgspec.Struct, kw_only=True):
    """Sums over the calls of one model object."""

    calls: int = 0
    """All calls, the failed ones included."""
    failed: int = 0
    """Calls that ended in an error or were refused or broken off."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_calls: int = 0
    """Calls whose tokens nobody told: their counts are estimates."""
    picodollars: int | None = 0
    """``None`` as soon as one call's price is not known."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def estimated(self) -> bool:
        """Whether some of the tokens, and so of the cost, are estimates."""
        return self.estimated_calls > 0

    @property
    def cost(self) -> Decimal | None:
        """Dollars, exactly; ``None`` where the price is not known."""
        return to_dollars(self.picodollars)

    def add(self, row: Row) -> None:
        """Count one call, as its row of the ledger has it."""
        self.calls += 1
        self.failed += row.state not in ("ok", "cached")
        self.prompt_tokens += row.prompt_tokens
        self.completion_tokens += row.completion_tokens
        self.estimated_calls += row.estimated
        if row.cost is None or self.picodollars is None:
            self.picodollars = None
        else:
            self.picodollars += row.cost
