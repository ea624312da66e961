"""Imports run one way: a folder imports only from those before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "byom"
WORKER = SOURCE / "host" / "worker"

LAYERS = (
    ("errors", "__version__"),
    ("settings", "types"),
    ("limits", "ledger"),
    ("upstream",),
    ("models",),
    ("catalog", "runtime", "host"),
    ("_llm",),
    ("gateway", "concepts", "evaluation", "llm"),
    ("server",),
    ("_client",),
    ("client",),
    ("cli",),
)
RANK = {area: rank for rank, layer in enumerate(LAYERS) for area in layer}

ONLY = {"testing": {"errors", "types", "host"}, "__init__": {"client"}, "__main__": {"cli"}}
"""Faces outside the layers: the doubles know no more of the program than a model's server would, ``import byom`` gives
the names of the library, imported with their first use, and ``python -m byom`` is the program."""

ALLOWED = {("cli", "testing")}
"""``byom demo`` needs somebody else's model to connect to, offline."""


def imports_of(path: Path) -> Iterator[str]:
    """The folder or module below ``byom`` of every import in a file, those in functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level and WORKER in path.parents:
                continue  # it also runs as a package of another name, where byom is not installed
            assert node.level == 0, f"{path}: a relative import"
            names = [f"byom.{alias.name}" for alias in node.names] if node.module == "byom" else [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("byom."))


def area_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


AREAS = sorted({area_of(path) for path in SOURCE.rglob("*.py")})


@pytest.mark.parametrize("area", AREAS)
def test_a_folder_imports_only_from_those_before_it(area: str) -> None:
    files = [path for path in SOURCE.rglob("*.py") if area_of(path) == area]
    used = {name for path in files for name in imports_of(path)} - {area}
    if area in ONLY:
        assert used <= ONLY[area]
        return
    used -= {other for one, other in ALLOWED if one == area}
    wrong = {name for name in used if RANK.get(name, len(LAYERS)) >= RANK[area]}
    assert not wrong, f"{area} imports {', '.join(sorted(wrong))}"


def test_every_folder_has_its_place() -> None:
    assert set(AREAS) <= set(RANK) | set(ONLY)
