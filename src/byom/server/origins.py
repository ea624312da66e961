"""Which names a hub answers to. Keys protect a hub; this protects one without them from web pages.

A page of another site can make a browser send requests to a hub on loopback, under a name of its own that resolves to
127.0.0.1 (DNS rebinding), or with a form. Neither has the right ``Host`` and ``Origin``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from byom.errors import PermissionDenied
from byom.settings import LOOPBACK_NAMES

if TYPE_CHECKING:
    from byom.settings import Settings


def allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """``None`` when every name is good: with keys, unless names were given."""
    if "*" in settings.trusted_hosts:
        return None
    if not settings.trusted_hosts and not settings.no_auth:
        return None
    return frozenset({*LOOPBACK_NAMES, settings.host.lower(), *(name.lower() for name in settings.trusted_hosts)})


def check_origin(allowed: frozenset[str] | None, host: str, origin: str) -> None:
    """Raises `PermissionDenied` for a name that this hub does not answer to."""
    if allowed is None:
        return
    if host_name(host) not in allowed:
        raise PermissionDenied(
            f"This hub does not answer to the host name {host[:100]!r}. The setting trusted_hosts adds names.",
            code="host_not_allowed",
        )
    if origin and host_name(origin.partition("://")[2]) not in allowed:
        raise PermissionDenied("Requests from pages of other sites are not allowed.", code="origin_not_allowed")


def host_name(host: str) -> str:
    """Without port and brackets, in small letters."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
