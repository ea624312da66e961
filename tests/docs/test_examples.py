"""Every example of README.md and docs/ runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import FOR_READING, RUNNABLE, read_page
from tests.docs.runner import Example

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_EXAMPLES = [path for path in PAGES if any(block.language in RUNNABLE for block in read_page(path).blocks)]
IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_examples_of_a_page_run_in_order(path: Path, tmp_path: Path) -> None:
    example = Example(read_page(path), tmp_path)
    with example.servers():
        for block in example.page.blocks:
            if block.language in RUNNABLE:
                example.run(block)


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_every_block_says_what_it_is(path: Path) -> None:
    for block in read_page(path).blocks:
        assert block.language in RUNNABLE + FOR_READING, f"line {block.line}: {block.language!r}"
