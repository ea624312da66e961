"""Rules of the design that a look at the source can hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "byom"
BYTE_PATH = ("gateway", "limits", "upstream/network.py", "upstream/addresses.py")

WALL_CLOCK = {"time", "time_ns", "now", "utcnow"}
STAMPS = {
    "catalog": "moments of changes, keys' expiry, a packaged price's end",
    "cli": "moments that people give and read",
    "gateway/answers.py": "a Retry-After that is a date",
    "host": "`created` of an answer",
    "ledger/recovery.py": "the age of a file",
    "limits/local.py": "calendar periods of budgets",
    "models": "moments of ledger rows and answers",
    "server": "the start of a hub, moments of log lines and questions",
    "upstream/answer_errors.py": "a Retry-After that is a date",
}
"""Where the time of day is asked for, and what for. Durations are never measured with it."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_the_time_of_day_is_asked_for_only_where_a_moment_is_meant() -> None:
    """Gateway checklist 88: durations come from the monotonic clock."""
    asking = {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in WALL_CLOCK
        and isinstance(node.value, ast.Name)
        and node.value.id in ("time", "datetime")
    }
    assert [name for name in asking if not name.startswith(tuple(STAMPS))] == []
    assert [place for place in STAMPS if not any(name.startswith(place) for name in asking)] == []


def test_no_middleware_hides_a_disconnect() -> None:
    """Gateway checklist 5."""
    for name, tree in modules():
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert "BaseHTTPMiddleware" not in names | imported, name


def test_the_byte_path_knows_no_database_and_no_framework() -> None:
    foreign = {"sqlalchemy", "aiosqlite", "asyncpg", "fastapi", "starlette", "pydantic", "httpx2", "sqlite3"}
    for name, tree in modules():
        if name.startswith(BYTE_PATH):
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    assert not foreign & {alias.name.partition(".")[0] for alias in node.names}, name
                elif isinstance(node, ast.ImportFrom):
                    assert (node.module or "").partition(".")[0] not in foreign, name


def test_nothing_in_the_source_runs_text_as_code_or_a_shell() -> None:
    """Gateway checklist 72."""
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                assert not (isinstance(node.func, ast.Name) and called in ("eval", "exec")), f"{name}:{node.lineno}"
                shell = [keyword for keyword in node.keywords if keyword.arg == "shell"]
                assert not shell, f"{name}:{node.lineno}"
                assert called != "create_subprocess_shell", f"{name}:{node.lineno}"
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert "pickle" not in imported, name
