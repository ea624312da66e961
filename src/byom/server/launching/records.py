"""How launched models are, as values that travel between processes and become JSON."""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec

LaunchState = Literal["queued", "downloading", "loading", "ready", "unloaded", "failed", "stopping"]
"""``unloaded``: nothing of it runs, and the first call loads it."""
ReplicaState = Literal["starting", "ready", "restarting", "failed", "stopping"]
ON_THE_WAY: tuple[LaunchState, ...] = ("queued", "downloading", "loading")
MODEL_TYPES = ("LLM", "embedding", "rerank")


class FileProgress(msgspec.Struct, kw_only=True):
    """One file that is fetched. Bytes; ``total`` is ``None`` where the server does not say it."""

    name: str
    done: int = 0
    total: int | None = None


class Stage(msgspec.Struct, kw_only=True):
    """Where a launch is. ``fraction`` of the whole launch, 0 to 1: four fifths for fetching, one for loading."""

    state: LaunchState = "queued"
    fraction: float = 0.0
    text: str = ""
    at: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""
    files: list[FileProgress] = []


class Replica(msgspec.Struct, kw_only=True):
    """One process that serves the model."""

    id: int
    state: ReplicaState = "starting"
    pid: int | None = None
    port: int | None = None
    address: str = "127.0.0.1"
    memory: int | None = None
    """Bytes of this machine's memory that the process and what it started have now."""
    gpus: list[int] = []
    restarts: int = 0
    reason: str = ""
    """What ended it last."""
    since: float = 0.0
    """When it took its present state, in seconds since the epoch."""


class Running(msgspec.Struct, kw_only=True):
    """A launched model, or one whose launch failed a while ago."""

    uid: str
    model_name: str
    model_type: str
    state: LaunchState
    reason: str = ""
    """Why it failed."""
    last_words: str = ""
    """The end of what its engine wrote, where that failed."""
    stage: Stage = msgspec.field(default_factory=Stage)
    replicas: list[Replica] = []
    wanted_replicas: int = 1
    engine: str = ""
    format: str = ""
    size: str | None = None
    quantization: str = ""
    abilities: list[str] = []
    context_length: int | None = None
    n_gpu: int | str | None = None
    pinned: bool = False
    idle_unload_seconds: float | None = None
    idle_seconds: float | None = None
    """Since the last call ended; ``None`` before the first one."""
    created_at: float = 0.0
    spec: dict[str, Any] = {}
    version: int = 0
    """Another one means that something has changed."""

    @property
    def fraction(self) -> float:
        return self.stage.fraction

    @property
    def memory(self) -> int | None:
        """Bytes of all replicas; ``None`` where none runs."""
        known = [one.memory for one in self.replicas if one.memory is not None]
        return sum(known) if known else None


class Cached(msgspec.Struct, kw_only=True):
    """Weights that were fetched and are on this machine's disk."""

    model_name: str
    model_type: str = "LLM"
    model_version: str = ""
    """``{name}--{size}B--{format}--{quantization}``"""
    format: str = ""
    size: str | None = None
    quantization: str = ""
    path: str = ""
    bytes: int = 0
    in_use: bool = False


class EngineShown(msgspec.Struct, kw_only=True):
    """An engine and whether it can be used here."""

    name: str
    usable: bool
    version: str | None = None
    formats: list[str] = []
    types: list[str] = []
    reason: str = ""
    """Why it cannot be used."""
    advice: str = ""
    """What to install."""
