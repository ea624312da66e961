"""Calls that are alike are counted together; nothing that can be seen depends on it."""

from __future__ import annotations

import random

import pytest

from byom.limits import local
from byom.limits.decision import LimitRefusal, LocalGrant
from byom.limits.local import LocalLimiter
from byom.types.limits import Budget, Limits, Scope, Window


class Twins:
    """Two limiters under the same clock: one may count calls together, the other may not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.wall = 1_790_000_000.0
        self.together = LocalLimiter(clock=lambda: self.now, wall=lambda: self.wall)
        self.apart = LocalLimiter(clock=lambda: self.now, wall=lambda: self.wall)
        self.monkeypatch = monkeypatch
        self.held: list[tuple[LocalGrant, LocalGrant]] = []
        self.streaks = 0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    def admit(self, scopes: tuple[Scope, ...], tokens: int, cost: int) -> bool:
        answer = self.together.admit(scopes, tokens, cost)
        self.streaks += self.together._streak is not None
        with self.monkeypatch.context() as apart:
            apart.setattr(local, "AFTER", 1 << 60)
            expected = self.apart.admit(scopes, tokens, cost)
        assert type(answer) is type(expected)
        if isinstance(answer, LimitRefusal) and isinstance(expected, LimitRefusal):
            assert (answer.scope, answer.rule, answer.budget) == (expected.scope, expected.rule, expected.budget)
            assert answer.retry_after == pytest.approx(expected.retry_after, abs=1e-6)
            return False
        assert isinstance(answer, LocalGrant)
        assert isinstance(expected, LocalGrant)
        self.held.append((answer, expected))
        return True

    def end(self, position: int, tokens: int, cost: int, *, undone: bool = False) -> None:
        grants = self.held.pop(position)
        for limiter, grant in zip((self.together, self.apart), grants, strict=True):
            if undone:
                limiter.withdraw(grant)
            else:
                limiter.settle(grant, tokens, cost)


def scope(name: str, *, requests: int, tokens: int, slots: int, money: int, seconds: float = 60.0) -> Scope:
    windows = (Window("requests", requests, seconds), Window("tokens", tokens, seconds), Window("requests", 9000, 90.0))
    return Scope(name, Limits(windows=windows, concurrency=slots, budgets=(Budget(money, "day"),)))


@pytest.mark.parametrize("seed", range(12))
def test_decisions_are_the_same_as_when_each_call_is_counted_by_itself(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    twins = Twins(monkeypatch)
    key = scope("key:1", requests=2000, tokens=90_000, slots=40, money=10**9)
    other = scope("key:2", requests=1800, tokens=200_000, slots=30, money=10**10)
    model = scope("model:1", requests=3000, tokens=150_000, slots=50, money=2 * 10**9)
    callers = [(key, model), (other, model), (key,)]
    scopes, refused, admitted = callers[0], 0, 0
    for _ in range(12000):
        if chance.random() < 0.01:
            scopes = chance.choice(callers)
        twins.pass_time(
            chance.choice((0.0, 0.0001, 0.0004, 0.002)) if chance.random() < 0.999 else chance.random() * 40
        )
        if twins.held and chance.random() < 0.5:
            used = chance.choice((0, 10, 40, 90))
            position = 0 if chance.random() < 0.7 else chance.randrange(len(twins.held))
            twins.end(position, used, used * 1000, undone=chance.random() < 0.02)
        elif twins.admit(scopes, chance.choice((1, 40, 60)), chance.choice((0, 50_000, 400_000))):
            admitted += 1
        else:
            refused += 1
        if chance.random() < 0.005:
            for one in (key, other, model):
                assert twins.together.in_flight(one.id) == twins.apart.in_flight(one.id)
    assert admitted > 2000
    assert refused > 50
    assert twins.streaks > 300, "nothing was counted together, so nothing was shown"
    while twins.held:
        twins.end(0, 10, 10)
    twins.pass_time(1e6)
    assert [twins.together.in_flight(one.id) for one in (key, other, model)] == [0, 0, 0]
    assert twins.together.reservations == 0


def test_a_changed_rule_holds_from_the_next_call_on() -> None:
    now = 50.0
    limiter = LocalLimiter(clock=lambda: now)
    free = (Scope("key:1", Limits(concurrency=1000)),)
    grants = [limiter.admit(free, 1, 0) for _ in range(100)]
    assert limiter._streak is not None
    strict = (Scope("key:1", Limits(concurrency=100)),)
    assert isinstance(limiter.admit(strict, 1, 0), LimitRefusal)
    for grant in grants:
        assert isinstance(grant, LocalGrant)
        limiter.settle(grant, 1, 0)
    assert limiter.in_flight("key:1") == 0
