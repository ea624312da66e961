"""Classes and functions of the names that AgentStudio and numpy have, for stock pickles that name them.

Pickles look names up in `sys.modules`, so that is where they are while a pickle is made or read.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any
from unittest import mock

ERAS = {
    "documented": None,
    "prompt": ("agent_studio.utils.prompt", "PromptSeg"),
    "prompt-of-three-days": ("agent_studio.llm.base_model", "PromptSeg"),
    "current": ("agent_studio.utils.types", "Message"),
}
"""Of messages: what they are instances of; ``None``: dicts."""
NUMPYS = ("numpy.core", "numpy._core")
PROTOCOLS = (2, 3, 4, 5)


class Dtype:
    """``numpy.dtype("uint8")``"""

    def __init__(self, name: str = "u1", align: bool = False, copy: bool = True) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        return Dtype, (self.name, False, True), (3, "|", None, None, None, -1, -1, 0)

    def __setstate__(self, state: Any) -> None:
        assert state[0] == 3


class Array:
    """As much of ``numpy.ndarray`` as a pickle of an image needs. ``data`` is in the order ``order``."""

    maker: str
    """The module that holds its functions, such as ``numpy.core``."""

    def __init__(self, shape: tuple[int, ...], data: bytes, order: str = "C", gaps: bool = False) -> None:
        self.shape = shape
        self.data = data
        self.order = order
        self.gaps = gaps

    def __reduce_ex__(self, protocol: int) -> Any:  # type: ignore[override]
        modules = sys.modules
        if protocol >= 5 and not self.gaps:
            function = modules[f"{self.maker}.numeric"]._frombuffer  # type: ignore[attr-defined]
            return function, (bytearray(self.data), Dtype(), self.shape, self.order)
        function = modules[f"{self.maker}.multiarray"]._reconstruct  # type: ignore[attr-defined]
        return function, (Array, (0,), b"b"), (1, self.shape, Dtype(), self.order == "F", self.data)


def frombuffer(data: bytes, dtype: str) -> Array:
    assert dtype == "uint8"
    return Array((len(data),), data)


def reshape(array: Array, shape: tuple[int, ...]) -> Array:
    return Array(shape, array.data)


def _never(*given: object) -> None:
    raise AssertionError("nothing that a pickle names is called")


def _of(module: str, name: str, thing: Any) -> Any:
    thing.__module__, thing.__name__, thing.__qualname__ = module, name, name
    return thing


def _message_class(module: str, name: str) -> type:
    def init(self: Any, role: str, content: Any) -> None:
        self.role, self.content = role, content

    return type(name, (), {"__init__": init, "__module__": module, "__qualname__": name})


CLASSES = {era: _message_class(*named) for era, named in ERAS.items() if named is not None}


@contextlib.contextmanager
def installed(maker: str = "numpy._core") -> Iterator[None]:
    """All names are there: AgentStudio's classes, and numpy's functions below ``maker``."""
    modules: dict[str, types.ModuleType] = {}

    def put(module: str, name: str, thing: Any) -> None:
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            full = ".".join(parts[:end])
            modules.setdefault(full, types.ModuleType(full))
        setattr(modules[module], name, thing)

    for era, cls in CLASSES.items():
        named = ERAS[era]
        assert named is not None
        put(*named, cls)
    put("numpy", "ndarray", _of("numpy", "ndarray", Array))
    put("numpy", "dtype", _of("numpy", "dtype", Dtype))
    put("numpy", "frombuffer", frombuffer)
    put("numpy", "reshape", reshape)
    for module, name in ((f"{maker}.multiarray", "_reconstruct"), (f"{maker}.numeric", "_frombuffer")):
        put(module, name, _of(module, name, types.FunctionType(_never.__code__, globals(), name)))
    Array.maker = maker
    with mock.patch.dict(sys.modules, modules):
        yield


def message(era: str, role: str, content: Any) -> Any:
    return CLASSES[era](role, content) if ERAS[era] is not None else {"role": role, "content": content}


def pickled(value: Any, protocol: int, maker: str = "numpy._core") -> bytes:
    with installed(maker):
        return pickle.dumps(value, protocol=protocol)
