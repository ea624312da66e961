"""Which hub this code talks to, with which key, in which project."""

from __future__ import annotations

import os
from typing import Any

_chosen: dict[str, str] = {}
_options: dict[str, Any] = {}


def set_remote_dss(url: str, api_key: str, no_check_certificate: bool = False, **options: Any) -> None:
    """Talk to the hub at ``url``, whatever the variables say. Further options are `dataikuapi.DSSClient`'s."""
    _chosen.update(url=url, api_key=api_key)
    _options.clear()
    _options.update(options)
    if no_check_certificate:
        _options["no_check_certificate"] = True


def api_client() -> Any:
    """A `dataikuapi.DSSClient` for the hub. Raises `RuntimeError` saying what is missing: a variable or the package."""
    url = _chosen.get("url") or os.environ.get("BYOM_URL", "")
    key = _chosen.get("api_key") or os.environ.get("BYOM_API_KEY", "")
    for name, value in (("BYOM_URL", url), ("BYOM_API_KEY", key)):
        if not value:
            raise RuntimeError(
                f"dataiku.api_client() talks to a BYOM hub: set the variable {name}, or call set_remote_dss"
            )
    try:
        from dataikuapi import DSSClient
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"dataiku.api_client() needs the module {error.name}: pip install dataiku-api-client six"
        ) from error
    # A base URL of OpenAI's kind is taken too: people have just that one at hand.
    return DSSClient(url.rstrip("/").removesuffix("/v1"), key, **_options)


def default_project_key() -> str:
    """``BYOM_PROJECT``, or ``DEFAULT``: a hub keeps models of everybody in one place, under any project key."""
    return _chosen.get("project") or os.environ.get("BYOM_PROJECT") or "DEFAULT"


def get_default_project_key() -> str:
    return default_project_key()


def set_default_project_key(project_key: str) -> None:
    _chosen["project"] = project_key


def get_custom_variables(project_key: str | None = None, typed: bool = False) -> dict[str, Any]:  # noqa: ARG001
    """Variables of the instance and the project: a hub has none but the project's key."""
    return {"projectKey": project_key or default_project_key()}
