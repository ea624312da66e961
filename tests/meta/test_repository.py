"""The repository installs anywhere: locked by hash, with no address of a registry and no path of a machine in it."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
BINARY = {".png", ".gif", ".ico", ".woff2", ".gz"}


def tracked() -> list[Path]:
    """The files of the repository: those that git knows, else all that are not ignored by their folder."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip("this is not a git checkout")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_has_its_hash(lock: Path) -> None:
    """Gateway checklist 79."""
    logical = re.sub(r"\\\n\s*", " ", lock.read_text(encoding="utf-8"))
    lines = [line for line in logical.splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.match(r"[A-Za-z0-9._-]+(\[[^\]]+\])?==\S+", line), line[:80]
        assert "--hash=sha256:" in line, line[:80]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_no_requirement_names_a_place(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert not re.search(r"https?://|file:|--index-url|--find-links|--extra-index|(^|\s)[./]+/\w", text)


def test_the_node_lock_has_hashes_and_no_address() -> None:
    """Gateway checklist 79."""
    text = (ROOT / "tests" / "node" / "package-lock.json").read_text(encoding="utf-8")
    assert not re.search(r"https?://|resolved", text)
    packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
    assert packages
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "requirements" / "run.txt").read_text(), re.MULTILINE)
    wanted = {re.split(r"[\[<>=!~; ]", one)[0].lower() for one in project["dependencies"]}
    assert wanted <= {name.lower() for name in locked}


def test_no_file_names_a_place_on_a_machine() -> None:
    machine = re.compile(r"/(?:root|work|tmp/brief|home/[a-z]+)/|127\.0\.0\.1:\d+/simple|pypi\.internal|\.corp\b")
    for path in tracked():
        if path.suffix in BINARY or path == Path(__file__) or "node_modules" in path.parts:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not machine.search(text), f"{path.relative_to(ROOT)}: {machine.search(text)}"


def test_the_packaged_migrations_are_part_of_the_package() -> None:
    versions = ROOT / "src" / "byom" / "catalog" / "migrations" / "versions"
    assert list(versions.glob("0001_*.py"))
    assert (versions.parent / "script.py.mako").is_file()
    assert (ROOT / "src" / "byom" / "py.typed").is_file()
