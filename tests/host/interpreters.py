"""The Pythons of this machine: BYOM's own, and whatever else is installed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
"""The versions that user code may bring."""


@functools.cache
def interpreter(version: str) -> str | None:
    """Its path; ``None`` where there is none that runs."""
    if version == OWN:
        return sys.executable
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [shutil.which(f"python{version}"), *sorted(map(str, root.glob(f"versions/{version}.*/bin/python")))]
    for place in filter(None, places):
        # A name that a version manager keeps without the version behind it is found and does not run.
        if subprocess.run([place, "-c", ""], check=False, capture_output=True).returncode == 0:
            return place
    return None


def found() -> list[str]:
    """The versions that are here; BYOM's own is always one."""
    return [version for version in OTHERS if interpreter(version) is not None]
