"""Each caller's own credentials, put into the parameters of the model for one call."""

from __future__ import annotations

import copy
from typing import Any

from byom.host.code.configuration import CredentialField, HostConfig
from byom.host.code.errors import CredentialMissing


def config_for(config: HostConfig, name: str, user: str) -> dict[str, Any] | None:
    """The parameters of a model for a call of this user; ``None`` where the model has none.

    Raises `CredentialMissing` when a credential that the user has to enter is not there. No other user's is used.
    """
    model = config.model(name)
    if model is None or (model.config is None and not model.credentials):
        return None
    if not model.credentials:
        return model.config
    made = copy.deepcopy(model.config or {})
    for field in model.credentials:
        inner = made.get(field.param)
        made[field.param] = {**(inner if isinstance(inner, dict) else {}), field.field: _secret(config, field, user)}
    return made


def _secret(config: HostConfig, field: CredentialField, user: str) -> Any:
    known = config.users.get(user)
    if not user and known is None:
        raise CredentialMissing(
            f"This model needs each caller's own credential {field.field!r} of {field.preset!r}, "
            "and the call does not say whose it is: call it through the hub with a key of your own."
        )
    secret = (known.credentials if known is not None else {}).get(field.preset, {}).get(field.field)
    if secret in (None, "", {}):
        name = known.name if known is not None and known.name else user
        route = f", or PUT {config.hub_url.rstrip('/')}/api/me/credentials" if config.hub_url else ""
        raise CredentialMissing(
            f"The credential {field.field!r} of {field.preset!r} is missing for the user {name!r}. "
            f"Enter it with: byom credentials set {field.preset}{route}."
        )
    return secret
