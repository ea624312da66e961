"""The names that a pickle of messages may hold, and what each is taken for. None of them is ever imported."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto


class Kind(Enum):
    MESSAGE = auto()
    """An object with the attributes ``role`` and ``content``."""
    RECONSTRUCT = auto()
    """An empty array, filled by its state: protocols 2 to 4, and arrays with gaps in every protocol."""
    FROMBUFFER = auto()
    """A whole array in one call: protocol 5."""
    NDARRAY = auto()
    DTYPE = auto()
    ENCODE = auto()
    """Bytes that protocol 2 writes as text."""
    PATH = auto()


Names = Mapping[tuple[str, str], Kind]

NO_NAMES: Names = {}
"""For replies, which are text and numbers."""

MESSAGE_NAMES: Names = {
    ("agent_studio.utils.types", "Message"): Kind.MESSAGE,
    ("agent_studio.utils.prompt", "PromptSeg"): Kind.MESSAGE,
    ("agent_studio.llm.base_model", "PromptSeg"): Kind.MESSAGE,
    ("numpy.core.multiarray", "_reconstruct"): Kind.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): Kind.RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): Kind.FROMBUFFER,
    ("numpy._core.numeric", "_frombuffer"): Kind.FROMBUFFER,
    ("numpy", "ndarray"): Kind.NDARRAY,
    ("numpy", "dtype"): Kind.DTYPE,
    ("_codecs", "encode"): Kind.ENCODE,
} | {
    (module, name): Kind.PATH
    for module in ("pathlib", "pathlib._local")
    for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
}
"""All eras of AgentStudio, numpy 1 and 2, Python up to 3.14."""
