"""BYOM with everything on: a caller's key, limits on the key and on the models, the ledger and the metrics.

The limits are set where no run reaches them: they are counted and reserved for every call and never refuse one.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

from processes import GATEWAY_CORE, child_environment, free_port

from legs.leg import BURST, PACED, PLAIN, Gateway, Running, Upstreams, Workplace

_UPSTREAM_KEY = "BENCH_UPSTREAM_KEY"

COMMAND = Path(sys.executable).with_name("byom")

_LIMITS = """
requests_per_minute = 100000000
tokens_per_minute = 2000000000
concurrency = 100000
budget = { amount = "900000", period = "month" }
"""
_KEY_LIMITS = ("--rpm", "100000000", "--tpm", "2000000000", "--concurrency", "100000", "--budget", "900000/month")


def set_up(home: Path, upstreams: Upstreams) -> str:
    """Declare the mocks with a stored key, limits and prices, make a limited caller's key; returns its token."""
    declaration = home / "bench.toml"
    declaration.write_text("".join(_declaration(model, upstreams) for model in (PLAIN, BURST, PACED)))
    _byom(home, "apply", str(declaration), "--yes")
    created = json.loads(_byom(home, "keys", "create", "bench", "--json", *_KEY_LIMITS))
    return str(created["token"])


def _declaration(model: str, upstreams: Upstreams) -> str:
    return f"""
[connections.{model}]
url = "{upstreams.base(model)}"
key_env = "{_UPSTREAM_KEY}"
[connections.{model}.limits]{_LIMITS}
[models.{model}]
connection = "{model}"
price = {{ input = "0.15", output = "0.60" }}
[models.{model}.limits]{_LIMITS}"""


def _byom(home: Path, *arguments: str) -> str:
    finished = subprocess.run(
        [COMMAND, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=child_environment({"BYOM_HOME": str(home), _UPSTREAM_KEY: "sk-mock"}),
    )
    if finished.returncode != 0:
        raise RuntimeError(f"byom {' '.join(arguments)}: {finished.stderr.strip()[-500:]}")
    return finished.stdout


class Byom:
    """The leg of BYOM."""

    name = "byom"
    slow = False

    def missing(self) -> str:
        return "" if COMMAND.exists() else f"{COMMAND.name} is not installed in this environment"

    def version(self) -> str:
        return importlib.metadata.version("byom")

    def start(self, place: Workplace) -> Running:
        home = place.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        key = set_up(home, place.upstreams)
        port = free_port()
        command: list[str | Path] = [COMMAND, "serve", "--port", str(port), "--home", home]
        child = place.children.start("byom", command, core=GATEWAY_CORE)
        return Gateway(child, port, {"Authorization": f"Bearer {key}"})
