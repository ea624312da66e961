from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from byom.limits.authority import Authority
from byom.limits.decision import LimitRefusal
from byom.limits.local import LocalLimiter
from byom.limits.remote import RemoteGrant, RemoteLimiter
from byom.limits.wire import Frames, frame
from byom.types.limits import Budget, Limits, Scope, Window

ROOT = Path(__file__).parents[2]


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Path]:
    # The path of a Unix socket may have about 100 characters.
    path = Path(f"/tmp/byom-limits-{os.getpid()}-{id(tmp_path):x}.sock")
    yield path
    path.unlink(missing_ok=True)


@asynccontextmanager
async def serving(path: Path, limiter: LocalLimiter | None = None) -> AsyncIterator[Authority]:
    authority = Authority(limiter or LocalLimiter(), path)
    await authority.start()
    try:
        yield authority
    finally:
        await authority.stop()


@asynccontextmanager
async def connected(path: Path, on_loss: str = "refuse") -> AsyncIterator[RemoteLimiter]:
    limiter = RemoteLimiter(path, on_loss=on_loss)  # type: ignore[arg-type]
    await limiter.start()
    try:
        yield limiter
    finally:
        await limiter.stop()


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  the condition is in another process, or behind a socket
            await asyncio.sleep(0.005)


def scope(*windows: Window, concurrency: int | None = None, max_wait: float = 0.0, name: str = "key:a") -> Scope:
    return Scope(name, Limits(windows=windows, concurrency=concurrency, max_wait=max_wait))


async def granted(limiter: RemoteLimiter, scopes: tuple[Scope, ...], tokens: int = 0) -> RemoteGrant:
    assert limiter.admit(scopes, tokens, 0) is None
    answer = await limiter.wait(scopes, tokens, 0, 5.0)
    assert isinstance(answer, RemoteGrant)
    return answer


async def test_calls_without_limits_do_not_ask_anybody(socket: Path) -> None:
    limiter = RemoteLimiter(socket)
    for scopes in ((), (Scope("key:free", Limits()),)):
        grant = limiter.admit(scopes, 5, 5)
        assert isinstance(grant, RemoteGrant)
        limiter.settle(grant, 5, 5)
        limiter.settle(grant, 5, 5)
    assert limiter.reservations == 0


async def test_a_limit_holds_over_several_connections(socket: Path) -> None:
    scopes = (scope(Window("requests", 10, 60)),)
    async with serving(socket), connected(socket) as one, connected(socket) as two:
        answers = await asyncio.gather(*(each.wait(scopes, 0, 0, 0.0) for each in (one, two) for _ in range(20)))
        assert sum(isinstance(answer, RemoteGrant) for answer in answers) == 10
        refusal = next(answer for answer in answers if isinstance(answer, LimitRefusal))
        assert (refusal.scope, refusal.rule, refusal.budget) == ("key:a", "10 requests per 60 s", False)
        assert 59 < refusal.retry_after <= 60


async def test_a_refusal_for_good_keeps_its_meaning_on_the_way(socket: Path) -> None:
    async with serving(socket), connected(socket) as limiter:
        refusal = await limiter.wait((scope(Window("tokens", 10, 60)),), 11, 0, 0.0)
        assert isinstance(refusal, LimitRefusal)
        assert refusal.never
        assert refusal.retry_after == float("inf")
        spent = (Scope("key:b", Limits(budgets=(Budget(5),))),)
        budget = await limiter.wait(spent, 0, 6, 0.0)
        assert isinstance(budget, LimitRefusal)
        assert budget.budget


async def test_settling_frees_the_slot_for_a_waiter_of_another_process(socket: Path) -> None:
    scopes = (scope(concurrency=1, max_wait=5),)
    async with serving(socket) as authority, connected(socket) as one, connected(socket) as two:
        grant = await granted(one, scopes)
        waiting = asyncio.ensure_future(granted(two, scopes))
        await until(lambda: authority.limiter.waiting("key:a") == 1)
        one.settle(grant, 0, 0)
        other = await waiting
        assert other.waited > 0
        assert one.reservations == 0
        two.settle(other, 0, 0)
        await until(lambda: authority.limiter.reservations == 0)


