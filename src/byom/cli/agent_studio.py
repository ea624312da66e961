"""``byom connect --dialect agentstudio``: its server is reached through code of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from byom.cli import add, options


def connect(
    name: str,
    url: str,
    models: Mapping[str, str],
    called: str | None,
    key: str | None,
    fields: Mapping[str, Any],
    *,
    plain: bool,
    as_json: bool,
) -> None:
    """``models``: the server's names, and what to call them here. User and password in the URL are kept as a secret."""
    if not plain or not models:
        raise typer.BadParameter(
            "name each model with --model: the server lists none. --header and --no-check are not for it",
            param_hint="--dialect agentstudio",
        )
    # Not with the program: that half of a second is for those who want it.
    from byom.host.agentstudio.remote import BASIC, TARGET
    from byom.host.agentstudio.server import without_user

    address, found = without_user(url.strip())
    pair = None if found is None else BASIC + found.partition(" ")[2]
    args: dict[str, Any] = {"url": address, "models": list(models)}
    if fields.get("ca_file"):
        args["ca_file"] = fields["ca_file"]
    wanted = [{"id": id_, "name": called or here} for id_, here in models.items()]
    given = {"limits": fields["limits"]} if fields.get("limits") else {}
    with options.hub() as client:
        saved = client.add(TARGET, name=name, models=wanted, key=key or pair, args=args, **given)
    add.show(saved, (), as_json=as_json)
