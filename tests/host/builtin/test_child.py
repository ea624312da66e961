"""Hosts as child processes: found, restarted, ended, never left behind."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import textwrap

import httpx2
import pytest

from byom.errors import Unavailable
from byom.host.child import Backoff, ChildHost, HostStartError
from byom.host.output_tail import OutputTail

BUILTIN = "byom.host.builtin"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_end(pid: int) -> None:
    """Waits for a process that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 10)[0], f"process {pid} goes on"
    finally:
        os.close(descriptor)


@pytest.fixture
def module(tmp_path):
    """Writes a module and gives its name and the environment in which it is found."""

    def write(source: str) -> tuple[str, dict[str, str]]:
        (tmp_path / "odd_host.py").write_text(textwrap.dedent(source))
        return "odd_host", {"PYTHONPATH": str(tmp_path)}

    return write


async def test_a_child_serves_with_its_own_token():
    async with ChildHost(BUILTIN) as child, httpx2.AsyncClient() as http:
        assert child.running
        assert (await http.get(f"{child.base_url}/models")).status_code == 401
        answer = await http.get(f"{child.base_url}/models", headers={"Authorization": f"Bearer {child.token}"})
        assert {model["id"] for model in answer.json()["data"]} == {"extractive", "lexical"}
        assert child.token not in repr(child)
        pid = child.pid
    assert not alive(pid)
    assert child.pid is None
    with pytest.raises(Unavailable):
        _ = child.base_url


async def test_a_child_that_dies_is_restarted_at_the_same_address():
    addresses: asyncio.Queue[str] = asyncio.Queue()
    backoff = Backoff(first=0.01)
    async with ChildHost(BUILTIN, backoff=backoff, on_ready=lambda host: addresses.put_nowait(host.base_url)) as child:
        before = child.pid, await addresses.get()
        os.kill(child.pid, signal.SIGKILL)
        after = await asyncio.wait_for(addresses.get(), 20)
        assert after == before[1]
        assert child.pid != before[0]
        assert child.restarts == 1
        await child.wait_until_running(1)
        async with httpx2.AsyncClient() as http:
            answer = await http.get(f"{child.base_url}/models", headers={"Authorization": f"Bearer {child.token}"})
        assert answer.status_code == 200


def test_the_wait_between_restarts_doubles_up_to_a_bound():
    backoff = Backoff(first=1.0, longest=10.0)
    assert [backoff.delay(failures) for failures in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 10, 10]


async def test_a_child_that_fails_says_why_without_the_token(module):
    name, env = module("""
        import sys
        token = sys.stdin.readline().strip()
        sys.exit(f"the token is {token}\\nno such model")
    """)
    with pytest.raises(HostStartError, match="no such model") as failed:
        await ChildHost(name, env=env).start()
    assert "the token is [token]" in str(failed.value)
    assert "ended with code 1" in str(failed.value)


async def test_a_child_that_never_listens_is_given_up(module):
    name, env = module("""
        import sys, time
        print("I am", "still loading", file=sys.stderr, flush=True)
        time.sleep(600)
    """)
    child = ChildHost(name, env=env, start_timeout=1.0)
    with pytest.raises(HostStartError, match="still loading"):
        await child.start()
    assert child.pid is None


async def test_a_child_that_ignores_the_signal_is_killed_with_its_own_children(module, tmp_path):
    name, env = module("""
        import json, os, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(os.environ["PID_FILE"], "w") as file:
            file.write(str(grandchild.pid))
        print("noise before the line", flush=True)
        print(json.dumps({"port": 1}), flush=True)
        time.sleep(600)
    """)
    child = ChildHost(name, env={**env, "PID_FILE": str(tmp_path / "pid")})
    await child.start()
    pid = child.pid
    grandchild = int((tmp_path / "pid").read_text())
    await child.stop(grace=0.1)
    assert not alive(pid)
    await asyncio.to_thread(wait_for_end, grandchild)


async def test_a_child_does_not_see_the_secrets_of_its_parent(module, monkeypatch):
    monkeypatch.setenv("BYOM_API_KEY", "canary")
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    name, env = module("""
        import os, sys
        sys.exit(f"secrets: {[name for name, value in os.environ.items() if 'canary' in value]} {os.environ['GIVEN']}")
    """)
    with pytest.raises(HostStartError, match=r"secrets: \[\] yes"):
        await ChildHost(name, env={**env, "GIVEN": "yes"}).start()


async def test_starting_again_and_stopping_twice_are_harmless():
    child = ChildHost(BUILTIN)
    await child.start()
    pid = child.pid
    await child.start()
    assert child.pid == pid
    await child.stop()
    await child.stop()
    await child.start()
    assert child.running
    await child.stop()


def test_a_child_ends_when_its_parent_is_killed():
    parent_code = textwrap.dedent("""
        import asyncio
        from byom.host.child import ChildHost

        async def main():
            child = ChildHost("byom.host.builtin")
            await child.start()
            print(child.pid, flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    wait_for_end(pid)


def test_the_tail_keeps_the_last_lines_of_any_length():
    tail = OutputTail("secret", lines=3)
    assert tail.feed(b"a\nb") == ["a"]
    assert tail.feed(b"c\n" + b"x" * 10_000 + b"\nsecret \xff\nend") == ["bc", "x" * 4096, "[token] \ufffd"]
    assert tail.text() == "bc\n" + "x" * 4096 + "\n[token] \ufffd\nend"
