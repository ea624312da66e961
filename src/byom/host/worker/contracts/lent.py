"""Modules that a setup function imports for itself and the other function uses: LLooM's own example is written so."""

from __future__ import annotations

import builtins
import dis
import sys
import types
from collections.abc import Callable
from typing import Any


def lend_imports(setup_fn: Callable[[Any], Any], api_key: Any, fn: Callable[..., Any]) -> Any:
    """``setup_fn(api_key)``. A module that it imports under a name that ``fn`` uses, and that nothing defines, is
    given to ``fn``'s module under that name: without it the call could only end in a `NameError`."""
    wanted = _undefined(fn) & _locals_of(setup_fn)
    if not wanted:
        return setup_fn(api_key)
    seen: dict[str, Any] = {}
    code = setup_fn.__code__  # _locals_of found it

    def watch(frame: types.FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is code:
            seen.update({name: value for name, value in frame.f_locals.items() if name in wanted})

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        client = setup_fn(api_key)
    finally:
        sys.setprofile(before)
    for name, value in seen.items():
        if isinstance(value, types.ModuleType):
            fn.__globals__.setdefault(name, value)  # _undefined found it
    return client


def _undefined(fn: Callable[..., Any]) -> set[str]:
    """Global names that the function reads and that are not defined."""
    if not isinstance(fn, types.FunctionType):
        return set()
    read = {one.argval for one in dis.get_instructions(fn) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return {name for name in read if name not in fn.__globals__ and not hasattr(builtins, name)}


def _locals_of(fn: Callable[..., Any]) -> set[str]:
    return set(fn.__code__.co_varnames) if isinstance(fn, types.FunctionType) else set()
