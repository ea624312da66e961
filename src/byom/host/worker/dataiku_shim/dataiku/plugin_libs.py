"""Shared code of plugins, for code outside of them."""

from __future__ import annotations

import os
import sys

folders: dict[str, str] = {}
"""Folder of each plugin that is known here, by its id. The worker writes its own plugin's."""


def use_plugin_libs(plugin_id: str) -> None:
    """Put a plugin's ``python-lib`` on the path.

    Known are the plugin that runs here, and those below the folders of the variable ``BYOM_PLUGINS`` (separated as
    ``PATH`` is): folders with a ``plugin.json``, or with plugins in them. Raises `ValueError` for another id.
    """
    folder = folders.get(plugin_id) or _search(plugin_id)
    if folder is None:
        raise ValueError(
            f"the plugin {plugin_id!r} is not here: add the folder that holds it to the variable BYOM_PLUGINS"
        )
    library = os.path.join(folder, "python-lib")  # noqa: PTH118 - a plain string, for sys.path
    if library not in sys.path:
        sys.path.append(library)


def _search(plugin_id: str) -> str | None:
    for place in os.environ.get("BYOM_PLUGINS", "").split(os.pathsep):
        for folder in (place, os.path.join(place, plugin_id)) if place else ():  # noqa: PTH118
            named = os.path.basename(os.path.abspath(folder)) == plugin_id  # noqa: PTH100, PTH119
            if named and os.path.isfile(os.path.join(folder, "plugin.json")):  # noqa: PTH113, PTH118
                return folder
    return None