async def test_cancelling_a_wait_leaves_the_authoritys_queue(socket: Path) -> None:
    scopes = (scope(concurrency=1, max_wait=5),)
    async with serving(socket) as authority, connected(socket) as limiter:
        grant = await granted(limiter, scopes)
        waiting = asyncio.ensure_future(limiter.wait(scopes, 0, 0, 5.0))
        await until(lambda: authority.limiter.waiting("key:a") == 1)
        waiting.cancel()
        await until(lambda: authority.limiter.waiting("key:a") == 0)
        limiter.settle(grant, 0, 0)
        await until(lambda: authority.limiter.reservations == 0)
        assert limiter.reservations == 0


async def test_calls_cancelled_at_any_moment_leave_nothing_behind(socket: Path) -> None:
    scopes = (scope(Window("requests", 10_000, 60), concurrency=3, max_wait=5),)
    async with serving(socket) as authority, connected(socket) as limiter:

        async def call(number: int) -> None:
            answer = await limiter.wait(scopes, 0, 0, 5.0)
            assert isinstance(answer, RemoteGrant)
            try:
                await asyncio.sleep(0)
            finally:
                limiter.withdraw(answer) if number % 3 else limiter.settle(answer, 0, 0)

        for number in range(300):
            task = asyncio.ensure_future(call(number))
            for _ in range(number % 9):
                await asyncio.sleep(0)
            if number % 2:
                task.cancel()
            else:
                await task
        await until(lambda: authority.limiter.reservations == 0)
        assert limiter.reservations == 0
        assert authority.limiter.in_flight("key:a") == 0


async def test_changed_rules_reach_the_authority(socket: Path) -> None:
    async with serving(socket), connected(socket) as limiter:
        few, more = (scope(Window("requests", 1, 60)),), (scope(Window("requests", 3, 60)),)
        await granted(limiter, few)
        assert isinstance(await limiter.wait(few, 0, 0, 0.0), LimitRefusal)
        await granted(limiter, more)
        await granted(limiter, more)
        assert isinstance(await limiter.wait(more, 0, 0, 0.0), LimitRefusal)


