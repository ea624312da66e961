"""The budgets of one scope: sums of calendar periods, not leaky buckets."""

from __future__ import annotations

from math import inf

from byom.limits.periods import period_bounds
from byom.limits.sliding_log import UNLIMITED
from byom.types.limits import Budget, Period
from byom.types.usage import to_dollars

RECHECK_SECONDS = 60.0
"""How late a changed wall clock is noticed. The end of a period is met exactly."""


class BudgetPeriod:
    """One budget in its current period."""

    __slots__ = ("amount", "end", "free", "known", "period", "since", "start")

    def __init__(self, budget: Budget, wall: float, *, known: bool) -> None:
        self.amount = budget.amount
        self.period: Period = budget.period
        self.start, self.end = period_bounds(budget.period, wall)
        self.since = -inf
        """Limiter clock at which this period was entered; calls let in before belong to an earlier one."""
        self.free = budget.amount
        """Amount less what was spent and is reserved. `Budgets.free` is ahead of it; see there."""
        self.known = known
        """What was spent before this process came is in ``free``."""


class Budgets:
    """All budgets of a scope. ``free`` is the smallest room among them, reservations taken off.

    The hot path changes ``free`` alone. The rooms of the single budgets keep their distances to it, so they
    are brought up to date (`_spread`) only when a period ends.
    """

    __slots__ = ("_base", "free", "periods", "recheck_at", "rolled_at")

    def __init__(self, budgets: tuple[Budget, ...], now: float, wall: float, *, known: bool = True) -> None:
        self.periods = [BudgetPeriod(budget, wall, known=known) for budget in budgets]
        self.rolled_at = -inf
        self._gather()
        self._plan(now, wall)

    def _gather(self) -> None:
        self.free = self._base = min((period.free for period in self.periods), default=UNLIMITED << 20)

    def _spread(self) -> None:
        moved = self.free - self._base
        for period in self.periods:
            period.free += moved
        self._base = self.free

    def _plan(self, now: float, wall: float) -> None:
        end = min((period.end for period in self.periods), default=inf)
        self.recheck_at = now + min(RECHECK_SECONDS, max(0.0, end - wall)) if self.periods else inf

    def roll(self, now: float, wall: float) -> None:
        """Enter the periods that have begun. What was reserved before belongs to the earlier ones."""
        self._spread()
        for period in self.periods:
            if wall >= period.end:
                period.start, period.end = period_bounds(period.period, wall)
                period.free = period.amount
                period.since = self.rolled_at = now
        self._gather()
        self._plan(now, wall)

    def settle_late(self, surplus: int, admitted_at: float) -> None:
        """Settle a call after a period ended: it counts where it was let in."""
        self._spread()
        for period in self.periods:
            if admitted_at >= period.since:
                period.free -= surplus
        self._gather()

    def unknown(self) -> dict[Period, float]:
        """Periods whose sum is still to be read, and when they began."""
        return {period.period: period.start for period in self.periods if not period.known}

    def set_spent(self, spent: dict[Period, int]) -> None:
        """Take over what was spent before this process came, for each kind of period."""
        self._spread()
        for period in self.periods:
            if not period.known:
                period.free -= spent[period.period]
                period.known = True
        self._gather()

    def change(self, budgets: tuple[Budget, ...], now: float, wall: float, *, known: bool) -> None:
        """New amounts for the same sums. Sums of periods that were not there are ``known`` to be nothing, or not."""
        self._spread()
        before = {period.period: period for period in self.periods}
        fresh = [BudgetPeriod(budget, wall, known=known) for budget in budgets]
        for period in fresh:
            if (old := before.get(period.period)) is not None:
                period.start, period.end, period.since, period.known = (
                    old.start,
                    old.end,
                    old.since,
                    old.known,
                )
                period.free = old.free + period.amount - old.amount
            else:
                # Calls in flight reserved nothing here.
                period.since = self.rolled_at = now
        self.periods = fresh
        self._gather()
        self._plan(now, wall)

    def shortest(self, cost: int, wall: float) -> tuple[BudgetPeriod, float] | None:
        """The budget that refuses ``cost`` for longest, and for how many seconds; ``None`` when none does."""
        self._spread()
        short = [period for period in self.periods if cost and period.free < cost]
        if not short:
            return None
        last = max(short, key=lambda period: inf if cost > period.amount else period.end)
        return last, inf if cost > last.amount else max(0.0, last.end - wall)

    @property
    def untouched(self) -> bool:
        """Nothing is spent or reserved in any current period."""
        self._spread()
        return all(period.free >= period.amount for period in self.periods)


def budget_in_words(period: BudgetPeriod) -> str:
    """``$10 per month``."""
    dollars = to_dollars(period.amount)
    text = format(dollars.normalize(), "f") if dollars is not None else "0"
    return f"${text} in total" if period.period == "total" else f"${text} per {period.period}"
