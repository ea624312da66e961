"""Fixtures of this area."""

from tests.client.hubs import client, model, running_hub, unused_name, upstream

__all__ = ["client", "model", "running_hub", "unused_name", "upstream"]
