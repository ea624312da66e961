"""Work that ends when its caller goes away: nothing runs, or spends, for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

Result = TypeVar("Result")


class CallerLeft(Exception):
    """The caller closed the connection before the answer; nobody reads what is answered now."""


async def while_there(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of ``work``, which is cancelled when the caller of ``request`` leaves (`CallerLeft` then)."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_departure(request))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise CallerLeft
        return task.result()
    finally:
        task.cancel()
        watcher.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
