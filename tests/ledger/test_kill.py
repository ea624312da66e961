"""Promise 1 of the design: a row that was appended survives ``kill -9`` at any moment, and is there once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

from sqlalchemy import select

from byom.ledger.ledger import Ledger, opened
from byom.ledger.table import calls, usage_hourly

SCRIPT = """
import asyncio, os, sys
from pathlib import Path
from byom.ledger.ledger import Ledger
from tests.ledger.rows import row

async def main():
    ledger = Ledger(sys.argv[1], Path(sys.argv[2]), segment_bytes=128 * 1024, mapped=sys.argv[3] == "mapped")
    await ledger.start()
    while True:
        for _ in range(50):
            one = row()
            ledger.append(one)
            os.write(1, one.id.encode() + b"\\n")
        await asyncio.sleep(0)

asyncio.run(main())
"""


async def run_and_kill(url: str, folder: Path, after: float, mode: str) -> list[str]:
    """Ids that the process said it had stored before it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, url, str(folder), mode,
        stdout=asyncio.subprocess.PIPE, limit=2**26, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    told = [await process.stdout.readline()]
    reading = asyncio.ensure_future(process.stdout.read())
    await asyncio.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    told.append(await reading)
    await process.wait()
    lines = b"".join(told).split(b"\n")
    return [line.decode() for line in lines[:-1]]  # the last one is empty, or cut off by the kill


async def test_twenty_kills_lose_no_row_and_double_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'byom.db'}"
    ledger = Ledger(url, tmp_path / "spool")
    await ledger.create_tables()
    chance = random.Random(1)
    told: list[str] = []
    for _ in range(5):
        # Four at a time, so that living ones share the folder and the database with dead ones. Short and long lives:
        # before the first batch, in the middle of one, while segments change.
        lives = [
            run_and_kill(url, tmp_path / "spool", chance.choice([0.0, 0.05, 0.25, 0.4]), mode)
            for mode in ("mapped", "mapped", "mapped", "written")
        ]
        for ids in await asyncio.gather(*lives):
            told += ids
    assert len(told) > 2_000
    async with opened(ledger):
        await ledger.recover()
        async with ledger.engine.connect() as connection:
            found = [each for (each,) in await connection.execute(select(calls.c.id))]
            summed = sum(n for (n,) in await connection.execute(select(usage_hourly.c.calls)))
    assert len(found) == len(set(found))
    assert set(told) <= set(found)
    # A row may have been stored and the process killed before it could say so: one a kill at most.
    assert len(found) - len(told) <= 20
    assert summed == len(found)
    assert list((tmp_path / "spool").glob("*.seg")) == []
