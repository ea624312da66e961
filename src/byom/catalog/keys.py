"""Caller keys: ``sk-byom-<id>-<secret>``.

``id`` is public (12 characters) and finds the key; ``secret`` has 196 random bits. Only SHA-256 of the whole key is
kept: a slow hash protects passwords that can be guessed, and this one cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import time

from byom.catalog.snapshot import CallerKey, Snapshot
from byom.errors import Unauthenticated

PREFIX = "sk-byom-"
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_SECRET_ALPHABET = string.ascii_letters + string.digits
_ID_LENGTH = 12
_SECRET_LENGTH = 33  # 33 characters of 62 are 196 bits
_LENGTH = len(PREFIX) + _ID_LENGTH + 1 + _SECRET_LENGTH
_ID = slice(len(PREFIX), len(PREFIX) + _ID_LENGTH)
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).digest()


def new_token() -> tuple[str, str]:
    """A new key: its public id and the whole of it."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    secret = "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(_SECRET_LENGTH))
    return key_id, f"{PREFIX}{key_id}-{secret}"


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def authenticate(snapshot: Snapshot, token: str | None, now: float | None = None) -> CallerKey:
    """The caller to whom ``token`` belongs. ``now``: seconds since the epoch; ``None``: the clock.

    Raises `Unauthenticated`. An unknown id, a wrong secret and a revoked key are told the same, in the same time.
    """
    if not token:
        raise Unauthenticated(
            "No API key was given. Send it as a header: Authorization: Bearer sk-byom-…", code="missing_api_key"
        )
    if len(token) != _LENGTH or not token.startswith(PREFIX):
        raise Unauthenticated(
            "This is not a BYOM API key. A key looks like sk-byom-<id>-<secret>; create one with: byom keys create"
        )
    digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
    key = snapshot.keys.get(token[_ID])
    if not hmac.compare_digest(digest, _NOBODY if key is None else key.digest) or key is None:
        raise Unauthenticated("This API key is not valid: it is unknown, or it was revoked.")
    if key.expires_at is not None and key.expires_at <= (time.time() if now is None else now):
        raise Unauthenticated("This API key has expired. Ask for a new one.", code="expired_api_key")
    return key
