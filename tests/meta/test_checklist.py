"""docs/checklist.md says of each behaviour which test holds it, and is up to date."""

from __future__ import annotations

import ast

import pytest

from tests.meta import checklist

NUMBERS = range(1, checklist.COUNT + 1)


def test_every_behaviour_is_described_once() -> None:
    assert [item.number for item in checklist.items()] == list(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_behaviour_has_a_test_or_a_reason(number: int) -> None:
    assert checklist.held_by().get(number) or checklist.reasons().get(number)


def test_every_named_test_exists() -> None:
    for names in checklist.held_by().values():
        for name in names:
            file, _, function = name.partition("::")
            tree = ast.parse((checklist.ROOT / file).read_text(encoding="utf-8"))
            defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert function.rpartition("::")[2] in defined, name


def test_the_page_is_up_to_date() -> None:
    assert checklist.PAGE.read_text(encoding="utf-8") == checklist.page(), "run: python -m tests.meta.checklist"
