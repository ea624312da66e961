"""Creating and editing connections: check first, then save all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from byom.catalog import connections, models
from byom.catalog.edits import merge
from byom.catalog.forms import ModelForm
from byom.catalog.names import check_name
from byom.catalog.records import Connection, Model
from byom.catalog.snapshot import Ability
from byom.catalog.state import ConnectionRow
from byom.catalog.transaction import Transaction
from byom.errors import ConfigError, Conflict, UnprocessableRequest
from byom.server.api.examination import Candidate, examine, of_form, of_row, of_stored, refuse_broken
from byom.server.api.schemas.connection import (
    CHECKING,
    AddModels,
    Checked,
    ConnectionIn,
    ConnectionPatch,
    NamedModel,
)
from byom.server.api.services import Hub
from byom.upstream.report import CheckReport
from byom.upstream.servers import ListedModel

_CHECKED_FIELDS = frozenset({"url", "key", "headers", "verify_tls", "ca_file"})
"""Fields of which an edit may break a connection that worked."""
_NOT_OF_THE_FORM = CHECKING | {"models", "probe"}
_KNOWN_ABILITIES = frozenset(get_args(Ability))

Wanted = Sequence[str | NamedModel] | Literal["all"]


class Saved(NamedTuple):
    connection: Connection
    models: tuple[Model, ...]
    skipped: tuple[str, ...]
    report: CheckReport | None


class Edited(NamedTuple):
    connection: Connection
    report: CheckReport | None


async def create(hub: Hub, body: ConnectionIn, actor: str) -> Saved:
    """Raises `UnprocessableRequest` with the whole report when the check fails, `Conflict` when a name is taken."""
    form = connections.as_form(merge({}, _with_plain_key(body)))
    _check_free(hub, form.name)
    report = None
    if body.check or body.models == "all":
        report = await _examined(hub, of_form(form), body.models, body)
        if report.ok and report.endpoint is not None:
            form = msgspec.structs.replace(form, url=report.endpoint.url(), base_path=report.endpoint.base_path)
    wanted = _wanted(body.models, report)
    async with hub.catalog.change(actor) as tx:
        row = connections.create(tx, form)
        added, skipped = _add(tx, row, wanted, everything=body.models == "all")
    return _saved(hub, form.name, added, skipped, report)


async def add_models(hub: Hub, name: str, body: AddModels, actor: str) -> Saved:
    """Raises as `create` does, and `NotFound` without the connection."""
    candidate = await of_stored(hub, name)
    report = None
    if body.check or body.models == "all":
        report = await _examined(hub, candidate, body.models, body)
    wanted = _wanted(body.models, report)
    async with hub.catalog.change(actor) as tx:
        row = connections.find(tx.state, name)
        added, skipped = _add(tx, row, wanted, everything=body.models == "all")
    return _saved(hub, name, added, skipped, report)


async def edit(hub: Hub, name: str, body: ConnectionPatch, actor: str) -> Edited:
    """Raises `Conflict` (``reenter_key``) when a stored secret would have to follow to another host."""
    changes = _with_plain_key(body)
    report = None
    if body.check and _CHECKED_FIELDS.intersection(changes):
        async with hub.catalog.change(actor, dry_run=True) as tx:
            row = connections.update(tx, connections.find(tx.state, name), changes)
            candidate = None if row.url is None else of_row(tx, row)
            used = [model.upstream_model for model in tx.state.models_of(row.id)]
        if candidate is not None:
            given = changes.get("url")
            candidate = msgspec.structs.replace(candidate, url=given) if isinstance(given, str) else candidate
            report = await _examined(hub, candidate, used, body)
            if given is not None and report.ok and report.endpoint is not None:
                changes |= {"url": report.endpoint.url(), "base_path": report.endpoint.base_path}
    connection = await hub.catalog.connections.update(name, changes, actor=actor)
    return Edited(connection, report)


def _with_plain_key(body: ConnectionIn | ConnectionPatch) -> dict[str, Any]:
    fields = body.fields(without=_NOT_OF_THE_FORM)
    if body.key is not None:
        fields["key"] = body.key.get_secret_value()
    return fields


def _check_free(hub: Hub, name: str) -> None:
    """Before the check, which may take seconds. The change itself looks again."""
    check_name("connection", name)
    if hub.catalog.state.connection(name) is not None:
        raise Conflict(f"there is a connection {name!r} already", param="name")


async def _examined(hub: Hub, candidate: Candidate, wanted: Wanted, how: Checked) -> CheckReport:
    names = () if wanted == "all" else tuple(_named(one)[0] for one in wanted)
    report = await examine(hub, candidate, names, timeout=how.check_timeout, allow_spend=how.allow_spend)
    if how.check and not how.save_anyway:
        refuse_broken(report)
    return report


def _named(wanted: str | NamedModel) -> tuple[str, str]:
    """The server's name, and the one to use here."""
    return (wanted, wanted) if isinstance(wanted, str) else (wanted.id, wanted.name)


