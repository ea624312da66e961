"""What launching needs of engines and weights, and what it is told of the catalog and of calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from byom.errors import ByomError
from byom.runtime.process import EngineProcess
from byom.runtime.specs.forms import ModelSpec
from byom.server.launching.records import Cached, EngineShown, FileProgress
from byom.server.launching.request import LaunchRequest
from byom.types.target import Target


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """A launch with everything chosen; stored in the options of its connection."""

    uid: str
    request: LaunchRequest
    spec: dict[str, Any]
    """`byom.runtime.specs.forms.ModelSpec`."""
    variant: dict[str, Any]
    """`byom.runtime.specs.forms.Variant`."""
    engine: str
    reasons: list[str] = []
    """Why this engine and these weights, a sentence each."""
    notes: list[str] = []
    abilities: list[str] = []
    context_length: int | None = None
    dimensions: int | None = None


class Reserved(msgspec.Struct, kw_only=True):
    """What other loads are about to take, in bytes."""

    memory: int = 0
    gpus: dict[int, int] = {}

    def add(self, other: Prepared) -> None:
        if other.gpus:
            for gpu in other.gpus:
                self.gpus[gpu] = self.gpus.get(gpu, 0) + other.memory // len(other.gpus)
        else:
            self.memory += other.memory


class Prepared(msgspec.Struct, kw_only=True):
    """One replica, ready to be started."""

    memory: int
    """An estimate of what it takes, in bytes: of its GPUs together where it has any, else of the machine."""
    gpus: tuple[int, ...] = ()
    context_length: int | None = None
    slots: int | None = None
    notes: tuple[str, ...] = ()
    launch: Any = None
    """For the runtime itself."""


Tell = Callable[[Sequence[FileProgress]], None]
"""Hears how far the fetching is."""


class Runtime(Protocol):
    """Engines and weights. What blocks is called in threads."""

    def resolve(self, spec: ModelSpec, request: LaunchRequest, uid: str) -> Plan:
        """Choose engine and weights. Blocks. Raises `BadRequest` that says what is wrong and what would be right."""

    async def fetch(self, plan: Plan, tell: Tell) -> Any:
        """Bring the weights to this machine; what it returns is handed to `prepare`. May be cancelled."""

    def prepare(self, plan: Plan, weights: Any, number: int, reserved: Reserved) -> Prepared:
        """Choose place and sizes of a replica. Blocks. Raises `NotEnoughMemory`, `WeightsCorrupt`, `BadRequest`."""

    def process(self, plan: Plan, prepared: Prepared, token: str, output: Callable[[str], None]) -> EngineProcess:
        """A process that is not started yet. ``token``: what callers have to give. ``output`` gets its lines."""

    def engines(self) -> list[EngineShown]:
        """Blocks."""

    def cached(self, specs: Sequence[ModelSpec]) -> list[Cached]:
        """Fetched weights, under the names of these specs. Blocks."""

    def remove_cached(self, path: str) -> None:
        """Blocks."""


class Source(Protocol):
    """Who knows the catalog, and the calls under way."""

    async def plans(self) -> list[Plan]:
        """Of every connection of kind ``weights`` that is enabled, the oldest first."""

    def publish(self, connection: str, target: Target | None) -> None:
        """The model answers there from now on; ``None``: nowhere."""

    async def activity(self, connections: Sequence[str]) -> dict[str, tuple[int, float | None]]:
        """Calls under way, and the seconds since the last one ended, by connection."""


def told(error: BaseException) -> str:
    """For the person who launched it."""
    if isinstance(error, ByomError):
        return error.message
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    return f"{type(error).__name__}: {error}"
