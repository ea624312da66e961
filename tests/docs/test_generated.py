"""What the pages say of commands, settings, errors and metrics is what the code says."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from byom import errors
from byom.catalog.forms import SettingsForm
from byom.cli.main import COMMANDS
from byom.settings import Settings
from tests.docs import generated

ROOT = Path(__file__).parents[2]
DOCS = {path: path.read_text(encoding="utf-8") for path in generated.pages()}
ALL = "\n".join(DOCS.values())


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_generated_parts_of_a_page_are_up_to_date(path: Path) -> None:
    assert DOCS[path] == generated.filled(DOCS[path]), "run: python -m tests.docs.generated"


def test_every_part_is_on_a_page() -> None:
    assert set(re.findall(r"<!-- generated: ([\w.-]+) -->", ALL)) == set(generated.PARTS)


def test_every_error_is_described() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ByomError)]
    for kind in kinds:
        assert f"`{kind.__name__}`" in ALL, kind.__name__


def test_every_setting_is_described() -> None:
    for field in (*msgspec.structs.fields(Settings), *msgspec.structs.fields(SettingsForm)):
        assert f"| `{field.name}` |" in ALL, field.name


def test_every_command_is_described() -> None:
    for name in COMMANDS:
        assert f"### byom {name}\n" in ALL


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    document = tomllib.loads((Path(__file__).with_name("dependencies.toml")).read_text(encoding="utf-8"))

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=!~; ]", one)[0] for one in requirements}

    extras = [one for many in project["project"]["optional-dependencies"].values() for one in many]
    run = names(project["project"]["dependencies"]) | names(extras)
    assert set(document["run"]) == run
    assert set(document["test"]) == names(project["dependency-groups"]["dev"]) - run


def test_a_setting_without_effect_is_said_to_be_one() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "src" / "byom").rglob("*.py")
        if not path.as_posix().endswith("byom/settings.py") and "schemas" not in path.parts
    ]
    names = [field.name for field in (*msgspec.structs.fields(Settings), *msgspec.structs.fields(SettingsForm))]
    known = {node.attr for text in sources for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    reached = {"home": "key_file", "secret_key_file": "key_file", "database_url": "database"}
    idle = {name for name in names if name not in known and reached.get(name) not in known}
    assert not idle


LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    for target, anchor in LINK.findall(DOCS[path]):
        if "://" in target or target.startswith("mailto:"):
            continue
        found = (path.parent / target).resolve()
        assert found.exists(), target
        if anchor and found.suffix == ".md":
            heads = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}
            assert anchor[1:] in anchors, f"{target}{anchor}"
