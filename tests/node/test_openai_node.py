"""Each test of openai.test.mjs as one of pytest's, and what only the upstream and the ledger can tell about them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from tests.node.serving import UPSTREAM_KEY, Served, served

FOLDER = Path(__file__).parent
VENV = FOLDER.parents[1] / ".venv" / "bin"
PROGRAM = (FOLDER / "openai.test.mjs").read_text(encoding="utf-8")
RESULT = re.compile(r"^(not ok|ok) \d+ - (.*?)(?: # .*)?$", re.MULTILINE)
NEEDED = "tests/node/node_modules is missing: make test installs it"


def names() -> list[str]:
    """The names of the Node tests, those made in a loop included."""
    plain = re.findall(r"^test\('([^']+)'", PROGRAM, re.MULTILINE)
    table = re.findall(r"^  \['([^']+)', OpenAI\.", PROGRAM, re.MULTILINE)
    return plain + [f"an error is raised as {name}" for name in table]


class Run(NamedTuple):
    served: Served
    outcome: dict[str, str]
    output: str


def _node() -> str:
    node = shutil.which("node", path=os.pathsep.join([str(VENV), os.environ.get("PATH", "")]))
    if node is not None and (FOLDER / "node_modules" / "openai").is_dir():
        return node
    if os.environ.get("CI") == "true":
        pytest.fail(NEEDED)
    pytest.skip(NEEDED)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One run of the Node program against a hub that still serves while the results are looked at."""
    node = _node()
    with served(tmp_path_factory.mktemp("home")) as hub:
        environment = {**os.environ, "HUB_URL": hub.url, "HUB_KEY": hub.key}
        done = subprocess.run(
            [node, "--test", "--test-reporter=tap", "openai.test.mjs"],
            cwd=FOLDER,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        output = done.stdout + done.stderr
        yield Run(hub, {name: word for word, name in RESULT.findall(re.sub(r"(?m)^ +", "", output))}, output)


@pytest.mark.parametrize("name", names())
def test_the_node_sdk(run: Run, name: str) -> None:
    assert run.outcome.get(name) == "ok", run.output


def test_every_node_test_is_one_of_these(run: Run) -> None:
    assert set(run.outcome) - {"openai.test.mjs"} == set(names())


def test_a_cancelled_call_of_the_node_sdk_ends_at_the_upstream(run: Run) -> None:
    run.served.upstream.wait_for_disconnect_sync(count=4)  # three of "endless" and one of "hangs"
    ended = [
        one.request.fields().get("stream", False)
        for one in run.served.upstream.disconnects
        if one.request.model == "endless"
    ]
    assert True in ended
    assert False in ended


def test_a_call_that_was_sent_twice_with_one_idempotency_key_is_made_once(run: Run) -> None:
    assert [request.model for request in run.served.upstream.requests].count("counted") == 1


def test_every_call_of_the_node_sdk_is_in_the_ledger(run: Run) -> None:
    calls = httpx2.get(
        f"{run.served.url.removesuffix('/v1')}/api/calls",
        params={"limit": 200},
        headers={"authorization": f"Bearer {run.served.admin_key}"},
        trust_env=False,
    )
    states = {(row["model"], row["state"]) for row in calls.json()["data"]}
    assert {("plain", "ok"), ("endless", "cancelled"), ("limited", "refused"), ("breaks", "error")} <= states


def test_no_prompt_no_answer_and_no_key_is_written_down(run: Run) -> None:
    """Gateway checklist 63 and 77: neither in the log nor in the database, the spool or any other file of the hub."""
    secrets = [b"canary-of-a-prompt", "three ☃".encode(), UPSTREAM_KEY.encode(), run.served.key.encode()]
    assert any("canary-of-a-prompt" in request.body.decode() for request in run.served.upstream.requests)
    for path in run.served.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret in content], path.name
            assert run.served.admin_key.encode() not in content or path.name == "admin.key", path.name
