"""What an engine is to BYOM: data in, a command line out. Nothing here starts a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import msgspec

from byom.runtime.engines.arguments import Argument
from byom.runtime.hardware import Hardware
from byom.runtime.specs.forms import ModelSpec, Variant
from byom.runtime.weights.info import WeightsInfo


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """All that an engine needs to know. The weights are on this machine already."""

    name: str
    """The name under which the engine shall serve."""
    spec: ModelSpec
    variant: Variant
    path: Path
    """The GGUF file or the folder."""
    projector: Path | None = None
    info: WeightsInfo
    context_length: int
    """Tokens of one call."""
    parallel: int = 1
    """Calls at a time."""
    gpus: tuple[int, ...] = ()
    threads: int | None = None
    arguments: dict[str, Any] = {}
    """Of this engine, checked by `check_arguments`."""
    trust_remote_code: bool = False
    """Let the weights' own Python code run. Off unless somebody says so for this launch."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """How to start an engine. There is never a shell."""

    argv: tuple[str, ...]
    env: dict[str, str] = {}
    """Beside the few variables that every child gets."""
    configuration: bytes | None = None
    """One line of JSON for the process's standard input, after the token."""
    own: bool = False
    """A program of BYOM: takes token and configuration on standard input, says its port and its stages on standard
    output, and ends with its standard input. Others run behind `byom.runtime.leash`."""
    port: int = 0
    """Where it will listen; 0 where it says so itself."""
    ready_path: str = "/health"
    """Answers 200 once calls are served."""
    served_model: str
    """What requests must give as ``model``."""
    authenticates: bool = True
    """Whether it asks for the token. One that cannot is reachable by everybody on this machine."""


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    version: str | None
    """``None`` where it is not installed."""
    python: str | None = None
    """The interpreter that has it."""
    hint: str = ""
    """What to install where it is not."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A variant of a spec, and the machine it might be served on."""

    spec: ModelSpec
    variant: Variant
    hardware: Hardware


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """What one process of an engine gets from the one that starts it."""

    port: int
    """A free one, for engines that do not choose themselves."""
    token: str
    folder: Path
    """An empty one for files that the engine needs (a chat template, a token); it goes away with the process."""


class Engine(Protocol):
    """One way of serving weights."""

    name: str
    """As ``model_engine`` names it; compared without regard to case."""
    title: str
    arguments: tuple[Argument, ...]
    quantizes_on_load: bool
    """Whether pytorch weights can be loaded in 4 or 8 bit."""
    needs_gpu: bool

    def installed(self) -> Installed: ...

    def against(self, offer: Offer, /) -> tuple[str, ...]:
        """Why it cannot serve this; empty where it can. Whether it is installed is not asked."""
        ...

    def kv_element_size(self, arguments: dict[str, Any]) -> float:
        """Bytes of one value in the key and value cache."""
        ...

    def command(self, launch: Launch, slot: Slot, /) -> Command: ...
