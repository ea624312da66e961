from __future__ import annotations

import asyncio
from random import Random

import pytest

from byom.limits.decision import LimitRefusal, LocalGrant
from byom.limits.local import LocalLimiter
from byom.types.limits import Limits, Scope, Window
from tests.limits.virtual_time import now, run_in_virtual_time


def limiter() -> LocalLimiter:
    return LocalLimiter(clock=now)


def scope(name: str, *windows: Window, concurrency: int | None = None, max_wait: float = 100.0) -> Scope:
    return Scope(name, Limits(windows=windows, concurrency=concurrency, max_wait=max_wait))


async def settle_down() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_waiter_is_let_in_exactly_when_the_window_has_room() -> None:
    async def main() -> None:
        limits = limiter()
        scopes = (scope("key:a", Window("requests", 2, 10)),)
        began = now()
        for _ in range(2):
            assert isinstance(limits.admit(scopes, 0, 0), LocalGrant)
            await asyncio.sleep(1)
        assert limits.admit(scopes, 0, 0) is None
        first, second = await asyncio.gather(*(limits.wait(scopes, 0, 0, 60) for _ in range(2)))
        assert isinstance(first, LocalGrant)
        assert isinstance(second, LocalGrant)
        assert (first.at - began, second.at - began) == pytest.approx((10, 11), abs=0.002)
        assert first.waited == pytest.approx(8, abs=0.002)
        assert second.waited == pytest.approx(9, abs=0.002)

    run_in_virtual_time(main())


def test_a_waiter_is_let_in_when_a_call_is_settled() -> None:
    async def main() -> None:
        limits = limiter()
        scopes = (scope("key:a", concurrency=1),)
        running = limits.admit(scopes, 0, 0)
        assert isinstance(running, LocalGrant)
        waiting = asyncio.ensure_future(limits.wait(scopes, 0, 0, 60))
        await asyncio.sleep(3)
        assert not waiting.done()
        assert limits.waiting("key:a") == 1
        limits.settle(running, 0, 0)
        assert limits.in_flight("key:a") == 1, "the slot went to the waiter at once"
        granted = await waiting
        assert isinstance(granted, LocalGrant)
        assert granted.waited == 3
        limits.settle(granted, 0, 0)
        assert limits.in_flight("key:a") == 0

    run_in_virtual_time(main())


def test_a_wait_ends_with_a_refusal_after_max_wait() -> None:
    async def main() -> None:
        limits = limiter()
        scopes = (scope("key:a", Window("tokens", 10, 60)),)
        assert isinstance(limits.admit(scopes, 10, 0), LocalGrant)
        began = now()
        refusal = await limits.wait(scopes, 5, 0, 20)
        assert isinstance(refusal, LimitRefusal)
        assert now() - began == pytest.approx(20)
        assert refusal.rule == "10 tokens per 60 s"
        assert refusal.retry_after == pytest.approx(40)
        assert limits.waiting("key:a") == 0
        assert limits.reservations == 1

    run_in_virtual_time(main())


def test_a_wait_that_cannot_succeed_in_time_is_refused_at_once() -> None:
    async def main() -> None:
        limits = limiter()
        scopes = (scope("key:a", Window("requests", 1, 60)),)
        assert isinstance(limits.admit(scopes, 0, 0), LocalGrant)
        began = now()
        refusal = await limits.wait(scopes, 0, 0, 20)
        assert isinstance(refusal, LimitRefusal)
        assert now() == began
        assert refusal.retry_after == 60

    run_in_virtual_time(main())


def test_scopes_that_do_not_wait_refuse_at_once() -> None:
    async def main() -> None:
        limits = limiter()
        patient, strict = scope("a", Window("requests", 1, 60)), scope("b", Window("requests", 1, 60), max_wait=0)
        assert isinstance(limits.admit((patient,), 0, 0), LocalGrant)
        assert limits.admit((patient, strict), 0, 0) is None
        assert isinstance(limits.admit((strict,), 0, 0), LocalGrant)
        assert isinstance(limits.admit((patient, strict), 0, 0), LimitRefusal)

    run_in_virtual_time(main())


