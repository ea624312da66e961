"""Two machines, as two network namespaces with a cable between them: code on one, the hub on the other."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.upstream.certificates import server_context

CODE_ADDRESS, HUB_ADDRESS = "10.77.31.1", "10.77.31.2"
KEY = "the-key-between-the-machines"
IDLE = 1.5
CODE = '''
import time

def tell(prompt):
    """A piece every fifth of a second."""
    for number in range(100 if "long" in prompt else 3):
        yield f"piece{number} "
        time.sleep(0.2)
'''
CALL = """
import sys, time, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
began = time.monotonic()
try:
    stream = client.chat.completions.create(
        model="tell", messages=[{"role": "user", "content": sys.argv[3]}], stream=True
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            print("piece", flush=True)
    print("whole", flush=True)
except openai.APIError as error:
    print("error", error.message, flush=True)
"""


def _run(*command: str | Path, given: str = "", check: bool = True) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class Machines:
    """Two namespaces. Everything that was started in them ends with them."""

    def __init__(self, name: str) -> None:
        self.code, self.hub = f"{name}-code", f"{name}-hub"
        self._cable = f"{name[-6:]}c"
        self._running: list[subprocess.Popen[str]] = []

    def build(self) -> None:
        other = self._cable[:-1] + "h"
        for machine in (self.code, self.hub):
            _run("ip", "netns", "add", machine)
            _run("ip", "-n", machine, "link", "set", "lo", "up")
        _run("ip", "-n", self.code, "link", "add", self._cable, "type", "veth", "peer", other, "netns", self.hub)
        for machine, end, address in ((self.code, self._cable, CODE_ADDRESS), (self.hub, other, HUB_ADDRESS)):
            _run("ip", "-n", machine, "addr", "add", f"{address}/24", "dev", end)
            _run("ip", "-n", machine, "link", "set", end, "up")

    def pull_the_cable(self) -> None:
        _run("ip", "-n", self.code, "link", "set", self._cable, "down")

    def put_it_back(self) -> None:
        _run("ip", "-n", self.code, "link", "set", self._cable, "up")

    def start(self, machine: str, *command: str | Path, given: str | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["ip", "netns", "exec", machine, *command],
            stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._running.append(process)
        if given is not None and process.stdin is not None:
            process.stdin.write(given)
            process.stdin.flush()
        return process

    def run(self, machine: str, *command: str | Path, given: str = "") -> str:
        return _run("ip", "netns", "exec", machine, *command, given=given)

    def end(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        for machine in (self.code, self.hub):
            _run("ip", "netns", "del", machine, check=False)


@contextmanager
def _machines() -> Iterator[Machines]:
    machines = Machines(f"byom{os.getpid() % 100000:05d}")
    try:
        machines.build()
        yield machines
    finally:
        machines.end()


def _lines_until(stream: IO[str] | None, pattern: str) -> re.Match[str]:
    assert stream is not None
    seen: list[str] = []
    for line in stream:
        seen.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"the program ended without {pattern!r}: {''.join(seen)}")


def _calls(home: Path, machines: Machines, byom: Path) -> list[dict[str, Any]]:
    out = machines.run(machines.hub, "env", f"BYOM_HOME={home}", byom, "calls", "--json")
    found: list[dict[str, Any]] = json.loads(out)["data"] if out.lstrip().startswith("{") else json.loads(out)
    return found


@pytest.fixture
def possible() -> None:
    """Skipped, with a line that says why, where namespaces cannot be made; never in CI."""
    missing = "" if shutil.which("ip") else "ip (iproute2) is not installed"
    if not missing and (not sys.platform.startswith("linux") or os.geteuid() != 0):
        missing = "network namespaces need Linux and root"
    if missing:
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)


def test_the_cable_is_pulled_in_the_middle_of_a_stream(possible: None, tmp_path: Path) -> None:
    byom = Path(sys.executable).with_name("byom")
    (tmp_path / "far.py").write_text(CODE)
    _, trust = server_context(tmp_path, name=CODE_ADDRESS)
    home = tmp_path / "home"
    with _machines() as machines:
        tls = ("--tls-cert", trust, "--tls-key", tmp_path / "server.key")
        host = machines.start(
            machines.code, byom, "host", tmp_path / "far.py:tell", "--name", "far", "--host", CODE_ADDRESS,
            "--port", "8431", *tls, "--key-stdin", given=f"{KEY}\n",
        )  # fmt: skip
        _lines_until(host.stdout, r"https://10\.77\.31\.1:8431")
        hub = machines.start(machines.hub, byom, "serve", "--home", home, "--port", "8420")
        _lines_until(hub.stdout, r"http://127\.0\.0\.1:8420")
        url = f"https://{CODE_ADDRESS}:8431"
        connect = ("env", f"BYOM_HOME={home}", byom, "connect", "box", "--url", url, "--all", "--key-stdin")
        machines.run(machines.hub, *connect, "--ca-file", trust, given=f"{KEY}\n")
        machines.run(machines.hub, "env", f"BYOM_HOME={home}", byom, "edit", "box", "--set", f"timeouts.idle={IDLE}")
        key = (home / "admin.key").read_text().strip()
        call = (sys.executable, "-c", CALL, "http://127.0.0.1:8420/v1", key)

        assert machines.run(machines.hub, *call, "a short story").split() == ["piece"] * 3 + ["whole"]

        caller = machines.start(machines.hub, *call, "a long story")
        _lines_until(caller.stdout, "piece")
        machines.pull_the_cable()
        pulled = time.monotonic()
        said = _lines_until(caller.stdout, "^(error|whole)(.*)")
        waited = time.monotonic() - pulled
        assert said.group(1) == "error", "an answer that broke off was taken for a whole one"
        assert re.search(r"time|idle|second", said.group(2)), said.group(2)
        assert waited < IDLE + 3.0, f"the caller waited {waited:.1f} s"

        machines.put_it_back()
        assert machines.run(machines.hub, *call, "a short story").split() == ["piece"] * 3 + ["whole"]
        newest = _calls(home, machines, byom)
        assert sorted(call["state"] for call in newest if call["model"] == "tell") == ["error", "ok", "ok"]
        broken = next(call for call in newest if call["state"] == "error")
        assert broken["completion_tokens"] > 0, "what had been produced was not counted"
        live = machines.run(
            machines.hub, "curl", "-sS", "-H", f"Authorization: Bearer {key}", "http://127.0.0.1:8420/api/live"
        )
        assert json.loads(live)["data"] == [], "the call that broke off is still counted as one under way"


def test_without_the_key_the_other_machine_says_nothing(possible: None, tmp_path: Path) -> None:
    byom = Path(sys.executable).with_name("byom")
    (tmp_path / "far.py").write_text(CODE)
    with _machines() as machines:
        refused = subprocess.run(
            ["ip", "netns", "exec", machines.code, byom, "host", tmp_path / "far.py:tell", "--host", CODE_ADDRESS,
             "--port", "8431", "--no-key"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert refused.returncode != 0
        assert "key" in refused.stderr
        host = machines.start(
            machines.code, byom, "host", tmp_path / "far.py:tell", "--host", CODE_ADDRESS, "--port", "8431",
            "--key-stdin", given=f"{KEY}\n",
        )  # fmt: skip
        _lines_until(host.stdout, r"http://10\.77\.31\.1:8431")
        asked = ("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}")
        url = f"http://{CODE_ADDRESS}:8431/v1/models"
        assert machines.run(machines.hub, *asked, url) == "401"
        assert machines.run(machines.hub, *asked, "-H", f"Authorization: Bearer {KEY}", url) == "200"
