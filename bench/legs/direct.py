"""No gateway: the driver talks to the mock upstream. What everything else is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from processes import Child

from legs.leg import CHAT_PATH, Running, Target, Upstreams, Workplace


@dataclass(frozen=True, slots=True)
class _Straight:
    upstreams: Upstreams

    @property
    def child(self) -> Child | None:
        return None

    def target(self, model: str) -> Target:
        return Target(f"http://127.0.0.1:{self.upstreams.ports[model]}{CHAT_PATH}", {})


class Direct:
    """The leg without a gateway."""

    name = "direct"
    slow = False

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return ""

    def start(self, place: Workplace) -> Running:
        return _Straight(place.upstreams)
