"""How a client that knows nothing of keys says who it is: in the address that its user gives it."""

from __future__ import annotations

import base64
import binascii

PREFIX = "agentstudio"
_KEY = "sk-byom-"


def route_and_token(path: str, authorization: str | None) -> tuple[str, str | None]:
    """The route without its prefix, and the caller's key; ``None`` where there is none.

    A key in the path (``/agentstudio/<key>/generate``) comes before one in the header: some clients add a header of
    their own accord (from ``.netrc``).
    """
    parts = [part for part in path.split("/") if part]
    token = None
    if parts and parts[0] == PREFIX:
        parts = parts[1:]
        if len(parts) > 1:
            token, parts = parts[0], parts[1:]
    return "/" + "/".join(parts), token if token is not None else _from_header(authorization)


def _from_header(value: str | None) -> str | None:
    scheme, _, rest = (value or "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return user if user.startswith(_KEY) or not password else password
