"""What is installed from the lock alone is enough to run."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _locked(lock: str) -> set[str]:
    return {_name(found) for found in _PINNED.findall((ROOT / "requirements" / lock).read_text())}


@pytest.mark.parametrize("lock", ["run.txt", "test.txt"])
def test_the_lock_holds_all_that_byom_and_its_dependencies_need(lock: str) -> None:
    """A package that was installed by hand once hides one that the lock lacks, until somebody starts afresh."""
    locked = _locked(lock)
    left = [Requirement(text) for text in importlib.metadata.requires("byom") or ()]
    seen: set[tuple[str, str]] = set()
    missing = set()
    while left:
        requirement = left.pop()
        name, extras = _name(requirement.name), ("", *sorted(requirement.extras))
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name not in locked:
            missing.add(name)
            continue
        for extra in extras:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in importlib.metadata.requires(name) or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    needed.marker = None
                    left.append(needed)
    assert not missing


def test_the_asynchronous_engine_comes_with_the_package_that_it_needs() -> None:
    """SQLAlchemy names greenlet in an extra only, and imports it always."""
    assert "greenlet" in _locked("run.txt")
