"""Models whose code says what they are: its word holds until a person sets a field, and again when that is undone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from byom.catalog import connections
from byom.catalog.forms import LimitsForm, ModelForm, PriceForm
from byom.catalog.snapshot import Ability
from byom.catalog.state import FromCode, ModelRow
from byom.errors import ConfigError

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog
    from byom.catalog.transaction import Transaction

FIELDS = ("abilities", "context_window", "dimensions", "limits", "price")
"""Fields of a `ModelForm` that code may say."""
_ABILITIES = frozenset(get_args(Ability))
_FINEST = Decimal("0.000001")


def told_by(description: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a `ModelForm` from a host's description of a model (``byom.host.worker.contract.ModelDescription``).

    What does not fit a form is left out: user code may say anything.
    """
    abilities = sorted(_ABILITIES.intersection(map(str, description.get("abilities") or ())))
    told = {
        "abilities": abilities or None,
        "context_window": _whole(description.get("context_window")),
        "dimensions": _whole(description.get("dimensions")),
        "price": _price(description.get("cost")),
        "limits": _limits(description.get("rate_limit")),
    }
    return {name: value for name, value in told.items() if value is not None}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None


def _limits(rate: Any) -> dict[str, Any] | None:
    """``[n_requests, seconds]``."""
    try:
        limits = msgspec.convert({"rate_limit": rate}, LimitsForm, strict=False)
    except msgspec.ValidationError:
        return None
    return None if limits.rate_limit is None else {"rate_limit": list(limits.rate_limit)}


def _price(cost: Any) -> dict[str, str] | None:
    """Dollars per token become dollars per million of them, to the picodollar a token."""
    if not isinstance(cost, Mapping):
        return None
    price: dict[str, str] = {}
    for part in ("input", "output"):
        try:
            amount = (Decimal(str(cost.get(part, 0))) * 10**6).quantize(_FINEST)
        except InvalidOperation:
            return None
        if not amount.is_finite() or amount < 0:
            return None
        price[part] = f"{amount.normalize():f}"
    return price


def as_set(form: ModelForm) -> FromCode:
    """Of a new model: what it is made with is set by a person."""
    default = ModelForm(name="", connection="")
    return FromCode(kept=tuple(name for name in FIELDS if getattr(form, name) != getattr(default, name)))


def edited(form: ModelForm, present: FromCode, changes: Mapping[str, Any]) -> tuple[ModelForm, FromCode]:
    """The form after an edit: fields that were set stay so, fields that were put back are as the code says."""
    named = [name for name in FIELDS if name in changes]
    back = [name for name in named if changes[name] is None]
    kept = tuple(name for name in FIELDS if (name in present.kept or name in named) and name not in back)
    return _following(form, present.told, back), msgspec.structs.replace(present, kept=kept)


def declared(form: ModelForm, present: FromCode, given: Iterable[str]) -> tuple[ModelForm, FromCode]:
    """The form of a byom.toml: what it does not mention is as the code says."""
    kept = tuple(name for name in FIELDS if name in given)
    rest = [name for name in FIELDS if name not in kept]
    return _following(form, present.told, rest), msgspec.structs.replace(present, kept=kept)


def following(row: ModelRow) -> tuple[str, ...]:
    """The fields whose value is the code's."""
    if row.from_code is None:
        return ()
    return tuple(name for name in FIELDS if name in row.from_code.told and name not in row.from_code.kept)


def _following(form: ModelForm, told: Mapping[str, Any], fields: Sequence[str]) -> ModelForm:
    default = ModelForm(name="", connection="")
    values = {name: _value(name, told[name]) if name in told else getattr(default, name) for name in fields}
    return msgspec.structs.replace(form, **values)


def _value(name: str, value: Any) -> Any:
    kinds: dict[str, Any] = {
        "abilities": frozenset[str], "limits": LimitsForm, "price": PriceForm, "context_window": int, "dimensions": int,
    }  # fmt: skip
    return msgspec.convert(value, kinds[name], strict=False)


async def tell(catalog: Catalog, connection_id: str, descriptions: Sequence[Mapping[str, Any]]) -> bool:
    """Keep what a connection's code says of its models now; true when that changed something.

    A description whose model is not in the catalog is left alone, and a model that the code has no more.
    """
    row = catalog.state.connections.get(connection_id)
    if row is None or not any(_news(catalog.state.models_of(row.id), descriptions)):
        return False
    async with catalog.change(f"code:{row.name}") as tx:
        tell_in(tx, connection_id, descriptions)
    return True


def tell_in(tx: Transaction, connection_id: str, descriptions: Sequence[Mapping[str, Any]]) -> None:
    """As `tell`, in a transaction that is under way."""
    from byom.catalog import models  # which uses this module

    for model, told in list(_news(tx.state.models_of(connection_id), descriptions)):
        from_code = msgspec.structs.replace(model.from_code or FromCode(), told=told)
        fields = [name for name in FIELDS if name not in from_code.kept]
        form = models.form_of(model, tx.state)
        models.replace(tx, model, _following(form, told, fields), from_code)


def _news(
    rows: Sequence[ModelRow], descriptions: Sequence[Mapping[str, Any]]
) -> Iterable[tuple[ModelRow, dict[str, Any]]]:
    """Models of which the code says something else than before."""
    by_name = {str(one.get("name")): one for one in descriptions}
    for row in rows:
        if row.upstream_model in by_name:
            told = told_by(by_name[row.upstream_model])
            if row.from_code is None or row.from_code.told != told:
                yield row, told


def require_code(catalog: Catalog, connection: str) -> str:
    """The id of a connection whose models are code. Raises `NotFound`, and `ConfigError` for another kind."""
    row = connections.find(catalog.state, connection)
    if row.kind != "code":
        raise ConfigError(f"connection {connection!r} is of kind {row.kind}, and not code", param="name")
    return row.id
