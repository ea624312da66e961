"""What kind of function user code gave: plain, asynchronous, or asynchronous in name only."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

_WAITS = ("GET_AWAITABLE", "GET_AITER", "GET_ANEXT")


def underlying(fn: Callable[..., Any]) -> Any:
    """What runs when ``fn`` is called: a partial's function, an object's ``__call__``."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn if inspect.isroutine(fn) else type(fn).__call__


def is_asynchronous(fn: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine or an asynchronous generator."""
    inner = underlying(fn)
    return inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)


def is_generator(fn: Callable[..., Any]) -> bool:
    """Whether calling it gives an answer in pieces."""
    inner = underlying(fn)
    return inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)


def never_waits(fn: Callable[..., Any]) -> bool:
    """An ``async def`` without any ``await`` in it: all its time is spent blocking, and no event loop is needed."""
    inner = inspect.unwrap(underlying(fn))
    if not inspect.iscoroutinefunction(inner) or not hasattr(inner, "__code__"):
        return False
    return not any(one.opname in _WAITS for one in dis.get_instructions(inner))


def run_here(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("the function was to wait for nothing and did")
