"""The documentation page shows every operation, and sends what its reader fills in."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from byom.server.api.application import create_api
from byom.server.api.documentation import PAGE
from byom.server.api.openapi import document
from tests.server.api.conftest import SmallHub

BROWSER = Path(__file__).parent / "docs_page.cjs"


async def test_the_page_shows_every_operation_and_sends_a_request(local: SmallHub) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here to run the page's script with")
    openapi = document(create_api(local))
    script = re.findall(r"<script>(.*?)</script>", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    given = json.dumps({"script": script, "openapi": openapi})
    ran = await asyncio.to_thread(
        subprocess.run, [node, str(BROWSER)], input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    shown = json.loads(ran.stdout)
    assert shown["operations"] == sum(len(methods) for methods in openapi["paths"].values())
    assert "requests_per_minute?: integer | null" in shown["text"]
    request = shown["asked"][1]
    assert (request["method"], request["url"]) == ("DELETE", "/api/models/org%2Fm?dry_run=true")
    assert request["headers"] == {"authorization": "Bearer sk-byom-typed"}
    assert shown["answer"].startswith("200 OK")
    assert "<b>hi</b>" in shown["answer"]
