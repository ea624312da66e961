"""Connecting code: look at it, have its environment built, load it once, and save all of it or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from byom.catalog import code_models, code_options, connections, models, presets
from byom.catalog.credentials import store_secrets
from byom.catalog.edits import convert_form, merge
from byom.catalog.forms import ConnectionForm, ModelForm
from byom.catalog.names import check_name
from byom.catalog.records import Connection, Model
from byom.catalog.state import ConnectionRow
from byom.catalog.transaction import Transaction
from byom.errors import ConfigError, Conflict, UnprocessableRequest
from byom.host.plugins import environment, folder
from byom.server.api.connecting import free_name
from byom.server.api.event_stream import Tell
from byom.server.api.plugin_models import PluginModel, PluginParts, parts_of
from byom.server.api.schemas.code import AddCodeModels, CodeIn, CodeModelIn
from byom.server.api.services import Hub
from byom.server.code_examination import examined

OPTIONS = ("python", "workers", "threads", "queue", "timeout", "memory_mb", "instances", "args", "eager")


class SavedCode(NamedTuple):
    connection: Connection
    models: tuple[Model, ...]
    skipped: tuple[str, ...]


class _Plugin(NamedTuple):
    plugin: folder.Plugin
    parts: PluginParts


async def add(hub: Hub, body: CodeIn, actor: str, tell: Tell) -> SavedCode:
    """Raises `ConfigError` with what is wrong with the code, `Conflict` when a name is taken."""
    given = {name: getattr(body, name) for name in OPTIONS if getattr(body, name) not in (None, {}, False)}
    options = code_options.checked({"target": body.target.strip(), **given})
    target = code_options.CodeTarget.of(options["target"])
    if not target.is_module and not await asyncio.to_thread(Path(target.place).exists):
        raise ConfigError(f"target: there is no {target.place} on the hub's machine", param="target")
    found = await _plugin(body, Path(target.place)) if await asyncio.to_thread(Path(target.place).is_dir) else None
    name = body.name or (None if found is None else found.plugin.id)
    if name is not None:
        _require_free(hub, name)
    if found is not None:
        options |= await _environment(hub, found.plugin, options.get("python"), tell)
        options |= {"form": "plugin", "plugin": _facts(found.plugin), "plugin_config": found.parts.plugin_config}
    form = convert_form(ConnectionForm, {
        "name": name or _object_name(target), "kind": "code", "options": options,
        "key": None if body.key is None else body.key.get_secret_value(),
        "limits": merge({}, body.limits.fields()) if body.limits is not None else {},
    }, "connection")  # fmt: skip
    tell("loading", {"text": "Loading the code"})
    said = await _load(form, found, body.load_timeout, tell)
    if said and "form" not in form.options:
        form = msgspec.structs.replace(form, options={**form.options, "form": said[0].get("kind")})
    if name is None:
        name = _class_name(said) or form.name
        _require_free(hub, name)
        form = msgspec.structs.replace(form, name=name)
    async with hub.catalog.change(actor) as tx:
        row = connections.create(tx, form)
        added, skipped = _create(tx, row, body.models, found, said)
    return _saved(hub, name, added, skipped)


async def add_models(hub: Hub, name: str, body: AddCodeModels, actor: str, tell: Tell) -> SavedCode:
    """Further models of code that is connected. Raises as `add` does, and `NotFound`."""
    code_models.require_code(hub.catalog, name)
    row = connections.find(hub.catalog.state, name)
    options = code_options.of(row.options)
    found = None
    if options.form == "plugin":
        wanted = CodeIn(target=options.target, models=body.models, plugin_config=options.plugin_config)
        found = await _plugin(wanted, Path(options.target))
    tell("loading", {"text": "Loading the code"})
    document = hub.catalog.host_configuration(name).document
    said = await examined(document if found is None else document | _plugin_document(found), timeout=options.timeout)
    async with hub.catalog.change(actor) as tx:
        added, skipped = _create(tx, connections.find(tx.state, name), body.models, found, said)
    return _saved(hub, name, added, skipped)


def _saved(hub: Hub, name: str, added: Sequence[str], skipped: Sequence[str]) -> SavedCode:
    found = tuple(hub.catalog.models.get(model) for model in added)
    return SavedCode(hub.catalog.connections.get(name), found, tuple(skipped))


# -- looking at it


async def _plugin(body: CodeIn, place: Path) -> _Plugin:
    plugin = await asyncio.to_thread(folder.read, place)
    wanted = [] if body.models == "all" else [_model_in(one) for one in body.models]
    return _Plugin(plugin, parts_of(plugin, wanted, body.presets, body.plugin_config))


def _model_in(wanted: str | CodeModelIn) -> CodeModelIn:
    return CodeModelIn(id=wanted) if isinstance(wanted, str) else wanted


def _object_name(target: code_options.CodeTarget) -> str:
    return target.object.rpartition(".")[2] or Path(target.place).stem


def _class_name(said: Sequence[Mapping[str, Any]]) -> str | None:
    """What a class calls itself, where a connection may have that name."""
    if len(said) != 1 or said[0].get("kind") != "class":
        return None
    with suppress(ConfigError):
        return check_name("connection", str(said[0]["name"]))
    return None


def _require_free(hub: Hub, name: str) -> None:
    check_name("connection", name)
    if hub.catalog.state.connection(name) is not None:
        raise Conflict(f"there is a connection {name!r} already; give another name", param="name")


def _facts(plugin: folder.Plugin) -> dict[str, Any]:
    return {"id": plugin.id, "version": plugin.version, "label": plugin.label, "digest": plugin.digest}


async def _environment(hub: Hub, plugin: folder.Plugin, python: str | None, tell: Tell) -> dict[str, Any]:
    """The option ``python``: what was asked for, else that of the plugin's own environment, built where needed."""
    plan = None if python is not None else await environment.plan(plugin, hub.settings.home)
    if plan is None:
        return {}
    async with aclosing(environment.build(plan)) as progress:
        async for one in progress:
            tell("progress", {name: value for name, value in msgspec.to_builtins(one).items() if value is not None})
    return {"python": str(plan.python)}


