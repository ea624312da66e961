"""The examples of a page: fenced blocks, and the comments that say how they are run.

    <!-- run: hub upstream -->        once a page: what runs beside it: a hub, a model's server
    <!-- file: byom.toml -->          the next block is written to this file
    <!-- shows: some text -->         the next block's output has this text; may be repeated
    <!-- fails: 1 -->                 the next block ends with this exit code
    <!-- stdin: text -->              the next block reads this

``bash``, ``python``, ``js`` and ``toml`` blocks are examples and run in order, in one folder and with one environment.
Everything else (``text``, ``json``) is for reading.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

RUNNABLE = ("bash", "python", "js", "toml")
FOR_READING = ("text", "json", "ini", "nginx")
_COMMENT = re.compile(r"<!-- (run|file|shows|fails|stdin): (.*?) -->")
_FENCE = re.compile(r"^(\s*)```(\S*)\s*$")


class Block(NamedTuple):
    line: int
    """Of its fence, from 1."""
    language: str
    text: str
    file: str | None
    shows: tuple[str, ...]
    fails: int
    stdin: str


class Page(NamedTuple):
    path: Path
    run: frozenset[str]
    blocks: tuple[Block, ...]


def read_page(path: Path) -> Page:
    run: set[str] = set()
    blocks: list[Block] = []
    notes: list[tuple[str, str]] = []
    opened: tuple[int, str, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None:
            for kind, value in _COMMENT.findall(line):
                if kind == "run":
                    run.update(value.split())
                else:
                    notes.append((kind, value))
            if fence:
                opened, inside = (number, fence[1], fence[2]), []
        elif fence and not fence[2]:
            blocks.append(_block(opened, inside, notes))
            opened, notes = None, []
        else:
            inside.append(line.removeprefix(opened[1]))
    assert opened is None, f"{path}: a block is not closed"
    return Page(path, frozenset(run), tuple(blocks))


def _block(opened: tuple[int, str, str], inside: list[str], notes: list[tuple[str, str]]) -> Block:
    def last(kind: str, default: str) -> str:
        return next((value for name, value in reversed(notes) if name == kind), default)

    return Block(
        line=opened[0],
        language=opened[2],
        text="\n".join(inside) + "\n",
        file=last("file", "") or None,
        shows=tuple(value for name, value in notes if name == "shows"),
        fails=int(last("fails", "0")),
        stdin=last("stdin", ""),
    )
