"""What the benchmark asks of a gateway: say whether it is here, start it, and where to send a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from processes import Child, Children

PLAIN, BURST, PACED = "mock-plain", "mock-burst", "mock-paced"
CHAT_PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The ports of the three mock upstreams, each named after the model it serves."""

    ports: Mapping[str, int]

    def base(self, model: str) -> str:
        """The ``/v1`` base URL of the upstream that serves ``model``."""
        return f"http://127.0.0.1:{self.ports[model]}/v1"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request for a model goes: the full URL and the headers besides the content type."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a starting leg may use: the children it must start through, a folder of its own, the mocks."""

    children: Children
    folder: Path
    upstreams: Upstreams


class Running(Protocol):
    """A started gateway."""

    @property
    def child(self) -> Child | None:
        """Its process; ``None`` where there is no gateway at all."""

    def target(self, model: str) -> Target:
        """Where requests for ``model`` go."""


class Leg(Protocol):
    """One way of forwarding, by the name it has in the results."""

    name: str
    slow: bool  # under a hundred requests a second: its windows are twice as long, its stream run is done once

    def missing(self) -> str:
        """Empty when the leg can run here, else why it cannot."""

    def version(self) -> str:
        """The version that is measured."""

    def start(self, place: Workplace) -> Running:
        """Start the process and return at once; readiness is measured by the caller."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """The usual ``Running``: one process, one address for all models, the same headers for each."""

    child: Child | None
    port: int
    headers: Mapping[str, str]

    def target(self, model: str) -> Target:
        del model
        return Target(f"http://127.0.0.1:{self.port}{CHAT_PATH}", self.headers)
