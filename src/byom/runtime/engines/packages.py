"""Where an engine's package is installed: in this program's environment, or in one of its own."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

from byom.runtime.engines.seam import Installed


def find_package(distribution: str, *, python: str | None, hint: str) -> Installed:
    """``python``: the interpreter of the environment to look into, ``None`` for this one. Starts nothing."""
    if python is None:
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return Installed(version=None, hint=hint)
        return Installed(version=version, python=sys.executable)
    prefix = Path(python).absolute().parent.parent
    name = distribution.replace("-", "_").lower()
    for pattern in ("lib/python3*/site-packages", "lib64/python3*/site-packages", "Lib/site-packages"):
        for folder in sorted(prefix.glob(pattern)):
            for found in folder.glob("*.dist-info"):
                package, _, version = found.name.removesuffix(".dist-info").rpartition("-")
                if package.lower() == name:
                    return Installed(version=version, python=python)
    return Installed(version=None, hint=f"{hint} (in the environment of {python})")
