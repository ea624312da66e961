"""The Xinference dialect: ``xinference-client`` registers, launches and calls models of a hub as those of Xinference.

`create` makes the ASGI application for the routes that `byom.gateway.paths.is_management` names, ``/token`` and
``/status``. Calls of models are the gateway's own routes, with the caller's key as everywhere.
"""

from byom.server.dialects.xinference.application import create

__all__ = ["create"]
