"""Runs the program: as a process of its own, as a user does, or inside this one, which takes a tenth of the time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from byom.cli.main import app
from tests.client.hubs import RunningHub

Done = subprocess.CompletedProcess[str]


class Program:
    """``byom …`` with the variables of one hub. Standard input is ``given``, and no terminal."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BYOM_")}
        given = {name: value for name, value in environ.items() if value}
        self.environ = kept | {"TERM": "dumb", "COLUMNS": "100"} | given

    def __call__(self, *args: str, given: str = "", **environ: str) -> Done:
        """Inside this process. What is not an error of the program is raised."""
        wanted = self.environ | environ
        cleared: dict[str, str | None] = dict.fromkeys(set(os.environ) - set(wanted))
        result = CliRunner().invoke(app, args, input=given, env=cleared | wanted, prog_name="byom")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return subprocess.CompletedProcess(args, result.exit_code, result.stdout, result.stderr)

    def process(self, *args: str, given: str = "", timeout: float = 60, **environ: str) -> Done:
        """In a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "byom", *args],
            env=self.environ | environ,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture
def byom(running_hub: RunningHub) -> Program:
    """The program, with a hub that runs for its home."""
    return Program(running_hub.environ)


@pytest.fixture
def byom_alone(tmp_path: Path) -> Program:
    """The program, with a home in which no hub runs."""
    return Program({"BYOM_HOME": str(tmp_path / "home")})