def _plugin_document(found: _Plugin) -> dict[str, Any]:
    """Enough to load a plugin's models; nothing of it is stored."""
    by_name = {one.name: one for one in found.parts.presets}
    return {
        "plugin_config": found.parts.plugin_config,
        "models": [
            {
                "name": one.name,
                "component": one.options.component,
                "abilities": list(one.abilities),
                "config": one.options.params
                | {param: dict(by_name[name].values) for param, name in one.options.presets.items() if name in by_name},
                "credentials": [msgspec.to_builtins(needed) for needed in one.options.credentials],
            }
            for one in found.parts.models
        ],
    }


async def _load(form: ConnectionForm, found: _Plugin | None, timeout: float, tell: Tell) -> list[dict[str, Any]]:
    """What the code says of its models. It runs for this alone, with the key that it will have."""
    options = code_options.of(form.options)
    inner: dict[str, Any] = {"args": options.args, "instances": options.instances, "rename": options.rename}
    inner = {name: value for name, value in inner.items() if value}
    if form.key is not None:
        inner["api_key"] = form.key.strip()
    document = {"target": options.target, "python": options.python, "options": inner, "threads": options.threads}
    if found is not None:
        document |= _plugin_document(found)

    def output(data: bytes) -> None:
        tell("output", {"text": data.decode("utf-8", "replace")})

    return await examined(document, timeout=timeout, on_output=output)


# -- saving it


def _create(
    tx: Transaction,
    row: ConnectionRow,
    wanted: Sequence[str | CodeModelIn] | str,
    found: _Plugin | None,
    said: Sequence[Mapping[str, Any]],
) -> tuple[list[str], list[str]]:
    """Names added, and the code's names of models that are here already."""
    if found is not None:
        present = {one.name for one in tx.state.presets_of(row.id)}
        for preset in found.parts.presets:
            if preset.name not in present:
                presets.create(tx, row.name, preset)
        added, skipped = _create_plugin_models(tx, row, found.parts.models, everything=wanted == "all")
    else:
        listed = [str(one["name"]) for one in said]
        chosen = _chosen("all" if isinstance(wanted, str) else wanted, listed)
        added, skipped = _create_models(tx, row, chosen, everything=wanted == "all")
    code_models.tell_in(tx, row.id, said)
    return added, skipped


def _chosen(wanted: Sequence[str | CodeModelIn] | str, listed: Sequence[str]) -> list[tuple[str, CodeModelIn]]:
    """The code's names, and what is wanted of each. Raises `UnprocessableRequest` for one that is not there."""
    if isinstance(wanted, str):
        return [(name, CodeModelIn(id=name)) for name in listed]
    found = []
    for one in map(_model_in, wanted):
        name = one.id or (listed[0] if len(listed) == 1 else one.name or "")
        if name not in listed:
            raise UnprocessableRequest(
                f"The code has no model {name!r}. It has: {', '.join(listed)}.", code="unknown_model", param="models"
            )
        found.append((name, one))
    return found


def _create_models(
    tx: Transaction, row: ConnectionRow, chosen: Iterable[tuple[str, CodeModelIn]], *, everything: bool
) -> tuple[list[str], list[str]]:
    present = {model.upstream_model for model in tx.state.models_of(row.id)}
    added: list[str] = []
    skipped: list[str] = []
    for upstream, one in chosen:
        if one.params:
            raise ConfigError(f"params: {upstream!r} is no model of a plugin, and takes none", param="models")
        name = free_name(tx, row, upstream) if everything else one.name or upstream
        if not name or (upstream in present and name in (upstream, f"{row.name}/{upstream}")):
            skipped.append(upstream)
            continue
        abilities = None if one.abilities is None else frozenset[str](one.abilities)
        models.create(tx, ModelForm(name=name, connection=row.name, upstream_model=upstream, abilities=abilities))
        added.append(name)
    return added, skipped


def _create_plugin_models(
    tx: Transaction, row: ConnectionRow, wanted: Iterable[PluginModel], *, everything: bool
) -> tuple[list[str], list[str]]:
    present = {model.upstream_model for model in tx.state.models_of(row.id)}
    added: list[str] = []
    skipped: list[str] = []
    for one in wanted:
        if one.name in present:
            skipped.append(one.name)
            continue
        name = (free_name(tx, row, one.name) if everything else "") or one.name
        form = ModelForm(name=name, connection=row.name, upstream_model=one.name, options=one.options)
        made = models.create(tx, form)
        store_secrets(tx, row, {f"model:{made.id}:{place}": value for place, value in one.secrets.items()})
        added.append(name)
    return added, skipped
