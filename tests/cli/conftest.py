"""Fixtures of this area."""

from tests.cli.program import byom, byom_alone
from tests.client.hubs import client, model, running_hub, unused_name, upstream

__all__ = ["byom", "byom_alone", "client", "model", "running_hub", "unused_name", "upstream"]
