"""A hub in a process of its own, as people run it, before a fake upstream with a model for each thing to be seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from byom.catalog.catalog import Catalog
from byom.catalog.forms import ModelForm
from byom.settings import Settings
from byom.testing import Behavior, FakeUpstream, RecordedRequest, ScriptedToolCall

TOOLS = (ScriptedToolCall("weather", {"city": "Oslo"}), ScriptedToolCall("time", {"zone": "CET"}))
MISTAKE = {"message": "This input is wrong.", "type": "invalid_request_error", "param": None, "code": "bad_input"}
PLAIN = Behavior(tokens=("one", " two", " three", " ☃"))
MODELS: dict[str, Behavior] = {
    "plain": PLAIN,
    "extra": PLAIN.but(extra={"provider_extra": {"kept": True}}, reasoning="thinking"),
    "tools": Behavior(tool_calls=TOOLS),
    "json": Behavior(),
    "limited": PLAIN,
    "counted": PLAIN,
    "breaks": Behavior(chunks=9, cut_after_chunks=3),
    "hangs": Behavior(hang=True),
    "endless": Behavior(),
    **{f"status-{status}": Behavior(status=status, error=MISTAKE) for status in (400, 401, 409, 422, 500, 503)},
}
UPSTREAM_KEY = "canary-of-an-upstream-key"
ONE_TRY = {"attempts": 1}


class Served(NamedTuple):
    url: str
    """With ``/v1``."""
    key: str
    """Of a user who is no administrator."""
    admin_key: str
    home: Path
    upstream: FakeUpstream


@contextlib.contextmanager
def served(home: Path) -> Iterator[Served]:
    with FakeUpstream(models=tuple(MODELS), api_key=UPSTREAM_KEY) as upstream:
        for name, behavior in MODELS.items():
            upstream.set_model(name, behavior)
        upstream.set_model("endless", _endless)
        key = asyncio.run(_fill(Settings(home=home), upstream.base_url))
        with hub_process(home) as url:
            yield Served(f"{url}/v1", key, (home / "admin.key").read_text().strip(), home, upstream)


def _endless(request: RecordedRequest) -> Behavior:
    return Behavior(chunks=1000, chunk_interval=0.05) if request.fields().get("stream") else Behavior(hang=True)


async def _fill(settings: Settings, url: str) -> str:
    async with Catalog.session(settings) as catalog:
        await catalog.connections.create(
            {"name": "fake", "url": url, "key": UPSTREAM_KEY, "retry": ONE_TRY, "circuit": {"failures": 1000}},
            actor="test",
        )
        await catalog.models.create_many([ModelForm(name=name, connection="fake") for name in MODELS], actor="test")
        await catalog.models.update("hangs", {"timeouts": {"first_byte": 0.3}}, actor="test")
        await catalog.models.update("limited", {"limits": {"requests_per_minute": 1}}, actor="test")
        await catalog.users.create({"name": "caller"}, actor="test")
        return (await catalog.keys.create({"name": "node", "user": "caller"}, actor="test")).token


@contextlib.contextmanager
def hub_process(home: Path, seconds: float = 20.0) -> Iterator[str]:
    """The URL of a hub with this home; the process has ended when the block is left."""
    program = (
        "import sys; from byom.server.serve import serve; from byom.settings import load_settings; "
        "serve(load_settings({'home': sys.argv[1], 'port': 0, 'drain_seconds': 0.0}))"
    )
    with (home / "hub.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", program, str(home)], stdout=log, stderr=log)
    try:
        yield _url_of(home, process, seconds)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _url_of(home: Path, process: subprocess.Popen[bytes], seconds: float) -> str:
    record = home / "hub.json"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if record.exists():
            url: str = json.loads(record.read_text())["url"]
            return url
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError(f"the hub did not start:\n{(home / 'hub.log').read_text()}")
