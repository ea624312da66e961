"""AgentStudio's ``RemoteProvider``, unmodified, against this hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byom.server.dialects.agentstudio.app import AgentStudioApp, Options

if TYPE_CHECKING:
    from byom.server.hub import Hub

__all__ = ["AgentStudioApp", "Options", "create"]


def create(hub: Hub, options: Options | None = None) -> AgentStudioApp:
    """The ASGI application for ``/generate``, ``/health`` and everything below ``/agentstudio/``."""
    if options is None:
        settings = hub.settings
        options = Options(allow_paths=settings.agentstudio_images, keep_alive=settings.agentstudio_keep_alive)
    return AgentStudioApp(hub.gateway, options)
