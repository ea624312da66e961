"""The Dataiku dialect: ``dataiku-api-client`` talks to a hub as it talks to a DSS instance.

`create` makes the ASGI application for ``/dip/publicapi/…`` and ``/public/api/…``. Models are called through the
gateway only, with the caller's own key, so that keys, limits, prices, retries and the ledger hold here as elsewhere.
"""

from byom.server.dialects.dataiku.application import create

__all__ = ["create"]
