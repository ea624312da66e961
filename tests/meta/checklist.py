"""Writes docs/checklist.md: ``python -m tests.meta.checklist``. With ``--check`` only says whether it is up to date."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "checklist.md"
SOURCE = Path(__file__).with_name("checklist.toml")
COUNT = 92
CITED = re.compile(r"gateway checklist (\d+(?:(?:, | and |, and )\d+)*)", re.IGNORECASE)
HEAD = """\
# Checklist of a gateway

Behaviours that gateways often get wrong, and the test that holds each. This page is written by
`python -m tests.meta.checklist` from the tests' docstrings; a test fails when it is out of date.
"""


class Item(NamedTuple):
    number: int
    text: str
    section: str


def items() -> list[Item]:
    return [
        Item(int(number), text, section["title"])
        for name, section in document().items()
        if name not in ("tests", "because")
        for number, text in section.items()
        if number != "title"
    ]


@cache
def document() -> dict[str, Any]:
    return tomllib.loads(SOURCE.read_text(encoding="utf-8"))


@cache
def cited_tests() -> dict[int, list[str]]:
    """The tests that cite each number, as ``file::test``, in the order of files."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for number in numbers_in(ast.get_docstring(node) or ""):
                    found[number].append(f"{name}::{node.name}")
            elif isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                        for number in numbers_in(ast.get_docstring(inner) or ""):
                            found[number].append(f"{name}::{node.name}::{inner.name}")
    return found


def numbers_in(text: str) -> list[int]:
    return [int(number) for cited in CITED.findall(" ".join(text.split())) for number in re.findall(r"\d+", cited)]


def held_by() -> dict[int, list[str]]:
    found = {number: list(tests) for number, tests in cited_tests().items()}
    for number, tests in document()["tests"].items():
        held = found.setdefault(int(number), [])
        held += [test for test in tests if test not in held]
    return found


def reasons() -> dict[int, str]:
    return {int(number): text for number, text in document()["because"].items()}


def page() -> str:
    tests, because = held_by(), reasons()
    lines, section = [HEAD], ""
    for item in items():
        if item.section != section:
            section = item.section
            lines.append(f"\n## {section}\n\n| | Behaviour | Held by |\n| ---: | --- | --- |")
        held = [f"[`{shown(test)}`](../{test.partition('::')[0]})" for test in tests.get(item.number, [])]
        cell = "<br>".join([*held, *([because[item.number]] if item.number in because else [])])
        lines.append(f"| {item.number} | {item.text} | {cell or '**open**'} |")
    return "\n".join(lines) + "\n"


def shown(test: str) -> str:
    return test.removeprefix("tests/").replace(".py::", "::")


def main(arguments: list[str]) -> int:
    text = page()
    if "--check" in arguments:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    missing = [item.number for item in items() if not held_by().get(item.number) and item.number not in reasons()]
    if missing:
        sys.stdout.write(f"open: {', '.join(map(str, missing))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
