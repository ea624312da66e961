"""Runs the examples of one page as a reader would: in a fresh home, in order, in one shell environment."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from byom.testing import Behavior, FakeUpstream, ScriptedToolCall
from tests.dialects.older_clients import folder_of
from tests.docs.blocks import Block, Page
from tests.node.serving import hub_process

ROOT = Path(__file__).parents[2]
NODE_MODULES = ROOT / "tests" / "node" / "node_modules"
HUB = re.compile(r"(?:127\.0\.0\.1|localhost):8420\b")
UPSTREAM = re.compile(r"(?:127\.0\.0\.1|localhost):8000\b")
UPSTREAM_MODELS = ("mistral-7b", "nomic-embed")
SECONDS = 60
WEATHER = ScriptedToolCall("weather", {"city": "Oslo"})


class Example:
    """One page's folder, home, environment and servers. Port 8420 of a page is the hub, port 8000 a model's server."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        self.work = folder / "work"
        self.work.mkdir()
        self.addresses: list[tuple[re.Pattern[str], str]] = []
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BYOM_", "OPENAI_")) and not name.lower().endswith("_proxy")
        } | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(folder),
            "BYOM_HOME": str(self.home),
            "PYTHONWARNINGS": "ignore",
            "NO_COLOR": "1",
            "COLUMNS": "120",
        }

        if "xinference" in page.run:
            self.environment["PYTHONPATH"] = str(folder_of("xinference-4"))

    @contextlib.contextmanager
    def servers(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if "upstream" in self.page.run:
                upstream = stack.enter_context(FakeUpstream(models=UPSTREAM_MODELS, strict_models=True))
                upstream.set_default(_answer)
                self.addresses.append((UPSTREAM, upstream.url.removeprefix("http://")))
            if "hub" in self.page.run:
                url = stack.enter_context(hub_process(self.home))
                self.addresses.append((HUB, url.removeprefix("http://")))
            yield

    def run(self, block: Block) -> None:
        text = self._here(block.text)
        if block.file is not None:
            path = self.work / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if block.language == "toml":
            return
        done = subprocess.run(
            self._command(block.language, text),
            cwd=self.work,
            env=self.environment,
            input=block.stdin + "\n" if block.stdin else "",
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        where = f"{self.page.path.relative_to(ROOT)}:{block.line}"
        told = f"{where}\n{text}\n--- standard output\n{done.stdout}\n--- standard error\n{done.stderr}"
        assert done.returncode == block.fails, f"exit code {done.returncode}, not {block.fails}: {told}"
        for expected in block.shows:
            assert self._here(expected) in done.stdout + done.stderr, f"{expected!r} is missing: {told}"
        if block.language == "bash":
            self._keep_environment()

    def _here(self, text: str) -> str:
        for pattern, address in self.addresses:
            text = pattern.sub(address, text)
        return text

    def _command(self, language: str, text: str) -> list[str]:
        if language == "python":
            return [sys.executable, "-c", text]
        if language == "js":
            return self._node(text)
        kept = self.folder / "environment"
        script = f"set -euo pipefail\n{text}\nenv -0 > {kept}\n"
        return ["bash", "-c", script]

    def _node(self, text: str) -> list[str]:
        node = shutil.which("node", path=self.environment["PATH"])
        if node is None or not NODE_MODULES.is_dir():
            if os.environ.get("CI") == "true":
                pytest.fail("Node.js or tests/node/node_modules is missing: make test installs them")
            pytest.skip("Node.js or tests/node/node_modules is missing: make test installs them")
        with contextlib.suppress(FileExistsError):
            (self.work / "node_modules").symlink_to(NODE_MODULES)
        program = self.work / "example.mjs"
        program.write_text(text, encoding="utf-8")
        return [node, str(program)]

    def _keep_environment(self) -> None:
        """What a block exported holds for those after it."""
        kept = self.folder / "environment"
        if kept.exists():
            pairs = (pair.partition("=") for pair in kept.read_text(encoding="utf-8").split("\0") if pair)
            self.environment = {name: value for name, _, value in pairs if name not in ("_", "SHLVL", "PWD", "OLDPWD")}


def _answer(request: object) -> Behavior:
    """A model's server that calls a tool when it is given one, and otherwise says hello."""
    fields = request.fields()  # type: ignore[attr-defined]
    if fields.get("tools"):
        return Behavior(tool_calls=(WEATHER,))
    if fields.get("response_format"):
        return Behavior()
    return Behavior(tokens=("Hello", " from", " the", " model", "."))
