"""The base of guardrails, so that the modules that name it can be imported. A hub runs models, no guardrails."""

from __future__ import annotations

from typing import Any


class BaseGuardrail:
    """Changes or refuses what goes into a model or comes out of it."""

    def set_config(self, config: dict[str, Any], plugin_config: dict[str, Any]) -> None:
        self.config = config
        self.plugin_config = plugin_config

    def process(self, input: dict[str, Any], trace: Any) -> dict[str, Any]:  # noqa: A002 - the documented names
        return input