def _wanted(wanted: Wanted, report: CheckReport | None) -> list[tuple[ListedModel, str]]:
    """The models to add, with what the server told of them, and what to call them."""
    listed = {} if report is None else {model.id: model for model in report.models}
    if wanted != "all":
        names = dict.fromkeys(map(_named, wanted))
        return [(listed.get(model) or ListedModel(id=model), name) for model, name in names]
    if not listed and report is not None:
        refuse_broken(report, hint="Name the models instead of asking for all.")
        raise UnprocessableRequest(
            "The server lists no models. Name them instead of asking for all.", code="models_not_listed", param="models"
        )
    return [(model, model.id) for model in listed.values()]


def _add(
    tx: Transaction, row: ConnectionRow, wanted: Iterable[tuple[ListedModel, str]], *, everything: bool
) -> tuple[list[str], list[str]]:
    """Names added, and the server's names left out. Of ``everything`` a name that is taken gets a longer one."""
    present = {model.upstream_model for model in tx.state.models_of(row.id)}
    added: list[str] = []
    skipped: list[str] = []
    for model, asked in wanted:
        name = free_name(tx, row, model.id) if everything else asked
        # Another name for a model that is here already is wanted for its own sake.
        if not name or (model.id in present and (everything or name == model.id)):
            skipped.append(model.id)
            continue
        taken = tx.state.model(name)
        if taken is not None:
            owner = tx.state.connections[taken.connection_id].name
            raise _conflict(model.id, name, owner, free_name(tx, row, model.id) or "NAME")
        models.create(tx, _form(row, model, name))
        added.append(name)
    return added, skipped


def _conflict(model: str, name: str, owner: str, free: str) -> Conflict:
    return Conflict(
        f"There is a model {name!r} already, of connection {owner!r}. Give this one another name: in models, "
        f'{{"id": "{model}", "name": "{free}"}}.',
        param="models",
        details={"model": model, "name": name, "owner": owner, "free": free},
    )


def free_name(tx: Transaction, row: ConnectionRow, wanted: str) -> str:
    """Empty where there is none."""
    for name in (wanted, f"{row.name}/{wanted}"):
        try:
            check_name("model", name)
        except ConfigError:
            return ""
        if tx.state.model(name) is None:
            return name
    return ""


def _form(row: ConnectionRow, model: ListedModel, name: str) -> ModelForm:
    told: Mapping[str, Any] = {}
    if model.abilities is not None and model.abilities & _KNOWN_ABILITIES:
        told = {"abilities": model.abilities & _KNOWN_ABILITIES}
    return ModelForm(
        name=name, connection=row.name, upstream_model=model.id, context_window=model.context_window or None, **told
    )


def _saved(hub: Hub, name: str, added: list[str], skipped: list[str], report: CheckReport | None) -> Saved:
    found = tuple(hub.catalog.models.get(model) for model in added)
    return Saved(hub.catalog.connections.get(name), found, tuple(skipped), report)