def test_small_calls_do_not_starve_a_big_one() -> None:
    async def main() -> None:
        limits = limiter()
        scopes = (scope("key:a", Window("tokens", 100, 10)),)
        began = now()
        order: list[tuple[str, float]] = []

        async def call(name: str, tokens: int) -> None:
            answer = limits.admit(scopes, tokens, 0) or await limits.wait(scopes, tokens, 0, 1000)
            assert isinstance(answer, LocalGrant)
            order.append((name, answer.at - began))

        for _ in range(10):
            await call("first", 10)
            await asyncio.sleep(0.5)
        big = asyncio.ensure_future(call("big", 95))
        await settle_down()
        small = [asyncio.ensure_future(call("small", 1)) for _ in range(50)]
        await asyncio.gather(big, *small)
        assert [name for name, _ in order[10:]] == ["big"] + ["small"] * 50
        assert order[10][1] == pytest.approx(14.5, abs=0.002)

    run_in_virtual_time(main())


def test_newcomers_queue_behind_waiters_of_their_scope() -> None:
    async def main() -> None:
        limits = limiter()
        scopes = (scope("key:a", Window("tokens", 100, 10)),)
        assert isinstance(limits.admit(scopes, 60, 0), LocalGrant)
        big = asyncio.ensure_future(limits.wait(scopes, 80, 0, 60))
        await settle_down()
        assert limits.admit(scopes, 1, 0) is None, "it would fit, but another came first"
        refusing = (scope("key:a", Window("tokens", 100, 10), max_wait=0),)
        refusal = limits.admit(refusing, 1, 0)
        assert isinstance(refusal, LimitRefusal)
        assert refusal.retry_after == pytest.approx(10)
        assert isinstance(await big, LocalGrant)

    run_in_virtual_time(main())


def test_a_waiter_of_one_scope_blocks_nobody_who_needs_only_the_other() -> None:
    async def main() -> None:
        limits = limiter()
        a, b = scope("a", concurrency=1), scope("b", concurrency=2)
        running = limits.admit((a,), 0, 0)
        assert isinstance(running, LocalGrant)
        both = asyncio.ensure_future(limits.wait((a, b), 0, 0, 60))
        await settle_down()
        only_b = limits.admit((b,), 0, 0)
        assert isinstance(only_b, LocalGrant)
        limits.settle(running, 0, 0)
        assert isinstance(await both, LocalGrant)
        assert (limits.in_flight("a"), limits.in_flight("b")) == (1, 2)

    run_in_virtual_time(main())


def test_a_waiter_moves_to_the_scope_that_keeps_it_out_next() -> None:
    async def main() -> None:
        limits = limiter()
        a, b = scope("a", Window("requests", 1, 10)), scope("b", concurrency=1)
        assert isinstance(limits.admit((a,), 0, 0), LocalGrant)
        both = asyncio.ensure_future(limits.wait((a, b), 0, 0, 60))
        await settle_down()
        holds_b = limits.admit((b,), 0, 0)
        assert isinstance(holds_b, LocalGrant)
        await asyncio.sleep(12)
        assert (limits.waiting("a"), limits.waiting("b")) == (0, 1)
        limits.settle(holds_b, 0, 0)
        granted = await both
        assert isinstance(granted, LocalGrant)
        assert granted.waited == pytest.approx(12)

    run_in_virtual_time(main())


def test_cancelling_the_first_waiter_lets_the_next_one_in_at_once() -> None:
    async def main() -> None:
        limits = limiter()
        scopes = (scope("key:a", Window("tokens", 100, 10)),)
        assert isinstance(limits.admit(scopes, 60, 0), LocalGrant)
        big = asyncio.ensure_future(limits.wait(scopes, 80, 0, 60))
        await settle_down()
        small = asyncio.ensure_future(limits.wait(scopes, 40, 0, 60))
        await settle_down()
        assert not small.done()
        began = now()
        big.cancel()
        assert isinstance(await small, LocalGrant)
        assert now() == began
        assert big.cancelled()
        assert limits.waiting("key:a") == 0
        assert limits.reservations == 2

    run_in_virtual_time(main())


