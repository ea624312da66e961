"""Where code imports these classes from."""

from __future__ import annotations

from typing import Any

from .foreign import class_of

NAMES = (
    "DKUChatModel",
    "DKULLM",
)


def __getattr__(name: str) -> Any:
    return class_of(__name__, name, NAMES)
