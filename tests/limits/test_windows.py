from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byom.limits.decision import LimitRefusal, LocalGrant
from byom.limits.local import LocalLimiter, Past
from byom.limits.rate import window_from_rate
from byom.limits.sliding_log import EXACT_BUCKETS, MERGED_BUCKETS, SlidingLog
from byom.types.limits import Limits, Scope, Window

TICK = 1 / 1024  # exact in binary, so that the oracle and the limiter add up alike


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def scope(*windows: Window, name: str = "key:a", concurrency: int | None = None) -> Scope:
    return Scope(name, Limits(windows=windows, concurrency=concurrency))


def test_the_call_after_the_last_one_allowed_is_refused_with_the_exact_time_to_wait() -> None:
    clock = Clock()
    limiter = LocalLimiter(clock=clock)
    scopes = (scope(Window("requests", 3, 10)),)
    for _ in range(3):
        assert isinstance(limiter.admit(scopes, 0, 0), LocalGrant)
        clock.now += 1
    refusal = limiter.admit(scopes, 0, 0)
    assert refusal == LimitRefusal("key:a", "3 requests per 10 s", 7.0)
    clock.now += 7 - TICK
    assert isinstance(limiter.admit(scopes, 0, 0), LimitRefusal)
    clock.now += TICK
    assert isinstance(limiter.admit(scopes, 0, 0), LocalGrant)


def test_a_refused_call_is_counted_in_no_scope() -> None:
    limiter = LocalLimiter(clock=Clock())
    wide, narrow = scope(Window("requests", 5, 60), name="key:a"), scope(Window("requests", 1, 60), name="model:m")
    assert isinstance(limiter.admit((wide, narrow), 0, 0), LocalGrant)
    for _ in range(20):
        assert isinstance(limiter.admit((wide, narrow), 0, 0), LimitRefusal)
    granted = sum(isinstance(limiter.admit((wide,), 0, 0), LocalGrant) for _ in range(20))
    assert granted == 4


def test_calls_without_limits_are_always_let_in() -> None:
    limiter = LocalLimiter(clock=Clock())
    grant = limiter.admit((), 10**9, 10**15)
    assert isinstance(grant, LocalGrant)
    limiter.settle(grant, 1, 1)
    assert limiter.reservations == 0


def test_a_call_larger_than_the_whole_window_can_never_pass_and_says_so() -> None:
    limiter = LocalLimiter(clock=Clock())
    refusal = limiter.admit((scope(Window("tokens", 100, 60)),), 101, 0)
    assert isinstance(refusal, LimitRefusal)
    assert refusal.never
    assert refusal.retry_after == float("inf")
    assert refusal.rule == "100 tokens per 60 s; this call alone needs 101"


def test_unused_tokens_are_free_again_as_soon_as_the_call_is_settled() -> None:
    limiter = LocalLimiter(clock=Clock())
    scopes = (scope(Window("tokens", 100, 60)),)
    grant = limiter.admit(scopes, 90, 0)
    assert isinstance(grant, LocalGrant)
    assert isinstance(limiter.admit(scopes, 20, 0), LimitRefusal)
    limiter.settle(grant, 10, 0)
    assert isinstance(limiter.admit(scopes, 90, 0), LocalGrant)
    assert isinstance(limiter.admit(scopes, 1, 0), LimitRefusal)


def test_tokens_beyond_the_reservation_are_a_debt_that_later_calls_wait_for() -> None:
    clock = Clock()
    limiter = LocalLimiter(clock=clock)
    scopes = (scope(Window("tokens", 100, 60)),)
    grant = limiter.admit(scopes, 10, 0)
    assert isinstance(grant, LocalGrant)
    clock.now += 20
    limiter.settle(grant, 150, 0)
    refusal = limiter.admit(scopes, 1, 0)
    assert isinstance(refusal, LimitRefusal)
    assert refusal.retry_after == 40.0
    clock.now += 40
    assert isinstance(limiter.admit(scopes, 100, 0), LocalGrant)


def test_a_call_longer_than_the_window_still_pays_for_tokens_it_had_not_reserved() -> None:
    clock = Clock()
    limiter = LocalLimiter(clock=clock)
    scopes = (scope(Window("tokens", 100, 60)),)
    grant = limiter.admit(scopes, 10, 0)
    assert isinstance(grant, LocalGrant)
    clock.now += 90
    other = limiter.admit(scopes, 100, 0)
    assert isinstance(other, LocalGrant)
    limiter.settle(other, 0, 0)
    limiter.settle(grant, 110, 0)
    assert isinstance(limiter.admit(scopes, 1, 0), LimitRefusal)


