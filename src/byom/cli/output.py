"""What commands print: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

from byom.errors import ByomError


def print_json(value: Any) -> None:
    """The machine-readable form: one JSON document, indented, keys in a stable order."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def done(value: Any, text: str, *, as_json: bool) -> None:
    """What was done: its outcome for programs, or a line for people."""
    if as_json:
        print_json(value)
    else:
        typer.echo(f"✓ {text}")


def note(text: str) -> None:
    """A remark for the person at the terminal."""
    typer.echo(text, err=True)


def problem(error: ByomError) -> None:
    """One error, and what to do about it."""
    report = error.details.get("check")
    if isinstance(report, Mapping) and report.get("problems"):
        check_problems(report)
        note("Nothing was saved. --no-check saves it untested.")
        return
    note(f"Error: {error.message}")
    if error.retry_after is not None:
        note(f"  Try again in {error.retry_after:g} s.")


def check_problems(report: Mapping[str, Any]) -> None:
    """What a connection check found to be wrong, and what to do about each."""
    for found in report["problems"]:
        note(f"{'Error' if found['level'] == 'error' else 'Warning'}: {found['message']}")
        if found.get("hint"):
            note(f"  {found['hint']}")


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str, right: frozenset[str] = frozenset()
) -> None:
    """Aligned columns; a frame of its own at a terminal, plain text in a pipe. ``right``: columns of numbers."""
    cells = [[cell(value) for value in row] for row in rows]
    if not cells:
        note(empty)
        return
    if sys.stdout.isatty():
        _rich_table(columns, cells, right)
        return
    widths = [max(len(line[place]) for line in (columns, *cells)) for place in range(len(columns))]
    for line in ([name.upper() for name in columns], *cells):
        parts = [
            text.rjust(width) if name in right else text.ljust(width)
            for text, width, name in zip(line, widths, columns, strict=True)
        ]
        typer.echo("  ".join(parts).rstrip())


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]], right: frozenset[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        shown.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for line in cells:
        shown.add_row(*(Text(text) for text in line))
    Console().print(shown)


def fields(values: Mapping[str, Any]) -> None:
    """One thing, a field a line; fields of nothing are left out."""
    shown = {name: cell(value) for name, value in values.items()}
    shown = {name: text for name, text in shown.items() if text != "-"}
    width = max(map(len, shown), default=0)
    for name, text in shown.items():
        typer.echo(f"{name.ljust(width)}  {text}")


def cell(value: Any) -> str:
    """A value as people read it; ``-`` for what is not known or not there."""
    if value is None or value == "" or value == [] or value == {} or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={cell(part)}" for name, part in value.items() if part not in (None, "", [], {}))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(cell, value))
    return "".join(char if char.isprintable() else "?" for char in str(value))


def moment(seconds: float | None) -> str:
    """Local time of seconds since the epoch."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def money(dollars: str | None) -> str:
    """``-`` where the cost is not known, which is not the same as 0."""
    return "-" if dollars is None else f"${dollars}"


def limits(values: Mapping[str, Any] | None) -> str:
    """The limits that are set."""
    return cell({name: value for name, value in (values or {}).items() if value not in (None, [], 0, 0.0)} or None)
