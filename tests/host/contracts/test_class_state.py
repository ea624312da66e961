"""What an instance of a class model keeps is its own user's, and calls take their turns."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from byom.host.worker.contract import Context, LoadError
from byom.host.worker.contracts.class_instances import KEPT
from tests.host.contracts.calls import text
from tests.host.contracts.conftest import Load

USER = [{"role": "user", "content": "?"}]

REMEMBERS = """
import threading, time
made = []
class Remembers:
    '''As AgentStudio's Claude class: a system text stays until another one comes.'''
    def __init__(self):
        self.system, self.busy, self.most = None, 0, 0
        made.append(self)
    def generate_response(self, messages, **kwargs):
        self.busy += 1
        self.most = max(self.most, self.busy)
        for message in messages:
            if message.role == "system":
                self.system = message.content
        time.sleep(0.002)
        self.busy -= 1
        return str(self.system), {}
"""


def test_what_an_instance_remembers_is_never_another_users(load: Load) -> None:
    served = load(REMEMBERS)[0]
    secret = {"messages": [{"role": "system", "content": "ann's secret"}, *USER]}
    assert text(served, secret, user="ann") == "ann's secret"
    assert text(served, "?", user="bob") == "None"
    assert text(served, "?", user="ann") == "ann's secret"
    assert len(sys.modules["mymodel"].made) == 2


def test_many_users_at_once_never_meet(load: Load) -> None:
    served = load(REMEMBERS)[0]

    def call(number: int) -> bool:
        user = f"user{number % 7}"
        return text(served, {"messages": [{"role": "system", "content": user}, *USER]}, user=user) == user

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(call, range(300)))
    made = sys.modules["mymodel"].made
    assert len(made) == 7
    assert {instance.most for instance in made} == {1}


def test_an_instance_for_each_call_remembers_nothing(load: Load) -> None:
    served = load(REMEMBERS, instances="per_request")[0]
    assert text(served, {"messages": [{"role": "system", "content": "s"}, *USER]}, user="ann") == "s"
    assert text(served, "?", user="ann") == "None"


def test_a_shared_instance_takes_one_call_at_a_time(load: Load) -> None:
    served = load(REMEMBERS, instances="shared")[0]
    assert served.description.concurrency == 1
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: text(served, "?", user=str(number)), range(24)))
    assert [instance.most for instance in sys.modules["mymodel"].made] == [1]


def test_an_instance_may_take_several_calls_where_that_is_said(load: Load) -> None:
    code = """
        import threading
        together = threading.Barrier(3)
        class C:
            def generate_response(self, messages, **kwargs):
                together.wait(10)
                return "x", {}
    """
    served = load(code, instances="shared", calls_per_instance=3)[0]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: text(served, "?"), range(3))) == ["x"] * 3


def test_an_instance_in_a_file_is_made_anew_for_each_user_unless_it_is_to_be_shared(load: Load) -> None:
    code = REMEMBERS + "mine = Remembers()\n"
    served = load(code, "mine")[0]
    text(served, "?", user="ann")
    text(served, "?", user="bob")
    assert len(sys.modules["mymodel"].made) == 3
    sys.modules.pop("mymodel")
    served = load(code, "mine", instances="shared")[0]
    text(served, "?", user="ann")
    assert len(sys.modules["mymodel"].made) == 1


def test_an_instance_that_cannot_be_made_anew_says_what_to_choose(load: Load) -> None:
    code = """
        class C:
            def __init__(self, path): pass
            def generate_response(self, messages, **kwargs): return "x", {}
        c = C(1)
    """
    with pytest.raises(LoadError, match="instances = shared"):
        load(code, "c")
    assert text(load(code, "c", instances="shared")[0], "?") == "x"


def test_only_so_many_users_are_remembered(load: Load) -> None:
    served: Any = load(REMEMBERS.replace("time.sleep(0.002)", "pass"))[0]
    for number in range(KEPT + 10):
        text(served, {"messages": [{"role": "system", "content": "s"}, *USER]}, user=str(number))
    assert len(served._instances) == KEPT
    assert text(served, "?", user=str(KEPT + 9)) == "s"
    assert text(served, "?", user="0") == "None"


BLOCKS = """
import threading
begun, go_on, calls = threading.Semaphore(0), threading.Event(), []
class C:
    def generate_response(self, messages, **kwargs):
        calls.append(messages[0].content)
        begun.release()
        go_on.wait(10)
        return "x", {}
"""


async def collected(served: Any, content: str, context: Context) -> str:
    request = {"messages": [{"role": "user", "content": content}]}
    return "".join([event.get("text", "") async for event in served.chat(request, context)])


async def test_a_call_that_waits_for_its_turn_can_be_cancelled_and_keeps_no_thread(load: Load) -> None:
    served = load(BLOCKS)[0]
    module = sys.modules["mymodel"]
    first = asyncio.create_task(collected(served, "first", Context(user="ann")))
    await asyncio.to_thread(module.begun.acquire)
    waiting = [asyncio.create_task(collected(served, str(one), Context(user="ann"))) for one in range(100)]
    other = asyncio.create_task(collected(served, "other", Context(user="bob")))
    await asyncio.to_thread(module.begun.acquire)  # bob's call has begun, whoever else waits
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    module.go_on.set()
    assert await asyncio.gather(first, other, *waiting[1:]) == ["x"] * 101
    assert [call for call in module.calls if call != "other"] == ["first", *map(str, range(1, 100))]


async def test_an_instance_is_in_use_until_its_thread_has_ended(load: Load) -> None:
    served = load(BLOCKS)[0]
    module = sys.modules["mymodel"]
    first = asyncio.create_task(collected(served, "first", Context(user="ann")))
    await asyncio.to_thread(module.begun.acquire)
    second = asyncio.create_task(collected(served, "second", Context(user="ann")))
    first.cancel()
    done, _ = await asyncio.wait([first, second], timeout=0.1)
    assert not done
    assert module.calls == ["first"]
    module.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == "x"


def test_closing_lets_instances_go(load: Load) -> None:
    code = """
        closed = []
        class C:
            def generate_response(self, messages, **kwargs): return "x", {}
            def close(self): closed.append(self)
    """
    served = load(code)[0]
    text(served, "?", user="a")
    text(served, "?", user="b")
    served.close()
    assert len(sys.modules["mymodel"].closed) == 2
