"""A hub on a machine without any network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOUR = """
import asyncio, sys
import httpx2
from byom.server.hub import Hub
from byom.settings import load_settings

async def main() -> None:
    async with Hub.session(load_settings({"home": sys.argv[1]})) as hub:
        key = (hub.settings.admin_key_file).read_text().strip()
        transport = httpx2.ASGITransport(app=hub.app)
        headers = {"authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub", headers=headers) as client:
            text = "The cat sat on the mat. The cat ran after the dog on the mat. The dog was slow and the cat fast."
            question = [{"role": "user", "content": text}]
            chat = await client.post("/v1/chat/completions", json={"model": "extractive", "messages": question})
            print(chat.status_code, chat.json()["choices"][0]["message"]["content"])
            embedding = await client.post("/v1/embeddings", json={"model": "lexical", "input": "cat"})
            print(embedding.status_code, len(embedding.json()["data"][0]["embedding"]))
            listed = await client.get("/api/models")
            print(listed.status_code)

asyncio.run(main())
"""


@pytest.fixture
def without_network() -> list[str]:
    """What a command is put behind to run with loopback alone."""
    prefix = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    usable = (
        shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    )
    if not usable:
        message = "this system does not let a test make a network namespace (unshare --net)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return prefix


def test_a_hub_starts_and_answers_where_there_is_no_network(without_network: list[str], tmp_path: Path) -> None:
    """gateway checklist 78: nothing is fetched at import or start."""
    command = [*without_network, sys.executable, "-c", TOUR, str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    chat, embedding, listed = done.stdout.splitlines()
    assert chat.startswith("200 The ")
    assert embedding == "200 384"
    assert listed == "200"
