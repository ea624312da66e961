"""The gateways BYOM is compared with, installed from their registries into a cache outside the repository.

python bench/peers.py          installs what is missing; says what could not be installed
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

LITELLM = "litellm[proxy]"
PORTKEY = "@portkey-ai/gateway"

# Its release 1.15.2 leaves the version of its HTTP server open, and with the newer ones that npm then picks
# (1.14.4 and later were tried) every stream ends in status 500, "TypeError: immutable".
_PORTKEY_OVERRIDES = {"@hono/node-server": "1.13.8"}


def cache() -> Path:
    """Where peers live: ``BYOM_BENCH_PEERS`` or ``~/.cache/byom-bench``."""
    return Path(os.environ.get("BYOM_BENCH_PEERS") or Path.home() / ".cache" / "byom-bench")


def litellm_command() -> Path:
    """LiteLLM's command in its own virtual environment."""
    return cache() / "litellm" / "bin" / "litellm"


def litellm_version() -> str:
    """The installed version."""
    question = "import importlib.metadata as m; print(m.version('litellm'))"
    python = cache() / "litellm" / "bin" / "python"
    return subprocess.run([python, "-c", question], capture_output=True, text=True, check=True).stdout.strip()


def portkey_server() -> Path:
    """The script that starts Portkey's gateway."""
    return cache() / "portkey" / "node_modules" / PORTKEY / "build" / "start-server.js"


def portkey_version() -> str:
    """The installed version."""
    package = json.loads((portkey_server().parent.parent / "package.json").read_text())
    return str(package["version"])


def install_litellm() -> str:
    """Install LiteLLM unless it is there; empty on success, else why it failed."""
    if litellm_command().exists():
        return ""
    python = cache() / "litellm" / "bin" / "python"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    installer: list[str | Path] = (
        [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install", "--quiet"]
    )
    return _try([sys.executable, "-m", "venv", cache() / "litellm"]) or _try([*installer, LITELLM])


def install_portkey() -> str:
    """Install Portkey's gateway unless it is there; empty on success, else why it failed."""
    if portkey_server().exists():
        return ""
    folder = cache() / "portkey"
    folder.mkdir(parents=True, exist_ok=True)
    package = {"private": True, "dependencies": {PORTKEY: "latest"}, "overrides": _PORTKEY_OVERRIDES}
    (folder / "package.json").write_text(json.dumps(package, indent=2) + "\n")
    return _try(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund"])


def _try(command: Sequence[str | Path]) -> str:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    except subprocess.CalledProcessError as error:
        lines: list[str] = error.stderr.strip().splitlines()
        return lines[-1] if lines else f"{command[0]} failed"
    return ""


def install_wanted(legs: Collection[str]) -> None:
    """Install those of ``legs`` that are missing; one that cannot be is reported and left out, never an error."""
    for leg, package, install in (("litellm", LITELLM, install_litellm), ("portkey", PORTKEY, install_portkey)):
        if leg in legs:
            problem = install()
            print(f"{package}: {'not available: ' + problem if problem else 'in ' + str(cache())}", flush=True)


if __name__ == "__main__":
    install_wanted({"litellm", "portkey"})