def test_a_cancelled_waiter_that_was_let_in_meanwhile_gives_everything_back() -> None:
    async def main() -> None:
        limits = limiter()
        scopes = (scope("key:a", Window("requests", 2, 1000), concurrency=1),)
        running = limits.admit(scopes, 0, 0)
        assert isinstance(running, LocalGrant)
        waiting = asyncio.ensure_future(limits.wait(scopes, 0, 0, 60))
        await settle_down()
        limits.settle(running, 0, 0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert limits.reservations == 0
        assert isinstance(limits.admit(scopes, 0, 0), LocalGrant)

    run_in_virtual_time(main())


def test_new_rules_are_applied_to_those_who_wait_already() -> None:
    async def main() -> None:
        limits = limiter()
        old, new = scope("key:a", concurrency=1), scope("key:a", concurrency=2)
        assert isinstance(limits.admit((old,), 0, 0), LocalGrant)
        waiting = asyncio.ensure_future(limits.wait((old,), 0, 0, 60))
        await settle_down()
        assert limits.admit((new,), 0, 0) is None
        assert isinstance(await waiting, LocalGrant)

    run_in_virtual_time(main())


@pytest.mark.parametrize("seed", range(25))
def test_under_random_load_no_limit_is_broken_nobody_is_forgotten_and_all_is_given_back(seed: int) -> None:
    async def main() -> None:
        random = Random(seed)
        limits = limiter()
        pool = [
            scope("a", Window("requests", 7, 3), concurrency=4),
            scope("b", Window("tokens", 100, 5)),
            scope("c", Window("requests", 20, 2), Window("tokens", 300, 20)),
            scope("d", concurrency=2),
        ]
        running = {"a": 0, "d": 0}
        admitted: list[tuple[float, str]] = []

        async def caller() -> None:
            chosen = tuple(random.sample(pool, random.randint(1, 4)))
            await asyncio.sleep(random.random() * 20)
            tokens = random.choice([1, 5, 30, 90])
            task = asyncio.ensure_future(_admit(limits, chosen, tokens, random.choice([2.0, 2000.0])))
            if random.random() < 0.2:
                await asyncio.sleep(random.random() * 3)
                task.cancel()
            answer = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(answer, LocalGrant):
                return
            for each in chosen:
                admitted.append((answer.at, each.id))
                if each.id in running:
                    running[each.id] += 1
            assert running["a"] <= 4
            assert running["d"] <= 2
            await asyncio.sleep(random.random() * 2)
            for each in chosen:
                if each.id in running:
                    running[each.id] -= 1
            limits.settle(answer, random.choice([0, tokens]), 0)

        await asyncio.gather(*(caller() for _ in range(200)))
        assert limits.reservations == 0
        assert all(limits.in_flight(each.id) == limits.waiting(each.id) == 0 for each in pool)
        for scope_id, amount, seconds in (("a", 7, 3), ("c", 20, 2)):
            times = sorted(at for at, name in admitted if name == scope_id)
            assert all(later - earlier >= seconds - 1e-9 for earlier, later in zip(times, times[amount:], strict=False))

    run_in_virtual_time(main())


async def _admit(limits: LocalLimiter, scopes: tuple[Scope, ...], tokens: int, max_wait: float) -> object:
    return limits.admit(scopes, tokens, 0) or await limits.wait(scopes, tokens, 0, max_wait)


async def test_a_thousand_waiters_are_let_in_one_after_another_in_order_of_arrival() -> None:
    limits = LocalLimiter()
    scopes = (scope("key:a", concurrency=1),)
    running = limits.admit(scopes, 0, 0)
    assert isinstance(running, LocalGrant)
    order: list[int] = []

    async def call(number: int) -> None:
        answer = await limits.wait(scopes, 0, 0, 30)
        assert isinstance(answer, LocalGrant)
        order.append(number)
        assert limits.in_flight("key:a") == 1
        limits.settle(answer, 0, 0)

    tasks = [asyncio.ensure_future(call(number)) for number in range(1000)]
    await settle_down()
    assert limits.waiting("key:a") == 1000
    limits.settle(running, 0, 0)
    await asyncio.gather(*tasks)
    assert order == list(range(1000))
