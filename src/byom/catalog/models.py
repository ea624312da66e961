"""Models: usable names, each of one connection."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from byom.catalog import amounts, code_models, connections, removal
from byom.catalog.build import DEFAULT_ABILITIES, NOT_RUNNING
from byom.catalog.edits import convert_form, merge
from byom.catalog.forms import ModelForm
from byom.catalog.names import aliases, check_name
from byom.catalog.pricing import price_in_force
from byom.catalog.records import Deletion, Model, PriceShown, TierShown
from byom.catalog.snapshot import Ability, Snapshot
from byom.catalog.state import FromCode, ModelPolicy, ModelRow, State
from byom.catalog.transaction import Transaction
from byom.errors import ConfigError, Conflict, ModelNotFound

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog

ABILITIES: tuple[str, ...] = get_args(Ability)
LOCAL = frozenset({"builtin", "code", "weights"})
"""Kinds whose process starts with the first call."""
KINDS_OF_ANSWER = frozenset({"chat", "generate", "embed", "rerank"})


class Models:
    """``catalog.models``. Every method takes a model's name or one of its aliases."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list(self) -> tuple[Model, ...]:
        state, snapshot = self._catalog.state, self._catalog.snapshot
        return tuple(shown(row, state, snapshot) for row in state.models.values())

    def get(self, name: str) -> Model:
        """Raises `ModelNotFound`, with near names."""
        state = self._catalog.state
        return shown(find(state, name), state, self._catalog.snapshot)

    async def create(self, form: ModelForm | Mapping[str, Any], *, actor: str) -> Model:
        """Raises `ConfigError` naming the field, `Conflict` when the name is taken, `NotFound` without connection."""
        async with self._catalog.change(actor) as tx:
            row = create(tx, as_form(form))
        return self.get(row.name)

    async def create_many(self, forms: Sequence[ModelForm], *, actor: str) -> tuple[Model, ...]:
        """All of them or none."""
        async with self._catalog.change(actor) as tx:
            rows = [create(tx, form) for form in forms]
        return tuple(self.get(row.name) for row in rows)

    async def update(self, name: str, changes: Mapping[str, Any], *, actor: str) -> Model:
        """Change some fields (``name`` renames; fallbacks and restricted keys follow)."""
        async with self._catalog.change(actor) as tx:
            row = update(tx, find(tx.state, name), changes)
        return self.get(row.name)

    async def delete(self, name: str, *, actor: str, dry_run: bool = False) -> Deletion:
        """Delete it; the answer says what stops working."""
        async with self._catalog.change(actor, dry_run=dry_run) as tx:
            plan = removal.model(tx, find(tx.state, name))
        return msgspec.structs.replace(plan, done=not dry_run)


def find(state: State, name: str) -> ModelRow:
    """By name, else by alias: the same order as in the snapshot's routes."""
    row = state.model(name)
    if row is not None:
        return row
    for field in ("name", "upstream_model"):
        for row in state.models.values():
            if name in aliases(state.connections[row.connection_id].name, getattr(row, field)):
                return row
    raise ModelNotFound(f"there is no model {name!r}{_near(state, name)}", param="model")


