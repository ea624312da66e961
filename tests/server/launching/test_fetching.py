"""Launches whose weights are fetched first: from a server on this machine, with everything that can go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from byom.server.hub import Hub
from byom.server.launching.launching import LaunchCancelled, LaunchFailed
from byom.server.launching.request import LaunchRequest
from byom.settings import load_settings
from tests.runtime.tiny_gguf import write_tiny_gguf
from tests.server.launching.specs import gguf_spec
from tests.server.processes import until

ASK = {"model": "far", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}


class _Quiet(SimpleHTTPRequestHandler):
    slow = threading.Event()

    def log_message(self, *_: object) -> None: ...

    def copyfile(self, source: object, outputfile: object) -> None:
        """Half of the file, and then the rest when the test says so."""
        data = source.read()  # type: ignore[attr-defined]
        outputfile.write(data[: len(data) // 2])  # type: ignore[attr-defined]
        if "slow" in self.path:
            self.slow.wait(20)
        with contextlib.suppress(OSError):
            outputfile.write(data[len(data) // 2 :])  # type: ignore[attr-defined]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """URL of a folder with ``tiny.gguf`` and ``slow.gguf``."""
    folder = tmp_path / "served"
    folder.mkdir()
    write_tiny_gguf(folder / "tiny.gguf")
    (folder / "slow.gguf").write_bytes((folder / "tiny.gguf").read_bytes())
    _Quiet.slow.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        _Quiet.slow.set()
        server.shutdown()
        thread.join()


def mounted(*words: object) -> bool:
    return subprocess.run(["mount", *map(str, words)], check=False, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of fetched weights of a home, on a disk that has no room for any."""
    folder = tmp_path / "home" / "models"
    folder.mkdir(parents=True)
    if os.geteuid() != 0 or not mounted("-t", "tmpfs", "-o", "size=200k", "none", folder):
        pytest.skip("mounting a small disk takes root, on a machine that lets it")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def far(url: str, folder: Path, **entry: object) -> dict[str, object]:
    spec = gguf_spec(folder, "far")
    name = url.rpartition("/")[2]
    spec["model_specs"][0] |= {"model_uri": url, "model_file_name_template": name, **entry}
    return spec


async def test_weights_of_a_url_are_fetched_once_with_progress_and_served(
    hub: Hub, admin: httpx2.AsyncClient, served: str, tmp_path: Path
) -> None:
    digest = hashlib.sha256((tmp_path / "served" / "tiny.gguf").read_bytes()).hexdigest()
    await hub.launching.register(far(f"{served}/tiny.gguf", tmp_path, sha256=digest), persist=False)
    stages = []
    await hub.launching.launch(LaunchRequest(model_name="far"), progress=stages.append)
    fetched = [file for stage in stages for file in stage.files]
    assert fetched
    assert fetched[-1].done == (tmp_path / "served" / "tiny.gguf").stat().st_size
    fractions = [stage.fraction for stage in stages if stage.state != "queued"]
    assert fractions == sorted(fractions)
    assert (await admin.post("/v1/chat/completions", json=ASK)).status_code == 200
    (cached,) = await hub.launching.cached()
    assert (cached.model_name, cached.format) == ("far", "ggufv2")
    (tmp_path / "served" / "tiny.gguf").unlink()
    await hub.launching.terminate("far")
    await hub.launching.launch(LaunchRequest(model_name="far"))
    assert (await admin.post("/v1/chat/completions", json=ASK)).status_code == 200
    await hub.launching.terminate("far")
    await hub.launching.remove_cached(cached.path)
    assert await hub.launching.cached() == []


async def test_weights_that_are_not_what_was_promised_are_refused_and_not_kept(
    hub: Hub, served: str, tmp_path: Path
) -> None:
    """Must show: wrong checksum"""
    await hub.launching.register(far(f"{served}/tiny.gguf", tmp_path, sha256="0" * 64), persist=False)
    with pytest.raises(LaunchFailed, match=r"(?i)checksum|sha-?256"):
        await hub.launching.launch(LaunchRequest(model_name="far"))
    assert [path for path in (hub.settings.home / "models").rglob("*") if path.is_file()] == []
    assert hub.catalog.state.connection("far") is None


async def test_cancelling_while_weights_are_fetched_stops_the_fetching(hub: Hub, served: str, tmp_path: Path) -> None:
    await hub.launching.register(far(f"{served}/slow.gguf", tmp_path), persist=False)
    waiting = asyncio.ensure_future(hub.launching.launch(LaunchRequest(model_name="far")))

    async def fetching() -> bool:
        if hub.catalog.state.connection("far") is None:
            return False
        running = await hub.launching.get("far")
        return bool(running.stage.files) and running.stage.files[0].done > 0

    await until(fetching)
    async with asyncio.timeout(5):
        await hub.launching.cancel("far")
        with pytest.raises(LaunchCancelled):
            await waiting
    assert await hub.launching.running() == []


async def test_a_full_disk_is_told_and_the_launch_works_when_there_is_room(
    served: str, tmp_path: Path, small_disk: Path
) -> None:
    """Must show: disk full while downloading"""
    async with Hub.session(load_settings({"home": small_disk.parent}, environ={})) as hub:
        await hub.launching.register(far(f"{served}/tiny.gguf", tmp_path), persist=False)
        with pytest.raises(LaunchFailed, match=r"(?i)room|full|space"):
            await hub.launching.launch(LaunchRequest(model_name="far"))
        assert hub.catalog.state.connection("far") is None
        mounted("-o", "remount,size=600m", small_disk)
        await hub.launching.launch(LaunchRequest(model_name="far"))
        assert (await hub.launching.get("far")).state == "ready"
