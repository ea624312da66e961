"""The caller's own credentials for plugins, under the names that the client builds for them.

A name is a JSON array without its brackets: ``"PLUGIN", plugin, parameter set, preset, parameter``. What was saved is
shown by its name and type alone, so an entry without a secret in it stands for what is there already.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from byom.server.dialects.dataiku.failure import Failure, not_served
from byom.server.dialects.dataiku.request import mapping

if TYPE_CHECKING:
    from byom.catalog.records import Credential
    from byom.catalog.snapshot import CallerKey
    from byom.server.hub import Hub

_LOGIN = "BASIC"
_SECRETS = ("value", "password", "secret")
"""Fields that a secret may be in; the client itself knows ``password`` alone."""


class Place(NamedTuple):
    plugin: str
    parameter_set: str
    preset: str
    parameter: str

    @property
    def name(self) -> str:
        return json.dumps(["PLUGIN", *self])[1:-1]

    @classmethod
    def of(cls, name: str) -> Place:
        try:
            parts: Any = json.loads(f"[{name}]")
        except ValueError:
            parts = []
        if len(parts) != 5 or parts[0] != "PLUGIN" or not all(isinstance(part, str) for part in parts):
            raise not_served(f"The request saves the credential {name[:100]}, which is not one of a plugin.")
        return cls(*parts[1:])


def shown(hub: Hub, caller: CallerKey | None) -> dict[str, Any]:
    """Those that the caller has entered: ``{name: {"type"}}``."""
    return {place.name: {"type": one.type} for place, one in _asked(hub, caller) if one.is_set}


async def save(hub: Hub, caller: CallerKey | None, given: dict[str, Any]) -> None:
    """Keep what is new and forget what is missing. Raises `Failure` before anything is changed."""
    asked = _asked(hub, caller)
    wanted = [(one, value) for name, entry in given.items() for one, value in _wanted(asked, name, entry)]
    missing = [one for place, one in asked if one.is_set and place.name not in given]
    if not wanted and not missing:
        return
    if caller is None:
        raise Failure("This hub has no keys, so nobody has credentials of their own here.", code="not_supported")
    store, actor = hub.catalog.credentials, f"key:{caller.id}"
    for one, value in wanted:
        await store.put(caller.user_id, one.connection, one.preset, one.field, value, actor=actor)
    for one in missing:
        await store.delete(caller.user_id, one.connection, one.preset, one.field, actor=actor)
    await hub.spread()


def _asked(hub: Hub, caller: CallerKey | None) -> list[tuple[Place, Credential]]:
    """What plugins ask of the caller. Two connections of one plugin may ask for the same."""
    if caller is None:
        return []
    return [(_place(hub, one), one) for one in hub.catalog.credentials.list(caller.user_id, caller.models)]


def _place(hub: Hub, one: Credential) -> Place:
    plugin = hub.catalog.connections.get(one.connection).options.get("plugin") or {}
    preset = hub.catalog.presets.get(one.connection, one.preset)
    return Place(str(plugin.get("id") or one.connection), preset.parameter_set, one.preset, one.field)


def _wanted(
    asked: list[tuple[Place, Credential]], name: str, entry: Any
) -> list[tuple[Credential, str | dict[str, str]]]:
    place, said = Place.of(name), mapping(entry, "credentials")
    there = [one for known, one in asked if known == place]
    if not there:
        names = "; ".join(known.name for known, _ in asked) or "none"
        raise Failure(
            f"No model that this key may use asks for the credential {name[:200]}. Credentials that are asked for: "
            f"{names}.",
            status=404,
            code="credential_not_found",
        )
    if said.get("refreshToken"):
        raise not_served("The request saves a refresh token, to be exchanged for access tokens.")
    secret = next((said[field] for field in _SECRETS if said.get(field)), None)
    if secret is None:
        return []
    login = {"user": str(said.get("user") or ""), "password": str(secret)}
    return [(one, login if one.type == _LOGIN else str(secret)) for one in there]
