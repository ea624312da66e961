"""The part of Dataiku's module ``dataiku`` that code around language models uses, answered by a BYOM hub.

What it talks to is named by the variables ``BYOM_URL`` and ``BYOM_API_KEY``; ``BYOM_PROJECT`` is the default project.
"""

from __future__ import annotations

from .plugin_libs import use_plugin_libs
from .session import (
    api_client,
    default_project_key,
    get_custom_variables,
    get_default_project_key,
    set_default_project_key,
    set_remote_dss,
)

__all__ = [
    "api_client",
    "default_project_key",
    "get_custom_variables",
    "get_default_project_key",
    "set_default_project_key",
    "set_remote_dss",
    "use_plugin_libs",
]
