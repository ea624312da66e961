"""Who may do what: one layer in front of all routes, which lets nobody in that it does not know.

- ``PUBLIC`` needs no key.
- ``OPEN_TO_INFERENCE`` takes a key of role ``inference``, which sees and changes only what is its own.
- Everything else, paths that do not exist included, needs a key of role ``admin``.

With ``--no-auth`` whoever calls from this machine is an admin; `byom.server.origins` keeps pages of other sites out.
"""

from __future__ import annotations

from dataclasses import dataclass

from byom.catalog.snapshot import CallerKey
from byom.errors import PermissionDenied, Unauthenticated
from byom.server.api.asgi import App, Receive, Scope, Send, header
from byom.server.api.services import Hub
from byom.settings import is_loopback

PUBLIC = frozenset({("GET", "/api/docs"), ("GET", "/api/openapi.json")})
OPEN_TO_INFERENCE = frozenset({
    ("GET", "/api/me"), ("GET", "/api/usage"), ("GET", "/api/calls"), ("GET", "/api/me/credentials"),
    ("PUT", "/api/me/credentials"), ("DELETE", "/api/me/credentials"),
})  # fmt: skip
LOCAL_ACTOR = "local"
CALLER = "byom.caller"
"""Where the caller is in the scope."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request. ``key`` is ``None`` on a hub without keys."""

    key: CallerKey | None

    @property
    def is_admin(self) -> bool:
        return self.key is None or self.key.role == "admin"

    @property
    def actor(self) -> str:
        """For the audit log."""
        return LOCAL_ACTOR if self.key is None else f"key:{self.key.id}"


class Guard:
    """Pure ASGI: authenticates and authorises by ``scope["path"]``, before any route is looked for."""

    def __init__(self, app: App, hub: Hub) -> None:
        self._app = app
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise PermissionDenied("The management API speaks HTTP only.")
        place = (scope["method"], scope["path"])
        if place not in PUBLIC:
            caller = self._caller(scope)
            if not caller.is_admin and place not in OPEN_TO_INFERENCE:
                raise PermissionDenied(
                    "This needs a key of role admin. The hub's own is in admin.key in its home folder.",
                    code="admin_required",
                )
            scope = {**scope, CALLER: caller}
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller:
        if self._hub.settings.no_auth:
            client = scope.get("client")
            if client is not None and not is_loopback(client[0]):
                raise Unauthenticated("This hub runs without keys and therefore serves its own machine only.")
            return Caller(None)
        key = self._hub.catalog.authenticate(_token(header(scope, b"authorization")))
        self._hub.catalog.touch(key.id)
        return Caller(key)


def _token(authorization: str | None) -> str | None:
    """Keys come in this header alone: never in a URL, where logs would keep them."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
