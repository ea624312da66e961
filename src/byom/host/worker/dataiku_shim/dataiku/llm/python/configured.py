"""What all models have: their configuration."""

from __future__ import annotations

import contextlib
from typing import Any

from .not_written import not_written


class Configured:
    """A model that is given its parameters before its first call."""

    def set_config(self, config: dict[str, Any], plugin_config: dict[str, Any]) -> None:
        """``config``: this model's parameters, presets inlined; ``plugin_config``: those of the plugin."""
        with contextlib.suppress(AttributeError):  # a subclass may have such names as properties
            self.config = config
            self.plugin_config = plugin_config

    @not_written
    def get_max_parallelism(self) -> int:
        """Calls at once that this instance takes."""
        raise NotImplementedError