def _near(state: State, name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, [row.name for row in state.models.values()], 3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def as_form(form: ModelForm | Mapping[str, Any]) -> ModelForm:
    return form if isinstance(form, ModelForm) else convert_form(ModelForm, form, "model")


def create(tx: Transaction, form: ModelForm, owner: str | None = None) -> ModelRow:
    check_name("model", form.name)
    _check_free(tx, form)
    row = _row(tx, form, ModelRow(
        id=f"m{secrets.token_hex(8)}", name=form.name, connection_id="", upstream_model="", enabled=True, owner=owner,
        abilities=None, context_window=None, dimensions=None, fallbacks=(), limits=form.limits, policy=ModelPolicy(),
        own_price=None, packaged=None, details={}, created_at=tx.now, updated_at=tx.now, version=1,
    ))  # fmt: skip
    if tx.state.connections[row.connection_id].kind == "code":
        row = msgspec.structs.replace(row, from_code=code_models.as_set(form))
    tx.state.models[row.id] = row
    check_fallbacks(tx.state, row)
    return row


def update(tx: Transaction, row: ModelRow, changes: Mapping[str, Any]) -> ModelRow:
    form = convert_form(ModelForm, merge(fields_of(row, tx.state), changes), "model")
    if row.from_code is None:
        return replace(tx, row, form)
    form, from_code = code_models.edited(form, row.from_code, changes)
    return replace(tx, row, form, from_code)


def replace(tx: Transaction, row: ModelRow, form: ModelForm, from_code: FromCode | None = None) -> ModelRow:
    """The row as ``form`` says."""
    if form.name != row.name:
        check_name("model", form.name)
        _check_free(tx, form)
        removal.rename_model(tx, row.name, form.name)
        row = tx.state.models[row.id]
    changed = _row(tx, form, row)
    if from_code is not None:
        changed = msgspec.structs.replace(changed, from_code=from_code)
    if changed != row:
        changed = msgspec.structs.replace(changed, updated_at=tx.now, version=row.version + 1)
        tx.state.models[row.id] = changed
    check_fallbacks(tx.state, changed)
    return changed


def _check_free(tx: Transaction, form: ModelForm) -> None:
    present = tx.state.model(form.name)
    if present is not None:
        owner = tx.state.connections[present.connection_id].name
        longer = aliases(form.connection, form.name)[0]
        raise Conflict(
            f"there is a model {form.name!r} already (connection {owner!r}); choose another name, such as {longer!r}, "
            f"and give upstream_model = {form.upstream_model or form.name!r}",
            param="name",
        )


def _row(tx: Transaction, form: ModelForm, row: ModelRow) -> ModelRow:
    connection = connections.find(tx.state, form.connection)
    amounts.enforced(form.limits)
    if form.price is not None:
        amounts.price_of(form.price)
    connections.check_durations(form)
    unknown = sorted((form.abilities or frozenset()) - set(ABILITIES))
    if unknown:
        raise ConfigError(f"abilities: {unknown[0]!r} is none of {', '.join(ABILITIES)}", param="abilities")
    return msgspec.structs.replace(
        row, name=form.name, connection_id=connection.id, upstream_model=form.upstream_model or form.name,
        enabled=form.enabled, abilities=None if form.abilities is None else tuple(sorted(form.abilities)),
        context_window=form.context_window, dimensions=form.dimensions, limits=form.limits,
        fallbacks=tuple(dict.fromkeys(_name_of(tx.state, name) for name in form.fallbacks)),
        policy=ModelPolicy(**{name: getattr(form, name) for name in ModelPolicy.__struct_fields__}),
        own_price=form.price, details=form.details, options=form.options,
    )  # fmt: skip


def _name_of(state: State, fallback: str) -> str:
    try:
        return find(state, fallback).name
    except ModelNotFound as error:
        raise ConfigError(f"fallbacks: {error}", param="fallbacks") from None


def check_fallbacks(state: State, row: ModelRow) -> None:
    """Raises `ConfigError` for a fallback in a circle, or one that answers something else."""
    by_name = {model.name: model for model in state.models.values()}
    for name in row.fallbacks:
        other = by_name[name]
        if row.abilities is not None and other.abilities is not None:
            wanted = KINDS_OF_ANSWER.intersection(row.abilities)
            if wanted and not wanted.intersection(other.abilities):
                raise ConfigError(
                    f"fallbacks: {name!r} has no {' or '.join(sorted(wanted))} ability", param="fallbacks"
                )
        if None not in (row.dimensions, other.dimensions) and row.dimensions != other.dimensions:
            raise ConfigError(
                f"fallbacks: {name!r} makes vectors of {other.dimensions} numbers, {row.name!r} of {row.dimensions}",
                param="fallbacks",
            )
    path = _circle(by_name, row.name)
    if path:
        raise ConfigError(f"fallbacks go in a circle: {' → '.join(path)}", param="fallbacks")


def _circle(by_name: Mapping[str, ModelRow], start: str) -> tuple[str, ...]:
    """The way from ``start`` through fallbacks back to it; empty when there is none."""
    seen: set[str] = set()
    ways: list[tuple[str, ...]] = [(start,)]
    while ways:
        way = ways.pop()
        for name in by_name[way[-1]].fallbacks:
            if name == start:
                return (*way, name)
            if name not in seen:
                seen.add(name)
                ways.append((*way, name))
    return ()


def form_of(row: ModelRow, state: State) -> ModelForm:
    return convert_form(ModelForm, fields_of(row, state), "model")


def fields_of(row: ModelRow, state: State) -> dict[str, Any]:
    """The row as the fields of a form."""
    policy: dict[str, Any] = msgspec.to_builtins(row.policy)
    return {
        "name": row.name, "connection": state.connections[row.connection_id].name,
        "upstream_model": row.upstream_model, "abilities": None if row.abilities is None else list(row.abilities),
        "context_window": row.context_window, "dimensions": row.dimensions, "fallbacks": list(row.fallbacks),
        "price": msgspec.to_builtins(row.own_price), "limits": msgspec.to_builtins(row.limits),
        "enabled": row.enabled, "details": row.details, "options": msgspec.to_builtins(row.options),
    } | policy  # fmt: skip


def shown(row: ModelRow, state: State, snapshot: Snapshot) -> Model:
    connection = state.connections[row.connection_id]
    in_force = price_in_force(row, connection, state)
    price = None
    if in_force.price is not None:
        price = PriceShown(
            price=amounts.price_form(in_force.price), source=in_force.price.source, pattern=in_force.pattern,
            version=in_force.price.version,
            tiers=tuple(
                TierShown(above=tier.above, price=amounts.price_form(tier.price)) for tier in in_force.price.tiers
            ),
        )  # fmt: skip
    route = next((route for route in snapshot.models if route.model_id == row.id), None)
    names = [*aliases(connection.name, row.name), *aliases(connection.name, row.upstream_model)]
    return Model(
        id=row.id, name=row.name, connection=connection.name, upstream_model=row.upstream_model,
        abilities=tuple(sorted(DEFAULT_ABILITIES)) if row.abilities is None else row.abilities,
        context_window=row.context_window, dimensions=row.dimensions, own_price=row.own_price, price=price,
        price_note=in_force.note, fallbacks=row.fallbacks, limits=row.limits, enabled=row.enabled,
        available=route is not None and (route.target != NOT_RUNNING or connection.kind in LOCAL),
        aliases=tuple(name for name in dict.fromkeys(names) if snapshot.routes.get(name) is route is not None),
        details=row.details, options=row.options, from_code=code_models.following(row), owner=row.owner,
        created_at=row.created_at / 1e6, updated_at=row.updated_at / 1e6,
        version=row.version, **{name: getattr(row.policy, name) for name in ModelPolicy.__struct_fields__},
    )  # fmt: skip
