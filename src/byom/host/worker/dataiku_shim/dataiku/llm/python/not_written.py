"""Marks the methods that a subclass may write, so that the host sees which ones it did."""

from __future__ import annotations

from typing import Any, Callable, TypeVar  # noqa: UP035 - evaluated on Python 3.9

Method = TypeVar("Method", bound=Callable[..., Any])


def not_written(method: Method) -> Method:
    method.byom_not_written = True  # type: ignore[attr-defined]
    return method


def missing(instance: object, name: str) -> NotImplementedError:
    return NotImplementedError(f"{type(instance).__name__} does not write {name}")