def test_settling_twice_counts_once() -> None:
    limiter = LocalLimiter(clock=Clock())
    scopes = (scope(Window("tokens", 100, 60), concurrency=1),)
    grant = limiter.admit(scopes, 50, 0)
    assert isinstance(grant, LocalGrant)
    assert limiter.in_flight("key:a") == 1
    for _ in range(3):
        limiter.settle(grant, 100, 0)
    assert limiter.in_flight("key:a") == 0
    assert limiter.reservations == 0
    refusal = limiter.admit(scopes, 1, 0)
    assert isinstance(refusal, LimitRefusal)
    assert refusal.rule == "100 tokens per 60 s"


def test_a_withdrawn_call_was_never_counted() -> None:
    limiter = LocalLimiter(clock=Clock())
    scopes = (scope(Window("requests", 1, 60), Window("tokens", 10, 3600), concurrency=1),)
    for _ in range(5):
        grant = limiter.admit(scopes, 10, 0)
        assert isinstance(grant, LocalGrant)
        limiter.withdraw(grant)
        limiter.settle(grant, 10, 0)
    assert limiter.in_flight("key:a") == 0


def test_concurrency_refuses_while_all_slots_are_taken() -> None:
    limiter = LocalLimiter(clock=Clock())
    scopes = (scope(concurrency=2),)
    first, second = limiter.admit(scopes, 0, 0), limiter.admit(scopes, 0, 0)
    assert isinstance(first, LocalGrant)
    assert isinstance(second, LocalGrant)
    refusal = limiter.admit(scopes, 0, 0)
    assert isinstance(refusal, LimitRefusal)
    assert refusal.rule == "2 calls at the same time"
    limiter.settle(first, 0, 0)
    assert isinstance(limiter.admit(scopes, 0, 0), LocalGrant)


def test_new_rules_of_a_scope_keep_what_was_counted() -> None:
    clock = Clock()
    limiter = LocalLimiter(clock=clock)
    before, after = scope(Window("requests", 10, 60)), scope(Window("requests", 12, 60))
    assert all(isinstance(limiter.admit((before,), 0, 0), LocalGrant) for _ in range(10))
    granted = sum(isinstance(limiter.admit((after,), 0, 0), LocalGrant) for _ in range(10))
    assert granted == 2
    shorter = scope(Window("requests", 15, 30))
    granted = sum(isinstance(limiter.admit((shorter,), 0, 0), LocalGrant) for _ in range(10))
    assert granted == 3


def test_a_call_in_flight_settles_right_after_the_window_of_its_scope_got_another_length() -> None:
    limiter = LocalLimiter(clock=Clock())
    grant = limiter.admit((scope(Window("tokens", 100, 60), concurrency=5),), 80, 0)
    assert isinstance(grant, LocalGrant)
    changed = (scope(Window("tokens", 100, 10), Window("requests", 50, 3600), concurrency=5),)
    refusal = limiter.admit(changed, 30, 0)
    assert isinstance(refusal, LimitRefusal)
    limiter.settle(grant, 10, 0)
    assert isinstance(limiter.admit(changed, 90, 0), LocalGrant)
    assert isinstance(limiter.admit(changed, 1, 0), LimitRefusal)
    assert limiter.in_flight("key:a") == 1


def test_equal_rules_in_a_new_object_change_nothing() -> None:
    limiter = LocalLimiter(clock=Clock())
    granted = sum(isinstance(limiter.admit((scope(Window("requests", 10, 60)),), 0, 0), LocalGrant) for _ in range(30))
    assert granted == 10


def test_windows_hold_across_a_restart() -> None:
    clock = Clock()
    limiter = LocalLimiter(clock=clock, wall=lambda: 2_000_000.0)
    calls = [Past("key:a", int((2_000_000 - age) * 1e6), 10) for age in (5, 70, 20, 30)]
    limiter.restore(calls)
    scopes = (scope(Window("requests", 4, 60), Window("tokens", 35, 60)),)
    refusal = limiter.admit(scopes, 6, 0)
    assert isinstance(refusal, LimitRefusal)
    assert refusal.rule == "35 tokens per 60 s"
    assert refusal.retry_after == pytest.approx(30.0)
    assert isinstance(limiter.admit(scopes, 5, 0), LocalGrant)
    refusal = limiter.admit(scopes, 0, 0)
    assert isinstance(refusal, LimitRefusal)
    assert refusal.rule == "4 requests per 60 s"


def test_restoring_into_a_scope_that_is_in_use_already_counts_both() -> None:
    clock = Clock()
    limiter = LocalLimiter(clock=clock, wall=lambda: 2_000_000.0)
    scopes = (scope(Window("requests", 4, 60)),)
    assert isinstance(limiter.admit(scopes, 0, 0), LocalGrant)
    limiter.restore([Past("key:a", int((2_000_000 - 10) * 1e6), 0, requests=2)])
    granted = sum(isinstance(limiter.admit(scopes, 0, 0), LocalGrant) for _ in range(5))
    assert granted == 1


