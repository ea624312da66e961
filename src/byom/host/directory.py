"""The models that a host serves: a fixed list, or whatever user code turns out to be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from byom.errors import ModelNotFound
from byom.host.served import ServedModel


class Directory(Protocol):
    async def start(self) -> None:
        """Called once, on the event loop that serves."""

    async def find(self, name: str) -> ServedModel:
        """The model of this name. Raises `ModelNotFound`; may wait until it is known."""

    async def listing(self) -> list[ServedModel]:
        """All models; may wait until they are known."""

    def status(self, *, detailed: bool) -> dict[str, Any]:
        """What ``/readyz`` answers: ``status`` is ``ok`` when a model can be called. Without ``detailed`` no errors
        are told. Never waits."""

    async def aclose(self) -> None: ...


class FixedDirectory:
    """Models that are there from the start."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        self._models = {model.info.name: model for model in models}

    async def start(self) -> None:
        """There is nothing to do."""

    async def find(self, name: str) -> ServedModel:
        if name not in self._models:
            raise ModelNotFound(
                f"There is no model {name!r} here. There are: {', '.join(self._models)}.", param="model"
            )
        return self._models[name]

    async def listing(self) -> list[ServedModel]:
        return list(self._models.values())

    def status(self, *, detailed: bool) -> dict[str, Any]:
        models = [{"name": name, "state": "ready", **({"error": None} if detailed else {})} for name in self._models]
        return {"status": "ok", "models": models}

    async def aclose(self) -> None:
        for model in self._models.values():
            await model.aclose()
