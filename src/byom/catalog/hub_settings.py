"""Settings that take effect without a restart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from byom.catalog import amounts
from byom.catalog.edits import convert_form, merge
from byom.catalog.forms import LimitsForm, SettingsForm
from byom.catalog.snapshot import GatewaySettings
from byom.catalog.state import SettingRow, State
from byom.catalog.transaction import Transaction
from byom.errors import ConfigError
from byom.types.target import NetworkPolicy

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog


class HubSettings:
    """``catalog.settings``"""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def get(self) -> SettingsForm:
        """All settings with their defaults filled in."""
        return form_of(self._catalog.state)

    async def update(self, changes: Mapping[str, Any], *, actor: str) -> SettingsForm:
        """Change some settings; ``None`` goes back to the default. Raises `ConfigError` naming the field."""
        async with self._catalog.change(actor) as tx:
            write(tx, edited(tx.state, changes))
        return self.get()


def form_of(state: State) -> SettingsForm:
    return convert_form(SettingsForm, {row.name: row.value for row in state.settings.values()}, "settings")


def edited(state: State, changes: Mapping[str, Any]) -> SettingsForm:
    """The form with some fields changed."""
    stored = {row.name: row.value for row in state.settings.values()}
    return convert_form(SettingsForm, merge(stored, changes), "settings")


def write(tx: Transaction, form: SettingsForm, owner: str | None = None) -> None:
    """Keep only what differs from the defaults, so that a better default reaches everybody."""
    if form.default_connection is not None and tx.state.connection(form.default_connection) is None:
        raise ConfigError(
            f"default_connection: there is no connection {form.default_connection!r}", param="default_connection"
        )
    default, stored_form = SettingsForm(), form_of(tx.state)
    for name in SettingsForm.__struct_fields__:
        value = getattr(form, name)
        if value == getattr(default, name):
            tx.state.settings.pop(name, None)
            continue
        stored = msgspec.to_builtins(value, str_keys=True)
        stored = _without_defaults(stored) if isinstance(value, LimitsForm | NetworkPolicy) else stored
        if name not in tx.state.settings or getattr(stored_form, name) != value:
            tx.state.settings[name] = SettingRow(name=name, value=stored, owner=owner)


def _without_defaults(value: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if part not in (None, (), [])}


def in_force(state: State) -> tuple[GatewaySettings, NetworkPolicy]:
    """As the gateway reads them."""
    form = form_of(state)
    fields = {name: getattr(form, name) for name in GatewaySettings.__struct_fields__}
    fields["unauthenticated_limits"] = amounts.enforced(form.unauthenticated_limits)
    return GatewaySettings(**fields), form.network