def test_a_flood_of_new_keys_leaves_bounded_state_behind() -> None:
    clock = Clock()
    limiter = LocalLimiter(clock=clock)
    largest = 0
    for number in range(30_000):
        clock.now += 0.01
        grant = limiter.admit((scope(Window("requests", 5, 1), name=f"key:{number}", concurrency=3),), 5, 0)
        assert isinstance(grant, LocalGrant)
        limiter.settle(grant, 5, 0)
        largest = max(largest, len(limiter))
    assert largest < 1_100
    clock.now += 10
    limiter.sweep()
    assert len(limiter) == 0


def test_scopes_that_sweep_each_other_out_are_still_counted() -> None:
    limiter = LocalLimiter(clock=Clock())
    for number in range(3_000):
        scopes = tuple(scope(name=f"{kind}:{number}", concurrency=1) for kind in ("key", "model", "connection"))
        assert isinstance(limiter.admit(scopes, 0, 0), LocalGrant)
        assert isinstance(limiter.admit(scopes, 0, 0), LimitRefusal)


def test_the_log_of_a_busy_window_stays_small() -> None:
    log = SlidingLog(60.0, 10**9, 10**12)
    now = 0.0
    for _ in range(200_000):
        now += 0.001
        log.add(now, 1, 7)
    assert len(log.buckets) <= EXACT_BUCKETS + MERGED_BUCKETS + 2
    log.evict(now)
    in_window = 10**9 - log.requests_free
    assert 60_000 <= in_window <= 60_000 + 60_000 / MERGED_BUCKETS + 1


def test_seed_rate_limits_become_windows() -> None:
    assert window_from_rate((300, 10)) == Window("requests", 300, 10.0)
    with pytest.raises(ValueError, match="above zero"):
        window_from_rate((0, 10))


class Oracle:
    """Remembers every call and adds up the window each time."""

    def __init__(self, windows: tuple[Window, ...]) -> None:
        self.windows = windows
        self.calls: list[list[float]] = []

    def sums(self, window: Window, now: float) -> float:
        inside = [call for call in self.calls if call[0] + window.seconds > now]
        return sum(call[1] if window.unit == "tokens" else 1 for call in inside)

    def fits(self, tokens: int, now: float) -> bool:
        return all(
            self.sums(window, now) + (tokens if window.unit == "tokens" else 1) <= window.amount
            for window in self.windows
        )


windows = st.lists(
    st.builds(
        Window,
        st.sampled_from(["requests", "tokens"]),
        st.integers(1, 30),
        st.sampled_from([64 * TICK, 256 * TICK, 1024 * TICK]),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
steps = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 25), st.integers(0, 30), st.booleans()), max_size=120)


@settings(max_examples=300, deadline=None)
@given(windows=windows, steps=steps)
def test_decisions_are_those_of_a_brute_force_count(
    windows: tuple[Window, ...], steps: list[tuple[int, int, int, bool]]
) -> None:
    clock = Clock()
    limiter = LocalLimiter(clock=clock)
    oracle = Oracle(windows)
    scopes = (scope(*windows),)
    for ticks, tokens, used, settles in steps:
        clock.now += ticks * TICK
        answer = limiter.admit(scopes, tokens, 0)
        assert isinstance(answer, LocalGrant) == oracle.fits(tokens, clock.now)
        if isinstance(answer, LocalGrant):
            call = [clock.now, float(tokens)]
            oracle.calls.append(call)
            if settles:
                limiter.settle(answer, used, 0)
                call[1] = used
        elif isinstance(answer, LimitRefusal) and not answer.never and answer.retry_after:
            # Not a tick earlier, and at that very time: the answer is exact.
            assert not oracle.fits(tokens, clock.now + answer.retry_after - TICK)
            assert oracle.fits(tokens, clock.now + answer.retry_after)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(200, 3000))
def test_no_interval_ever_holds_more_than_the_limit_when_calls_are_dense(seed: int, spread: int, amount: int) -> None:
    """Far more calls than buckets, so that buckets are merged: merging may only ever be late, never early."""
    from random import Random

    random = Random(seed)
    log_clock = Clock()
    limiter = LocalLimiter(clock=log_clock)
    scopes = (scope(Window("requests", amount, 1.0)),)
    let_in: list[float] = []
    for _ in range(6_000):
        log_clock.now += random.randrange(spread) * TICK / 64
        if isinstance(limiter.admit(scopes, 0, 0), LocalGrant):
            let_in.append(log_clock.now)
    for index, at in enumerate(let_in[amount:]):
        assert at - let_in[index] >= 1.0
