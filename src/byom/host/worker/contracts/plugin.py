"""Plugin folders: one model for each configured one, made of the classes in ``python-llms/*/llm.py``."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contract import Context, Embedded, Event, LoadError, ModelDescription, Ranked, Served
from . import plugin_modules as modules
from .plugin_async import AsyncCalls
from .plugin_calls import PluginModel, ThreadCalls
from .plugin_instances import MOST, Instances


def load(target: str, options: dict[str, Any]) -> list[Served]:
    """``target``: the plugin's folder. ``options["models"]``: one entry for each model (``name``, ``component``,
    ``abilities`` or ``ability``, ``class``, ``config``, ``credentials``, ``secrets``); without it every component is a
    model of its own name. Raises `LoadError`."""
    folder = Path(target).absolute()
    plugin_id = _plugin_id(folder)
    modules.prepare(folder, plugin_id)
    entries = options.get("models") or [{"name": name, "component": name} for name in modules.components(folder)]
    if not entries:
        raise LoadError(f"the plugin {plugin_id} has no component: write python-llms/NAME/llm.json and llm.py")
    loaded: dict[str, Any] = {}
    served: list[Served] = []
    for entry in entries:
        component = entry.get("component") or _only_component(folder)
        if component not in loaded:
            loaded[component] = modules.module_of(folder, component)
        served.append(_served(entry, component, loaded[component], options))
    return served


def _plugin_id(folder: Path) -> str:
    path = folder / "plugin.json"
    if not path.is_file():
        raise LoadError(f"{folder} is no plugin: plugin.json is missing")
    # The descriptors are read in full by the hub; here only the id matters, and comments are no obstacle.
    found = re.search(r'"id"\s*:\s*"([^"]+)"', path.read_text(encoding="utf-8-sig"))
    return found[1] if found else folder.name


def _only_component(folder: Path) -> str:
    found = modules.components(folder)
    if len(found) == 1:
        return found[0]
    raise LoadError(f"say which component each model is of: {', '.join(found) or 'the plugin has none'}")


def _served(entry: Mapping[str, Any], component: str, module: Any, options: Mapping[str, Any]) -> PluginServed:
    abilities = list(entry.get("abilities") or ([entry["ability"]] if entry.get("ability") else ()))
    abilities = [ability for ability in abilities if ability in modules.VARIANTS]
    abilities = abilities or modules.abilities_of(module) or ["chat"]
    models = {}
    for ability in abilities:
        kind = modules.class_for(module, ability, entry.get("class"))
        variants = modules.written(kind, ability)
        if not variants:
            wanted = " or ".join(reversed(modules.VARIANTS[ability]))
            raise LoadError(f"{component}/llm.py: the class {kind.__name__} writes none of its methods: {wanted}")
        models[ability] = PluginModel(
            kind=kind,
            variants=variants,
            instances=Instances(kind, int(options.get("instances") or MOST), shared=_shared(kind, entry)),
            secrets=_secret_places(entry),
            preset=next((str(one.get("preset") or "") for one in entry.get("credentials") or ()), ""),
            config=entry.get("config"),
            plugin_config=options.get("plugin_config"),
        )
    return PluginServed(str(entry.get("name") or component), component, models)


def _shared(kind: type, entry: Mapping[str, Any]) -> bool:
    """Whether users share instances: only where the class says so, and no user's credential is in them."""
    return getattr(kind, "share_between_users", False) is True and not entry.get("credentials")


def _secret_places(entry: Mapping[str, Any]) -> list[str]:
    places = [str(place) for place in entry.get("secrets") or ()]
    return places + [
        ".".join(str(part) for part in (credential.get("param"), credential.get("field")) if part)
        for credential in entry.get("credentials") or ()
    ]


class PluginServed(Served):
    """A configured model of a plugin."""

    def __init__(self, name: str, component: str, models: dict[str, PluginModel]) -> None:
        self._models = models
        self.asynchronous = any(model.asynchronous for model in models.values())
        self._calls = AsyncCalls() if self.asynchronous else ThreadCalls()
        chat = models.get("chat")
        self.description = ModelDescription(
            name=name,
            kind="plugin",
            abilities=list(models),
            streaming=chat is not None and chat.variants[0].endswith("_stream"),
            details={
                "component": component,
                "classes": {ability: model.kind.__name__ for ability, model in models.items()},
                "methods": {ability: model.variants[0] for ability, model in models.items()},
            },
        )

    def chat(self, request: dict[str, Any], context: Context) -> Iterator[Event] | AsyncIterator[Event]:
        return self._calls.chat(self._models["chat"], request, context)

    def embed(self, texts: Sequence[str], options: dict[str, Any], context: Context) -> Embedded | Awaitable[Embedded]:
        return self._calls.embed(self._models["embed"], texts, options, context)

    def rerank(self, query: str, documents: Sequence[str], context: Context) -> Ranked | Awaitable[Ranked]:
        return self._calls.rerank(self._models["rerank"], query, documents, context)

    def warm_up(self) -> None:
        """Makes the instances that all users share."""
        for model in self._models.values():
            if model.instances.shared and not model.asynchronous:
                context = model.known(Context())
                with model.reported("set_config", context):
                    model.instances.get(context)

    def close(self) -> None:
        for model in self._models.values():
            model.instances.clear()
