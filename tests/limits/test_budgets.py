from __future__ import annotations

from datetime import UTC, datetime

import pytest

from byom.limits.decision import LimitRefusal, LocalGrant
from byom.limits.local import LocalLimiter
from byom.limits.periods import period_bounds
from byom.types.limits import Budget, Limits, Scope, Window
from tests.limits.virtual_time import run_in_virtual_time

DOLLAR = 10**12
NOON = datetime(2026, 3, 31, 12, 0, tzinfo=UTC).timestamp()
HALF_A_DAY = 43_200.0


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOON + self.now - 50.0


def budget_scope(*budgets: Budget, name: str = "key:a", max_wait: float = 0.0) -> tuple[Scope, ...]:
    return (Scope(name, Limits(budgets=budgets, max_wait=max_wait)),)


@pytest.mark.parametrize(
    ("period", "at", "begin", "end"),
    [
        ("hour", "2026-03-31T23:59:59", "2026-03-31T23:00", "2026-04-01T00:00"),
        ("day", "2026-03-31T23:59:59", "2026-03-31T00:00", "2026-04-01T00:00"),
        ("week", "2026-03-29T12:00", "2026-03-23T00:00", "2026-03-30T00:00"),
        ("week", "2026-03-30T00:00", "2026-03-30T00:00", "2026-04-06T00:00"),
        ("month", "2026-12-31T12:00", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("month", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
    ],
)
def test_periods_are_those_of_the_calendar_in_utc(period: str, at: str, begin: str, end: str) -> None:
    def seconds(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    assert period_bounds(period, seconds(at)) == (seconds(begin), seconds(end))  # type: ignore[arg-type]


def test_a_budget_refuses_when_its_period_is_spent_and_begins_anew_with_the_next() -> None:
    clock = Clock()
    limiter = LocalLimiter(clock=clock, wall=clock.wall)
    scopes = budget_scope(Budget(10 * DOLLAR, "day"))
    grant = limiter.admit(scopes, 0, 8 * DOLLAR)
    assert isinstance(grant, LocalGrant)
    limiter.settle(grant, 0, 9 * DOLLAR)
    refusal = limiter.admit(scopes, 0, 2 * DOLLAR)
    assert refusal == LimitRefusal("key:a", "$10 per day", HALF_A_DAY, budget=True)
    assert isinstance(limiter.admit(scopes, 0, DOLLAR), LocalGrant)
    clock.now += HALF_A_DAY - 0.001
    assert isinstance(limiter.admit(scopes, 0, 2 * DOLLAR), LimitRefusal)
    clock.now += 0.001
    assert isinstance(limiter.admit(scopes, 0, 10 * DOLLAR), LocalGrant)


def test_a_call_counts_in_the_period_in_which_it_was_let_in() -> None:
    clock = Clock()
    limiter = LocalLimiter(clock=clock, wall=clock.wall)
    scopes = budget_scope(Budget(10 * DOLLAR, "day"), Budget(14 * DOLLAR, "month"), Budget(16 * DOLLAR, "total"))
    grant = limiter.admit(scopes, 0, DOLLAR)
    assert isinstance(grant, LocalGrant)
    clock.now += HALF_A_DAY  # 1 April: a new day and a new month
    second = limiter.admit(scopes, 0, 2 * DOLLAR)
    assert isinstance(second, LocalGrant)
    limiter.settle(grant, 0, 7 * DOLLAR)
    limiter.settle(second, 0, 3 * DOLLAR)
    refusal = limiter.admit(scopes, 0, 7 * DOLLAR)  # 3 of the day are spent, 10 in total
    assert isinstance(refusal, LimitRefusal)
    assert refusal.rule == "$16 in total"
    assert refusal.never
    assert isinstance(limiter.admit(scopes, 0, 6 * DOLLAR), LocalGrant)


def test_the_overshoot_of_parallel_calls_is_bounded_by_what_they_reserved() -> None:
    limiter = LocalLimiter(clock=Clock(), wall=Clock().wall)
    scopes = budget_scope(Budget(10 * DOLLAR))
    grants = [limiter.admit(scopes, 0, DOLLAR) for _ in range(100)]
    let_in = [grant for grant in grants if isinstance(grant, LocalGrant)]
    assert len(let_in) == 10
    for grant in let_in:
        limiter.settle(grant, 0, 2 * DOLLAR)
    assert isinstance(limiter.admit(scopes, 0, 1), LimitRefusal)


def test_free_calls_pass_a_spent_budget() -> None:
    limiter = LocalLimiter(clock=Clock(), wall=Clock().wall)
    scopes = budget_scope(Budget(DOLLAR))
    grant = limiter.admit(scopes, 0, DOLLAR)
    assert isinstance(grant, LocalGrant)
    limiter.settle(grant, 0, 5 * DOLLAR)
    assert isinstance(limiter.admit(scopes, 0, 0), LocalGrant)


def test_a_cost_above_the_whole_budget_can_never_pass() -> None:
    limiter = LocalLimiter(clock=Clock(), wall=Clock().wall)
    refusal = limiter.admit(budget_scope(Budget(DOLLAR, "hour")), 0, DOLLAR + 1)
    assert isinstance(refusal, LimitRefusal)
    assert refusal.never
    assert refusal.budget


def test_a_changed_amount_keeps_what_was_spent() -> None:
    limiter = LocalLimiter(clock=Clock(), wall=Clock().wall)
    grant = limiter.admit(budget_scope(Budget(10 * DOLLAR)), 0, 6 * DOLLAR)
    assert isinstance(grant, LocalGrant)
    assert isinstance(limiter.admit(budget_scope(Budget(8 * DOLLAR)), 0, 3 * DOLLAR), LimitRefusal)
    limiter.settle(grant, 0, 4 * DOLLAR)
    assert isinstance(limiter.admit(budget_scope(Budget(8 * DOLLAR)), 0, 4 * DOLLAR), LocalGrant)
    assert isinstance(limiter.admit(budget_scope(Budget(8 * DOLLAR)), 0, 1), LimitRefusal)


def test_what_was_spent_before_is_read_once_and_off_the_byte_path() -> None:
    asked: list[tuple[str, float]] = []

    async def spent(scope_id: str, start: float) -> int:
        asked.append((scope_id, start))
        return 7 * DOLLAR

    async def main() -> None:
        import asyncio

        clock = Clock()
        limiter = LocalLimiter(spent, clock=clock, wall=clock.wall)
        scopes = budget_scope(Budget(10 * DOLLAR, "day"))
        assert limiter.admit(scopes, 0, DOLLAR) is None
        answers = await asyncio.gather(*(limiter.wait(scopes, 0, DOLLAR, 0.0) for _ in range(5)))
        assert sum(isinstance(answer, LocalGrant) for answer in answers) == 3
        assert asked == [("key:a", period_bounds("day", NOON)[0])]
        other = budget_scope(Budget(10 * DOLLAR, "day"), name="key:b")
        await limiter.preload(other)
        assert isinstance(limiter.admit(other, 0, 3 * DOLLAR), LocalGrant)
        assert isinstance(limiter.admit(other, 0, 1), LimitRefusal)

    run_in_virtual_time(main())


def test_a_new_kind_of_period_is_read_and_the_known_sums_are_kept() -> None:
    async def spent(scope_id: str, start: float) -> int:
        return 2 * DOLLAR

    async def main() -> None:
        clock = Clock()
        limiter = LocalLimiter(spent, clock=clock, wall=clock.wall)
        day, month = Budget(10 * DOLLAR, "day"), Budget(6 * DOLLAR, "month")
        grant = await limiter.wait(budget_scope(day), 0, DOLLAR, 0.0)
        assert isinstance(grant, LocalGrant)
        assert limiter.admit(budget_scope(day, month), 0, DOLLAR) is None
        refusal = await limiter.wait(budget_scope(day, month), 0, 5 * DOLLAR, 0.0)
        assert isinstance(refusal, LimitRefusal)
        assert refusal.rule == "$6 per month"
        assert isinstance(await limiter.wait(budget_scope(day, month), 0, 4 * DOLLAR, 0.0), LocalGrant)

    run_in_virtual_time(main())


def test_a_budget_that_cannot_be_read_lets_nothing_in() -> None:
    async def spent(scope_id: str, start: float) -> int:
        raise ConnectionError("database is away")

    async def main() -> None:
        limiter = LocalLimiter(spent)
        scopes = budget_scope(Budget(DOLLAR))
        assert limiter.admit(scopes, 0, 0) is None
        refusal = await limiter.wait(scopes, 0, 0, 5.0)
        assert isinstance(refusal, LimitRefusal)
        assert refusal.budget
        assert limiter.reservations == 0

    run_in_virtual_time(main())


def test_a_budget_waits_for_running_calls_but_not_for_next_month() -> None:
    async def main() -> None:
        import asyncio

        limiter = LocalLimiter()
        scopes = budget_scope(Budget(10 * DOLLAR), max_wait=5.0)
        grant = limiter.admit(scopes, 0, 10 * DOLLAR)
        assert isinstance(grant, LocalGrant)
        waiting = asyncio.ensure_future(limiter.wait(scopes, 0, 4 * DOLLAR, 5.0))
        await asyncio.sleep(1)
        limiter.settle(grant, 0, 6 * DOLLAR)
        granted = await waiting
        assert isinstance(granted, LocalGrant)
        limiter.settle(granted, 0, 4 * DOLLAR)
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert isinstance(await limiter.wait(scopes, 0, DOLLAR, 5.0), LimitRefusal)
        assert loop.time() == before

    run_in_virtual_time(main())


def test_idle_budgets_are_forgotten_only_where_they_can_be_read_again() -> None:
    clock = Clock()
    scopes = (Scope("key:a", Limits(budgets=(Budget(DOLLAR),), windows=(Window("requests", 9, 1),))),)
    limiter = LocalLimiter(clock=clock, wall=clock.wall)
    grant = limiter.admit(scopes, 0, DOLLAR)
    assert isinstance(grant, LocalGrant)
    limiter.settle(grant, 0, DOLLAR)
    clock.now += 3600
    limiter.sweep()
    assert len(limiter) == 1

    async def spent(scope_id: str, start: float) -> int:
        return 0

    async def main() -> None:
        reading = LocalLimiter(spent, clock=clock, wall=clock.wall)
        grant = await reading.wait(scopes, 0, DOLLAR, 0.0)
        assert isinstance(grant, LocalGrant)
        reading.settle(grant, 0, DOLLAR)
        clock.now += 3600
        reading.sweep()
        assert len(reading) == 0

    run_in_virtual_time(main())