async def test_very_many_keys_keep_the_table_of_scopes_bounded(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("byom.limits.remote.MOST_SCOPES", 50)
    async with serving(socket), connected(socket) as limiter:
        for number in range(500):
            scopes = tuple(scope(Window("requests", 1, 60), name=f"{kind}:{number}") for kind in ("key", "model"))
            limiter.settle(await granted(limiter, scopes), 0, 0)
            assert isinstance(await limiter.wait(scopes, 0, 0, 0.0), LimitRefusal)
            assert len(limiter._numbers) <= 50


async def test_without_the_authority_calls_are_refused_or_decided_here_as_configured(socket: Path) -> None:
    scopes = (scope(Window("requests", 2, 60), max_wait=5),)
    async with connected_later(socket, "refuse") as refusing, connected_later(socket, "local") as local:
        refusal = await refusing.wait(scopes, 0, 0, 5.0)
        assert isinstance(refusal, LimitRefusal)
        assert refusal.retry_after == 1.0
        answers = [await local.wait(scopes, 0, 0, 0.0) for _ in range(4)]
        assert sum(isinstance(answer, RemoteGrant) for answer in answers) == 2
        for answer in answers:
            if isinstance(answer, RemoteGrant):
                local.settle(answer, 0, 0)
        assert local.reservations == 0


@asynccontextmanager
async def connected_later(path: Path, on_loss: str) -> AsyncIterator[RemoteLimiter]:
    """A limiter that was connected and has lost its authority."""
    limiter = RemoteLimiter(path, on_loss=on_loss)  # type: ignore[arg-type]
    async with serving(path):
        await limiter.start()
    await until(lambda: not limiter.connected)
    try:
        yield limiter
    finally:
        await limiter.stop()


async def test_running_calls_are_declared_to_the_next_authority(socket: Path) -> None:
    scopes = (scope(concurrency=2),)
    limiter = RemoteLimiter(socket)
    async with serving(socket):
        await limiter.start()
        grant = await granted(limiter, scopes)
        lost = asyncio.ensure_future(limiter.wait((scope(concurrency=1, max_wait=9, name="x"),), 0, 0, 9.0))
        assert isinstance(await lost, RemoteGrant)
    await until(lambda: not limiter.connected)
    async with serving(socket) as second:
        await until(lambda: limiter.connected)
        await until(lambda: second.limiter.in_flight("key:a") == 1)
        other = await granted(limiter, scopes)
        assert isinstance(await limiter.wait(scopes, 0, 0, 0.0), LimitRefusal)
        limiter.settle(grant, 0, 0)
        limiter.settle(other, 0, 0)
        await until(lambda: second.limiter.in_flight("key:a") == 0)
        await limiter.stop()


async def test_waiters_are_answered_when_the_authority_goes_away(socket: Path) -> None:
    scopes = (scope(concurrency=1, max_wait=9),)
    limiter = RemoteLimiter(socket)
    async with serving(socket) as authority:
        await limiter.start()
        await granted(limiter, scopes)
        waiting = asyncio.ensure_future(limiter.wait(scopes, 0, 0, 9.0))
        await until(lambda: authority.limiter.waiting("key:a") == 1)
    assert isinstance(await waiting, LimitRefusal)
    await limiter.stop()


async def test_nonsense_on_the_socket_ends_that_connection_alone(socket: Path) -> None:
    async with serving(socket) as authority, connected(socket) as limiter:
        for nonsense in (b"\x00\x00\x00\x02\xc0\xc0", b"\xff\xff\xff\xff", frame([["ask", 1, [7], 0, 0, 0]])):  # type: ignore[list-item]
            reader, writer = await asyncio.open_unix_connection(str(socket))
            writer.write(nonsense)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        await granted(limiter, (scope(concurrency=1),))
        assert authority.workers == 1


def test_frames_are_found_however_the_bytes_arrive() -> None:
    frames = Frames()
    data = frame([]) + frame([["settle", 1, 2, 3]])  # type: ignore[list-item]
    found = [body for byte in data for body in frames.feed(bytes([byte]))]
    assert found == [frame([])[4:], frame([["settle", 1, 2, 3]])[4:]]  # type: ignore[list-item]


WORKER = """
import asyncio, sys
from pathlib import Path
from byom.limits.remote import RemoteGrant, RemoteLimiter
from byom.types.limits import Limits, Scope, Window

async def main():
    limiter = RemoteLimiter(Path(sys.argv[1]))
    await limiter.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    if sys.argv[2] == "window":
        scopes = (Scope("key:a", Limits(windows=(Window("requests", 100, 3600),))),)
    else:
        scopes = (Scope("key:a", Limits(concurrency=10, max_wait=30)),)
    answers = await asyncio.gather(*(limiter.wait(scopes, 0, 0, 0.0) for _ in range(80)))
    print(sum(isinstance(answer, RemoteGrant) for answer in answers), flush=True)
    await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


async def workers(socket: Path, number: int, kind: str) -> list[asyncio.subprocess.Process]:
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, str(socket), kind,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )
        for _ in range(number)
    ]  # fmt: skip
    for process in started:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    return started


async def tell(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()


async def told(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    return int(await process.stdout.readline())


async def test_four_processes_let_in_exactly_the_limit_together(socket: Path) -> None:
    """Gateway checklist 48."""
    async with serving(socket):
        processes = await workers(socket, 4, "window")
        await asyncio.gather(*map(tell, processes))
        let_in = await asyncio.gather(*map(told, processes))
        await asyncio.gather(*map(tell, processes))
        assert [await process.wait() for process in processes] == [0, 0, 0, 0]
    assert sum(let_in) == 100


async def test_a_killed_process_gives_its_slots_back_at_once(socket: Path) -> None:
    """Gateway checklist 50."""
    async with serving(socket) as authority:
        (process,) = await workers(socket, 1, "slots")
        await tell(process)
        assert await told(process) == 10
        assert authority.limiter.in_flight("key:a") == 10
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await until(lambda: authority.limiter.in_flight("key:a") == 0)
        assert authority.limiter.reservations == 0
