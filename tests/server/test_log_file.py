"""Logs of bounded size."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from byom.server.log_file import PENDING, LogFile, follow, last_lines, log_path


async def test_a_log_never_grows_beyond_two_files_of_its_size(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs" / "a.log", largest=1000)
    for number in range(300):
        log.add(b"line %d\n" % number)
        if number % 10 == 0:
            await log.close()
    await log.close()
    assert sorted(path.name for path in log.path.parent.iterdir()) == ["a.log", "a.log.1"]
    assert log.path.stat().st_size <= 1000
    assert log.older.stat().st_size <= 1000
    lines = last_lines(log.path, 100).decode().splitlines()
    assert lines == [f"line {number}" for number in range(200, 300)], "the older file goes on where the newer begins"
    assert last_lines(log.path, 0) == b""
    assert last_lines(tmp_path / "none.log", 5) == b""


async def test_what_comes_faster_than_it_can_be_written_is_counted(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    log.add(b"x" * (PENDING - 1) + b"\n")
    log.add(b"lost\n")
    await log.close()
    log.add(b"kept\n")
    await log.close()
    assert last_lines(log.path, 2) == b"[5 bytes were written faster than they could be kept, and are lost]\nkept\n"


async def test_following_goes_on_through_a_rotation(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", largest=200)
    log.add(b"before\n")
    await log.close()
    pieces = follow(log.path, 10)
    assert await anext(pieces) == b"before\n"
    found = b""
    for number in range(60):
        log.add(b"line %d\n" % number)
        await log.close()
        if number % 15 == 0:
            found += await asyncio.wait_for(anext(pieces), 5)
    while b"line 59\n" not in found:
        found += await asyncio.wait_for(anext(pieces), 5)
    assert [line for line in found.splitlines() if line == b"line 0"], "from where the first look ended"
    await pieces.aclose()


@pytest.mark.parametrize(
    ("name", "file"), [("lab", "lab.log"), ("my model", "my model.log"), ("../x", "%2e.%2fx.log"), (".a", "%2ea.log")]
)
def test_a_connections_log_stays_in_its_folder(tmp_path: Path, name: str, file: str) -> None:
    assert log_path(tmp_path, name) == tmp_path / file
